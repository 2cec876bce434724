#pragma once

#include <protlm/ops/detail/attention_host.hpp>

#include <atomic>

namespace protlm::inline v0::detail {

/// What the backward writes; `add_q`, `add_k`: to what is there already, else over it.
template <class A>
struct AttentionGradients {
    Rows<A> q, k, v; // as the operands
    bool add_q, add_k, add_v;
};

/// Scratch of one backward task. Queries and results' gradients of one head are copied once: (L, width), not (L, L).
template <class A>
struct BackwardScratch {
    A *q, *g, *dq, *k_transposed, *v_transposed, *k, *dk, *dv, *probability, *gradient, *delta, *score;
    BackwardScratch(A *memory, index_t longest, index_t width) {
        index_t const p = padded<A>(width);
        A **const wide[] = {&q, &g, &dq};
        for (A **piece : wide)
            *piece = std::exchange(memory, memory + longest * p);
        A **const tiles[] = {&k_transposed, &v_transposed, &k, &dk, &dv};
        for (A **piece : tiles)
            *piece = std::exchange(memory, memory + key_tile * p);
        probability = memory + tile_gap; // a gap before the first row as well
        gradient = probability + query_tile * tile_stride + tile_gap;
        memory = gradient + query_tile * tile_stride;
        std::fill(gradient - tile_gap, memory, A(0));
        delta = std::exchange(memory, memory + longest);
        score = memory;
    }
    static index_t size(index_t longest, index_t width, index_t score_size) {
        index_t const p = padded<A>(width);
        return 3 * longest * p + 5 * key_tile * p + 2 * (query_tile * tile_stride + tile_gap) + longest +
               padded<A>(score_size);
    }
};

/// probability = exp(score - lse) and gradient = probability (gradient - delta) of one tile (rows, cols), without
/// dropout.
template <class A>
inline void softmax_backward_tile(A *probability, A *gradient, index_t rows, index_t cols, A const *lse,
                                  index_t lse_stride, A const *delta) {
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; j += lanes<A>) {
            Vec<A> const p = exp(load(probability + i * tile_stride + j) - lse[i * lse_stride]);
            store(probability + i * tile_stride + j, p);
            store(gradient + i * tile_stride + j, p * (load(gradient + i * tile_stride + j) - delta[i]));
        }
}

/// The same with dropout, whose factors f both the values and their gradient pass: probability = f p and gradient =
/// p (f gradient - delta).
template <class A>
void dropped_backward_tile(ProbabilityDropout const &dropout, AttentionTile const &tile, A *probability, A *gradient,
                           A const *lse, A const *delta) {
    index_t const cols = padded<A>(tile.keys);
    for (index_t i = 0; i < tile.rows; ++i) {
        DropoutRow<A> const factors(dropout, tile.place, tile.q0 + i, tile.k0);
        A *const score = probability + i * tile_stride, *const g = gradient + i * tile_stride;
        for (index_t j = 0; j < cols; j += lanes<A>) {
            Vec<A> const p = exp(load(score + j) - lse[i * tile.place.heads]), f = factors(j);
            store(score + j, p * f);
            store(g + j, p * (load(g + j) * f - delta[i]));
        }
    }
}

/// The part of a task that one tile of keys and one of queries makes.
template <class A, class Score, class Mask>
void attention_backward_tile(BackwardScratch<A> const &s, AttentionTile const &tile, index_t width, Score const &score,
                             Mask const &mask, ProbabilityDropout const &dropout, A const *lse, A *partials) {
    index_t const p = padded<A>(width), cols = padded<A>(tile.keys), r = tile.rows, keys = tile.keys;
    AttentionPlace const &place = tile.place;
    SumsFrom<A> const from = score.start(tile, s.score, s.probability);
    tile_product(LeftRows<A>{s.q + tile.q0 * p, p}, s.k_transposed, key_tile, from, s.probability, tile_stride, r, cols,
                 width);
    mask_tile(mask, tile, s.probability);
    tile_product(LeftRows<A>{s.g + tile.q0 * p, p}, s.v_transposed, key_tile, s.gradient, tile_stride, r, cols, width,
                 false);
    A const *const own_lse = lse + (place.query_row + tile.q0) * place.heads + place.head;
    if (dropout.threshold > 0)
        dropped_backward_tile(dropout, tile, s.probability, s.gradient, own_lse, s.delta + tile.q0);
    else
        softmax_backward_tile(s.probability, s.gradient, r, cols, own_lse, place.heads, s.delta + tile.q0);
    if constexpr (Score::parametric) {
        for (index_t i = 0; i < r && keys < key_tile; ++i) // what an earlier, wider tile left
            std::fill(s.gradient + i * tile_stride + keys, s.gradient + i * tile_stride + key_tile, A(0));
        score.add_gradient_tile(tile, s.score, s.gradient, partials);
    }
    tile_product(LeftColumns<A>{s.probability, tile_stride}, s.g + tile.q0 * p, p, s.dv, p, keys, p, r, true);
    tile_product(LeftColumns<A>{s.gradient, tile_stride}, s.q + tile.q0 * p, p, s.dk, p, keys, p, r, true);
    tile_product(LeftRows<A>{s.gradient, tile_stride}, s.k, p, s.dq + tile.q0 * p, p, r, p, keys, true);
}

/// Rows of scratch (n, padded width), times `factor`, to the columns of one head.
template <class A>
inline void write_head(A const *from, index_t n, index_t width, A factor, Rows<A> to, index_t row, index_t first,
                       bool add) {
    index_t const p = padded<A>(width);
    for (index_t i = 0; i < n; ++i) {
        A *target = to.row(row + i) + first;
        for (index_t d = 0; d < width; ++d)
            target[d] = (add ? target[d] : A(0)) + from[i * p + d] * factor;
    }
}

/// delta (n) = sums of out times its gradient over one head of rows [row, row + n).
template <class A>
inline void head_delta(Rows<A const> out, Rows<A const> g, index_t row, index_t n, index_t first, index_t width,
                       A *delta) {
    for (index_t i = 0; i < n; ++i) {
        A sum = 0;
        for (index_t d = 0; d < width; ++d)
            sum += g(row + i, first + d) * out(row + i, first + d);
        delta[i] = sum;
    }
}

/// One task: one head of one sequence.
template <class A, class Score, class Mask>
void attention_backward_task(AttentionRows<A> const &rows, AttentionPlace const &place, Score const &score,
                             Mask const &mask, ProbabilityDropout const &dropout, BackwardScratch<A> const &s,
                             Rows<A const> out, Rows<A const> g, A const *lse, AttentionGradients<A> const &gradients,
                             A *partials) {
    index_t const width = rows.width, p = padded<A>(width), first = place.head * width;
    copy_head(rows.q, place.query_row, place.queries, first, width, score.scale(), s.q, score.query_bias(place));
    copy_head(g, place.query_row, place.queries, first, width, A(1), s.g);
    std::fill(s.dq, s.dq + place.queries * p, A(0));
    head_delta(out, g, place.query_row, place.queries, first, width, s.delta);
    score.prepare(place, rows.q, 0, place.queries, s.score);
    if constexpr (Score::parametric)
        score.prepare_backward(place, s.score, partials);
    for (index_t k0 = 0; k0 < place.keys; k0 += key_tile) {
        index_t const keys = std::min(key_tile, place.keys - k0);
        transpose_head(rows.k, place.key_row + k0, keys, first, width, s.k_transposed);
        transpose_head(rows.v, place.key_row + k0, keys, first, width, s.v_transposed);
        copy_head(rows.k, place.key_row + k0, keys, first, width, A(1), s.k);
        std::fill(s.dk, s.dk + key_tile * p, A(0));
        std::fill(s.dv, s.dv + key_tile * p, A(0));
        index_t const end = mask.query_end(place, k0 + keys - 1);
        for (index_t q0 = mask.query_begin(place, k0) / query_tile * query_tile; q0 < end; q0 += query_tile)
            attention_backward_tile(s,
                                    {place, 0, place.queries, q0, std::min(query_tile, place.queries - q0), k0, keys},
                                    width, score, mask, dropout, lse, partials);
        write_head(s.dk, keys, width, A(1), gradients.k, place.key_row + k0, first, gradients.add_k);
        write_head(s.dv, keys, width, A(1), gradients.v, place.key_row + k0, first, gradients.add_v);
    }
    if constexpr (Score::parametric)
        score.finish(place, rows.q, s.score, s.dq, partials);
    write_head(s.dq, place.queries, width, score.scale(), gradients.q, place.query_row, first, gradients.add_q);
}

/// How many tasks may run at once: what threads and tasks allow, and no more scratch than `backward_bytes`, so that
/// very long proteins do not need memory for every thread of a large node.
inline constexpr index_t backward_bytes = index_t(160) << 20;
inline index_t backward_workers(int threads, index_t tasks, index_t scratch_bytes) {
    return std::clamp<index_t>(backward_bytes / scratch_bytes, 1,
                               std::max<index_t>(1, std::min<index_t>(threads, tasks)));
}

/// Gradients of q, k, v from that of out; `partials` is where a parametric score keeps its sums, or null.
template <class Context, class Exec, class A, class Score, class Mask>
void attention_backward_host(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                             Segments<Exec> const &keys, Score const &score, Mask const &mask,
                             ProbabilityDropout const &dropout, Rows<A const> out, Rows<A const> g, A const *lse,
                             AttentionGradients<A> const &gradients, A *partials) {
    index_t const longest = padded<A>(std::max(queries.longest, keys.longest)), heads = rows.heads;
    index_t const score_size =
        score.workspace({0, 0, 0, queries.longest, keys.longest, 0, heads}, queries.longest, true);
    index_t const size = BackwardScratch<A>::size(longest, rows.width, score_size);
    index_t const tasks = queries.count() * heads;
    index_t const workers = backward_workers(concurrency(context.exec()), tasks, size * index_t(sizeof(A)));
    auto const memory = context.template buffer<A>(size * workers);
    A *const work = memory.data();
    index_t const *const order = queries.longest_first.data();
    std::atomic<index_t> counter = 0;
    std::atomic<index_t> *const next = &counter;
    Kokkos::parallel_for("protlm::attention_backward", dynamic_range(context.exec(), 0, workers), [=](index_t worker) {
        BackwardScratch<A> const scratch(work + worker * size, longest, rows.width);
        for (index_t task = (*next)++; task < tasks; task = (*next)++)
            attention_backward_task(rows, rows.place(order[task / heads], task % heads), score, mask, dropout, scratch,
                                    out, g, lse, gradients, partials);
    });
    context.exec().fence(); // the counter goes away
}

} // namespace protlm::inline v0::detail
