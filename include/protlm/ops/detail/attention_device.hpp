#pragma once

// Attention that every device can run: one thread a query and head (for k and v, a key and head) goes over the other
// side with sums in registers. Neighbouring threads have neighbouring queries, so loads of keys are shared. Nothing is
// added by atomics: results are the same in every run.

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/ops/detail/attention_host_backward.hpp>

namespace protlm::inline v0::detail {

/// Sequence that row `t` belongs to.
KOKKOS_INLINE_FUNCTION index_t sequence_of(std::int64_t const *offsets, index_t count, index_t t) {
    index_t low = 0, high = count;
    while (high - low > 1) {
        index_t const middle = (low + high) / 2;
        if (offsets[middle] <= t)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/// A query as it is multiplied with keys: with the score's bias, if it has one.
template <int W, class A, class S>
KOKKOS_INLINE_FUNCTION void load_query(A const *from, S const *bias, index_t width, A (&to)[W]) {
    for (int d = 0; d < W; ++d)
        to[d] = d < width ? from[d] + (bias ? static_cast<A>(bias[d]) : A(0)) : A(0);
}
template <int W, class A>
KOKKOS_INLINE_FUNCTION A dot_head(A const (&a)[W], A const *b, index_t width) {
    A sum = 0;
    for (int d = 0; d < W; ++d)
        if (d < width)
            sum += a[d] * b[d];
    return sum;
}
template <int W, class A>
KOKKOS_INLINE_FUNCTION void store_head(A const (&from)[W], index_t width, A factor, A *to, bool add) {
    for (int d = 0; d < W; ++d)
        if (d < width)
            to[d] = (add ? to[d] : A(0)) + from[d] * factor;
}

/// out and lse of one query and head.
template <int W, class A, class Score, class Mask, class Dropout>
KOKKOS_FUNCTION void attention_query(AttentionRows<A> const &rows, AttentionPlace const &place, index_t query,
                                     Score const &score, Mask const &mask, Dropout const &dropout, Rows<A> const &out,
                                     A *lse) {
    index_t const first = place.head * rows.width, t = place.query_row + query;
    A q[W], sum[W] = {};
    A const *const own = rows.q.row(t) + first;
    load_query(own, score.query_bias(place), rows.width, q);
    A top = hidden_score<A> * 2, total = 0;
    for (index_t key = mask.key_begin(place, query); key < mask.key_end(place, query); ++key) {
        if (!mask(place, query, key))
            continue;
        A const s = score.scale() * dot_head(q, rows.k.row(place.key_row + key) + first, rows.width) +
                    score(place, query, key, own);
        A const shrink = s > top ? ::exp(top - s) : A(1);
        top = s > top ? s : top;
        A p = ::exp(s - top);
        A const *v = rows.v.row(place.key_row + key) + first;
        total = total * shrink + p;
        if constexpr (Dropout::drops)
            p *= dropout.template factor<A>(place, query, key);
        for (int d = 0; d < W; ++d)
            if (d < rows.width)
                sum[d] = sum[d] * shrink + p * v[d];
    }
    store_head(sum, rows.width, total > A(0) ? A(1) / total : A(0), out.row(t) + first, false);
    lse[t * place.heads + place.head] = total > A(0) ? top + ::log(total) : A(0);
}

/// Everything that recomputes the probability of a pair and the gradient of its score.
template <class A, class Score, class Mask>
struct PairGradient {
    AttentionRows<A> rows;
    Rows<A const> g;
    A const *lse, *delta; // (Tq, H)
    Score score;
    Mask mask;
    ProbabilityDropout dropout;

    struct Pair {
        A probability, gradient; // as the value is multiplied with it; of the score
    };
    KOKKOS_FUNCTION Pair operator()(AttentionPlace const &place, index_t query, index_t key) const {
        if (!mask(place, query, key))
            return {A(0), A(0)};
        index_t const first = place.head * rows.width, t = place.query_row + query;
        A const *q = rows.q.row(t) + first, *k = rows.k.row(place.key_row + key) + first;
        A const *dout = g.row(t) + first, *v = rows.v.row(place.key_row + key) + first;
        auto const *bias = score.query_bias(place);
        A dot = 0, dv = 0;
        for (index_t d = 0; d < rows.width; ++d) {
            dot += (q[d] + (bias ? static_cast<A>(bias[d]) : A(0))) * k[d];
            dv += dout[d] * v[d];
        }
        index_t const at = t * place.heads + place.head;
        A const p = ::exp(score.scale() * dot + score(place, query, key, q) - lse[at]);
        A const f = dropout.template factor<A>(place, query, key);
        return {p * f, p * (dv * f - delta[at])};
    }
};

/// dq of one query and head.
template <int W, class A, class Pairs>
KOKKOS_FUNCTION void query_gradient(Pairs const &pairs, AttentionPlace const &place, index_t query,
                                    AttentionGradients<A> const &gradients) {
    index_t const width = pairs.rows.width, first = place.head * width;
    A sum[W] = {};
    for (index_t key = pairs.mask.key_begin(place, query); key < pairs.mask.key_end(place, query); ++key) {
        A const ds = pairs(place, query, key).gradient;
        A const *k = pairs.rows.k.row(place.key_row + key) + first;
        for (int d = 0; d < W; ++d)
            if (d < width)
                sum[d] += ds * k[d];
        pairs.score.add_query_gradient(place, query, key, ds, sum);
    }
    store_head(sum, width, pairs.score.scale(), gradients.q.row(place.query_row + query) + first, gradients.add_q);
}

/// dk and dv of one key and head.
template <int W, class A, class Pairs>
KOKKOS_FUNCTION void key_gradient(Pairs const &pairs, AttentionPlace const &place, index_t key,
                                  AttentionGradients<A> const &gradients) {
    index_t const width = pairs.rows.width, first = place.head * width;
    A dk[W] = {}, dv[W] = {};
    for (index_t query = pairs.mask.query_begin(place, key); query < pairs.mask.query_end(place, key); ++query) {
        auto const pair = pairs(place, query, key);
        A q[W];
        load_query(pairs.rows.q.row(place.query_row + query) + first, pairs.score.query_bias(place), width, q);
        A const *dout = pairs.g.row(place.query_row + query) + first;
        for (int d = 0; d < W; ++d)
            if (d < width) {
                dk[d] += pair.gradient * q[d];
                dv[d] += pair.probability * dout[d];
            }
    }
    store_head(dk, width, pairs.score.scale(), gradients.k.row(place.key_row + key) + first, gradients.add_k);
    store_head(dv, width, A(1), gradients.v.row(place.key_row + key) + first, gradients.add_v);
}

/// Calls f with the smallest register width that holds a head.
template <class F>
void with_head_width(index_t width, F f) {
    check(width <= 256, "attention: head width ", width, " is above 256, the most that device kernels hold");
    if (width <= 32)
        f(std::integral_constant<int, 32>());
    else if (width <= 64)
        f(std::integral_constant<int, 64>());
    else if (width <= 128)
        f(std::integral_constant<int, 128>());
    else
        f(std::integral_constant<int, 256>());
}

template <int W, class Exec, class A, class Score, class Mask, class Dropout>
void launch_attention(Exec const &exec, AttentionRows<A> rows, index_t sequences, Score score, Mask mask,
                      Dropout dropout, Rows<A> out, A *lse) {
    index_t const total = rows.q.rows;
    Kokkos::parallel_for(
        "protlm::attention", range(exec, 0, total * rows.heads), KOKKOS_LAMBDA(index_t item) {
            index_t const t = item % total;
            auto const place = rows.place(sequence_of(rows.q_offsets, sequences, t), item / total);
            attention_query<W>(rows, place, t - place.query_row, score, mask, dropout, out, lse);
        });
}

template <class Exec, class A>
void launch_delta(Exec const &exec, index_t heads, index_t width, Rows<A const> out, Rows<A const> g, A *delta) {
    Kokkos::parallel_for(
        "protlm::attention_delta", range(exec, 0, out.rows * heads), KOKKOS_LAMBDA(index_t item) {
            index_t const t = item / heads, first = item % heads * width;
            A sum = 0;
            for (index_t d = first; d < first + width; ++d)
                sum += out(t, d) * g(t, d);
            delta[item] = sum;
        });
}

template <int W, class Exec, class A, class Pairs>
void launch_attention_gradients(Exec const &exec, Pairs pairs, index_t sequences, AttentionGradients<A> gradients) {
    index_t const queries = pairs.rows.q.rows, keys = pairs.rows.k.rows;
    Kokkos::parallel_for(
        "protlm::attention_backward_q", range(exec, 0, queries * pairs.rows.heads), KOKKOS_LAMBDA(index_t item) {
            index_t const t = item % queries;
            auto const place = pairs.rows.place(sequence_of(pairs.rows.q_offsets, sequences, t), item / queries);
            query_gradient<W>(pairs, place, t - place.query_row, gradients);
        });
    Kokkos::parallel_for(
        "protlm::attention_backward_kv", range(exec, 0, keys * pairs.rows.heads), KOKKOS_LAMBDA(index_t item) {
            index_t const t = item % keys;
            auto const place = pairs.rows.place(sequence_of(pairs.rows.k_offsets, sequences, t), item / keys);
            key_gradient<W>(pairs, place, t - place.key_row, gradients);
        });
}

} // namespace protlm::inline v0::detail
