#pragma once

#include <protlm/ops/norm.hpp>

#include <string>

namespace protlm::inline v0 {

/// Adds `name`.weight (ones), (width): T5's layer norm has no bias.
inline ParameterId add_rms_norm(ParameterTable &table, std::string const &name, index_t width) {
    return table.add(name + ".weight", {width}, Initialiser::ones());
}

/// Normalisation by the root of the mean square, with its scale: see ops/norm.hpp.
template <Scalar S, class Exec>
struct RmsNorm {
    Weight<S, Exec> weight; // (1, C)
    double eps = 1e-6;

    RmsNorm() = default;
    RmsNorm(Parameters<S, Exec> const &parameters, ParameterId id, double epsilon)
        : weight(parameters.weight(id)), eps(epsilon) {}

    /// (T, C) to (T, C).
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &x) const {
        return rms_norm<Context, S>(context, x, weight, eps);
    }
};

} // namespace protlm::inline v0
