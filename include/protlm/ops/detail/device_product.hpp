#pragma once

// Matrix products that every device can run: cuBLAS on CUDA, else a plain kernel, which is what the tests compare.

#include <protlm/core/context.hpp>

#if defined(KOKKOS_ENABLE_CUDA)
#include <protlm/ops/detail/cublas.hpp>
#endif

namespace protlm::inline v0::detail {

/// Which side of a product is read transposed.
enum class Transpose { none, left, right };

/// c (m, n) = [c +] op(a) op(b), sums in the scalar of c.
template <class Exec, class A, class B, class C>
void plain_product(Exec const &exec, Transpose transpose, Rows<A const> a, Rows<B const> b, Rows<C> c, bool add) {
    index_t const k = transpose == Transpose::left ? a.rows : a.cols;
    bool const left = transpose == Transpose::left, right = transpose == Transpose::right;
    Kokkos::parallel_for(
        "protlm::plain_product", range(exec, 0, c.rows * c.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / c.cols, j = item % c.cols;
            C sum = add ? c(i, j) : C(0);
            for (index_t p = 0; p < k; ++p)
                sum += static_cast<C>(left ? a(p, i) : a(i, p)) * static_cast<C>(right ? b(j, p) : b(p, j));
            c(i, j) = sum;
        });
}

/// A copy of `source` rounded to S, as 16-bit products need both sides alike.
template <class S, class Context, class T>
Buffer<S, typename Context::execution_space> rounded(Context &context, Rows<T const> source) {
    auto copy = context.template buffer<S>(source.rows * source.cols);
    Rows<S> const target{copy.data(), source.rows, source.cols, source.cols};
    Kokkos::parallel_for(
        "protlm::rounded", range(context.exec(), 0, source.rows * source.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / target.cols, j = item % target.cols;
            target(i, j) = static_cast<S>(source(i, j));
        });
    return copy;
}

/// c (m, n) = [c +] op(a) op(b) on the context's device, with products of scalar S and sums of its accumulator.
template <class S, class Context, class A, class B, class C>
void device_product(Context &context, Transpose transpose, Rows<A const> a, Rows<B const> b, Rows<C> c, bool add) {
    if constexpr (!std::same_as<S, C> && !std::same_as<std::remove_const_t<A>, S>) {
        auto const copy = rounded<S>(context, a);
        device_product<S>(context, transpose, Rows<S const>{copy.data(), a.rows, a.cols, a.cols}, b, c, add);
    } else if constexpr (!std::same_as<S, C> && !std::same_as<std::remove_const_t<B>, S>) {
        auto const copy = rounded<S>(context, b);
        device_product<S>(context, transpose, a, Rows<S const>{copy.data(), b.rows, b.cols, b.cols}, c, add);
    } else {
#if defined(KOKKOS_ENABLE_CUDA)
        if constexpr (std::same_as<typename Context::execution_space, Kokkos::Cuda>) {
            cublas_product(context, transpose == Transpose::left, transpose == Transpose::right, a, b, c, add);
            return;
        }
#endif
        plain_product(context.exec(), transpose, a, b, c, add);
    }
}

} // namespace protlm::inline v0::detail
