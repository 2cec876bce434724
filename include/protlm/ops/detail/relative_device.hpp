#pragma once

// Gradients of the relative term's parameters that every device can run: one thread a row and head, without atomics.

#include <protlm/ops/detail/attention_device.hpp>
#include <protlm/ops/detail/relative_kernel.hpp>

namespace protlm::inline v0::detail {

/// What each query and head gives to the gradients of r_w, r_r and, with a segment term, of r_s and the two segment
/// vectors: parts (Tq, 2 H D) or (Tq, 5 H D).
template <int W, class Exec, class A, class Pairs>
void relative_parts_device(Exec const &exec, Pairs pairs, index_t sequences, Rows<A> parts) {
    index_t const queries = pairs.rows.q.rows;
    Kokkos::parallel_for(
        "protlm::relative_parts", range(exec, 0, queries * pairs.rows.heads), KOKKOS_LAMBDA(index_t item) {
            auto const &score = pairs.score;
            index_t const t = item % queries, width = pairs.rows.width, all = score.r.cols;
            auto const place = pairs.rows.place(sequence_of(pairs.rows.q_offsets, sequences, t), item / queries);
            index_t const query = t - place.query_row, first = place.head * width;
            A content[W] = {}, positional[W] = {}, weights[2] = {};
            for (index_t key = pairs.mask.key_begin(place, query); key < pairs.mask.key_end(place, query); ++key) {
                A const ds = pairs(place, query, key).gradient;
                A const *k = pairs.rows.k.row(place.key_row + key) + first;
                index_t const row = score.row(place, query, key);
                for (int d = 0; d < W; ++d)
                    if (d < width) {
                        content[d] += ds * k[d];
                        positional[d] += row >= 0 ? ds * score.r(row, first + d) : A(0);
                    }
                auto const *vector = score.segment_vector(place, query, key);
                weights[vector == score.segment.embedding + first ? 0 : 1] += ds;
            }
            A *to = parts.row(t) + first;
            store_head(content, width, score.factor, to, false);
            store_head(positional, width, score.factor, to + all, false);
            if (score.segment.query_types)
                for (index_t d = 0; d < width; ++d) {
                    A const biased = pairs.rows.q(t, first + d) + static_cast<A>(score.segment.bias[first + d]);
                    A const same = static_cast<A>(score.segment.embedding[first + d]);
                    A const different = static_cast<A>(score.segment.embedding[all + first + d]);
                    to[2 * all + d] = score.factor * (weights[0] * same + weights[1] * different);
                    to[3 * all + d] = score.factor * weights[0] * biased;
                    to[4 * all + d] = score.factor * weights[1] * biased;
                }
        });
}

/// Gradient of r (P or 2 P, H D): each row over all sequences and the queries that have a key at its offset.
template <int W, class Exec, class A, class Pairs>
void encoding_gradient_device(Exec const &exec, Pairs pairs, index_t sequences, Rows<A> gradient, bool fresh) {
    index_t const heads = pairs.rows.heads;
    Kokkos::parallel_for(
        "protlm::relative_gradient", range(exec, 0, gradient.rows * heads), KOKKOS_LAMBDA(index_t item) {
            auto const &score = pairs.score;
            index_t const row = item % gradient.rows, head = item / gradient.rows, width = pairs.rows.width;
            index_t const first = head * width;
            A sum[W] = {};
            for (index_t b = 0; b < sequences; ++b) {
                auto const place = pairs.rows.place(b, head);
                index_t const p = row - score.half(place);
                if (p < 0 || p >= score.reach)
                    continue;
                for (index_t query = 0; query < place.queries; ++query) {
                    index_t const key = p - score.behind + score.position(place, query);
                    if (key < 0 || key >= place.keys)
                        continue;
                    A const ds = pairs(place, query, key).gradient;
                    A const *q = pairs.rows.q.row(place.query_row + query) + first;
                    for (int d = 0; d < W; ++d)
                        if (d < width)
                            sum[d] += ds * (q[d] + static_cast<A>(score.position_bias[first + d]));
                }
            }
            store_head(sum, width, score.factor, gradient.row(row) + first, !fresh);
        });
}

} // namespace protlm::inline v0::detail
