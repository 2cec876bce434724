#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/ops/attention_mask.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/gather.hpp>

#include <concepts>
#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

// What a model must offer so that an objective can train it. A model is any class that has the named types and
// functions; none of them is looked up anywhere.

// clang-format off
/// A model that predicts tokens from hidden states: the loss of its logits for rows (R, C) and labels (R).
template <class Model, class Context>
concept TokenPredictor = requires(Model const &model, Context &context, typename Model::Activations const &hidden,
                                  Buffer<std::int32_t, typename Model::execution_space> const &labels) {
    model.validate(PackedView{});
    { model.token_loss(context, hidden, labels) }
        -> std::same_as<Loss<typename Model::A, typename Model::execution_space>>;
};

/// A model with a decoder beside its encoder: hidden states (Td, C) of decoder tokens that see an encoder's (T, C).
template <class Model, class Context>
concept EncoderDecoder = TokenPredictor<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed,
             typename Model::Activations const &hidden) {
        { model.encode(context, packed) } -> std::same_as<typename Model::Activations>;
        { model.decode(context, packed, hidden, packed.segments) } -> std::same_as<typename Model::Activations>;
    };

/// A model with an encoder whose hidden states (T, C) predict the tokens of their own rows.
template <class Model, class Context>
concept TokenEncoder = TokenPredictor<Model, Context> && !EncoderDecoder<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed) {
        { model.encode(context, packed) } -> std::same_as<typename Model::Activations>;
    };

/// A token encoder that takes an attention mask, so that it can be kept from seeing what it is to predict.
template <class Model, class Context>
concept MaskableEncoder = TokenEncoder<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed,
             std::vector<typename Model::Activations> *states) {
        { model.encode(context, packed, states, CausalMask{}) } -> std::same_as<typename Model::Activations>;
    };
// clang-format on

namespace detail {

/// Copies a batch to the device. @throws Error when the model cannot take it
template <class Context, class Model>
auto checked_packed(Context &context, Model const &model, PackedView batch) {
    model.validate(batch);
    return make_packed(context, batch);
}

/// Hidden states (T, C) with every token seeing all of its sequence, also where the model is causal by itself.
template <class Context, class Model, class Packed>
auto encode_all(Context &context, Model const &model, Packed const &packed) {
    if constexpr (MaskableEncoder<Model, Context>)
        return model.encode(context, packed, nullptr, FullMask{});
    else
        return model.encode(context, packed);
}

/// Loss of labels for some rows of hidden states (T, C). @param rows (R) ascending @param labels (R)
template <class Context, class Model>
auto rows_loss(Context &context, Model const &model, typename Model::Activations const &hidden,
               std::vector<index_t> const &rows, std::vector<std::int32_t> const &labels) {
    auto const uploaded = context.template upload<std::int32_t>(labels);
    if (static_cast<index_t>(rows.size()) == hidden.rows()) // ascending: all of them
        return model.token_loss(context, hidden, uploaded);
    return model.token_loss(context, gather_rows(context, hidden, context.template upload<index_t>(rows)), uploaded);
}

} // namespace detail

} // namespace protlm::inline v0
