#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/ops/attention_mask.hpp>
#include <protlm/ops/attention_score.hpp>
#include <protlm/ops/bucket_bias.hpp>
#include <protlm/ops/detail/attention_device.hpp>
#include <protlm/ops/detail/attention_host_backward.hpp>
#include <protlm/ops/detail/bfloat16_attention.hpp>

#include <cmath>
#include <cstdlib>

namespace protlm::inline v0 {

/// Columns [first, first + heads * head width) of a tensor: queries, keys or values inside a joint projection.
template <class A, class Exec>
struct Columns {
    Tensor<A, Exec> tensor;
    index_t first = 0;

    Rows<A const> value(index_t width) const { return Rows<A const>(tensor.value()).columns(first, width); }
};

/// What attention's two products multiply: the scalars that they are given, or those rounded to bfloat16 with float
/// sums, in inference on processors that multiply pairs of bfloat16 (elsewhere as `exact`).
enum class AttentionProducts { exact, rounded };

/// A model whose weights are bfloat16 rounds what it multiplies, in attention as in its linear layers.
template <class S>
inline constexpr auto attention_products = std::integral_constant<
    AttentionProducts, std::same_as<S, bfloat16> ? AttentionProducts::rounded : AttentionProducts::exact>();

namespace detail {

template <bool rounded, class Context, class A, class Exec, class Score, class Mask, class Dropout>
void attention_forward(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                       Segments<Exec> const &keys, Score const &score, Mask const &mask, Dropout const &dropout,
                       Rows<A> out, A *lse) {
    if constexpr (Context::on_host)
        attention_forward_any_host<rounded>(context, rows, queries, keys, score, mask, dropout, out, lse);
    else
        with_head_width(rows.width, [&](auto width) {
            launch_attention<width()>(context.exec(), rows, queries.count(), score, mask, dropout, out, lse);
        });
}

template <class Context, class A, class Exec, class Score, class Mask>
void attention_backward(Context &context, AttentionRows<A> const &rows, Segments<Exec> const &queries,
                        Segments<Exec> const &keys, Score const &score, Mask const &mask,
                        ProbabilityDropout const &dropout, Rows<A const> out, Rows<A const> g, A const *lse,
                        AttentionGradients<A> const &gradients) {
    auto const kernel = score.kernel();
    using Kernel = typename Score::Kernel;
    bool trained = false;
    if constexpr (Kernel::parametric)
        trained = score.trained();
    if constexpr (Context::on_host) {
        Buffer<A, Exec> partials;
        if constexpr (Kernel::parametric)
            if (trained)
                partials = context.template buffer<A>(
                    kernel.partial_size(queries.total(), keys.total(), queries.count(), rows.heads));
        attention_backward_host(context, rows, queries, keys, kernel, mask, dropout, out, g, lse, gradients,
                                partials.data());
        if constexpr (Kernel::parametric)
            if (trained)
                score.accumulate_partials(context, rows, queries, keys, partials.data());
    } else {
        auto const delta = context.template buffer<A>(out.rows * rows.heads);
        launch_delta(context.exec(), rows.heads, rows.width, out, g, delta.data());
        PairGradient<A, Kernel, Mask> const pairs{rows, g, lse, delta.data(), kernel, mask, dropout};
        with_head_width(rows.width, [&](auto width) {
            launch_attention_gradients<width()>(context.exec(), pairs, queries.count(), gradients);
        });
        if constexpr (Kernel::parametric)
            if (trained)
                score.accumulate_pairs(context, pairs, queries, keys);
    }
}

/// Where the gradients of q, k and v go. A tensor without a gradient is zeroed when its columns are not all among them,
/// or when two of them share columns.
template <class Context, class A, class Exec>
AttentionGradients<A> attention_gradients(Context &context, Columns<A, Exec> const &q, Columns<A, Exec> const &k,
                                          Columns<A, Exec> const &v, index_t width) {
    Columns<A, Exec> const *all[3] = {&q, &k, &v};
    bool add[3];
    Rows<A> rows[3];
    for (int i = 0; i < 3; ++i) {
        index_t covered = 0;
        bool first = true, shared = false;
        for (int j = 0; j < 3; ++j)
            if (all[j]->tensor.view().data() == all[i]->tensor.view().data()) {
                covered += width;
                first = first && j >= i;
                for (int l = 0; l < j; ++l)
                    shared = shared || (all[l]->tensor.view().data() == all[i]->tensor.view().data() &&
                                        std::abs(all[l]->first - all[j]->first) < width);
            }
        if (first) {
            auto const target = all[i]->tensor.accumulate();
            bool const zero = target.fresh && (shared || covered != target.rows.cols);
            if (zero)
                zero_values(context.exec(), all[i]->tensor.gradient_view());
            for (int j = i; j < 3; ++j)
                if (all[j]->tensor.view().data() == all[i]->tensor.view().data())
                    add[j] = !target.fresh || zero;
        }
        rows[i] = all[i]->tensor.gradient().columns(all[i]->first, width);
    }
    return {rows[0], rows[1], rows[2], add[0], add[1], add[2]};
}

template <class A, class Exec>
void check_attention(Columns<A, Exec> const &columns, char const *name, Segments<Exec> const &segments, index_t width) {
    check_extent("attention", name, "rows", columns.tensor.rows(), segments.total());
    check(columns.first >= 0 && columns.first + width <= columns.tensor.cols(), "attention: ", name, " has ",
          columns.tensor.cols(), " columns, expected at least ", columns.first + width);
}

inline void check_attention_dropout(double rate) {
    check(rate >= 0.0 && rate < 1.0, "attention: dropout rate is ", rate, ", expected at least 0 and below 1");
}

} // namespace detail

/// out (Tq, H D) = softmax over keys of score(q, k), times v; for self, cross, causal and recurrent attention.
///
/// Online softmax over tiles: memory is O(L), forward and backward. Sequences of q and k correspond by number; nothing
/// attends across them. A row's result does not depend on the other sequences. Backward: accumulates into q, k, v and
/// the score's parameters. Dao et al., arXiv 2205.14135.
///
/// In training some probabilities are dropped, behind the softmax: with probability `dropout_rate` they are zero, else
/// divided by 1 - dropout_rate, where the rate is rounded to a whole number of 1 / 65536. Which ones is a function of
/// the context's keys, see DropoutKeys, the head and the key's number among the keys of its sequence, those of a memory
/// included. The backward makes the mask again. In inference nothing is dropped.
/// @param q columns of (Tq, .) @param k, v columns of (Tk, .) @param queries, keys offsets of Tq and Tk
/// @param heads H @param head_width D @param score, mask functors, see AttentionScore and AttentionMask
/// @tparam Products  `attention_products<S>` for weights of type S
/// @throws Error when extents disagree or the rate is not in [0, 1)
template <class Context, class A, class Score, class Mask, class Products = decltype(attention_products<A>),
          class Exec = typename Context::execution_space>
Tensor<A, Exec> attention(Context &context, Columns<A, Exec> q, Columns<A, Exec> k, Columns<A, Exec> v,
                          Segments<Exec> const &queries, Segments<Exec> const &keys, index_t heads, index_t head_width,
                          Score score, Mask mask, Products = {}, double dropout_rate = 0.0) {
    static_assert(AttentionMask<Mask>, "attention: the mask must offer kernel() and everything, and its kernel "
                                       "everything, interval, (place, query, key), key_begin, key_end, query_begin "
                                       "and query_end");
    static_assert(AttentionScore<Score, A>, "attention: the score must offer kernel() and parameters(), and its kernel "
                                            "scale, query_bias, (place, query, key, q), add_query_gradient, "
                                            "workspace, prepare and start; with a backward of its own also "
                                            "partial_size, prepare_backward, add_gradient_tile and finish");
    index_t const width = heads * head_width;
    check_extent("attention", "keys", "sequences", keys.count(), queries.count());
    detail::check_attention(q, "q", queries, width);
    detail::check_attention(k, "k", keys, width);
    detail::check_attention(v, "v", keys, width);
    score.validate(queries, keys, heads, head_width, Context::on_host);
    detail::check_attention_dropout(dropout_rate);
    auto const out = context.template tensor<A>(queries.total(), width);
    auto const lse = context.template buffer<A>(queries.total() * heads);
    detail::AttentionRows<A> const rows{q.value(width),     k.value(width), v.value(width), queries.device.data(),
                                        keys.device.data(), heads,          head_width};
    constexpr bool rounded = !Context::training && Products::value == AttentionProducts::rounded;
    auto const dropout = detail::attention_dropout(context, queries, dropout_rate);
    detail::attention_forward<rounded>(context, rows, queries, keys, score.kernel(), mask.kernel(), dropout.kernel,
                                       out.value(), lse.data());
    if constexpr (Context::training)
        context.tape().record(
            [&context, q, k, v, queries, keys, score, mask, dropout, out, lse, rows, width] {
                if (!out.has_gradient())
                    return; // no loss depends on it
                auto const gradients = detail::attention_gradients(context, q, k, v, width);
                detail::attention_backward(context, rows, queries, keys, score, mask.kernel(), dropout.kernel,
                                           Rows<A const>(out.value()), Rows<A const>(out.gradient()), lse.data(),
                                           gradients);
            },
            score.parameters());
    return out;
}

} // namespace protlm::inline v0
