#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>

namespace protlm::inline v0 {

/// Loss of a batch: the sum, so that averages over ranks and micro-batches weigh every labelled token alike.
template <class A, class Exec>
struct Loss {
    Tensor<A, Exec> sum;  // (1, 1): sum over labelled tokens of -log p(label)
    index_t labelled = 0; // number of labelled tokens
    index_t correct = 0;  // labelled tokens whose largest logit is the label
};

namespace detail {

/// One row: -log softmax(logits)[label], log of the sum of exponentials, and whether the label has the largest logit.
template <class A>
KOKKOS_INLINE_FUNCTION void cross_entropy_row(A const *logits, index_t cols, std::int32_t label, A &loss, A &lse,
                                              index_t &correct) {
    index_t best = 0;
    for (index_t j = 1; j < cols; ++j)
        best = logits[j] > logits[best] ? j : best;
    A sum = 0;
    for (index_t j = 0; j < cols; ++j)
        sum += ::exp(logits[j] - logits[best]);
    lse = logits[best] + ::log(sum);
    loss = lse - logits[label];
    correct = best == label ? 1 : 0;
}

template <class Exec, class A>
void cross_entropy_forward(Exec const &exec, Rows<A const> logits, std::int32_t const *labels, A *losses, A *lse,
                           index_t *correct) {
    Kokkos::parallel_for(
        "protlm::cross_entropy", range(exec, 0, logits.rows), KOKKOS_LAMBDA(index_t i) {
            cross_entropy_row(logits.row(i), logits.cols, labels[i], losses[i], lse[i], correct[i]);
        });
}

template <class Exec, class A>
void cross_entropy_backward(Exec const &exec, Rows<A const> logits, std::int32_t const *labels, A const *lse,
                            A const *seed, Rows<A> gradient, bool add) {
    Kokkos::parallel_for(
        "protlm::cross_entropy_backward", range(exec, 0, logits.rows), KOKKOS_LAMBDA(index_t i) {
            for (index_t j = 0; j < logits.cols; ++j) {
                A const value = seed[0] * (::exp(logits(i, j) - lse[i]) - (j == labels[i] ? A(1) : A(0)));
                gradient(i, j) = add ? gradient(i, j) + value : value;
            }
        });
}

} // namespace detail

/// Softmax cross entropy of logits (R, V) against labels (R): sum of losses and number of right answers.
/// The rows are added up in double, in their order. Waits for the device: sum and counts are host values, too.
/// Backward: accumulates into logits. @param labels (R), each in [0, V) @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Loss<A, Exec> cross_entropy(Context &context, Tensor<A, Exec> logits, Buffer<std::int32_t, Exec> labels) {
    check_extent("cross_entropy", "labels", "entries", labels.size(), logits.rows());
    index_t const rows = logits.rows();
    auto const losses = context.template buffer<A>(rows), lse = context.template buffer<A>(rows);
    auto const correct = context.template buffer<index_t>(rows);
    detail::cross_entropy_forward(context.exec(), Rows<A const>(logits.value()), labels.data(), losses.data(),
                                  lse.data(), correct.data());
    auto const host_losses = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), losses.view());
    auto const host_correct = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), correct.view());
    Loss<A, Exec> loss{context.template tensor<A>(1, 1), rows, 0};
    double sum = 0.0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
        sum += static_cast<double>(host_losses(i));
        loss.correct += host_correct(i);
    }
    auto const value = static_cast<A>(sum);
    copy_from_host(context.exec(), loss.sum.view(), &value);
    if constexpr (Context::training)
        context.tape().record([&context, logits, labels, lse, total = loss.sum] {
            if (!total.has_gradient())
                return; // no loss depends on it
            auto const gradient = logits.accumulate();
            detail::cross_entropy_backward(context.exec(), Rows<A const>(logits.value()), labels.data(), lse.data(),
                                           total.gradient().data, gradient.rows, !gradient.fresh);
        });
    return loss;
}

} // namespace protlm::inline v0
