#pragma once

#include <protlm/core/context.hpp>
#include <protlm/ops/detail/vector_unit.hpp>

#include <algorithm>
#include <cmath>

namespace protlm::inline v0::detail {

/// Calls f(j, n) for each register of a row of `cols`, n lanes of it in use.
template <class S, class F>
[[gnu::always_inline]] inline void for_registers(index_t cols, F const &f) {
    index_t j = 0;
    for (; j + lanes<S> <= cols; j += lanes<S>)
        f(j, std::integral_constant<index_t, lanes<S>>());
    if (j < cols)
        f(j, cols - j);
}

template <class A>
struct Moments {
    A mean, inverse_deviation;
};

/// Mean (0 when not centred) and 1 / sqrt(variance + eps) of a row, in two passes over the cached row.
template <bool centred, class A>
inline Moments<A> row_moments(A const *x, index_t cols, A eps) {
    A mean = 0;
    if constexpr (centred) {
        Vec<A> sum{};
        for_registers<A>(cols, [&](index_t j, auto n) { sum += load_part(x + j, n); });
        mean = sum_lanes<A>(sum) / static_cast<A>(cols);
    }
    Vec<A> squares{};
    for_registers<A>(cols, [&](index_t j, auto n) {
        Vec<A> d = load_part(x + j, n) - mean;
        if (n < lanes<A>) // lanes past the row must not count
            d = load_part(reinterpret_cast<A const *>(&d), n);
        squares += d * d;
    });
    return {mean, A(1) / std::sqrt(sum_lanes<A>(squares) / static_cast<A>(cols) + eps)};
}

/// y = gamma (x - mean) / deviation + beta, row by row; moments (T, 2) are kept where given.
template <bool centred, class Exec, class A>
void norm_forward_host(Exec const &exec, Rows<A const> x, A const *gamma, A const *beta, A eps, Rows<A> y, A *moments) {
    Kokkos::parallel_for("protlm::norm", range(exec, 0, x.rows), [=](index_t i) {
        A const *row = x.row(i);
        A *to = y.row(i);
        auto const m = row_moments<centred>(row, x.cols, eps);
        for_registers<A>(x.cols, [&](index_t j, auto n) {
            Vec<A> v = (load_part(row + j, n) - m.mean) * m.inverse_deviation * load_part(gamma + j, n);
            if constexpr (centred)
                v += load_part(beta + j, n);
            store_part(to + j, v, n);
        });
        if (moments) {
            moments[2 * i] = m.mean;
            moments[2 * i + 1] = m.inverse_deviation;
        }
    });
}

/// One row of the backward: dx = [dx +] r (gamma g - mean(gamma g) - xhat mean(gamma g xhat)); adds to the sums of
/// gamma's and beta's gradients.
template <bool centred, class A>
inline void norm_backward_row(A const *x, A const *g, A const *gamma, Moments<A> m, index_t cols, A *dx, bool add,
                              A *gamma_sum, A *beta_sum) {
    Vec<A> plain{}, projected{};
    for_registers<A>(cols, [&](index_t j, auto n) {
        Vec<A> const xhat = (load_part(x + j, n) - m.mean) * m.inverse_deviation, dy = load_part(g + j, n);
        Vec<A> const gg = dy * load_part(gamma + j, n);
        plain += gg;
        projected += gg * xhat;
        store_part(gamma_sum + j, load_part(gamma_sum + j, n) + dy * xhat, n);
        if constexpr (centred)
            store_part(beta_sum + j, load_part(beta_sum + j, n) + dy, n);
    });
    A const a = centred ? sum_lanes<A>(plain) / static_cast<A>(cols) : A(0);
    A const b = sum_lanes<A>(projected) / static_cast<A>(cols);
    if (!dx)
        return;
    for_registers<A>(cols, [&](index_t j, auto n) {
        Vec<A> const xhat = (load_part(x + j, n) - m.mean) * m.inverse_deviation;
        Vec<A> v = (load_part(g + j, n) * load_part(gamma + j, n) - a - xhat * b) * m.inverse_deviation;
        if (add)
            v += load_part(dx + j, n);
        store_part(dx + j, v, n);
    });
}

/// Rows whose sums one task adds up; fixed, so that the sums do not depend on the number of threads.
inline constexpr index_t norm_block = 128;

/// dx, and sums (blocks, 2 C) of gamma's and beta's gradients for each block of rows.
template <bool centred, class Exec, class A>
void norm_backward_host(Exec const &exec, Rows<A const> x, Rows<A const> g, A const *gamma, A const *moments,
                        Rows<A> dx, bool add, A *sums) {
    index_t const blocks = (x.rows + norm_block - 1) / norm_block, cols = x.cols;
    Kokkos::parallel_for("protlm::norm_backward", range(exec, 0, blocks), [=](index_t block) {
        A *const gamma_sum = sums + block * 2 * cols;
        std::fill(gamma_sum, gamma_sum + 2 * cols, A(0));
        for (index_t i = block * norm_block; i < std::min(x.rows, (block + 1) * norm_block); ++i)
            norm_backward_row<centred>(x.row(i), g.row(i), gamma, Moments<A>{moments[2 * i], moments[2 * i + 1]}, cols,
                                       dx.data ? dx.row(i) : nullptr, add, gamma_sum, gamma_sum + cols);
    });
}

} // namespace protlm::inline v0::detail
