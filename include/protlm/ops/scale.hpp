#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>

namespace protlm::inline v0 {

namespace detail {

/// y = [y +] factor x, elementwise (T, C).
template <class Exec, class A>
void scale_rows(Exec const &exec, Rows<A const> x, A factor, Rows<A> y, bool add) {
    Kokkos::parallel_for(
        "protlm::scale", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t i) {
            A const *from = x.row(i);
            A *to = y.row(i);
            for (index_t j = 0; j < y.cols; ++j)
                to[j] = (add ? to[j] : A(0)) + factor * from[j];
        });
}

} // namespace detail

/// y (T, C) = factor x: as where a tied output matrix or an embedding is scaled by a power of the model's width.
/// Backward: accumulates into x.
template <class Context, class A>
Tensor<A, typename Context::execution_space> scale(Context &context, Tensor<A, typename Context::execution_space> x,
                                                   std::type_identity_t<A> factor) {
    auto const y = context.template tensor<A>(x.rows(), x.cols());
    detail::scale_rows(context.exec(), Rows<A const>(x.value()), factor, y.value(), false);
    if constexpr (Context::training)
        context.tape().record([&context, x, y, factor] {
            if (!x.needs_gradient() || !y.has_gradient())
                return;
            auto const dx = x.accumulate();
            detail::scale_rows(context.exec(), Rows<A const>(y.gradient()), factor, dx.rows, !dx.fresh);
        });
    return y;
}

} // namespace protlm::inline v0
