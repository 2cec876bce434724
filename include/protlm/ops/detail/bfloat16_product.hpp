#pragma once

// Products with weights of bfloat16 on processors that multiply its pairs: the left side is rounded to bfloat16, sums
// are float. Blocks and panels are those of host_product.hpp, two elements of depth in one word.

#include <protlm/ops/detail/bfloat16_unit.hpp>
#include <protlm/ops/detail/host_product.hpp>

namespace protlm::inline v0::detail {

#if defined(__x86_64__) && !defined(__CUDACC__)

/// Pairs of depth that fit the caches, as many bytes as depth_block floats.
inline constexpr index_t pair_depth = depth_block;

/// The left side of a product, (rows, k), rounded: a row is `stride` pairs.
template <class Exec>
struct RoundedRows {
    Buffer<BfloatPair, Exec> values;
    index_t rows = 0, stride = 0;
    BfloatPair const *row(index_t i) const { return values.data() + i * stride; }
};

template <class Context>
auto round_rows(Context &context, Rows<float const> x) {
    RoundedRows<typename Context::execution_space> rounded;
    rounded.rows = x.rows;
    // an odd number of cache lines, so that the rows of a block do not share a set of the cache
    rounded.stride = ((x.cols + 1) / 2 + 15) / 16 * 16;
    rounded.stride += rounded.stride % 32 == 0 ? 16 : 0;
    rounded.values = context.template buffer<BfloatPair>(rounded.rows * rounded.stride);
    BfloatPair *const values = rounded.values.data();
    index_t const stride = rounded.stride;
    Kokkos::parallel_for("protlm::round_rows", range(context.exec(), 0, x.rows),
                         [=](index_t i) { round_row(x.row(i), x.cols, values + i * stride); });
    return rounded;
}

/// The right side of a product, (k, n), as panels of pair_cols columns of pairs; what is missing is zero.
template <class Exec>
struct PairPanels {
    Buffer<BfloatPair, Exec> values;
    index_t pairs = 0, n = 0;
    index_t panels() const { return (n + pair_cols - 1) / pair_cols; }
    BfloatPair const *panel(index_t j) const { return values.data() + j * pairs * pair_cols; }
};

/// One panel from rows [first, first + width) of w (n, k).
inline void pack_pairs_transposed(Rows<bfloat16 const> w, index_t first, index_t width, BfloatPair *panel) {
    constexpr index_t square = lanes<std::int32_t>;
    index_t const pairs = (w.cols + 1) / 2;
    bool const whole = width == pair_cols && w.stride % 2 == 0;
    index_t const squares = whole ? w.cols / 2 / square * square : 0; // pairs moved as words, in registers
    for (index_t p = 0; p < squares; p += square)
        for (index_t j = 0; j < pair_cols; j += square)
            transpose_square(reinterpret_cast<std::int32_t const *>(w.row(first + j)) + p, w.stride / 2,
                             reinterpret_cast<std::int32_t *>(panel + p * pair_cols) + j, pair_cols);
    for (index_t p = squares; p < pairs; ++p)
        for (index_t j = 0; j < pair_cols; ++j) {
            bfloat16 const *row = w.row(first + std::min(j, width - 1));
            bfloat16 const second = 2 * p + 1 < w.cols ? row[2 * p + 1] : bfloat16(0.0f);
            panel[p * pair_cols + j] = j < width ? bfloat_pair(row[2 * p], second) : 0;
        }
}

/// One panel from columns [first, first + width) of w (k, n).
inline void pack_pairs(Rows<bfloat16 const> w, index_t first, index_t width, BfloatPair *panel) {
    for (index_t p = 0; 2 * p < w.rows; ++p) {
        bfloat16 const *upper = w.row(2 * p) + first, *lower = w.row(std::min(2 * p + 1, w.rows - 1)) + first;
        bool const odd = 2 * p + 1 == w.rows;
        for (index_t j = 0; j < width; ++j)
            panel[p * pair_cols + j] = bfloat_pair(upper[j], odd ? bfloat16(0.0f) : lower[j]);
        std::fill(panel + p * pair_cols + width, panel + (p + 1) * pair_cols, BfloatPair(0));
    }
}

/// Packs w as the right side of a product: (k, n), or with `transposed` from (n, k).
template <bool transposed, class Context>
auto pack_pairs(Context &context, Rows<bfloat16 const> w) {
    PairPanels<typename Context::execution_space> packed;
    packed.pairs = ((transposed ? w.cols : w.rows) + 1) / 2;
    packed.n = transposed ? w.rows : w.cols;
    packed.values = context.template buffer<BfloatPair>(packed.panels() * packed.pairs * pair_cols);
    BfloatPair *const values = packed.values.data();
    index_t const size = packed.pairs * pair_cols, n = packed.n;
    Kokkos::parallel_for("protlm::pack_pairs", range(context.exec(), 0, packed.panels()), [=](index_t j) {
        index_t const first = j * pair_cols, width = std::min(pair_cols, n - first);
        if constexpr (transposed)
            pack_pairs_transposed(w, first, width, values + j * size);
        else
            pack_pairs(w, first, width, values + j * size);
    });
    return packed;
}

/// c (rows, width) = a (rows, pairs) b of one panel and one stretch of depth, added to c behind the first.
inline void pair_panel_product(BfloatPair const *a, index_t a_row, BfloatPair const *b, index_t rows, index_t pairs,
                               float *c, index_t c_row, index_t width, bool add) {
    if (width == pair_cols) {
        pair_product(a, a_row, b, c, c_row, rows, pairs, add);
        return;
    }
    // The last panel is narrower than its registers, which compute with all columns: what stood in memory could trap.
    float tile[pair_rows * pair_cols] = {};
    for (index_t i = 0; i < rows; i += pair_rows) {
        index_t const r = std::min<index_t>(pair_rows, rows - i);
        if (add)
            for (index_t x = 0; x < r; ++x)
                std::copy_n(c + (i + x) * c_row, width, tile + x * pair_cols);
        pair_product(a + i * a_row, a_row, b, tile, pair_cols, r, pairs, add);
        for (index_t x = 0; x < r; ++x)
            std::copy_n(tile + x * pair_cols, width, c + (i + x) * c_row);
    }
}

/// Rows [row, row + rows) of c = a b, panels [first, last), with an epilogue on each finished stretch of a row.
template <class Exec, class Epilogue>
void pair_block_product(RoundedRows<Exec> const &a, PairPanels<Exec> const &b, Rows<float> c, index_t row, index_t rows,
                        index_t first, index_t last, Epilogue const &epilogue) {
    for (index_t p0 = 0; p0 < b.pairs; p0 += pair_depth) {
        index_t const depth = std::min(pair_depth, b.pairs - p0);
        for (index_t j = first; j < last; ++j) {
            index_t const col = j * pair_cols, width = std::min(pair_cols, b.n - col);
            pair_panel_product(a.row(row) + p0, a.stride, b.panel(j) + p0 * pair_cols, rows, depth, c.row(row) + col,
                               c.stride, width, p0 > 0);
            if (p0 + depth >= b.pairs)
                for (index_t i = 0; i < rows; ++i)
                    epilogue(row + i, col, width, c.row(row + i) + col);
        }
    }
}

/// c (T, n) = a (T, k) b, with an epilogue.
template <class Context, class Exec, class Epilogue>
void pair_product(Context &context, RoundedRows<Exec> const &a, PairPanels<Exec> const &b, Rows<float> c,
                  Epilogue epilogue) {
    index_t const blocks = (a.rows + row_block - 1) / row_block;
    index_t const ranges = panel_ranges(blocks, b.panels(), concurrency(context.exec()));
    Kokkos::parallel_for("protlm::pair_product", dynamic_range(context.exec(), 0, blocks * ranges), [=](index_t task) {
        index_t const row = task / ranges * row_block, part = task % ranges;
        pair_block_product(a, b, c, row, std::min(row_block, a.rows - row), part * b.panels() / ranges,
                           (part + 1) * b.panels() / ranges, epilogue);
    });
}

/// The same for few rows, as few_rows_product.
template <bool transposed, class Context, class Exec, class Epilogue>
void few_rows_pair_product(Context &context, RoundedRows<Exec> const &a, Rows<bfloat16 const> w, Rows<float> c,
                           Epilogue epilogue) {
    WorkspaceToken<Exec> const token(context.exec());
    auto const workspace = context.template buffer<BfloatPair>(pair_depth * pair_cols * token.size());
    BfloatPair *const work = workspace.data();
    index_t const k = transposed ? w.cols : w.rows;
    Kokkos::parallel_for(
        "protlm::few_rows_pair_product", dynamic_range(context.exec(), 0, (c.cols + pair_cols - 1) / pair_cols),
        [=](index_t j) {
            auto const thread = token.acquire();
            BfloatPair *const panel = work + thread * pair_depth * pair_cols;
            index_t const col = j * pair_cols, width = std::min(pair_cols, c.cols - col);
            for (index_t p0 = 0; 2 * p0 < k; p0 += pair_depth) {
                index_t const depth = std::min(2 * pair_depth, k - 2 * p0);
                if constexpr (transposed)
                    pack_pairs_transposed({w.data + 2 * p0, w.rows, depth, w.stride}, col, width, panel);
                else
                    pack_pairs({w.row(2 * p0), depth, w.cols, w.stride}, col, width, panel);
                pair_panel_product(a.row(0) + p0, a.stride, panel, a.rows, (depth + 1) / 2, c.data + col, c.stride,
                                   width, p0 > 0);
            }
            for (index_t i = 0; i < a.rows; ++i)
                epilogue(i, col, width, c.row(i) + col);
            token.release(thread);
        });
}

#endif

/// y (T, N) = x w, or x w^T with `transposed`, with an epilogue: by pairs of bfloat16 where weights and processor have
/// them, else in the scalar of x, to which panels are converted.
template <bool transposed, class Context, class A, class S, class Epilogue = NoEpilogue>
void weight_product(Context &context, Rows<A const> x, Rows<S const> w, Rows<A> y, Epilogue const &epilogue = {}) {
#if defined(__x86_64__) && !defined(__CUDACC__)
    if constexpr (std::same_as<S, bfloat16>)
        if ((transposed ? w.cols : w.rows) > 0 && has_bfloat16_unit()) {
            auto const rounded = round_rows(context, x);
            if (x.rows <= few_rows)
                few_rows_pair_product<transposed>(context, rounded, w, y, epilogue);
            else
                pair_product(context, rounded, pack_pairs<transposed>(context, w), y, epilogue);
            return;
        }
#endif
    if (x.rows <= few_rows)
        few_rows_product<transposed>(context, x, w, y, epilogue);
    else
        product(context, x, pack<transposed, A>(context, w), y, false, epilogue);
}

} // namespace protlm::inline v0::detail
