#pragma once

#include <model/models.hpp>
#include <protlm/model/albert.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>

namespace protlm::test {

/// The extents of `small_config` with an embedding of 16.
template <class Config>
Config small_factored_config() {
    Config config;
    config.embedding_size = 16;
    config.hidden_size = 24;
    config.num_hidden_layers = 3;
    config.num_attention_heads = 3;
    config.intermediate_size = 40;
    config.max_position_embeddings = 40;
    config.initializer_range = 0.2; // far from zero, so that differences show
    return config;
}

/// Loss of the masked language model for an example.
template <class Model, class Context>
auto masked_loss(Model const &model, Context &context, Example const &example) {
    auto const hidden = model.encode(context, make_packed(context, example.view()));
    return model.token_loss(context, gather_rows(context, hidden, context.template upload<index_t>(example.rows)),
                            context.template upload<std::int32_t>(example.labels));
}

/// Dropout keyed by seed alone: a row's number stands for protein and position.
template <class Context>
void key_rows(Context &context, std::uint64_t seed) {
    DropoutKeys<typename Context::execution_space> keys;
    keys.seed = seed;
    context.set_dropout(keys);
}

struct Pass {
    double loss;
    std::vector<double> gradients;
};

/// Loss and gradient of the masked language model for an example.
template <class Model, class Context>
Pass masked_pass(Model &model, Context &context, Example const &example) {
    model.parameters().zero_gradients(context.exec());
    key_rows(context, 1);
    auto const loss = masked_loss(model, context, example);
    auto const value = to_vector(loss.sum.view())[0];
    context.backward(loss.sum);
    return {value, to_vector(model.parameters().gradients())};
}

} // namespace protlm::test
