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

/// What a mask must offer: which keys a query may see, and for a block of queries the range of keys outside which
/// none is seen, so that whole tiles are skipped. `everything` is true when no pair is ever hidden.
template <class M>
concept AttentionMask = requires(M mask, AttentionPlace place, index_t i) {
    { M::everything } -> std::convertible_to<bool>;
    { mask(place, i, i) } -> std::convertible_to<bool>;
    { mask.key_begin(place, i) } -> std::convertible_to<index_t>;
    { mask.key_end(place, i) } -> std::convertible_to<index_t>;
    { mask.query_begin(place, i) } -> std::convertible_to<index_t>;
    { mask.query_end(place, i) } -> std::convertible_to<index_t>;
};

/// Every query sees every key of its own sequence.
struct FullMask {
    static constexpr bool everything = true;
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
    static constexpr bool everything = false;
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &place, index_t query, index_t key) const {
        return key <= query + place.keys - place.queries;
    }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t query) const {
        index_t const end = query + place.keys - place.queries + 1;
        return end < 0 ? 0 : end < place.keys ? end : place.keys;
    }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &place, index_t key) const {
        index_t const begin = key - (place.keys - place.queries);
        return begin < 0 ? 0 : begin;
    }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t) const { return place.queries; }
};

} // namespace protlm::inline v0
