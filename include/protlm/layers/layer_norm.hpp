#pragma once

#include <protlm/ops/norm.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where gamma and beta lie in a table.
struct LayerNormIds {
    ParameterId weight = -1, bias = -1;
};

/// Adds `name`.weight (ones) and `name`.bias (zeros), each (width).
inline LayerNormIds add_layer_norm(ParameterTable &table, std::string const &name, index_t width) {
    LayerNormIds ids;
    ids.weight = table.add(name + ".weight", {width}, Initialiser::ones());
    ids.bias = table.add(name + ".bias", {width}, Initialiser::zeros());
    return ids;
}

/// Layer normalisation with its parameters: see ops/norm.hpp.
template <Scalar S, class Exec>
struct LayerNorm {
    Weight<S, Exec> weight, bias;
    double eps = 1e-12;

    LayerNorm() = default;
    LayerNorm(Parameters<S, Exec> const &parameters, LayerNormIds ids, double epsilon)
        : weight(parameters.weight(ids.weight)), bias(parameters.weight(ids.bias)), eps(epsilon) {}

    /// (T, C) to (T, C).
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &x) const {
        return layer_norm<Context, S>(context, x, weight, bias, eps);
    }
};

} // namespace protlm::inline v0
