#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/ops/attention_mask.hpp>

#include <algorithm>
#include <utility>

namespace protlm::inline v0 {

/// The kernel part of a permutation mask. Keys are the memory of a sequence, if any, and then its tokens; a token is
/// seen when its rank is below the query's limit. In the content stream a query is a token and sees itself as well.
struct PermutationMaskKernel {
    static constexpr bool everything = false, interval = false;

    std::int32_t const *rank, *limit; // (T)
    std::int64_t const *offsets;      // (B+1): rows of the sequences' tokens
    index_t const *targets;           // (R): token row of each query; null in the content stream, whose queries are all
    bool causal;                      // no token after the query's own either

    /// How many keys the memory has.
    KOKKOS_FUNCTION index_t memory(AttentionPlace const &place) const {
        return place.keys - (offsets[place.sequence + 1] - offsets[place.sequence]);
    }
    /// Row of the query's token.
    KOKKOS_FUNCTION index_t token(AttentionPlace const &place, index_t query) const {
        return targets ? targets[place.query_row + query] : offsets[place.sequence] + query;
    }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &place, index_t query, index_t key) const {
        index_t const row = offsets[place.sequence] + key - memory(place), own = token(place, query);
        if (row < offsets[place.sequence] || (row == own && !targets))
            return true;
        return rank[row] < limit[own] && (!causal || row <= own);
    }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t) const { return place.keys; }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t) const { return place.queries; }

    /// Writes `value` over the scores in `row` of those of the keys [first, first + keys) that `query` may not see.
    template <class A>
    void hide_row(AttentionPlace const &place, index_t query, index_t first, index_t keys, A value, A *row) const {
        index_t const own = token(place, query), base = offsets[place.sequence] - memory(place) + first;
        index_t const begin = detail::within(memory(place) - first, keys), own_key = own - base;
        bool const sees_itself = !targets && own_key >= begin && own_key < keys;
        A const kept = sees_itself ? row[own_key] : A(0);
        std::int32_t const *const ranks = rank + (base + begin);
        std::int32_t const most = limit[own];
        A *const scores = row + begin;
        for (index_t j = 0; j < keys - begin; ++j)
            scores[j] = ranks[j] < most ? scores[j] : value;
        if (causal)
            for (index_t j = std::max(begin, own_key + 1); j < keys; ++j)
                row[j] = value;
        if (sees_itself)
            row[own_key] = kept;
    }
};

/// Which tokens a token may see in a random order of factorisation: XLNet, arXiv 1906.08237, section 2.3. Made by
/// TwoStreamOrder; shares its arrays, of which none is of size L x L.
template <class Exec>
class PermutationMask {
  public:
    using Kernel = PermutationMaskKernel;
    static constexpr bool everything = false;

    PermutationMask(Buffer<std::int32_t, Exec> rank, Buffer<std::int32_t, Exec> limit,
                    Buffer<std::int64_t, Exec> offsets, Buffer<index_t, Exec> targets, bool causal)
        : rank_(std::move(rank)), limit_(std::move(limit)), offsets_(std::move(offsets)), targets_(std::move(targets)),
          causal_(causal) {}

    Kernel kernel() const { return {rank_.data(), limit_.data(), offsets_.data(), targets_.data(), causal_}; }

  private:
    Buffer<std::int32_t, Exec> rank_, limit_;
    Buffer<std::int64_t, Exec> offsets_;
    Buffer<index_t, Exec> targets_;
    bool causal_;
};

/// The order in which each sequence of a batch is predicted, for two-stream attention: token i sees token j when
/// rank[j] < limit[i], with limit = rank for targets, which do not see themselves, and rank + 1 for all others. Only
/// targets have a row in the query stream.
template <class Exec>
struct TwoStreamOrder {
    Buffer<std::int32_t, Exec> rank, limit;        // (T)
    Segments<Exec> segments;                       // of T
    Buffer<index_t, Exec> targets;                 // (R) token rows
    Segments<Exec> target_segments;                // of R
    Buffer<std::int32_t, Exec> target_positions;   // (R) within their sequence, ascending
    std::vector<std::int32_t> host_positions = {}; // the same

    /// Mask of the content stream: queries are all tokens. @param causal hides what comes after a token as well
    PermutationMask<Exec> content_mask(bool causal = false) const { return {rank, limit, segments.device, {}, causal}; }
    /// Mask of the query stream: queries are the targets.
    PermutationMask<Exec> query_mask(bool causal = false) const {
        return {rank, limit, segments.device, targets, causal};
    }
    /// The place of each target among the keys of its sequence, (R): its position, behind the memory if there is one.
    /// @param keys segments of memory and tokens together
    /// @throws Error when a sequence has fewer keys than tokens
    template <class Context>
    Buffer<std::int32_t, Exec> target_places(Context &context, Segments<Exec> const &keys) const {
        check_extent("TwoStreamOrder", "keys", "sequences", keys.count(), segments.count());
        std::vector<std::int32_t> places = host_positions;
        for (index_t b = 0; b < keys.count(); ++b) {
            index_t const memory = keys.length(b) - segments.length(b);
            check(memory >= 0, "TwoStreamOrder: keys has ", keys.length(b), " rows in sequence ", b,
                  ", expected at least its ", segments.length(b), " tokens");
            for (index_t t = target_segments.host[static_cast<std::size_t>(b)];
                 t < target_segments.host[static_cast<std::size_t>(b) + 1]; ++t)
                places[static_cast<std::size_t>(t)] += static_cast<std::int32_t>(memory);
        }
        return context.template upload<std::int32_t>(places);
    }
};

/// Makes the order of a packed batch.
/// @param rank, is_target (T): place of each token in the order of its sequence, and whether it is predicted (not 0)
/// @param offsets (B+1) of the tokens @throws Error when extents disagree
template <class Context>
auto make_two_stream_order(Context &context, std::span<std::int32_t const> rank,
                           std::span<std::int32_t const> is_target, std::span<std::int64_t const> offsets) {
    TwoStreamOrder<typename Context::execution_space> order;
    order.segments = make_segments(context, offsets);
    check_extent("make_two_stream_order", "rank", "entries", static_cast<index_t>(rank.size()), order.segments.total());
    check_extent("make_two_stream_order", "is_target", "entries", static_cast<index_t>(is_target.size()),
                 order.segments.total());
    std::vector<std::int32_t> limit(rank.begin(), rank.end());
    std::vector<index_t> targets;
    std::vector<std::int64_t> target_offsets{0};
    for (std::size_t b = 0; b + 1 < offsets.size(); ++b) {
        for (std::int64_t t = offsets[b]; t < offsets[b + 1]; ++t)
            if (is_target[static_cast<std::size_t>(t)]) {
                targets.push_back(t);
                order.host_positions.push_back(static_cast<std::int32_t>(t - offsets[b]));
            } else {
                ++limit[static_cast<std::size_t>(t)];
            }
        target_offsets.push_back(static_cast<std::int64_t>(targets.size()));
    }
    order.rank = context.template upload<std::int32_t>(rank);
    order.limit = context.template upload<std::int32_t>(limit);
    order.targets = context.template upload<index_t>(targets);
    order.target_segments = make_segments(context, target_offsets);
    order.target_positions = context.template upload<std::int32_t>(order.host_positions);
    return order;
}

} // namespace protlm::inline v0
