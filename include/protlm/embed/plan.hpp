#pragma once

#include <protlm/core/check.hpp>
#include <protlm/embed/windows.hpp>

#include <algorithm>
#include <functional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Numbers of `members`, those of long proteins first; of equal ones the one that comes first.
inline std::vector<index_t> longest_first(std::span<index_t const> lengths, std::vector<index_t> members) {
    std::stable_sort(members.begin(), members.end(), [&](index_t a, index_t b) {
        return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
    });
    return members;
}

} // namespace detail

/// Multiplications and additions of a protein of `residues` residues, of all its windows where it is cut.
/// @param special  tokens around each sequence
inline double protein_cost(EncoderShape const &shape, index_t residues, index_t special, Windows const &windows = {}) {
    return static_cast<double>(windows.count(residues)) * shape.cost(windows.size(residues) + special);
}

/// The proteins that `rank` of `ranks` embeds, so that all ranks end together: the costliest first, each to the rank
/// that has least to do (Graham, SIAM J. Appl. Math. 17, 1969). Every rank finds the same plan without talking.
/// @param lengths (P) residues  @param special  tokens around each protein
/// @returns numbers of proteins, ascending; every protein is one rank's
/// @throws Error when `rank` is not one of `ranks`
inline std::vector<index_t> share_proteins(std::span<index_t const> lengths, EncoderShape const &shape, index_t special,
                                           index_t rank, index_t ranks, Windows const &windows = {}) {
    check(ranks >= 1 && rank >= 0 && rank < ranks, "share_proteins: rank ", rank, " of ", ranks);
    std::vector<index_t> members(lengths.size()), mine;
    for (std::size_t i = 0; i < lengths.size(); ++i)
        members[i] = static_cast<index_t>(i);
    using Load = std::pair<double, index_t>; // cost so far, rank
    std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
    for (index_t r = 0; r < ranks; ++r)
        loads.emplace(0.0, r);
    for (index_t const i : detail::longest_first(lengths, std::move(members))) {
        auto [load, least] = loads.top();
        loads.pop();
        loads.emplace(load + protein_cost(shape, lengths[static_cast<std::size_t>(i)], special, windows), least);
        if (least == rank)
            mine.push_back(i);
    }
    std::sort(mine.begin(), mine.end());
    return mine;
}

/// Groups `members` into batches of at most `token_budget` tokens, long proteins first; a protein above the budget is a
/// batch of its own. Proteins of a batch are of like length, so that threads end together, too. Those that are cut into
/// windows come first, in batches without others.
/// @param lengths (P) residues  @param members  numbers of proteins  @param special  tokens around each sequence
inline std::vector<std::vector<index_t>> plan_batches(std::span<index_t const> lengths, std::vector<index_t> members,
                                                      index_t token_budget, index_t special,
                                                      Windows const &windows = {}) {
    check(token_budget >= 1, "plan_batches: the token budget is ", token_budget, ", expected at least 1");
    std::vector<std::vector<index_t>> batches;
    index_t room = 0;
    bool cut = false; // the proteins of the last batch
    for (index_t const i : detail::longest_first(lengths, std::move(members))) {
        index_t const length = lengths[static_cast<std::size_t>(i)], tokens = windows.tokens(length, special);
        if (batches.empty() || tokens > room || windows.cut(length) != cut) {
            batches.emplace_back();
            room = token_budget;
            cut = windows.cut(length);
        }
        batches.back().push_back(i);
        room -= tokens;
    }
    return batches;
}

} // namespace protlm::inline v0
