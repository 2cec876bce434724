#pragma once

#include <protlm/ops/attention.hpp>

namespace protlm::inline v0 {

namespace detail {

template <class Exec, class A, class Score, class Mask>
void probabilities_kernel(Exec const &exec, AttentionRows<A> rows, index_t sequence, Score score, Mask mask,
                          Rows<A> map) {
    Kokkos::parallel_for(
        "protlm::attention_probabilities", range(exec, 0, map.rows), KOKKOS_LAMBDA(index_t item) {
            AttentionPlace place = rows.place(sequence, 0);
            place.head = item / place.queries;
            index_t const query = item % place.queries, first = place.head * rows.width;
            A const *q = rows.q.row(place.query_row + query) + first;
            auto const *bias = score.query_bias(place);
            A top = hidden_score<A>, sum = 0;
            for (index_t key = 0; key < place.keys; ++key) {
                A dot = 0;
                for (index_t d = 0; d < rows.width; ++d)
                    dot += (q[d] + (bias ? static_cast<A>(bias[d]) : A(0))) * rows.k(place.key_row + key, first + d);
                A const s =
                    mask(place, query, key) ? score.scale() * dot + score(place, query, key, q) : hidden_score<A>;
                map(item, key) = s;
                top = s > top ? s : top;
            }
            for (index_t key = 0; key < place.keys; ++key) {
                A const p = mask(place, query, key) ? ::exp(map(item, key) - top) : A(0);
                map(item, key) = p;
                sum += p;
            }
            for (index_t key = 0; key < place.keys; ++key)
                map(item, key) = sum > A(0) ? map(item, key) / sum : A(0); // nothing is seen: zero
        });
}

} // namespace detail

/// The attention map of one sequence, (H Lq, Lk): row h Lq + i holds the probabilities of head h and query i.
/// A query that sees nothing has zeros. For looking at; the only place where memory grows with the square of the
/// length, and only on request.
/// @param q, k columns as for `attention` @throws Error when `sequence` is not one of the batch
template <class Context, class A, class Score, class Mask, class Exec = typename Context::execution_space>
Tensor<A, Exec> attention_probabilities(Context &context, Columns<A, Exec> q, Columns<A, Exec> k,
                                        Segments<Exec> const &queries, Segments<Exec> const &keys, index_t sequence,
                                        index_t heads, index_t head_width, Score score, Mask mask) {
    check(sequence >= 0 && sequence < queries.count(), "attention_probabilities: sequence ", sequence,
          " is not one of ", queries.count());
    score.validate(queries, keys, heads, head_width, false);
    index_t const width = heads * head_width;
    Tensor<A, Exec> map(context.pool(), heads * queries.length(sequence), keys.length(sequence), false);
    detail::AttentionRows<A> const rows{q.value(width),     k.value(width), k.value(width), queries.device.data(),
                                        keys.device.data(), heads,          head_width};
    detail::probabilities_kernel(context.exec(), rows, sequence, score.kernel(), mask.kernel(), map.value());
    return map;
}

} // namespace protlm::inline v0
