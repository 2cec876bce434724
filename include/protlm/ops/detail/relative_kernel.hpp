#pragma once

#include <protlm/core/check.hpp>
#include <protlm/ops/attention_score.hpp>
#include <protlm/ops/detail/attention_shape.hpp>

#include <algorithm>

namespace protlm::inline v0::detail {

/// Type of every query and key and the two vectors that tell same from different: XLNet's segment term.
template <class S>
struct SegmentTerm {
    std::int32_t const *query_types, *key_types; // (Tq), (Tk); null without the term
    S const *bias;                               // r_s (H D)
    S const *embedding;                          // (2, H D): same, different
};

/// The kernel part of RelativeScore, what every device needs of it.
template <Scalar S>
struct RelativeTerms {
    using A = accumulate_t<S>;
    Rows<A const> r;                   // (P, H D), or (2 P, H D) with a backward half
    index_t behind, reach;             // P = reach
    index_t second;                    // first sequence that uses the second half of r
    S const *key_bias, *position_bias; // r_w, r_r (H D)
    A factor;
    std::int32_t const *positions; // (Tq), or null
    SegmentTerm<S> segment;

    KOKKOS_FUNCTION index_t width(AttentionPlace const &place) const { return r.cols / place.heads; }
    KOKKOS_FUNCTION index_t first(AttentionPlace const &place) const { return place.head * width(place); }
    /// The query's place among the keys.
    KOKKOS_FUNCTION index_t position(AttentionPlace const &place, index_t query) const {
        return positions ? positions[place.query_row + query] : query + place.keys - place.queries;
    }
    /// First row of r for the place's sequence.
    KOKKOS_FUNCTION index_t half(AttentionPlace const &place) const { return place.sequence < second ? 0 : reach; }
    /// Row of r for a pair; -1 when r does not reach so far.
    KOKKOS_FUNCTION index_t row(AttentionPlace const &place, index_t query, index_t key) const {
        index_t const p = behind - position(place, query) + key;
        return p >= 0 && p < reach ? half(place) + p : -1;
    }
    /// The segment vector of a pair, at the head's columns; null without the term.
    KOKKOS_FUNCTION S const *segment_vector(AttentionPlace const &place, index_t query, index_t key) const {
        if (!segment.query_types)
            return nullptr;
        bool const same = segment.query_types[place.query_row + query] == segment.key_types[place.key_row + key];
        return segment.embedding + (same ? 0 : r.cols) + first(place);
    }
};

} // namespace protlm::inline v0::detail
