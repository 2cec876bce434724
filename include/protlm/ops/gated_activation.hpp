#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/ops/activation.hpp>
#include <protlm/ops/detail/norm_host.hpp>

namespace protlm::inline v0 {

namespace detail {

template <class Exec, class A>
void gate_device(Exec const &exec, Activation activation, Rows<A const> u, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::gated_activation", range(exec, 0, y.rows * y.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / y.cols, j = item % y.cols;
            y(i, j) = activate(activation, u(i, j)).value * u(i, y.cols + j);
        });
}

template <class Exec, class A>
void gate_backward_device(Exec const &exec, Activation activation, Rows<A const> u, Rows<A const> g, Rows<A> du,
                          bool add) {
    Kokkos::parallel_for(
        "protlm::gated_activation_backward", range(exec, 0, g.rows * g.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / g.cols, j = item % g.cols;
            auto const gate = activate(activation, u(i, j));
            A const left = g(i, j) * u(i, g.cols + j) * gate.slope, right = g(i, j) * gate.value;
            du(i, j) = add ? du(i, j) + left : left;
            du(i, g.cols + j) = add ? du(i, g.cols + j) + right : right;
        });
}

template <class Exec, class A>
void gate_host(Exec const &exec, Activation activation, Rows<A const> u, Rows<A> y) {
    with_activation(activation, [&](auto f) {
        Kokkos::parallel_for("protlm::gated_activation", range(exec, 0, y.rows), [=](index_t i) {
            A const *gate = u.row(i), *linear = u.row(i) + y.cols;
            A *to = y.row(i);
            for_registers<A>(y.cols, [&](index_t j, auto n) {
                store_part(to + j, activate_vector<f(), A>(load_part(gate + j, n)) * load_part(linear + j, n), n);
            });
        });
    });
}

template <class Exec, class A>
void gate_backward_host(Exec const &exec, Activation activation, Rows<A const> u, Rows<A const> g, Rows<A> du,
                        bool add) {
    with_activation(activation, [&](auto f) {
        Kokkos::parallel_for("protlm::gated_activation_backward", range(exec, 0, g.rows), [=](index_t i) {
            index_t const cols = g.cols;
            for_registers<A>(cols, [&](index_t j, auto n) {
                Vec<A> const gate = load_part(u.row(i) + j, n), dy = load_part(g.row(i) + j, n);
                A *left = du.row(i) + j, *right = left + cols;
                Vec<A> dleft = dy * load_part(u.row(i) + cols + j, n) * slope_vector<f(), A>(gate);
                Vec<A> dright = dy * activate_vector<f(), A>(gate);
                if (add) {
                    dleft += load_part(static_cast<A const *>(left), n);
                    dright += load_part(static_cast<A const *>(right), n);
                }
                store_part(left, dleft, n);
                store_part(right, dright, n);
            });
        });
    });
}

} // namespace detail

/// y (T, F) = f(u[:, :F]) * u[:, F:]: a gated linear unit whose two maps come from one product. Shazeer,
/// arXiv 2002.05202. Backward: accumulates into u; f is computed again, nothing but u is kept.
/// @param u (T, 2 F): what the activation f goes over first, then what it gates
/// @throws Error when u has an odd number of columns
template <class Context, class A>
Tensor<A, typename Context::execution_space>
gated_activation(Context &context, Tensor<A, typename Context::execution_space> u, Activation activation) {
    check(u.cols() % 2 == 0, "gated_activation: u has ", u.cols(), " columns, expected an even number");
    auto const y = context.template tensor<A>(u.rows(), u.cols() / 2);
    if constexpr (Context::on_host)
        detail::gate_host(context.exec(), activation, Rows<A const>(u.value()), y.value());
    else
        detail::gate_device(context.exec(), activation, Rows<A const>(u.value()), y.value());
    if constexpr (Context::training)
        context.tape().record([&context, u, y, activation] {
            if (!u.needs_gradient() || !y.has_gradient())
                return;
            auto const du = u.accumulate();
            Rows<A const> const values = u.value(), g = y.gradient();
            if constexpr (Context::on_host)
                detail::gate_backward_host(context.exec(), activation, values, g, du.rows, !du.fresh);
            else
                detail::gate_backward_device(context.exec(), activation, values, g, du.rows, !du.fresh);
        });
    return y;
}

} // namespace protlm::inline v0
