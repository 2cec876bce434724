#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/embed/encoder_shape.hpp>

#include <concepts>

namespace protlm::inline v0 {

/// A model that says its scalar and where it runs.
template <class Model>
concept TypedModel = requires {
    typename Model::scalar_type;
    typename Model::execution_space;
} && Scalar<typename Model::scalar_type> && ExecutionSpace<typename Model::execution_space>;

/// A model whose config has a function `encoder_shape(config)`.
template <class Model>
concept ShapedModel = requires(Model const &model) {
    { encoder_shape(model.config()) } -> std::same_as<EncoderShape>;
};

/// A model that checks a batch on the host.
template <class Model>
concept ValidatingModel = requires(Model const &model, PackedView batch) { model.validate(batch); };

/// A model that gives the hidden states (T, C) behind any layer.
template <class Model>
concept EncodingModel = requires(Model const &model, Inference<typename Model::execution_space> &context,
                                 PackedTokens<typename Model::execution_space> const &batch, index_t layer) {
    {
        model.hidden_state(context, batch, layer)
    } -> std::same_as<Tensor<accumulate_t<typename Model::scalar_type>, typename Model::execution_space>>;
};

/// What Embedder asks of a model: BERT has it, and so can any other encoder.
template <class Model>
concept EmbeddingModel =
    TypedModel<Model> && ShapedModel<Model> && ValidatingModel<Model> && EncodingModel<Model>;

} // namespace protlm::inline v0
