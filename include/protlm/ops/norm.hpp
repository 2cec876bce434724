#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/ops/detail/norm_host.hpp>
#include <protlm/ops/detail/weight_values.hpp>

namespace protlm::inline v0 {

namespace detail {

template <bool centred, class Exec, class A>
void norm_forward_device(Exec const &exec, Rows<A const> x, A const *gamma, A const *beta, A eps, Rows<A> y,
                         A *moments) {
    Kokkos::parallel_for(
        "protlm::norm", range(exec, 0, x.rows), KOKKOS_LAMBDA(index_t i) {
            A mean = 0, squares = 0;
            if (centred) {
                for (index_t j = 0; j < x.cols; ++j)
                    mean += x(i, j);
                mean /= static_cast<A>(x.cols);
            }
            for (index_t j = 0; j < x.cols; ++j)
                squares += (x(i, j) - mean) * (x(i, j) - mean);
            A const r = A(1) / ::sqrt(squares / static_cast<A>(x.cols) + eps);
            for (index_t j = 0; j < x.cols; ++j)
                y(i, j) = (x(i, j) - mean) * r * gamma[j] + (centred ? beta[j] : A(0));
            if (moments) {
                moments[2 * i] = mean;
                moments[2 * i + 1] = r;
            }
        });
}

template <bool centred, class Exec, class A>
void norm_backward_device(Exec const &exec, Rows<A const> x, Rows<A const> g, A const *gamma, A const *moments,
                          Rows<A> dx, bool add) {
    Kokkos::parallel_for(
        "protlm::norm_backward", range(exec, 0, x.rows), KOKKOS_LAMBDA(index_t i) {
            A const mean = moments[2 * i], r = moments[2 * i + 1];
            A plain = 0, projected = 0;
            for (index_t j = 0; j < x.cols; ++j) {
                plain += g(i, j) * gamma[j];
                projected += g(i, j) * gamma[j] * (x(i, j) - mean) * r;
            }
            plain = centred ? plain / static_cast<A>(x.cols) : A(0);
            projected /= static_cast<A>(x.cols);
            for (index_t j = 0; j < x.cols; ++j) {
                A const value = (g(i, j) * gamma[j] - plain - (x(i, j) - mean) * r * projected) * r;
                dx(i, j) = add ? dx(i, j) + value : value;
            }
        });
}

/// Sums over each block of rows of the gradients of gamma and beta: sums (blocks, 2 C).
template <class Exec, class A>
void norm_sums_device(Exec const &exec, Rows<A const> x, Rows<A const> g, A const *moments, A *sums) {
    index_t const blocks = (x.rows + norm_block - 1) / norm_block, cols = x.cols;
    Kokkos::parallel_for(
        "protlm::norm_sums", range(exec, 0, blocks * cols), KOKKOS_LAMBDA(index_t item) {
            index_t const block = item / cols, j = item % cols;
            index_t const end = (block + 1) * norm_block < x.rows ? (block + 1) * norm_block : x.rows;
            A gamma_sum = 0, beta_sum = 0;
            for (index_t i = block * norm_block; i < end; ++i) {
                gamma_sum += g(i, j) * (x(i, j) - moments[2 * i]) * moments[2 * i + 1];
                beta_sum += g(i, j);
            }
            sums[block * 2 * cols + j] = gamma_sum;
            sums[block * 2 * cols + cols + j] = beta_sum;
        });
}

/// gradient (C) += the blocks' sums, in their order; `offset` 0 for gamma, C for beta.
template <class Exec, class A>
void add_block_sums(Exec const &exec, A const *sums, index_t blocks, index_t cols, index_t offset, A *gradient) {
    Kokkos::parallel_for(
        "protlm::norm_add_sums", range(exec, 0, cols), KOKKOS_LAMBDA(index_t j) {
            A sum = gradient[j];
            for (index_t block = 0; block < blocks; ++block)
                sum += sums[block * 2 * cols + offset + j];
            gradient[j] = sum;
        });
}

template <bool centred, class Context, class A, class S, class Exec>
void norm_backward(Context &context, Tensor<A, Exec> const &x, Rows<A const> g, Weight<S, Exec> const &gamma,
                   Weight<S, Exec> const &beta, A const *moments) {
    index_t const blocks = (x.rows() + norm_block - 1) / norm_block;
    auto const sums = context.template buffer<A>(blocks * 2 * x.cols());
    auto const scales = weight_values<A>(context, gamma);
    Rows<A> dx;
    bool add = false;
    if (x.needs_gradient()) {
        auto const target = x.accumulate();
        dx = target.rows;
        add = !target.fresh;
    }
    if constexpr (Context::on_host) {
        norm_backward_host<centred>(context.exec(), Rows<A const>(x.value()), g, scales.data, moments, dx, add,
                                    sums.data());
    } else {
        if (dx.data)
            norm_backward_device<centred>(context.exec(), Rows<A const>(x.value()), g, scales.data, moments, dx, add);
        norm_sums_device(context.exec(), Rows<A const>(x.value()), g, moments, sums.data());
    }
    if (gamma.trained())
        add_block_sums(context.exec(), sums.data(), blocks, x.cols(), 0, gamma.gradients.data());
    if (centred && beta.trained())
        add_block_sums(context.exec(), sums.data(), blocks, x.cols(), x.cols(), beta.gradients.data());
}

template <bool centred, class Context, class S, class Exec>
auto norm(Context &context, char const *name, Tensor<accumulate_t<S>, Exec> x, Weight<S, Exec> gamma,
          Weight<S, Exec> beta, double eps) {
    using A = accumulate_t<S>;
    check_extent(name, "gamma", "columns", gamma.cols(), x.cols());
    if (centred)
        check_extent(name, "beta", "columns", beta.cols(), x.cols());
    auto const y = context.template tensor<A>(x.rows(), x.cols());
    Buffer<A, Exec> moments;
    if (Context::training)
        moments = context.template buffer<A>(2 * x.rows());
    auto const scales = weight_values<A>(context, gamma), shifts = weight_values<A>(context, beta);
    if constexpr (Context::on_host)
        norm_forward_host<centred>(context.exec(), Rows<A const>(x.value()), scales.data, shifts.data,
                                   static_cast<A>(eps), y.value(), moments.data());
    else
        norm_forward_device<centred>(context.exec(), Rows<A const>(x.value()), scales.data, shifts.data,
                                     static_cast<A>(eps), y.value(), moments.data());
    if constexpr (Context::training) {
        auto touched = gamma.ids;
        touched.insert(touched.end(), beta.ids.begin(), beta.ids.end());
        context.tape().record(
            [&context, x, gamma, beta, y, moments] {
                if (!y.has_gradient())
                    return; // no loss depends on it
                norm_backward<centred>(context, x, Rows<A const>(y.gradient()), gamma, beta,
                                       static_cast<A const *>(moments.data()));
            },
            touched);
    }
    return y;
}

} // namespace detail

/// y (T, C) = gamma (x - mean) / sqrt(variance + eps) + beta over each row, variance biased.
/// Ba et al., arXiv 1607.06450. Backward: accumulates into x, gamma and beta.
/// @param gamma, beta (1, C) @throws Error when extents disagree
template <class Context, Scalar S, class Exec = typename Context::execution_space>
auto layer_norm(Context &context, Tensor<accumulate_t<S>, Exec> x, Weight<S, Exec> gamma, Weight<S, Exec> beta,
                double eps) {
    return detail::norm<true>(context, "layer_norm", x, gamma, beta, eps);
}

/// y (T, C) = gamma x / sqrt(mean of squares + eps) over each row, without mean and bias, as T5 has it.
/// Zhang and Sennrich, arXiv 1910.07467. Backward: accumulates into x and gamma.
/// @param gamma (1, C) @throws Error when extents disagree
template <class Context, Scalar S, class Exec = typename Context::execution_space>
auto rms_norm(Context &context, Tensor<accumulate_t<S>, Exec> x, Weight<S, Exec> gamma, double eps) {
    return detail::norm<false>(context, "rms_norm", x, gamma, Weight<S, Exec>{}, eps);
}

} // namespace protlm::inline v0
