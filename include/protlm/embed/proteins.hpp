#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/checksum.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Proteins in the order of the input: ids and residue tokens, one byte a residue, without special tokens.
class Proteins {
  public:
    /// @param tokens (L), any length, also none
    void add(std::string id, std::span<std::uint8_t const> tokens) {
        ids_.push_back(std::move(id));
        tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
        lengths_.push_back(static_cast<index_t>(tokens.size()));
        offsets_.push_back(static_cast<index_t>(tokens_.size()));
    }

    index_t size() const { return static_cast<index_t>(ids_.size()); } ///< P
    /// Residues of all proteins.
    index_t residues() const { return static_cast<index_t>(tokens_.size()); }
    /// Residues of the proteins `members`.
    index_t residues(std::span<index_t const> members) const {
        index_t sum = 0;
        for (index_t const i : members)
            sum += length(i);
        return sum;
    }
    std::vector<std::string> const &ids() const { return ids_; }     ///< (P)
    std::vector<index_t> const &lengths() const { return lengths_; } ///< (P) residues
    std::string const &id(index_t i) const { return ids_[static_cast<std::size_t>(i)]; }
    index_t length(index_t i) const { return lengths_[static_cast<std::size_t>(i)]; }
    /// Residue tokens (L) of protein `i`; valid until the next `add`.
    std::span<std::uint8_t const> tokens(index_t i) const {
        return std::span(tokens_).subspan(static_cast<std::size_t>(offsets_[static_cast<std::size_t>(i)]),
                                          static_cast<std::size_t>(length(i)));
    }
    index_t longest() const { return lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end()); }

    /// Numbers of all proteins: 0 to P-1.
    std::vector<index_t> all() const {
        std::vector<index_t> numbers(ids_.size());
        std::iota(numbers.begin(), numbers.end(), index_t(0));
        return numbers;
    }

    /// Checksums of all ids and of all residues in their order, by which processes tell whether they have the same.
    std::uint64_t ids_checksum() const {
        std::uint64_t sum = 0;
        for (auto const &id : ids_)
            sum = checksum64(std::as_bytes(std::span(id)), sum);
        return sum;
    }
    std::uint64_t residues_checksum() const {
        return checksum64(std::as_bytes(std::span(tokens_)), checksum64(std::as_bytes(std::span(lengths_))));
    }

    /// Ids that more than one protein has, in the order of their second proteins, each once.
    std::vector<std::string> repeated_ids() const {
        std::vector<std::size_t> order(ids_.size());
        std::iota(order.begin(), order.end(), std::size_t(0));
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return ids_[a] < ids_[b]; });
        std::vector<std::size_t> second;
        for (std::size_t i = 1; i < order.size(); ++i)
            if (ids_[order[i]] == ids_[order[i - 1]] && (i == 1 || ids_[order[i - 2]] != ids_[order[i]]))
                second.push_back(order[i]);
        std::sort(second.begin(), second.end());
        std::vector<std::string> repeated;
        for (std::size_t const i : second)
            repeated.push_back(ids_[i]);
        return repeated;
    }

  private:
    std::vector<std::string> ids_;
    std::vector<std::uint8_t> tokens_;
    std::vector<index_t> lengths_, offsets_{0};
};

} // namespace protlm::inline v0
