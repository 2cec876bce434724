#pragma once

#include <protlm/core/tensor.hpp>
#include <protlm/ops/attention_mask.hpp>

#include <algorithm>
#include <utility>

namespace protlm::inline v0 {

/// The kernel part of DirectedMask.
template <AttentionMaskKernel Inner>
struct DirectedMaskKernel {
    static constexpr bool everything = false, interval = Inner::interval;

    Inner inner;
    std::int64_t const *offsets;   // (B+1): rows of the sequences' tokens
    std::int32_t const *positions; // (Tq) of queries in their sequences, ascending; null: they are all tokens
    bool causal, same_length;

    /// How many keys the memory has.
    KOKKOS_FUNCTION index_t memory(AttentionPlace const &place) const {
        return place.keys - (offsets[place.sequence + 1] - offsets[place.sequence]);
    }
    KOKKOS_FUNCTION index_t position(AttentionPlace const &place, index_t query) const {
        return positions ? positions[place.query_row + query] : query;
    }
    /// First and one past the last key that the direction allows.
    KOKKOS_FUNCTION index_t first(AttentionPlace const &place, index_t query) const {
        return same_length ? position(place, query) : 0;
    }
    KOKKOS_FUNCTION index_t end(AttentionPlace const &place, index_t query) const {
        return causal ? position(place, query) + memory(place) + 1 : place.keys;
    }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &place, index_t query, index_t key) const {
        return key >= first(place, query) && key < end(place, query) && inner(place, query, key);
    }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &place, index_t query) const {
        index_t const a = inner.key_begin(place, query), b = first(place, query);
        return a > b ? a : b;
    }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t query) const {
        index_t const a = inner.key_end(place, query), b = end(place, query);
        return a < b ? a : b;
    }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &place, index_t key) const {
        index_t const a = inner.query_begin(place, key), b = causal && !positions ? key - memory(place) : 0;
        return a > b ? a : b;
    }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t key) const {
        index_t const a = inner.query_end(place, key), b = same_length && !positions ? key + 1 : place.queries;
        return a < b ? a : b;
    }

    /// See PermutationMaskKernel.
    template <class A>
        requires requires(Inner mask, AttentionPlace place, A *row) { mask.hide_row(place, 0, 0, 0, A(0), row); }
    void hide_row(AttentionPlace const &place, index_t query, index_t first_key, index_t keys, A value, A *row) const {
        inner.hide_row(place, query, first_key, keys, value, row);
        std::fill(row, row + detail::within(first(place, query) - first_key, keys), value);
        std::fill(row + detail::within(end(place, query) - first_key, keys), row + keys, value);
    }
};

/// What another mask shows, but in XLNet's attn_type "uni" nothing behind the query, and with `same_length` no more
/// keys than the memory has and the query itself. Keys are the memory of a sequence, if any, and then its tokens.
template <AttentionMask Inner, class Exec>
class DirectedMask {
  public:
    using Kernel = DirectedMaskKernel<typename Inner::Kernel>;
    static constexpr bool everything = false;

    /// @param offsets (B+1) of the tokens @param positions (Tq) of queries that are some tokens only, ascending within
    /// a sequence; empty: all tokens @param causal, same_length what is hidden beside what `inner` hides
    DirectedMask(Inner inner, Buffer<std::int64_t, Exec> offsets, Buffer<std::int32_t, Exec> positions, bool causal,
                 bool same_length)
        : inner_(std::move(inner)), offsets_(std::move(offsets)), positions_(std::move(positions)), causal_(causal),
          same_length_(same_length) {}

    Kernel kernel() const { return {inner_.kernel(), offsets_.data(), positions_.data(), causal_, same_length_}; }

  private:
    Inner inner_;
    Buffer<std::int64_t, Exec> offsets_;
    Buffer<std::int32_t, Exec> positions_;
    bool causal_, same_length_;
};

} // namespace protlm::inline v0
