#pragma once

#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/albert_config.hpp>

namespace protlm::inline v0 {

/// ALBERT's shape, for plans and forecasts: a pass through shared layers costs as much as one through its own. Costs
/// are for comparison, so the inner layers, the same number in every pass, do not count.
inline EncoderShape encoder_shape(AlbertConfig const &c) {
    return {.width = c.hidden_size,
            .layers = c.num_hidden_layers,
            .heads = c.num_attention_heads,
            .inner = c.intermediate_size,
            .positions = c.max_position_embeddings};
}

} // namespace protlm::inline v0
