#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>

namespace protlm::inline v0 {

namespace detail {

template <class Exec, class A>
void gather_forward(Exec const &exec, index_t const *rows, Rows<A const> x, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::gather", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t i) {
            for (index_t j = 0; j < y.cols; ++j)
                y(i, j) = x(rows[i], j);
        });
}

template <class Exec, class A>
void gather_backward(Exec const &exec, index_t const *rows, Rows<A const> g, Rows<A> dx) {
    Kokkos::parallel_for(
        "protlm::gather_backward", range(exec, 0, g.rows), KOKKOS_LAMBDA(index_t i) {
            for (index_t j = 0; j < g.cols; ++j)
                dx(rows[i], j) += g(i, j);
        });
}

} // namespace detail

/// y (R, C) = the rows `rows` of x (T, C): so that logits are made for labelled tokens only.
/// Backward: accumulates into x. @param rows (R), each in [0, T) and at most once
template <class Context, class A, class Exec = typename Context::execution_space>
auto gather_rows(Context &context, Tensor<A, Exec> x, Buffer<index_t, Exec> rows) {
    auto const y = context.template tensor<A>(rows.size(), x.cols());
    detail::gather_forward(context.exec(), rows.data(), Rows<A const>(x.value()), y.value());
    if constexpr (Context::training)
        context.tape().record([&context, x, rows, y] {
            if (!x.needs_gradient() || !y.has_gradient())
                return;
            auto const dx = x.accumulate();
            if (dx.fresh)
                zero_values(context.exec(), x.gradient_view());
            detail::gather_backward(context.exec(), rows.data(), Rows<A const>(y.gradient()), dx.rows);
        });
    return y;
}

} // namespace protlm::inline v0
