#pragma once

#include <protlm/core/kokkos.hpp>

namespace protlm::inline v0 {

/// What plans and forecasts need to know of an encoder. Every model that can be embedded with has a function
/// `encoder_shape(config)`, found beside its config.
struct EncoderShape {
    index_t width = 0;      // C
    index_t layers = 0;     // N
    index_t heads = 0;      // H
    index_t inner = 0;      // F
    index_t positions = 0;  // longest sequence in tokens; 0: no limit
    index_t head_width = 0; // D; 0: width / heads
    bool gated = false;     // the feed-forward part has a second matrix, which gates the first
    index_t distances = 0;  // encodings of distances for each token of the longest sequence; 0: no relative encodings

    index_t inner_rows = 0; // most tokens whose inner values are there at once; 0: those of the whole batch

    /// Columns of all heads together, H D.
    index_t attention() const { return head_width > 0 ? heads * head_width : width; }

    /// Multiplications and additions of one sequence of `tokens` tokens: the products with weights grow with its
    /// length, attention with its square. Kaplan et al., arXiv 2001.08361, table 1; relative attention has the product
    /// with the encodings' keys, too, Dai et al., arXiv 1901.02860, section 3.3.
    double cost(index_t tokens) const {
        double const t = static_cast<double>(tokens), c = static_cast<double>(width), f = static_cast<double>(inner);
        double const a = static_cast<double>(attention()), pairs = distances > 0 ? 6 : 4;
        return static_cast<double>(layers) * t * (8 * c * a + (gated ? 6 : 4) * c * f + pairs * a * t);
    }
};

} // namespace protlm::inline v0
