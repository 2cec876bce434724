#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/transformer_xl_config.hpp>

namespace protlm::inline v0 {

/// Transformer-XL's shape, for plans and forecasts; no protein is too long for it. A residue's states know what stands
/// before it.
inline EncoderShape encoder_shape(TransformerXlConfig const &c) {
    return {.width = c.d_model,
            .layers = c.n_layer,
            .heads = c.n_head,
            .inner = c.d_inner,
            .positions = 0,
            .head_width = c.d_head,
            .distances = 1};
}

} // namespace protlm::inline v0
