#pragma once

#include <protlm/core/kokkos.hpp>

namespace protlm::inline v0 {

/// Where one head of one sequence lies, for score and mask functors.
struct AttentionPlace {
    index_t sequence = 0;
    index_t query_row = 0, key_row = 0; // first rows in the packed tensors
    index_t queries = 0, keys = 0;      // lengths
    index_t head = 0, heads = 1;
};

/// What the kernel part of a mask must offer: which keys a query may see, and for a block of queries the range of keys
/// outside which none is seen, so that whole tiles are skipped. `everything` is true when no pair is ever hidden.
/// `interval` is true when a query sees all keys from key_begin to key_end and no others; a mask without it may offer
/// `hide_row(place, query, first key, keys, value, row)`, which writes `value` over the scores of hidden keys.
template <class M>
concept AttentionMaskKernel = requires(M mask, AttentionPlace place, index_t i) {
    { M::everything } -> std::convertible_to<bool>;
    { M::interval } -> std::convertible_to<bool>;
    { mask(place, i, i) } -> std::convertible_to<bool>;
    { mask.key_begin(place, i) } -> std::convertible_to<index_t>;
    { mask.key_end(place, i) } -> std::convertible_to<index_t>;
    { mask.query_begin(place, i) } -> std::convertible_to<index_t>;
    { mask.query_end(place, i) } -> std::convertible_to<index_t>;
};

/// A mask: its kernel part, plain values and pointers that go to devices; the mask itself owns what they point to.
template <class M>
concept AttentionMask = AttentionMaskKernel<typename M::Kernel> && requires(M mask) {
    { mask.kernel() } -> std::convertible_to<typename M::Kernel>;
    { M::everything } -> std::convertible_to<bool>;
};

namespace detail {

KOKKOS_INLINE_FUNCTION index_t within(index_t i, index_t end) { return i < 0 ? 0 : i < end ? i : end; }

} // namespace detail

/// Every query sees every key of its own sequence.
struct FullMask {
    using Kernel = FullMask;
    static constexpr bool everything = true, interval = true;
    FullMask kernel() const { return *this; }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &, index_t, index_t) const { return true; }
    /// First key that any query from `query` on sees.
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &, index_t) const { return 0; }
    /// One past the last key that any query up to `query` sees.
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t) const { return place.keys; }
    /// First query that sees any key from `key` on.
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &, index_t) const { return 0; }
    /// One past the last query that sees any key up to `key`.
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t) const { return place.queries; }
};

/// A query sees the keys up to its own place; with more keys than queries, the queries are the last ones
/// (memory or cache comes first).
struct CausalMask {
    using Kernel = CausalMask;
    static constexpr bool everything = false, interval = true;
    CausalMask kernel() const { return *this; }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &place, index_t query, index_t key) const {
        return key <= query + place.keys - place.queries;
    }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t query) const {
        return detail::within(query + place.keys - place.queries + 1, place.keys);
    }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &place, index_t key) const {
        index_t const begin = key - (place.keys - place.queries);
        return begin < 0 ? 0 : begin;
    }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t) const { return place.queries; }
};

/// Causal, and every query sees as many keys as the first one does: Transformer-XL's `same_length`, arXiv 1901.02860,
/// section 4.4, by the rule of its published code. Of `keys` keys the first keys - queries are the memory; where there
/// are more than `mem_len` of them, query i sees key j only when j > i - (queries - (keys - mem_len)).
struct SameLengthMask {
    using Kernel = SameLengthMask;
    static constexpr bool everything = false, interval = true;
    index_t mem_len = 0;

    SameLengthMask kernel() const { return *this; }
    /// How many keys before its own number a query no longer sees.
    KOKKOS_FUNCTION index_t shift(AttentionPlace const &place) const {
        index_t const surplus = place.keys - mem_len;
        return surplus > 0 ? place.queries - surplus : place.queries;
    }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &place, index_t query, index_t key) const {
        return key <= query + place.keys - place.queries && key > query - shift(place);
    }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &place, index_t query) const {
        return detail::within(query - shift(place) + 1, place.keys);
    }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t query) const {
        return CausalMask().key_end(place, query);
    }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &place, index_t key) const {
        return CausalMask().query_begin(place, key);
    }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t key) const {
        return detail::within(key + shift(place), place.queries);
    }
};

} // namespace protlm::inline v0
