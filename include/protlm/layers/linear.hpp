#pragma once

#include <protlm/ops/dropout.hpp>
#include <protlm/ops/linear.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where one affine map lies in a table: weight (N, K) and, if it has one, bias (N).
struct LinearIds {
    ParameterId weight = -1, bias = -1;
};

/// Adds `name`.weight (outputs, inputs) and `name`.bias (outputs) as nn.Linear names and shapes them.
inline LinearIds add_linear(ParameterTable &table, std::string const &name, index_t outputs, index_t inputs,
                            double deviation, bool bias = true) {
    LinearIds ids;
    ids.weight = table.add(name + ".weight", {outputs, inputs}, Initialiser::truncated_normal(deviation));
    if (bias)
        ids.bias = table.add(name + ".bias", {outputs}, Initialiser::zeros());
    return ids;
}

/// An affine map (N, K), or several with the same input as one: see ops/linear.hpp.
template <Scalar S, class Exec>
struct Linear {
    Weight<S, Exec> weight, bias;

    Linear() = default;
    Linear(Parameters<S, Exec> const &parameters, LinearIds ids) : weight(parameters.weight(ids.weight)) {
        if (ids.bias >= 0)
            bias = parameters.weight(ids.bias);
    }
    /// Maps whose weights, and whose biases, were placed together: one product with all their outputs.
    Linear(Parameters<S, Exec> const &parameters, std::initializer_list<LinearIds> joint) {
        std::vector<ParameterId> weights, biases;
        for (LinearIds ids : joint) {
            weights.push_back(ids.weight);
            if (ids.bias >= 0)
                biases.push_back(ids.bias);
        }
        weight = parameters.weight(weights);
        if (!biases.empty())
            bias = parameters.weight(biases);
    }

    /// (T, K) to (T, N).
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Activation activation = Activation::none,
                    Tensor<A, Exec> const &residual = {}) const {
        return linear<Context, S>(context, x, weight, bias, activation, residual);
    }

    /// dropout(x w^T + b) + residual: in one pass when nothing is dropped.
    template <class Context, class A>
    Tensor<A, Exec> with_residual(Context &context, Tensor<A, Exec> const &x, Tensor<A, Exec> const &residual,
                                  double rate) const {
        if (!Context::training || rate == 0.0)
            return (*this)(context, x, Activation::none, residual);
        return add(context, dropout(context, (*this)(context, x), rate), residual);
    }
};

} // namespace protlm::inline v0
