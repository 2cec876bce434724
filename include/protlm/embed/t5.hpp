#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/t5_config.hpp>

namespace protlm::inline v0 {

/// The shape of T5's encoder, for plans and forecasts; no protein is too long for it.
inline EncoderShape encoder_shape(T5Config const &c) {
    return {.width = c.d_model,
            .layers = c.num_layers,
            .heads = c.num_heads,
            .inner = c.d_ff,
            .positions = 0,
            .head_width = c.d_kv,
            .gated = c.gated(),
            .inner_rows = 16384};
}

} // namespace protlm::inline v0
