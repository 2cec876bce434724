#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/ops/add.hpp>
#include <protlm/ops/detail/device_product.hpp>
#include <protlm/ops/detail/linear_host.hpp>

namespace protlm::inline v0 {

namespace detail {

/// y = f(y + bias) [+ residual] for devices; keeps y + bias in `before` where given.
template <class Exec, class A, class S>
void linear_epilogue_device(Exec const &exec, S const *bias, Activation activation, Rows<A const> residual,
                            Rows<A> before, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::linear_epilogue", range(exec, 0, y.rows * y.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / y.cols, j = item % y.cols;
            A value = y(i, j) + (bias ? static_cast<A>(bias[j]) : A(0));
            if (before.data)
                before(i, j) = value;
            value = activate(activation, value).value;
            y(i, j) = residual.data ? value + residual(i, j) : value;
        });
}

template <class Exec, class A>
void activation_backward_device(Exec const &exec, Activation activation, Rows<A const> before, Rows<A> g) {
    Kokkos::parallel_for(
        "protlm::activation_backward", range(exec, 0, g.rows * g.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / g.cols, j = item % g.cols;
            g(i, j) *= activate(activation, before(i, j)).slope;
        });
}

/// sums (N) += column sums of g (T, N), in the order of the rows.
template <class Exec, class A>
void column_sums_device(Exec const &exec, Rows<A const> g, A *sums) {
    Kokkos::parallel_for(
        "protlm::column_sums", range(exec, 0, g.cols), KOKKOS_LAMBDA(index_t j) {
            A sum = 0;
            for (index_t i = 0; i < g.rows; ++i)
                sum += g(i, j);
            sums[j] += sum;
        });
}

template <class Context, class A, class S>
void linear_forward(Context &context, Rows<A const> x, Weight<S, typename Context::execution_space> const &w,
                    S const *bias, Activation activation, Rows<A const> residual, Rows<A> before, Rows<A> y) {
    if constexpr (Context::on_host) {
        linear_forward_host(context, x, w.value(), bias, activation, residual, before, y);
    } else {
        device_product<S>(context, Transpose::right, x, w.value(), y, false);
        if (bias || residual.data || before.data || activation != Activation::none)
            linear_epilogue_device(context.exec(), bias, activation, residual, before, y);
    }
}

/// dx = [dx +] g w where wanted; dw += g^T x and db += column sums of g where trained.
template <class Context, class A, class S, class Exec>
void linear_backward(Context &context, Rows<A const> g, Tensor<A, Exec> const &x, Weight<S, Exec> const &w,
                     Weight<S, Exec> const &bias) {
    A *const sums = bias && bias.trained() ? bias.gradients.data() : nullptr;
    if constexpr (Context::on_host) {
        if (x.needs_gradient()) {
            auto const dx = x.accumulate();
            product(context, g, pack<false, A>(context, w.value()), dx.rows, !dx.fresh);
        }
        if (w.trained())
            gradient_product(context, g, Rows<A const>(x.value()), w.gradient(), sums);
        else if (sums)
            column_sums_device(context.exec(), g, sums);
    } else {
        if (x.needs_gradient()) {
            auto const dx = x.accumulate();
            device_product<S>(context, Transpose::none, g, w.value(), dx.rows, !dx.fresh);
        }
        if (w.trained())
            device_product<S>(context, Transpose::left, g, Rows<A const>(x.value()), w.gradient(), true);
        if (sums)
            column_sums_device(context.exec(), g, sums);
    }
}

} // namespace detail

/// y (T, N) = f(x w^T + b) + residual, the affine map of every layer with its epilogue in one pass.
///
/// Backward: accumulates into x, w, b and residual.
/// @param x (T, K) @param w (N, K), as PyTorch's nn.Linear stores it @param b (1, N), or empty
/// @param activation f; @param residual (T, N), or empty; not together with an activation
/// @throws Error when extents disagree
template <class Context, Scalar S>
auto linear(Context &context, Tensor<accumulate_t<S>, typename Context::execution_space> x,
            Weight<S, typename Context::execution_space> w, Weight<S, typename Context::execution_space> b,
            Activation activation = Activation::none,
            Tensor<accumulate_t<S>, typename Context::execution_space> residual = {}) {
    using A = accumulate_t<S>;
    check_extent("linear", "w", "columns", w.cols(), x.cols());
    if (b)
        check_extent("linear", "b", "columns", b.cols(), w.rows());
    if (residual) {
        check_extent("linear", "residual", "rows", residual.rows(), x.rows());
        check_extent("linear", "residual", "columns", residual.cols(), w.rows());
        check(activation == Activation::none, "linear: residual and activation exclude each other");
    }
    auto y = context.template tensor<A>(x.rows(), w.rows());
    decltype(y) before;
    if (Context::training && activation != Activation::none)
        before = context.template tensor<A>(x.rows(), w.rows());
    detail::linear_forward(context, Rows<A const>(x.value()), w, b ? b.values.data() : nullptr, activation,
                           residual ? Rows<A const>(residual.value()) : Rows<A const>{},
                           before ? before.value() : Rows<A>{}, y.value());
    if constexpr (Context::training) {
        auto touched = w.ids;
        touched.insert(touched.end(), b.ids.begin(), b.ids.end());
        context.tape().record(
            [&context, x, w, b, activation, residual, before, y] {
                if (!y.has_gradient())
                    return; // no loss depends on it
                Rows<A> const g = y.gradient();
                if (activation != Activation::none) {
                    if constexpr (Context::on_host)
                        detail::activation_backward_host(context, activation, Rows<A const>(before.value()), g);
                    else
                        detail::activation_backward_device(context.exec(), activation, Rows<A const>(before.value()),
                                                           g);
                }
                detail::linear_backward(context, Rows<A const>(g), x, w, b);
                if (residual.needs_gradient())
                    detail::pass_gradient(context, y, residual);
            },
            touched);
    }
    return y;
}

} // namespace protlm::inline v0
