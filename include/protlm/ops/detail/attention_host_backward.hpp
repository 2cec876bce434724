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
    A *q, *g, *dq, *k_transposed, *v_transposed, *k, *dk, *dv, *probability, *gradient, *delta, *score, *score_sums;
    BackwardScratch(A *memory, index_t longest, index_t width, index_t score_size) {
        index_t const p = padded<A>(width);
        A **const wide[] = {&q, &g, &dq};
        for (A **piece : wide)
            *piece = std::exchange(memory, memory + longest * p);
        A **const tiles[] = {&k_transposed, &v_transposed, &k, &dk, &dv};
        for (A **piece : tiles)
            *piece = std::exchange(memory, memory + key_tile * p);
        probability = std::exchange(memory, memory + query_tile * key_tile);
        gradient = std::exchange(memory, memory + query_tile * key_tile);
        delta = std::exchange(memory, memory + longest);
        score = std::exchange(memory, memory + score_size);
        score_sums = memory;
    }
    static index_t size(index_t longest, index_t width, index_t score_size) {
        index_t const p = padded<A>(width);
        return 3 * longest * p + 5 * key_tile * p + 2 * query_tile * key_tile + longest + 2 * score_size + 64;
    }
};

/// probability = exp(score - lse) and gradient = probability (gradient - delta) of one tile (rows, cols).
template <class A>
inline void softmax_backward_tile(A *probability, A *gradient, index_t rows, index_t cols, A const *lse,
                                  index_t lse_stride, A const *delta) {
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = 0; j < cols; j += lanes<A>) {
            Vec<A> const p = exp(load(probability + i * key_tile + j) - lse[i * lse_stride]);
            store(probability + i * key_tile + j, p);
            store(gradient + i * key_tile + j, p * (load(gradient + i * key_tile + j) - delta[i]));
        }
}

/// The part of a task that one tile of keys and one of queries makes.
template <class A, class Score, class Mask>
void attention_backward_tile(BackwardScratch<A> const &s, AttentionPlace const &place, index_t width, index_t q0,
                             index_t k0, index_t keys, Score const &score, Mask const &mask, A const *lse) {
    index_t const p = padded<A>(width), cols = padded<A>(keys), r = std::min(query_tile, place.queries - q0);
    tile_product(LeftRows<A>{s.q + q0 * p, p}, s.k_transposed, key_tile, s.probability, key_tile, r, cols, width,
                 false);
    score.add_tile(place, s.score, q0, r, k0, keys, s.probability, key_tile);
    if (!Mask::everything || keys < cols)
        mask_tile(mask, place, q0, r, k0, keys, s.probability);
    tile_product(LeftRows<A>{s.g + q0 * p, p}, s.v_transposed, key_tile, s.gradient, key_tile, r, cols, width, false);
    softmax_backward_tile(s.probability, s.gradient, r, cols, lse + (place.query_row + q0) * place.heads + place.head,
                          place.heads, s.delta + q0);
    if constexpr (Score::parametric)
        score.add_gradient_tile(place, s.score_sums, q0, r, k0, keys, s.gradient, key_tile);
    tile_product(LeftColumns<A>{s.probability, key_tile}, s.g + q0 * p, p, s.dv, p, keys, p, r, true);
    tile_product(LeftColumns<A>{s.gradient, key_tile}, s.q + q0 * p, p, s.dk, p, keys, p, r, true);
    tile_product(LeftRows<A>{s.gradient, key_tile}, s.k, p, s.dq + q0 * p, p, r, p, keys, true);
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

/// One task: one head of one sequence. `bucket_sums`: where a parametric score's sums of this head go.
template <class A, class Score, class Mask>
void attention_backward_task(AttentionRows<A> const &rows, AttentionPlace const &place, Score const &score,
                             Mask const &mask, BackwardScratch<A> const &s, Rows<A const> out, Rows<A const> g,
                             A const *lse, AttentionGradients<A> const &gradients, A *bucket_sums) {
    index_t const width = rows.width, p = padded<A>(width), first = place.head * width;
    copy_head(rows.q, place.query_row, place.queries, first, width, score.scale(), s.q);
    copy_head(g, place.query_row, place.queries, first, width, A(1), s.g);
    std::fill(s.dq, s.dq + place.queries * p, A(0));
    for (index_t i = 0; i < place.queries; ++i) {
        A sum = 0;
        for (index_t d = 0; d < width; ++d)
            sum += g(place.query_row + i, first + d) * out(place.query_row + i, first + d);
        s.delta[i] = sum;
    }
    score.prepare(place, s.score);
    if constexpr (Score::parametric)
        std::fill(s.score_sums, s.score_sums + score.workspace(place), A(0));
    for (index_t k0 = 0; k0 < place.keys; k0 += key_tile) {
        index_t const keys = std::min(key_tile, place.keys - k0);
        transpose_head(rows.k, place.key_row + k0, keys, first, width, s.k_transposed);
        transpose_head(rows.v, place.key_row + k0, keys, first, width, s.v_transposed);
        copy_head(rows.k, place.key_row + k0, keys, first, width, A(1), s.k);
        std::fill(s.dk, s.dk + key_tile * p, A(0));
        std::fill(s.dv, s.dv + key_tile * p, A(0));
        index_t const end = mask.query_end(place, k0 + keys - 1);
        for (index_t q0 = mask.query_begin(place, k0) / query_tile * query_tile; q0 < end; q0 += query_tile)
            attention_backward_tile(s, place, width, q0, k0, keys, score, mask, lse);
        write_head(s.dk, keys, width, A(1), gradients.k, place.key_row + k0, first, gradients.add_k);
        write_head(s.dv, keys, width, A(1), gradients.v, place.key_row + k0, first, gradients.add_v);
    }
    write_head(s.dq, place.queries, width, score.scale(), gradients.q, place.query_row, first, gradients.add_q);
    if constexpr (Score::parametric)
        score.add_to_buckets(place, s.score_sums, bucket_sums);
}

/// How many tasks may run at once: what threads and tasks allow, and no more scratch than `backward_bytes`, so that
/// very long proteins do not need memory for every thread of a large node.
inline constexpr index_t backward_bytes = index_t(160) << 20;
inline index_t backward_workers(int threads, index_t tasks, index_t scratch_bytes) {
    return std::clamp<index_t>(backward_bytes / scratch_bytes, 1,
                               std::max<index_t>(1, std::min<index_t>(threads, tasks)));
}

/// Gradients of q, k, v from that of out; `bucket_sums` (B H, buckets), zero before, for parametric scores.
template <class Context, class Exec, class A, class Score, class Mask>
void attention_backward_host(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                             Segments<Exec> const &keys, Score const &score, Mask const &mask, Rows<A const> out,
                             Rows<A const> g, A const *lse, AttentionGradients<A> const &gradients, A *bucket_sums) {
    index_t const longest = std::max(queries.longest, keys.longest), heads = rows.heads;
    index_t const score_size = score.workspace({0, 0, 0, queries.longest, keys.longest, 0, heads});
    index_t const size = BackwardScratch<A>::size(longest, rows.width, score_size);
    index_t const tasks = queries.count() * heads;
    index_t const workers = backward_workers(concurrency(context.exec()), tasks, size * index_t(sizeof(A)));
    auto const memory = context.template buffer<A>(size * workers);
    A *const work = memory.data();
    index_t const *const order = queries.longest_first.data();
    std::atomic<index_t> counter = 0;
    std::atomic<index_t> *const next = &counter;
    index_t buckets = 0;
    if constexpr (Score::parametric)
        buckets = score.buckets();
    Kokkos::parallel_for("protlm::attention_backward", dynamic_range(context.exec(), 0, workers), [=](index_t worker) {
        BackwardScratch<A> const scratch(work + worker * size, longest, rows.width, score_size);
        for (index_t task = (*next)++; task < tasks; task = (*next)++) {
            AttentionPlace const place = rows.place(order[task / heads], task % heads);
            attention_backward_task(rows, place, score, mask, scratch, out, g, lse, gradients,
                                    bucket_sums + (place.sequence * heads + place.head) * buckets);
        }
    });
    context.exec().fence(); // the counter goes away
}

} // namespace protlm::inline v0::detail
