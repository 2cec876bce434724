#pragma once

// cuBLAS as the CUDA back end of matrix products. Only included when Kokkos has CUDA.

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>

#include <cublas_v2.h>

#include <algorithm>

namespace protlm::inline v0::detail {

/// A cuBLAS handle on the stream of an execution space; a context owns it.
class CublasHandle {
  public:
    explicit CublasHandle(Kokkos::Cuda const &exec) {
        check(cublasCreate(&handle_) == CUBLAS_STATUS_SUCCESS, "cuBLAS: cannot create a handle");
        check(cublasSetStream(handle_, exec.cuda_stream()) == CUBLAS_STATUS_SUCCESS, "cuBLAS: cannot set the stream");
    }
    CublasHandle(CublasHandle const &) = delete;
    CublasHandle &operator=(CublasHandle const &) = delete;
    ~CublasHandle() { cublasDestroy(handle_); }
    cublasHandle_t get() const { return handle_; }

  private:
    cublasHandle_t handle_ = nullptr;
};

template <class S>
constexpr cudaDataType cuda_type() {
    if constexpr (std::same_as<S, double>)
        return CUDA_R_64F;
    else if constexpr (std::same_as<S, float>)
        return CUDA_R_32F;
    else if constexpr (std::same_as<S, bfloat16>)
        return CUDA_R_16BF;
    else
        return CUDA_R_16F;
}

/// Rows that one call computes: cuBLAS chooses its kernel by the extents, so every call has the same number of rows
/// and a row's bits do not depend on the batch.
inline constexpr index_t cublas_rows = 1024;

/// One call: c (m, n) = [c +] op(a) op(b), row-major (to cuBLAS, the transposed product in column-major order).
template <class A, class C>
void cublas_call(cublasHandle_t handle, bool left, bool right, Rows<A const> a, Rows<A const> b, Rows<C> c, bool add) {
    index_t const k = left ? a.rows : a.cols;
    C const one = 1, beta = add ? 1 : 0;
    auto const status = cublasGemmEx(
        handle, right ? CUBLAS_OP_T : CUBLAS_OP_N, left ? CUBLAS_OP_T : CUBLAS_OP_N, static_cast<int>(c.cols),
        static_cast<int>(c.rows), static_cast<int>(k), &one, b.data, cuda_type<A>(), static_cast<int>(b.stride), a.data,
        cuda_type<A>(), static_cast<int>(a.stride), &beta, c.data, cuda_type<C>(), static_cast<int>(c.stride),
        std::same_as<C, double> ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    check(status == CUBLAS_STATUS_SUCCESS, "cuBLAS: product of (", c.rows, ", ", k, ") and (", k, ", ", c.cols,
          ") failed with status ", static_cast<int>(status));
}

template <class T>
void copy_rows(Kokkos::Cuda const &exec, Rows<T const> from, Rows<T> to) {
    Kokkos::parallel_for(
        "protlm::copy_rows", range(exec, 0, from.rows * from.cols), KOKKOS_LAMBDA(index_t item) {
            index_t const i = item / from.cols, j = item % from.cols;
            to(i, j) = from(i, j);
        });
}

/// c = [c +] op(a) op(b). With rows of tokens on the left, in calls of cublas_rows rows, the last one padded.
template <class Context, class A, class C>
void cublas_product(Context &context, bool left, bool right, Rows<A const> a, Rows<A const> b, Rows<C> c, bool add) {
    cublasHandle_t const handle = context.template library<CublasHandle>().get();
    if (left) // a weight gradient: its rows are no tokens
        return cublas_call(handle, left, right, a, b, c, add);
    index_t row = 0;
    for (; row + cublas_rows <= c.rows; row += cublas_rows)
        cublas_call(handle, left, right, Rows<A const>{a.row(row), cublas_rows, a.cols, a.stride}, b,
                    Rows<C>{c.row(row), cublas_rows, c.cols, c.stride}, add);
    index_t const rest = c.rows - row;
    if (rest == 0)
        return;
    auto a_copy = context.template buffer<A>(cublas_rows * a.cols);
    auto c_copy = context.template buffer<C>(cublas_rows * c.cols);
    Kokkos::deep_copy(context.exec(), a_copy.view(), A(0));
    Kokkos::deep_copy(context.exec(), c_copy.view(), C(0));
    Rows<A> const a_tail{a_copy.data(), rest, a.cols, a.cols};
    Rows<C> const c_tail{c_copy.data(), rest, c.cols, c.cols};
    copy_rows(context.exec(), Rows<A const>{a.row(row), rest, a.cols, a.stride}, a_tail);
    if (add)
        copy_rows(context.exec(), Rows<C const>{c.row(row), rest, c.cols, c.stride}, c_tail);
    cublas_call(handle, left, right, Rows<A const>{a_copy.data(), cublas_rows, a.cols, a.cols}, b,
                Rows<C>{c_copy.data(), cublas_rows, c.cols, c.cols}, add);
    copy_rows(context.exec(), Rows<C const>(c_tail), Rows<C>{c.row(row), rest, c.cols, c.stride});
}

} // namespace protlm::inline v0::detail
