#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/bert_config.hpp>

namespace protlm::inline v0 {

/// BERT's shape, for plans and forecasts.
inline EncoderShape encoder_shape(BertConfig const &c) {
    return {.width = c.hidden_size,
            .layers = c.num_hidden_layers,
            .heads = c.num_attention_heads,
            .inner = c.intermediate_size,
            .positions = c.max_position_embeddings};
}

} // namespace protlm::inline v0
