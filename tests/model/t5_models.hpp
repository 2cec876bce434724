#pragma once

#include <protlm/model/t5.hpp>

#include <model/models.hpp>

namespace protlm::test {

/// Unlike in every extent, so that a mixed-up one is noticed; weights far from zero, so that differences show.
inline T5Config small_t5() {
    T5Config config;
    config.vocab_size = 30;
    config.d_model = 24;
    config.d_kv = 5;
    config.d_ff = 28;
    config.num_layers = 2;
    config.num_decoder_layers = 3;
    config.num_heads = 3;
    config.relative_attention_num_buckets = 8;
    config.relative_attention_max_distance = 12;
    config.initializer_factor = 1.5;
    return config;
}

template <class S = float, class Exec = Kokkos::DefaultExecutionSpace>
T5<S, Exec> made_t5(T5Config const &config = small_t5(), T5Heads heads = {}) {
    T5<S, Exec> model(config, heads);
    model.initialise(3);
    return model;
}

/// Proteins and what the decoder is to write for each, of other lengths.
struct T5Example {
    Example source{{17, 1, 40, 9}}, target{{8, 21, 3, 30}};
};

/// Loss of a T5 for an example.
template <class Model, class Context>
auto t5_loss(Model const &model, Context &context, T5Example const &example) {
    auto const source = make_packed(context, example.source.view());
    auto const target = make_packed(context, example.target.view());
    auto const hidden = model.decode(context, target, model.encode(context, source), source.segments);
    auto const rows = gather_rows(context, hidden, context.template upload<index_t>(example.target.rows));
    return model.token_loss(context, rows, context.template upload<std::int32_t>(example.target.labels));
}

} // namespace protlm::test
