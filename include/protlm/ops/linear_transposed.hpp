#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/ops/detail/device_product.hpp>
#include <protlm/ops/detail/bfloat16_product.hpp>

namespace protlm::inline v0 {

namespace detail {

/// dx = [dx +] g w^T where wanted; dw += x^T g where trained.
template <class Context, class A, class S, class Exec>
void linear_transposed_backward(Context &context, Rows<A const> g, Tensor<A, Exec> const &x, Weight<S, Exec> const &w) {
    if (x.needs_gradient()) {
        auto const dx = x.accumulate();
        if constexpr (Context::on_host)
            product(context, g, pack<true, A>(context, w.value()), dx.rows, !dx.fresh);
        else
            device_product<S>(context, Transpose::right, g, w.value(), dx.rows, !dx.fresh);
    }
    if (w.trained()) {
        if constexpr (Context::on_host)
            gradient_product(context, Rows<A const>(x.value()), g, w.gradient(), static_cast<A *>(nullptr));
        else
            device_product<S>(context, Transpose::left, Rows<A const>(x.value()), g, w.gradient(), true);
    }
}

} // namespace detail

/// y (T, N) = x w: a linear map whose weight is stored inputs first, as XLNet stores its projections.
///
/// Backward: accumulates into x and w.
/// @param x (T, K) @param w (K, N), the transposed of what `linear` takes
/// @throws Error when extents disagree
template <class Context, Scalar S>
auto linear_transposed(Context &context, Tensor<accumulate_t<S>, typename Context::execution_space> x,
                       Weight<S, typename Context::execution_space> w) {
    using A = accumulate_t<S>;
    check_extent("linear_transposed", "w", "rows", w.rows(), x.cols());
    auto const y = context.template tensor<A>(x.rows(), w.cols());
    if constexpr (Context::on_host)
        detail::weight_product<false>(context, Rows<A const>(x.value()), w.value(), y.value());
    else
        detail::device_product<S>(context, detail::Transpose::none, Rows<A const>(x.value()), w.value(), y.value(),
                                  false);
    if constexpr (Context::training)
        context.tape().record(
            [&context, x, w, y] {
                if (y.has_gradient()) // else no loss depends on it
                    detail::linear_transposed_backward(context, Rows<A const>(y.gradient()), x, w);
            },
            w.ids);
    return y;
}

} // namespace protlm::inline v0
