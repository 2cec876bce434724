#pragma once

#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/xlnet_config.hpp>

namespace protlm::inline v0 {

/// XLNet's shape, for plans and forecasts; no protein is too long for it.
inline EncoderShape encoder_shape(XlnetConfig const &c) {
    return {.width = c.d_model,
            .layers = c.n_layer,
            .heads = c.n_head,
            .inner = c.d_inner,
            .positions = 0,
            .head_width = c.d_head,
            .distances = c.unidirectional() ? 1 : 2};
}

} // namespace protlm::inline v0
