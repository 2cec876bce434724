#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/floating_point.hpp>
#include <protlm/train/detail/tensor_blocks.hpp>

#include <cmath>
#include <utility>

namespace protlm::inline v0 {

/// The factor that brings a gradient of norm `norm` down to `limit`; 1 when it is below, or `limit` is 0 (no clipping).
/// As torch's clip_grad_norm_ without its 1e-6 in the denominator.
inline double clip_factor(double norm, double limit) { return limit > 0 && norm > limit ? limit / norm : 1.0; }

/// Sums of squares of every tensor of a flat array, the same in every run and on any number of threads.
template <ExecutionSpace Exec, Kernels kernels = Kernels::native>
class TensorSquares {
  public:
    explicit TensorSquares(ParameterTable const &table)
        : blocks_(table), partial_("protlm::tensor_squares::partial", static_cast<std::size_t>(blocks_.count())),
          squares_("protlm::tensor_squares::sums", static_cast<std::size_t>(blocks_.tensors())),
          host_(Kokkos::create_mirror_view(squares_)) {}

    /// Reads `values` (extent, in the memory of `Exec`) once; the host waits for the result.
    /// @tparam A  what 16-bit values are converted to
    template <class A, class T>
    void compute(Exec const &exec, T const *values) {
        detail::for_blocks<A, 1, kernels>("protlm::tensor_squares", exec, blocks_, detail::SquareBody<A, T>{values},
                                          partial_.data());
        detail::sum_blocks(exec, blocks_, 1, partial_.data(), squares_.data());
        copy_to_host(exec, host_.data(), squares_);
    }

    /// The Euclidean norm of all tensors together.
    double norm() const {
        double sum = 0;
        for (std::size_t t = 0; t < host_.extent(0); ++t)
            sum += host_(t);
        return std::sqrt(sum);
    }
    /// The first tensor that holds a value that is not finite, or -1.
    ParameterId first_not_finite() const {
        for (std::size_t t = 0; t < host_.extent(0); ++t)
            if (!is_finite(host_(t)))
                return static_cast<ParameterId>(t);
        return -1;
    }

  private:
    using View = Kokkos::View<double *, typename Exec::memory_space>;
    detail::TensorBlocks<Exec> blocks_;
    View partial_, squares_;
    decltype(Kokkos::create_mirror_view(std::declval<View const &>())) host_;
};

/// The norm of all gradients, and a guard against those that are not finite.
template <ExecutionSpace Exec, Kernels kernels = Kernels::native>
class GradientNorm {
  public:
    explicit GradientNorm(ParameterTable const &table) : squares_(table) {}

    /// The Euclidean norm of all gradients times `scale`; one pass over them, then the host waits.
    /// @throws Error naming `step` and the first tensor whose gradient is not finite; nothing is changed then
    template <Scalar S>
    double operator()(Exec const &exec, Parameters<S, Exec> const &parameters, double scale, index_t step) {
        ParameterId const bad = first_bad_gradient(exec, parameters);
        check(bad < 0, "step ", step, ": the gradient of ", bad < 0 ? "" : parameters.table()[bad].name,
              " is not finite");
        return squares_.norm() * scale;
    }

    /// The first tensor whose gradient is not finite, or -1; one pass over them, then the host waits.
    template <Scalar S>
    ParameterId first_bad_gradient(Exec const &exec, Parameters<S, Exec> const &parameters) {
        squares_.template compute<accumulate_t<S>>(exec, parameters.gradients().data());
        return squares_.first_not_finite();
    }
    /// The Euclidean norm of what was looked at last.
    double norm() const { return squares_.norm(); }

    /// The first tensor whose weights are not finite, or -1.
    template <Scalar S>
    ParameterId first_bad_weight(Exec const &exec, Parameters<S, Exec> const &parameters) {
        squares_.template compute<accumulate_t<S>>(exec, parameters.values().data());
        return squares_.first_not_finite();
    }

  private:
    TensorSquares<Exec, kernels> squares_;
};

} // namespace protlm::inline v0
