#pragma once

#include <protlm/embed/encoder_shape.hpp>
#include <protlm/model/xlnet_config.hpp>

namespace protlm::inline v0 {

/// XLNet's shape, for plans and forecasts; no protein is too long for it.
/// @throws Error for a model that reads half of each batch backward
inline EncoderShape encoder_shape(XlnetConfig const &c) {
    check(!c.bi_data, "XlnetConfig: bi_data: is true, expected false: a protein's embedding would depend on its place "
                      "in the batch");
    return {.width = c.d_model,
            .layers = c.n_layer,
            .heads = c.n_head,
            .inner = c.d_inner,
            .positions = 0,
            .head_width = c.d_head,
            .distances = c.unidirectional() ? 1 : 2};
}

} // namespace protlm::inline v0
