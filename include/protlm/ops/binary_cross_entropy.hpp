#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/ops/cross_entropy.hpp>

namespace protlm::inline v0 {

namespace detail {

/// One row: -log p(label) for p(1) = 1 / (1 + e^-x), without overflow for any x.
template <class A>
KOKKOS_INLINE_FUNCTION A binary_cross_entropy_row(A x, std::int32_t label) {
    A const size = x < A(0) ? -x : x;
    A const tail = ::log1p(::exp(-size)); // log(1 + e^-|x|)
    A const missed = label != 0 ? -x : x; // how far on the wrong side
    return (missed > A(0) ? missed : A(0)) + tail;
}

template <class Exec, class A>
void binary_cross_entropy_forward(Exec const &exec, Rows<A const> logits, std::int32_t const *labels, A *losses,
                                  index_t *correct) {
    Kokkos::parallel_for(
        "protlm::binary_cross_entropy", range(exec, 0, logits.rows), KOKKOS_LAMBDA(index_t i) {
            A const x = logits(i, 0);
            losses[i] = x == x ? binary_cross_entropy_row(x, labels[i]) : x; // what is not a number stays so
            correct[i] = (x > A(0)) == (labels[i] != 0) ? 1 : 0;
        });
}

template <class Exec, class A>
void binary_cross_entropy_backward(Exec const &exec, Rows<A const> logits, std::int32_t const *labels, A const *seed,
                                   Rows<A> gradient, bool add) {
    Kokkos::parallel_for(
        "protlm::binary_cross_entropy_backward", range(exec, 0, logits.rows), KOKKOS_LAMBDA(index_t i) {
            A const x = logits(i, 0), e = ::exp(x < A(0) ? x : -x);
            A const probability = (x < A(0) ? e : A(1)) / (A(1) + e);
            A const value = seed[0] * (probability - (labels[i] != 0 ? A(1) : A(0)));
            gradient(i, 0) = add ? gradient(i, 0) + value : value;
        });
}

} // namespace detail

/// Logistic cross entropy of logits (R, 1) against labels (R): sum of losses and number of right answers, where a
/// logit above 0 answers 1. The rows are added up in double, in their order. Waits for the device.
/// Backward: accumulates into logits. @param labels (R), each 0 or 1 @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Loss<A, Exec> binary_cross_entropy(Context &context, Tensor<A, Exec> logits, Buffer<std::int32_t, Exec> labels) {
    check_extent("binary_cross_entropy", "logits", "columns", logits.cols(), 1);
    check_extent("binary_cross_entropy", "labels", "entries", labels.size(), logits.rows());
    index_t const rows = logits.rows();
    auto const losses = context.template buffer<A>(rows);
    auto const correct = context.template buffer<index_t>(rows);
    detail::binary_cross_entropy_forward(context.exec(), Rows<A const>(logits.value()), labels.data(), losses.data(),
                                         correct.data());
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
        context.tape().record([&context, logits, labels, total = loss.sum] {
            if (!total.has_gradient())
                return; // no loss depends on it
            auto const gradient = logits.accumulate();
            detail::binary_cross_entropy_backward(context.exec(), Rows<A const>(logits.value()), labels.data(),
                                                  total.gradient().data, gradient.rows, !gradient.fresh);
        });
    return loss;
}

} // namespace protlm::inline v0
