#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/ops/attention_mask.hpp>

namespace protlm::inline v0::detail {

/// The operands of one attention as kernels see them: head h of a row is columns [h D, h D + D).
template <class A>
struct AttentionRows {
    Rows<A const> q, k, v;         // (Tq, H D), (Tk, H D), (Tk, H D)
    std::int64_t const *q_offsets; // (B+1), device
    std::int64_t const *k_offsets; // (B+1), device
    index_t heads, width;

    KOKKOS_FUNCTION AttentionPlace place(index_t sequence, index_t head) const {
        return {sequence,
                q_offsets[sequence],
                k_offsets[sequence],
                q_offsets[sequence + 1] - q_offsets[sequence],
                k_offsets[sequence + 1] - k_offsets[sequence],
                head,
                heads};
    }
};

/// A score that hides a pair; finite, so that a row that sees nothing stays free of NaN.
template <class A>
inline constexpr A hidden_score = A(-1e30);

/// Queries of one task on hosts, queries and keys of one tile. Constants: a row's bits must not depend on the batch.
inline constexpr index_t query_chunk = 384, query_tile = 48, key_tile = 128;
/// Elements from one row of a tile to the next. What lies between the rows of a tile of gradients is zero, so that a
/// row may be read from up to tile_gap elements before its first and behind its last.
inline constexpr index_t tile_gap = 32, tile_stride = key_tile + tile_gap;

} // namespace protlm::inline v0::detail
