#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/ops/detail/vector_unit.hpp>

namespace protlm::inline v0 {

namespace detail {

/// c += a, elementwise (T, C).
template <class Exec, class A>
void add_to(Exec const &exec, Rows<A const> a, Rows<A> c) {
    Kokkos::parallel_for(
        "protlm::add_to", range(exec, 0, c.rows), KOKKOS_LAMBDA(index_t i) {
            A const *from = a.row(i);
            A *to = c.row(i);
            for (index_t j = 0; j < c.cols; ++j)
                to[j] += from[j];
        });
}

/// The gradient of y, which nobody needs any more, goes to x: handed over when x has none, else added.
template <class Context, class T>
void pass_gradient(Context &context, T const &y, T const &x) {
    if (!x.take_gradient(y))
        add_to(context.exec(), Rows<typename T::value_type const>(y.gradient()), x.gradient());
}

} // namespace detail

/// y (T, C) = a + b: the residual connection.
/// Backward: accumulates into a and b. @throws Error when extents disagree
template <class Context, class A>
Tensor<A, typename Context::execution_space> add(Context &context, Tensor<A, typename Context::execution_space> a,
                                                 Tensor<A, typename Context::execution_space> b) {
    check_extent("add", "b", "rows", b.rows(), a.rows());
    check_extent("add", "b", "columns", b.cols(), a.cols());
    auto y = context.template tensor<A>(a.rows(), a.cols());
    Rows<A> const ra = a.value(), rb = b.value(), ry = y.value();
    Kokkos::parallel_for(
        "protlm::add", range(context.exec(), 0, ry.rows), KOKKOS_LAMBDA(index_t i) {
            for (index_t j = 0; j < ry.cols; ++j)
                ry(i, j) = ra(i, j) + rb(i, j);
        });
    if constexpr (Context::training)
        context.tape().record([&context, a, b, y] {
            if (!y.has_gradient())
                return; // no loss depends on it
            if (a.needs_gradient()) {
                auto const da = a.accumulate();
                if (da.fresh)
                    copy_values(context.exec(), a.gradient_view(), y.gradient_view());
                else
                    detail::add_to(context.exec(), Rows<A const>(y.gradient()), da.rows);
            }
            if (b.needs_gradient())
                detail::pass_gradient(context, y, b);
        });
    return y;
}

} // namespace protlm::inline v0
