#pragma once

#include <protlm/core/kokkos.hpp>

namespace protlm::inline v0 {

/// What plans and forecasts need to know of an encoder. Every model that can be embedded with has a function
/// `encoder_shape(config)`, found beside its config.
struct EncoderShape {
    index_t width = 0;     // C
    index_t layers = 0;    // N
    index_t heads = 0;     // H
    index_t inner = 0;     // F
    index_t positions = 0; // longest sequence in tokens; 0: no limit

    /// Multiplications and additions of one sequence of `tokens` tokens: the products with weights grow with its
    /// length, attention with its square. Kaplan et al., arXiv 2001.08361, table 1.
    double cost(index_t tokens) const {
        double const t = static_cast<double>(tokens), c = static_cast<double>(width), f = static_cast<double>(inner);
        return static_cast<double>(layers) * t * (8 * c * c + 4 * c * f + 4 * c * t);
    }
};

} // namespace protlm::inline v0
