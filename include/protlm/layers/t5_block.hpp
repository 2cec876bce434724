#pragma once

#include <protlm/layers/t5_attention.hpp>
#include <protlm/layers/t5_feed_forward.hpp>

namespace protlm::inline v0 {

/// Where one block lies in a table; an encoder's has no cross attention.
struct T5BlockIds {
    T5AttentionIds self_attention, cross_attention;
    T5FeedForwardIds feed_forward;
};

/// What all blocks of a model have in common.
struct T5BlockShape {
    index_t width = 1; // C
    HeadShape heads;
    double eps = 1e-6;
    Activation activation = Activation::relu;
    double dropout_rate = 0.0;
};

/// One block of T5's encoder: self-attention and feed-forward, each behind a norm and added to its input.
/// Raffel et al., arXiv 1910.10683, section 2.1.
template <Scalar S, class Exec>
struct T5EncoderBlock {
    T5SelfAttention<S, Exec> self_attention;
    T5FeedForward<S, Exec> feed_forward;
    double dropout_rate = 0.0;

    T5EncoderBlock(Parameters<S, Exec> const &p, T5BlockIds const &ids, T5BlockShape const &shape)
        : self_attention{{p, ids.self_attention.norm, shape.eps},
                         {p, {ids.self_attention.query, ids.self_attention.key, ids.self_attention.value}},
                         {p, ids.self_attention.output},
                         shape.heads},
          feed_forward(p, ids.feed_forward, shape.eps, shape.activation), dropout_rate(shape.dropout_rate) {}

    /// (T, C) to (T, C).
    template <class Context, class A, class Score, class Mask>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Segments<Exec> const &segments, Score const &score,
                    Mask const &mask) const {
        return feed_forward(context, self_attention(context, x, segments, score, mask, dropout_rate), dropout_rate);
    }
};

/// One block of T5's decoder: causal self-attention, attention over the encoder's output, feed-forward.
template <Scalar S, class Exec>
struct T5DecoderBlock {
    T5SelfAttention<S, Exec> self_attention;
    T5CrossAttention<S, Exec> cross_attention;
    T5FeedForward<S, Exec> feed_forward;
    double dropout_rate = 0.0;

    T5DecoderBlock(Parameters<S, Exec> const &p, T5BlockIds const &ids, T5BlockShape const &shape)
        : self_attention{{p, ids.self_attention.norm, shape.eps},
                         {p, {ids.self_attention.query, ids.self_attention.key, ids.self_attention.value}},
                         {p, ids.self_attention.output},
                         shape.heads},
          cross_attention{{p, ids.cross_attention.norm, shape.eps},
                          {p, ids.cross_attention.query},
                          {p, {ids.cross_attention.key, ids.cross_attention.value}},
                          {p, ids.cross_attention.output},
                          shape.heads},
          feed_forward(p, ids.feed_forward, shape.eps, shape.activation), dropout_rate(shape.dropout_rate) {}

    /// (T, C) to (T, C). @param encoded the encoder's output (Ts, C) @param sources offsets of Ts
    template <class Context, class A, class Score>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Segments<Exec> const &segments,
                    Tensor<A, Exec> const &encoded, Segments<Exec> const &sources, Score const &score) const {
        auto const own = self_attention(context, x, segments, score, CausalMask{}, dropout_rate);
        auto const past = cross_attention.keys_and_values(context, encoded);
        auto const both = cross_attention(context, own, past, segments, sources, dropout_rate);
        return feed_forward(context, both, dropout_rate);
    }
};

} // namespace protlm::inline v0
