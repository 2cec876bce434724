#pragma once

#include <protlm/layers/linear.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where a detection head lies in a table.
struct DetectionHeadIds {
    LinearIds dense, prediction;
};

/// Adds discriminator_predictions.{dense,dense_prediction} as ELECTRA names them. @param prefix before the names
inline DetectionHeadIds add_detection_head(ParameterTable &table, std::string const &prefix, index_t width,
                                           double deviation) {
    std::string const name = prefix + "discriminator_predictions.";
    DetectionHeadIds ids;
    ids.dense = add_linear(table, name + "dense", width, width, deviation);
    ids.prediction = add_linear(table, name + "dense_prediction", 1, width, deviation);
    return ids;
}

/// Tells for each token whether it was replaced: prediction(f(dense(x))). Clark et al., arXiv 2003.10555, section 2.
template <Scalar S, class Exec>
struct DetectionHead {
    Linear<S, Exec> dense, prediction; // (C, C), (1, C)
    Activation activation = Activation::gelu;

    DetectionHead(Parameters<S, Exec> const &parameters, DetectionHeadIds const &ids, Activation f)
        : dense(parameters, ids.dense), prediction(parameters, ids.prediction), activation(f) {}

    /// (R, C) to logits (R, 1); above 0: replaced.
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &hidden) const {
        return prediction(context, dense(context, hidden, activation));
    }
};

} // namespace protlm::inline v0
