#pragma once

// Attention on hosts: one task a (sequence, head, chunk of queries), online softmax over tiles of keys (Milakov and
// Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135), products by the micro kernel.

#include <protlm/ops/attention_score.hpp>
#include <protlm/ops/detail/attention_dropout.hpp>
#include <protlm/ops/detail/attention_shape.hpp>
#include <protlm/ops/detail/host_product.hpp>

#include <vector>

namespace protlm::inline v0::detail {

/// Rows [row, row + n) and the columns of one head, plus `bias` if there is one, times `factor`, to scratch (n, padded
/// width).
template <class A, class S = A>
inline void copy_head(Rows<A const> source, index_t row, index_t n, index_t first, index_t width, A factor, A *to,
                      S const *bias = nullptr) {
    index_t const stride = padded<A>(width);
    for (index_t i = 0; i < n; ++i) {
        A const *from = source.row(row + i) + first;
        if (bias)
            for (index_t j = 0; j < width; ++j)
                to[i * stride + j] = (from[j] + static_cast<A>(bias[j])) * factor;
        else
            for (index_t j = 0; j < width; ++j)
                to[i * stride + j] = from[j] * factor;
        for (index_t j = width; j < stride; ++j)
            to[i * stride + j] = A(0);
    }
}

/// The transposed of rows [row, row + n) of one head to scratch (width, key_tile); columns from n on are zero as far as
/// registers go.
template <class A>
inline void transpose_head(Rows<A const> source, index_t row, index_t n, index_t first, index_t width, A *to) {
    transpose(source.row(row) + first, source.stride, n, width, to, key_tile);
    if (index_t const cols = padded<A>(n); n < cols)
        for (index_t d = 0; d < width; ++d)
            std::fill(to + d * key_tile + n, to + d * key_tile + cols, A(0));
}

/// Whether no pair of the tile is hidden.
template <class Mask>
inline bool all_visible(Mask const &mask, AttentionTile const &tile) {
    if constexpr (Mask::everything)
        return true;
    else if constexpr (Mask::interval)
        return mask.key_begin(tile.place, tile.q0 + tile.rows - 1) <= tile.k0 &&
               mask.key_end(tile.place, tile.q0) >= tile.k0 + tile.keys;
    else
        return false;
}

/// Hides in one row of scores what the mask hides.
template <class A, class Mask>
inline void mask_row(Mask const &mask, AttentionTile const &tile, index_t query, A *row) {
    if constexpr (Mask::interval) {
        index_t const begin = within(mask.key_begin(tile.place, query) - tile.k0, tile.keys);
        index_t const end = std::max(begin, within(mask.key_end(tile.place, query) - tile.k0, tile.keys));
        std::fill(row, row + begin, hidden_score<A>);
        std::fill(row + end, row + tile.keys, hidden_score<A>);
    } else if constexpr (requires { mask.hide_row(tile.place, query, query, query, hidden_score<A>, row); }) {
        mask.hide_row(tile.place, query, tile.k0, tile.keys, hidden_score<A>, row);
    } else {
        for (index_t j = 0; j < tile.keys; ++j)
            if (!mask(tile.place, query, tile.k0 + j))
                row[j] = hidden_score<A>;
    }
}

/// Hides what the mask hides and the columns past the keys as far as registers go.
template <class A, class Mask>
inline void mask_tile(Mask const &mask, AttentionTile const &tile, A *scores) {
    index_t const cols = padded<A>(tile.keys);
    bool const visible = all_visible(mask, tile);
    if (visible && cols == tile.keys)
        return;
    for (index_t i = 0; i < tile.rows; ++i) {
        A *const row = scores + i * tile_stride;
        if (!visible)
            mask_row(mask, tile, tile.q0 + i, row);
        std::fill(row + tile.keys, row + cols, hidden_score<A>);
    }
}

/// The operands of one forward task as its products take them: the scalars themselves, sums in the same scalar.
template <class A>
class ExactOperands {
  public:
    static constexpr bool rounded = false;
    ExactOperands(A *memory, index_t width)
        : width_(width), stride_(padded<A>(width)), q_(memory), k_transposed_(q_ + query_chunk * stride_),
          v_(k_transposed_ + key_tile * stride_) {}
    /// Elements of scratch.
    static index_t size(index_t width) { return (query_chunk + 2 * key_tile) * padded<A>(width); }

    /// Queries [row, row + n), columns of a head from `first` on, plus `bias` if there is one, times `factor`.
    template <class S>
    void set_queries(Rows<A const> q, index_t row, index_t n, index_t first, A factor, S const *bias) {
        copy_head(q, row, n, first, width_, factor, q_, bias);
    }
    void set_keys(Rows<A const> k, Rows<A const> v, index_t row, index_t n, index_t first) {
        transpose_head(k, row, n, first, width_, k_transposed_);
        copy_head(v, row, n, first, width_, A(1), v_);
    }
    /// tile (rows, cols) = `from` + queries from `row` on times keys.
    void scores(index_t row, SumsFrom<A> from, A *tile, index_t rows, index_t cols) const {
        tile_product(LeftRows<A>{q_ + row * stride_, stride_}, k_transposed_, key_tile, from, tile, tile_stride, rows,
                     cols, width_);
    }
    /// out (rows, padded width) += tile (rows, keys) times values.
    void mix(A *tile, A *out, index_t rows, index_t keys) const {
        tile_product(LeftRows<A>{tile, tile_stride}, v_, stride_, out, stride_, rows, stride_, keys, true);
    }

  private:
    index_t width_, stride_;
    A *q_, *k_transposed_, *v_;
};

/// Scratch of one forward task, cut from one piece of memory.
template <class A, class Operands>
struct ForwardScratch {
    Operands operands;
    A *tile, *out, *max, *sum, *score;
    ForwardScratch(A *memory, index_t width) : operands(memory, width) {
        tile = memory + Operands::size(width) + tile_gap;
        out = tile + query_tile * tile_stride;
        max = out + query_chunk * padded<A>(width);
        sum = max + query_chunk;
        score = sum + query_chunk;
    }
    static index_t size(index_t width, index_t score) {
        return Operands::size(width) + tile_gap + query_tile * tile_stride + query_chunk * (padded<A>(width) + 2) +
               (score + 63) / 64 * 64;
    }
};

/// exp of a score minus a larger one. Only what a mask hides must be 0 exactly; padding vanishes beside the largest.
template <bool exact, bool rounded, class A>
inline Vec<A> softmax_exp(Vec<A> x) {
    if constexpr (rounded && exact)
        return x < -87.33654f ? Vec<A>{} : exp_rough(x);
    else if constexpr (rounded)
        return exp_rough(x);
    else if constexpr (exact)
        return exp(x);
    else
        return exp_bounded(x);
}

/// One row of scores (cols, whole registers) becomes exp(score - max); the sum and the row of results follow the new
/// maximum.
template <bool exact, bool rounded, class A>
inline void online_softmax_row(A *row, index_t cols, A &max_so_far, A &sum_so_far, A *out, index_t width) {
    Vec<A> m = load(row);
    for (index_t j = lanes<A>; j < cols; j += lanes<A>)
        m = max<A>(m, load(row + j));
    A const top = std::max(max_so_far, max_lanes<A>(m));
    if (top > max_so_far) { // the first tile scales zeros
        A const shrink = std::exp(max_so_far - top);
        for (index_t d = 0; d < width; d += lanes<A>)
            store(out + d, load(out + d) * shrink);
        sum_so_far *= shrink;
        max_so_far = top;
    }
    Vec<A> sum{};
    for (index_t j = 0; j < cols; j += lanes<A>) {
        Vec<A> const p = softmax_exp<exact, rounded, A>(load(row + j) - top);
        sum += p;
        store(row + j, p);
    }
    sum_so_far += sum_lanes<A>(sum);
}

/// One row of a tile of probabilities (cols, whole registers), before they are divided by their sum: some become 0.
template <class A>
inline void drop_row(DropoutRow<A> const &factors, A *row, index_t cols) {
    for (index_t j = 0; j < cols; j += lanes<A>)
        store(row + j, load(row + j) * factors(j));
}

/// The part of a task that one tile makes; `row` is the tile's first row in the scratch.
template <class A, class Operands, class Score, class Mask, class Dropout>
void attention_tile(ForwardScratch<A, Operands> const &scratch, AttentionTile const &tile, index_t width,
                    Score const &score, Mask const &mask, Dropout const &dropout) {
    index_t const p = padded<A>(width), cols = padded<A>(tile.keys), row = tile.q0 - tile.first;
    SumsFrom<A> const from = score.start(tile, scratch.score, scratch.tile);
    scratch.operands.scores(row, from, scratch.tile, tile.rows, cols);
    mask_tile(mask, tile, scratch.tile);
    for (index_t i = 0; i < tile.rows; ++i)
        online_softmax_row<!Mask::everything, Operands::rounded>(scratch.tile + i * tile_stride, cols,
                                                                 scratch.max[row + i], scratch.sum[row + i],
                                                                 scratch.out + (row + i) * p, p);
    if constexpr (Dropout::drops)
        for (index_t i = 0; i < tile.rows && dropout.threshold > 0; ++i)
            drop_row<A>({dropout, tile.place, tile.q0 + i, tile.k0}, scratch.tile + i * tile_stride, cols);
    scratch.operands.mix(scratch.tile, scratch.out + row * p, tile.rows, tile.keys);
}

/// One task: queries [q0, q0 + n) of one head of one sequence. Writes out (Tq, H D) and lse (Tq, H).
template <class Operands, class A, class Score, class Mask, class Dropout>
void attention_task(AttentionRows<A> const &rows, AttentionPlace const &place, index_t q0, index_t n,
                    Score const &score, Mask const &mask, Dropout const &dropout, A *memory, Rows<A> out, A *lse) {
    ForwardScratch<A, Operands> scratch(memory, rows.width);
    index_t const width = rows.width, p = padded<A>(width), first = place.head * width;
    scratch.operands.set_queries(rows.q, place.query_row + q0, n, first, score.scale(), score.query_bias(place));
    score.prepare(place, rows.q, q0, n, scratch.score);
    std::fill(scratch.out, scratch.out + n * p, A(0));
    std::fill(scratch.sum, scratch.sum + n, A(0));
    std::fill(scratch.max, scratch.max + n, hidden_score<A> * 2);
    index_t const end = mask.key_end(place, q0 + n - 1);
    for (index_t k0 = mask.key_begin(place, q0) / key_tile * key_tile; k0 < end; k0 += key_tile) {
        index_t const keys = std::min(key_tile, place.keys - k0);
        scratch.operands.set_keys(rows.k, rows.v, place.key_row + k0, keys, first);
        for (index_t i0 = 0; i0 < n; i0 += query_tile) {
            index_t const r = std::min(query_tile, n - i0);
            if (mask.key_begin(place, q0 + i0) < k0 + keys && mask.key_end(place, q0 + i0 + r - 1) > k0)
                attention_tile(scratch, {place, q0, n, q0 + i0, r, k0, keys}, width, score, mask, dropout);
        }
    }
    for (index_t i = 0; i < n; ++i) {
        bool const seen = scratch.max[i] > hidden_score<A>; // else the sum is one of hidden pairs, or of none
        A const inverse = seen ? A(1) / scratch.sum[i] : A(0);
        A *to = out.row(place.query_row + q0 + i) + first;
        for (index_t d = 0; d < width; ++d)
            to[d] = scratch.out[i * p + d] * inverse;
        lse[(place.query_row + q0 + i) * place.heads + place.head] =
            seen ? scratch.max[i] + std::log(scratch.sum[i]) : A(0);
    }
}

/// A stretch of queries of one sequence; every head of it is one task.
struct QueryChunk {
    index_t sequence, first, count;
};

/// All chunks of at most `step` queries, those of long sequences first.
template <class Exec>
std::vector<QueryChunk> query_chunks(Segments<Exec> const &segments, index_t step) {
    std::vector<QueryChunk> chunks;
    for (index_t b : segments.longest_first)
        for (index_t q = 0; q < segments.length(b); q += step)
            chunks.push_back({b, q, std::min(step, segments.length(b) - q)});
    return chunks;
}

/// out (Tq, H D) = softmax(score) v, lse (Tq, H) = log of the sums of exponentials.
template <class Operands, class Context, class Exec, class A, class Score, class Mask, class Dropout>
void attention_forward_host(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                            Segments<Exec> const &keys, Score const &score, Mask const &mask, Dropout const &dropout,
                            Rows<A> out, A *lse) {
    auto const chunks = query_chunks(queries, query_chunk);
    index_t const score_size = score.workspace({0, 0, 0, queries.longest, keys.longest, 0, rows.heads},
                                               std::min(query_chunk, queries.longest), false);
    index_t const size = ForwardScratch<A, Operands>::size(rows.width, score_size);
    WorkspaceToken<Exec> const token(context.exec());
    auto const memory = context.template buffer<A>(size * token.size());
    A *const work = memory.data();
    QueryChunk const *const chunk = chunks.data();
    index_t const heads = rows.heads;
    Kokkos::parallel_for("protlm::attention",
                         dynamic_range(context.exec(), 0, static_cast<index_t>(chunks.size()) * heads),
                         [=](index_t task) {
                             auto const thread = token.acquire();
                             QueryChunk const &c = chunk[task / heads];
                             attention_task<Operands>(rows, rows.place(c.sequence, task % heads), c.first, c.count,
                                                      score, mask, dropout, work + thread * size, out, lse);
                             token.release(thread);
                         });
}

} // namespace protlm::inline v0::detail
