#pragma once

#include <protlm/train/detail/tensor_blocks.hpp>

#include <cmath>
#include <vector>

namespace protlm::inline v0 {

/// The factor that brings a gradient of norm `norm` down to `limit`; 1 when it is below, or `limit` is 0 (no clipping).
/// As torch's clip_grad_norm_ without its 1e-6 in the denominator.
inline double clip_factor(double norm, double limit) {
    return limit > 0 && norm > limit ? limit / norm : 1.0;
}

/// Sums of squares of every tensor's gradient, the same in every run and on any number of threads.
template <ExecutionSpace Exec, Kernels kernels = Kernels::native>
class GradientNorm {
  public:
    explicit GradientNorm(ParameterTable const &table)
        : blocks_(table), partial_("protlm::gradient_norm::partial", static_cast<std::size_t>(blocks_.count())),
          squares_("protlm::gradient_norm::squares", static_cast<std::size_t>(blocks_.tensors())),
          host_(Kokkos::create_mirror_view(squares_)) {}

    /// The Euclidean norm of all gradients times `scale`; one pass over them, then the host waits.
    /// @throws Error naming `step` and the first tensor whose gradient is not finite; nothing is changed then
    template <Scalar S>
    double operator()(Exec const &exec, Parameters<S, Exec> const &parameters, double scale, index_t step) {
        using A = accumulate_t<S>;
        detail::for_blocks<A, 1, kernels>("protlm::gradient_norm", exec, blocks_,
                                          detail::SquareBody<A>{parameters.gradients().data()}, partial_.data());
        detail::sum_blocks(exec, blocks_, 1, partial_.data(), squares_.data());
        Kokkos::deep_copy(exec, host_, squares_);
        exec.fence();
        double sum = 0;
        for (std::size_t t = 0; t < host_.extent(0); ++t) {
            check(std::isfinite(host_(t)), "step ", step, ": the gradient of ",
                  parameters.table().entries()[t].name, " is not finite");
            sum += host_(t);
        }
        return std::sqrt(sum) * scale;
    }

  private:
    using View = Kokkos::View<double *, typename Exec::memory_space>;
    detail::TensorBlocks<Exec> blocks_;
    View partial_, squares_;
    typename View::HostMirror host_;
};

} // namespace protlm::inline v0
