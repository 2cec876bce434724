#pragma once

#include <protlm/layers/feed_forward.hpp>
#include <protlm/layers/layer_norm.hpp>
#include <protlm/layers/self_attention.hpp>

namespace protlm::inline v0 {

/// One encoder layer with normalisation behind each residual, as BERT has it: Devlin et al., arXiv 1810.04805.
template <Scalar S, class Exec>
struct PostNormLayer {
    SelfAttention<S, Exec> self_attention;
    LayerNorm<S, Exec> attention_norm;
    FeedForward<S, Exec> feed_forward;
    LayerNorm<S, Exec> output_norm;

    /// (T, C) to (T, C).
    template <class Context, class A, class Score, class Mask>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Segments<Exec> const &segments, Score const &score,
                    Mask const &mask, DropoutRates const &rates) const {
        auto const h = attention_norm(context, self_attention(context, x, segments, score, mask, rates));
        return output_norm(context, feed_forward(context, h, rates.hidden));
    }
};

} // namespace protlm::inline v0
