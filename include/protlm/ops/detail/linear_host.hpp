#pragma once

#include <protlm/ops/activation.hpp>
#include <protlm/ops/detail/bfloat16_product.hpp>

namespace protlm::inline v0::detail {

/// y = f(y + bias) [+ residual] on one stretch of a row; keeps y + bias where `before` is given.
template <Activation activation, class A>
struct LinearEpilogue {
    A const *bias;          // (N) or null
    Rows<A const> residual; // (T, N) or no data
    Rows<A> before;         // (T, N) or no data: values before the activation

    void operator()(index_t row, index_t col, index_t width, A *y) const {
        index_t j = 0;
        for (; j + lanes<A> <= width; j += lanes<A>)
            store(y + j, finish(row, col + j, load(y + j), lanes<A>));
        if (j < width)
            store_part(y + j, finish(row, col + j, load_part(y + j, width - j), width - j), width - j);
    }

  private:
    Vec<A> finish(index_t row, index_t col, Vec<A> value, index_t n) const {
        if (bias)
            value += load_part(bias + col, n);
        if (before.data)
            store_part(before.row(row) + col, value, n);
        value = activate_vector<activation, A>(value);
        if (residual.data)
            value += load_part(residual.row(row) + col, n);
        return value;
    }
};

/// y (T, N) = f(x w^T + bias) [+ residual].
template <class Context, class A, class S>
void linear_forward_host(Context &context, Rows<A const> x, Rows<S const> w, S const *bias, Activation activation,
                         Rows<A const> residual, Rows<A> before, Rows<A> y) {
    Buffer<A, typename Context::execution_space> widened;
    A const *added = nullptr;
    if constexpr (std::same_as<A, S>) {
        added = bias;
    } else if (bias) {
        widened = context.template buffer<A>(y.cols);
        std::transform(bias, bias + y.cols, widened.data(), converted<A, S>);
        added = widened.data();
    }
    with_activation(activation, [&](auto f) {
        weight_product<true>(context, x, w, y, LinearEpilogue<f(), A>{added, residual, before});
    });
}

/// g *= f'(before), row block by row block.
template <class Context, class A>
void activation_backward_host(Context &context, Activation activation, Rows<A const> before, Rows<A> g) {
    with_activation(activation, [&](auto f) {
        Kokkos::parallel_for("protlm::activation_backward", range(context.exec(), 0, g.rows), [=](index_t i) {
            A const *u = before.row(i);
            A *d = g.row(i);
            index_t j = 0;
            for (; j + lanes<A> <= g.cols; j += lanes<A>)
                store(d + j, load(d + j) * slope_vector<f(), A>(load(u + j)));
            if (index_t const n = g.cols - j; n > 0)
                store_part(d + j, load_part(d + j, n) * slope_vector<f(), A>(load_part(u + j, n)), n);
        });
    });
}

} // namespace protlm::inline v0::detail
