#pragma once

// The inner loop of every matrix product on the host: R rows times NV registers of columns, all of k in one order.
// An element's bits depend on its row of A, its column of B and k alone, never on where the row stands or how many
// rows are computed together; that is what makes embeddings the same in any batch.

#include <protlm/ops/detail/vector_unit.hpp>

namespace protlm::inline v0::detail {

/// Registers of columns that the kernel computes at once, and rows.
inline constexpr int panel_vectors = 2;
template <class S>
inline constexpr int panel_cols = panel_vectors *lanes<S>;
#if defined(__AVX512F__)
inline constexpr int panel_rows = 12; // 24 of 32 registers hold sums
// The same sums as a wider block: fewer loads for each product, where the right side is wide enough.
inline constexpr int wide_vectors = 4, wide_rows = 6;
#else
inline constexpr int panel_rows = 6; // 12 of 16
inline constexpr int wide_vectors = panel_vectors, wide_rows = panel_rows;
#endif

/// How a product finds the left side: in rows of a matrix, or in columns of panel_rows elements packed for it.
template <class S>
struct LeftRows {
    S const *data;
    index_t stride;
    S operator()(index_t i, index_t p) const { return data[i * stride + p]; }
    LeftRows from_row(index_t i) const { return {data + i * stride, stride}; }
};
template <class S>
struct LeftPacked {
    S const *data;
    S operator()(index_t i, index_t p) const { return data[p * panel_rows + i]; }
    LeftPacked from_row(index_t i) const { return {data + i}; }
};
/// The transposed of rows that lie `stride` apart.
template <class S>
struct LeftColumns {
    S const *data;
    index_t stride;
    S operator()(index_t i, index_t p) const { return data[p * stride + i]; }
    LeftColumns from_row(index_t i) const { return {data + i, stride}; }
};

/// What sums begin with: row i at data + i * stride, or zero without data. Rows may overlap: a stride of -1 gives every
/// row the values of the one before, shifted by one.
template <class S>
struct SumsFrom {
    S const *data = nullptr;
    index_t stride = 0;
    SumsFrom at(index_t i, index_t j) const { return {data ? data + i * stride + j : nullptr, stride}; }
};

/// C (R, NV registers) = `from` + A (R, k) B (k, NV registers).
/// @param b row p at b + p * b_row; @param c row i at c + i * c_row
template <int R, int NV, class Left, class S>
[[gnu::always_inline]] inline void micro_kernel(Left a, S const *b, index_t b_row, SumsFrom<S> from, S *c,
                                                index_t c_row, index_t k) {
    Vec<S> sum[R][NV];
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < NV; ++v)
            sum[i][v] = from.data ? load(from.data + i * from.stride + v * lanes<S>) : Vec<S>{};
    for (index_t p = 0; p < k; ++p) {
        Vec<S> column[NV];
        for (int v = 0; v < NV; ++v)
            column[v] = load(b + p * b_row + v * lanes<S>);
        for (int i = 0; i < R; ++i) {
            Vec<S> const row = broadcast(a(i, p));
            for (int v = 0; v < NV; ++v)
                sum[i][v] += row * column[v];
        }
    }
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < NV; ++v)
            store(c + i * c_row + v * lanes<S>, sum[i][v]);
}

/// The same for any number of rows: full blocks, then half of one, then pairs and single rows.
template <int NV, int R = panel_rows, class Left, class S>
inline void micro_rows(Left a, S const *b, index_t b_row, SumsFrom<S> from, S *c, index_t c_row, index_t rows,
                       index_t k) {
    index_t i = 0;
    for (; i + R <= rows; i += R)
        micro_kernel<R, NV>(a.from_row(i), b, b_row, from.at(i, 0), c + i * c_row, c_row, k);
    if (i + R / 2 <= rows) {
        micro_kernel<R / 2, NV>(a.from_row(i), b, b_row, from.at(i, 0), c + i * c_row, c_row, k);
        i += R / 2;
    }
    for (; i + 2 <= rows; i += 2)
        micro_kernel<2, NV>(a.from_row(i), b, b_row, from.at(i, 0), c + i * c_row, c_row, k);
    for (; i < rows; ++i)
        micro_kernel<1, NV>(a.from_row(i), b, b_row, from.at(i, 0), c + i * c_row, c_row, k);
}
/// Sums begin with zero, or with what c holds.
template <int NV, class Left, class S>
inline void micro_rows(Left a, S const *b, index_t b_row, S *c, index_t c_row, index_t rows, index_t k, bool add) {
    micro_rows<NV>(a, b, b_row, add ? SumsFrom<S>{c, c_row} : SumsFrom<S>{}, c, c_row, rows, k);
}

/// f(registers, rows, begin, end) for stretches of `cols` columns (whole registers) and the kernels they take.
template <class S, class F>
inline void for_stretches(index_t cols, F const &f) {
    index_t const wide = cols / (wide_vectors * lanes<S>)*wide_vectors * lanes<S>;
    index_t const panels = wide + (cols - wide) / panel_cols<S> * panel_cols<S>;
    if (wide > 0)
        f(std::integral_constant<int, wide_vectors>(), std::integral_constant<int, wide_rows>(), index_t(0), wide);
    if (panels > wide)
        f(std::integral_constant<int, panel_vectors>(), std::integral_constant<int, panel_rows>(), wide, panels);
    if (cols > panels)
        f(std::integral_constant<int, 1>(), std::integral_constant<int, panel_rows>(), panels, cols);
}

/// Columns of a tile, padded to whole registers.
template <class S>
inline constexpr index_t padded(index_t cols) {
    return (cols + lanes<S> - 1) / lanes<S> * lanes<S>;
}

/// c (rows, cols) = `from` + a (rows, k) b (k, cols) for tiles in scratch; `cols` is a multiple of the registers'
/// lanes.
template <class Left, class S>
inline void tile_product(Left a, S const *b, index_t b_row, SumsFrom<S> from, S *c, index_t c_row, index_t rows,
                         index_t cols, index_t k) {
    index_t j = 0;
    for (; j + panel_cols<S> <= cols; j += panel_cols<S>)
        micro_rows<panel_vectors>(a, b + j, b_row, from.at(0, j), c + j, c_row, rows, k);
    for (; j < cols; j += lanes<S>)
        micro_rows<1>(a, b + j, b_row, from.at(0, j), c + j, c_row, rows, k);
}
/// Sums begin with zero, or with what c holds.
template <class Left, class S>
inline void tile_product(Left a, S const *b, index_t b_row, S *c, index_t c_row, index_t rows, index_t cols, index_t k,
                         bool add) {
    tile_product(a, b, b_row, add ? SumsFrom<S>{c, c_row} : SumsFrom<S>{}, c, c_row, rows, cols, k);
}

} // namespace protlm::inline v0::detail
