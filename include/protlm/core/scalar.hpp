#pragma once

#include <protlm/core/kokkos.hpp>

#include <Eigen/Core>

namespace protlm::inline v0 {

/// 16-bit storage types; arithmetic on them is done in float.
using bfloat16 = Eigen::bfloat16;
using half = Eigen::half;

/// The scalars that models can be built with.
template <class S>
concept Scalar =
    std::same_as<S, float> || std::same_as<S, double> || std::same_as<S, bfloat16> || std::same_as<S, half>;

/// What sums, softmax, norms, losses and the residual stream of a model with scalar `S` are kept in.
template <Scalar S>
using accumulate_t = std::conditional_t<std::same_as<S, double>, double, float>;

} // namespace protlm::inline v0
