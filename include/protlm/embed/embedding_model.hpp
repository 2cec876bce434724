#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/core/state_listener.hpp>
#include <protlm/embed/encoder_shape.hpp>

#include <concepts>
#include <filesystem>
#include <string>

namespace protlm::inline v0 {

/// A model that says its scalar and where it runs.
template <class Model>
concept TypedModel = requires {
    typename Model::scalar_type;
    typename Model::execution_space;
}
&&Scalar<typename Model::scalar_type> &&ExecutionSpace<typename Model::execution_space>;

/// A model whose config has a function `encoder_shape(config)`.
template <class Model>
concept ShapedModel = requires(Model const &model) {
    { encoder_shape(model.config()) } -> std::same_as<EncoderShape>;
};

/// A model that checks a batch on the host.
template <class Model>
concept ValidatingModel = requires(Model const &model, PackedView batch) {
    model.validate(batch);
};

/// A model that hands out its hidden states (T, C) as they are made, up to any layer.
template <class Model>
concept EncodingModel = requires(
    Model const &model, Inference<typename Model::execution_space> &context,
    PackedTokens<typename Model::execution_space> const &batch, index_t layer,
    StateListener<accumulate_t<typename Model::scalar_type>, typename Model::execution_space> const &listener) {
    model.hidden_states(context, batch, layer, listener);
};

/// What Embedder asks of a model: the six families have it, and so can any other encoder.
template <class Model>
concept EmbeddingModel = TypedModel<Model> && ShapedModel<Model> && ValidatingModel<Model> && EncodingModel<Model>;

/// A model that says which folder it was loaded from, and by its config which family it is of.
template <class Model>
concept LoadedModel = requires(Model const &model) {
    { model.origin() } -> std::convertible_to<std::filesystem::path>;
    { model_type(model.config()) } -> std::convertible_to<std::string>;
    { model.config().vocab_size } -> std::convertible_to<index_t>;
};

} // namespace protlm::inline v0
