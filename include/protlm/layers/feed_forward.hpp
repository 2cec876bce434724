#pragma once

#include <protlm/layers/linear.hpp>

namespace protlm::inline v0 {

/// x + dropout(output(f(inner(x)))): two affine maps, (C) to (F) and back. arXiv 1706.03762, section 3.3.
template <Scalar S, class Exec>
struct FeedForward {
    Linear<S, Exec> inner;  // (F, C)
    Linear<S, Exec> output; // (C, F)
    Activation activation = Activation::gelu;

    /// (T, C) to (T, C).
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &x, double dropout_rate) const {
        return output.with_residual(context, inner(context, x, activation), x, dropout_rate);
    }
};

} // namespace protlm::inline v0
