#pragma once

// Matrix products on the host: operands in panels that stay in the caches, row blocks handed out by Kokkos, and an
// epilogue on each finished tile while it is in the first-level cache.

#include <protlm/core/context.hpp>
#include <protlm/ops/detail/micro_kernel.hpp>

#include <algorithm>

namespace protlm::inline v0::detail {

/// Rows of one task (a multiple of panel_rows for every instruction set) and the depth that fits the caches.
inline constexpr index_t row_block = 192;
inline constexpr index_t depth_block = 512;
/// Columns of one weight-gradient task, and the tokens it takes at once: their panels stay in the second-level cache.
inline constexpr index_t gradient_cols = 512, gradient_depth = 256;

/// The right side of a product, (k, n), as panels of panel_cols columns; panel j holds rows 0..k of its columns one
/// after the other, missing columns zero.
template <class S, class Exec>
struct PackedOperand {
    Buffer<S, Exec> values;
    index_t k = 0, n = 0;
    index_t panels() const { return (n + panel_cols<S> - 1) / panel_cols<S>; }
    S const *panel(index_t j) const { return values.data() + j * k * panel_cols<S>; }
};

template <class S, class T>
inline S converted(T value) {
    return static_cast<S>(value);
}

/// One panel of `source` (k, n), or of the transposed of `source` (n, k).
template <bool transposed, class S, class T>
inline void pack_panel(Rows<T const> source, index_t first, index_t width, index_t k, S *panel) {
    constexpr index_t cols = panel_cols<S>;
    if (width < cols)
        std::fill(panel, panel + k * cols, S(0));
    if constexpr (transposed && std::same_as<std::remove_const_t<T>, S>) {
        transpose(source.row(first), source.stride, width, k, panel, cols);
    } else if constexpr (transposed) {
        for (index_t p0 = 0; p0 < k; p0 += 16) // 16 by panel_cols tiles: both sides stay in the first-level cache
            for (index_t j = 0; j < width; ++j) {
                T const *row = source.row(first + j);
                for (index_t p = p0; p < std::min(k, p0 + 16); ++p)
                    panel[p * cols + j] = converted<S>(row[p]);
            }
    } else {
        for (index_t p = 0; p < k; ++p) {
            T const *row = source.row(p) + first;
            for (index_t j = 0; j < width; ++j)
                panel[p * cols + j] = converted<S>(row[j]);
        }
    }
}

/// Packs `source` as the right side of a product: (k, n), or with `transposed` from (n, k).
template <bool transposed, class S, class Context, class T>
auto pack(Context &context, Rows<T const> source) {
    PackedOperand<S, typename Context::execution_space> packed;
    packed.k = transposed ? source.cols : source.rows;
    packed.n = transposed ? source.rows : source.cols;
    packed.values = context.template buffer<S>(packed.panels() * packed.k * panel_cols<S>);
    S *const values = packed.values.data();
    index_t const k = packed.k, n = packed.n;
    Kokkos::parallel_for("protlm::pack", range(context.exec(), 0, packed.panels()), [=](index_t j) {
        index_t const first = j * panel_cols<S>;
        pack_panel<transposed>(source, first, std::min<index_t>(panel_cols<S>, n - first), k, values + first * k);
    });
    return packed;
}

/// The finished tile is left as it is.
struct NoEpilogue {
    template <class S>
    void operator()(index_t, index_t, index_t, S *) const {}
};

/// c (rows, panel) = [c +] a (rows, k) b for one panel and one stretch of k.
template <class Left, class S>
inline void panel_product(Left a, S const *b, index_t rows, index_t k, S *c, index_t c_row, index_t width, bool add) {
    if (width == panel_cols<S>) {
        micro_rows<panel_vectors>(a, b, panel_cols<S>, c, c_row, rows, k, add);
        return;
    }
    // The last panel is narrower than its registers, which compute with all columns: what stood in memory could trap.
    S tile[panel_rows * panel_cols<S>] = {};
    for (index_t i = 0; i < rows; i += panel_rows) {
        index_t const r = std::min<index_t>(panel_rows, rows - i);
        if (add)
            for (index_t x = 0; x < r; ++x)
                std::copy_n(c + (i + x) * c_row, width, tile + x * panel_cols<S>);
        micro_rows<panel_vectors>(a.from_row(i), b, panel_cols<S>, tile, panel_cols<S>, r, k, add);
        for (index_t x = 0; x < r; ++x)
            std::copy_n(tile + x * panel_cols<S>, width, c + (i + x) * c_row);
    }
}

/// Rows [row, row + rows) of c = [c +] a b, panels [first, last); `epilogue(row, column, width, c)` sees each
/// finished stretch of a row.
template <class S, class Exec, class Epilogue>
inline void block_product(Rows<S const> a, PackedOperand<S, Exec> const &b, Rows<S> c, index_t row, index_t rows,
                          index_t first, index_t last, bool add, Epilogue const &epilogue) {
    for (index_t k0 = 0; k0 < std::max<index_t>(b.k, 1); k0 += depth_block) {
        index_t const depth = std::min(depth_block, b.k - k0);
        bool const finished = k0 + depth >= b.k;
        for (index_t j = first; j < last; ++j) {
            index_t const col = j * panel_cols<S>, width = std::min<index_t>(panel_cols<S>, b.n - col);
            panel_product(LeftRows<S>{a.row(row) + k0, a.stride}, b.panel(j) + k0 * panel_cols<S>, rows, depth,
                          c.row(row) + col, c.stride, width, add || k0 > 0);
            if (finished)
                for (index_t i = 0; i < rows; ++i)
                    epilogue(row + i, col, width, c.row(row + i) + col);
        }
    }
}

/// How many ranges of panels to cut a product into so that all threads have work, also with few rows.
inline index_t panel_ranges(index_t row_blocks, index_t panels, int threads) {
    index_t const wanted = threads == 1 ? 1 : 3 * threads;
    return std::clamp<index_t>((wanted + row_blocks - 1) / std::max<index_t>(row_blocks, 1), 1,
                               std::max<index_t>(1, panels / 2));
}

/// c (T, n) = [c +] a (T, k) b, with an epilogue.
template <class Context, class S, class Exec, class Epilogue = NoEpilogue>
void product(Context &context, Rows<S const> a, PackedOperand<S, Exec> const &b, Rows<S> c, bool add,
             Epilogue epilogue = {}) {
    index_t const blocks = (a.rows + row_block - 1) / row_block;
    index_t const ranges = panel_ranges(blocks, b.panels(), concurrency(context.exec()));
    Kokkos::parallel_for("protlm::product", dynamic_range(context.exec(), 0, blocks * ranges), [=](index_t task) {
        index_t const row = task / ranges * row_block, part = task % ranges;
        block_product(a, b, c, row, std::min(row_block, a.rows - row), part * b.panels() / ranges,
                      (part + 1) * b.panels() / ranges, add, epilogue);
    });
}

/// Rows for which a product packs each panel where it is used: as fast as the weights can be read.
inline constexpr index_t few_rows = row_block;

/// y (T, n) = x (T, k) b for few rows, where b is w (k, n), or with `transposed` the transposed of w (n, k). A task
/// packs the panel that it alone needs, a stretch of depth at a time, in scratch that stays in its cache; bits are
/// those of `product`.
template <bool transposed, class Context, class A, class S, class Epilogue>
void few_rows_product(Context &context, Rows<A const> x, Rows<S const> w, Rows<A> y, Epilogue epilogue) {
    constexpr index_t cols = panel_cols<A>;
    WorkspaceToken<typename Context::execution_space> const token(context.exec());
    auto const workspace = context.template buffer<A>(depth_block * cols * token.size());
    A *const work = workspace.data();
    index_t const k = x.cols, n = y.cols;
    Kokkos::parallel_for("protlm::few_rows_product", dynamic_range(context.exec(), 0, (n + cols - 1) / cols),
                         [=](index_t j) {
                             auto const thread = token.acquire();
                             A *const panel = work + thread * depth_block * cols;
                             index_t const col = j * cols, width = std::min(cols, n - col);
                             for (index_t k0 = 0; k0 < std::max<index_t>(k, 1); k0 += depth_block) {
                                 index_t const depth = std::min(depth_block, k - k0);
                                 Rows<S const> const part{w.data + (transposed ? k0 : k0 * w.stride),
                                                          transposed ? n : depth, transposed ? depth : n, w.stride};
                                 pack_panel<transposed>(part, col, width, depth, panel);
                                 panel_product(LeftRows<A>{x.data + k0, x.stride}, static_cast<A const *>(panel),
                                               x.rows, depth, y.data + col, y.stride, width, k0 > 0);
                             }
                             for (index_t i = 0; i < x.rows; ++i)
                                 epilogue(i, col, width, y.row(i) + col);
                             token.release(thread);
                         });
}

/// Up to panel_rows columns of `source` as the left side of a product, and their sums added to `sums` when given.
template <class S>
inline void pack_columns(Rows<S const> source, S *left, S *sums) {
    S total[panel_rows] = {};
    auto const copy = [&](auto width) {
        for (index_t p = 0; p < source.rows; ++p)
            for (int r = 0; r < width; ++r) {
                S const value = source.row(p)[r];
                left[p * panel_rows + r] = value;
                total[r] += value;
            }
    };
    if (source.cols == panel_rows)
        copy(std::integral_constant<int, panel_rows>()); // unrolled
    else
        copy(static_cast<int>(source.cols));
    if (sums)
        for (index_t r = 0; r < source.cols; ++r)
            sums[r] += total[r];
}

/// One task of gradient_product: columns [n0, n0+n) and rows [m0, m0+m) of c += a^T b.
template <class S>
inline void gradient_block(Rows<S const> a, Rows<S const> b, Rows<S> c, S *column_sums, index_t m0, index_t m,
                           index_t n0, index_t n, S *left) {
    S *const right = left + panel_rows * gradient_depth;
    index_t const panels = (n + panel_cols<S> - 1) / panel_cols<S>;
    for (index_t t0 = 0; t0 < a.rows; t0 += gradient_depth) {
        index_t const depth = std::min(gradient_depth, a.rows - t0);
        Rows<S const> const stretch{b.row(t0), depth, b.cols, b.stride};
        for (index_t j = 0; j < panels; ++j)
            pack_panel<false>(stretch, n0 + j * panel_cols<S>, std::min(index_t(panel_cols<S>), n - j * panel_cols<S>),
                              depth, right + j * panel_cols<S> * depth);
        for (index_t i = 0; i < m; i += panel_rows) {
            index_t const rows = std::min<index_t>(panel_rows, m - i);
            pack_columns(Rows<S const>{a.row(t0) + m0 + i, depth, rows, a.stride}, left,
                         column_sums && n0 == 0 ? column_sums + m0 + i : nullptr);
            for (index_t j = 0; j < panels; ++j)
                panel_product(LeftPacked<S>{left}, right + j * panel_cols<S> * depth, rows, depth,
                              c.row(m0 + i) + n0 + j * panel_cols<S>, c.stride,
                              std::min(index_t(panel_cols<S>), n - j * panel_cols<S>), true);
        }
    }
}

/// Weight gradient: c (M, N) += a^T b for a (T, M), b (T, N), and column_sums (M) += column sums of a when given.
/// Tasks are tiles of c; each runs over T in order, so the result does not depend on the number of threads.
template <class Context, class S>
void gradient_product(Context &context, Rows<S const> a, Rows<S const> b, Rows<S> c, S *column_sums) {
    index_t const n_step = gradient_cols;
    index_t const n_tasks = (b.cols + n_step - 1) / n_step;
    // few, tall tasks: a task packs its columns of b once for all its rows of c
    index_t const wanted = (3 * concurrency(context.exec()) + n_tasks - 1) / n_tasks;
    index_t const m_step = std::max<index_t>(8, (a.cols / wanted + panel_rows - 1) / panel_rows) * panel_rows;
    index_t const m_tasks = (a.cols + m_step - 1) / m_step;
    WorkspaceToken<typename Context::execution_space> const token(context.exec());
    index_t const size = gradient_depth * (panel_rows + gradient_cols + panel_cols<S>);
    auto const workspace = context.template buffer<S>(size * token.size());
    S *const work = workspace.data();
    Kokkos::parallel_for("protlm::gradient_product", dynamic_range(context.exec(), 0, m_tasks * n_tasks),
                         [=](index_t task) {
                             auto const thread = token.acquire();
                             index_t const m0 = task / n_tasks * m_step, n0 = task % n_tasks * n_step;
                             gradient_block(a, b, c, column_sums, m0, std::min(m_step, a.cols - m0), n0,
                                            std::min(n_step, b.cols - n0), work + thread * size);
                             token.release(thread);
                         });
}

} // namespace protlm::inline v0::detail
