#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/layers/encoder_layer.hpp>
#include <protlm/ops/attention_probabilities.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where one encoder layer lies in a table.
struct PostNormLayerIds {
    SelfAttentionIds attention;
    LayerNormIds attention_norm, output_norm;
    LinearIds inner, output;
};

/// Names of a layer's parts below the layer's own name. The defaults are those of BERT and ELECTRA.
struct PostNormLayerNames {
    SelfAttentionNames attention = {};
    std::string attention_norm = "attention.output.LayerNorm", inner = "intermediate.dense", output = "output.dense",
                output_norm = "output.LayerNorm";
};

/// Adds one encoder layer: attention and feed-forward, each with its normalisation.
/// @param layer the layer's own name, with a dot at its end @param width C @param inner_width F
inline PostNormLayerIds add_post_norm_layer(ParameterTable &table, std::string const &layer,
                                            PostNormLayerNames const &names, index_t width, index_t inner_width,
                                            double deviation) {
    PostNormLayerIds ids;
    ids.attention = add_self_attention(table, layer, names.attention, width, deviation);
    ids.attention_norm = add_layer_norm(table, layer + names.attention_norm, width);
    ids.inner = add_linear(table, layer + names.inner, inner_width, width, deviation);
    ids.output = add_linear(table, layer + names.output, width, inner_width, deviation);
    ids.output_norm = add_layer_norm(table, layer + names.output_norm, width);
    return ids;
}

/// The layer at `ids`. @param heads H @param eps of both normalisations
template <Scalar S, class Exec>
PostNormLayer<S, Exec> make_post_norm_layer(Parameters<S, Exec> const &parameters, PostNormLayerIds const &ids,
                                            index_t heads, Activation activation, double eps) {
    return {SelfAttention<S, Exec>(parameters, ids.attention, heads),
            LayerNorm<S, Exec>(parameters, ids.attention_norm, eps),
            FeedForward<S, Exec>{Linear<S, Exec>(parameters, ids.inner), Linear<S, Exec>(parameters, ids.output),
                                 activation},
            LayerNorm<S, Exec>(parameters, ids.output_norm, eps)};
}

/// One layer of an encoder, (T, C) to (T, C); with `again` its activations are not kept but computed once more in the
/// backward.
template <class Context, Scalar S, class Exec, class A, class Score, class Mask>
Tensor<A, Exec> run_layer(Context &context, PostNormLayer<S, Exec> const &layer, Tensor<A, Exec> const &x,
                          Segments<Exec> const &segments, Score const &score, Mask const &mask,
                          DropoutRates const &rates, bool again) {
    auto const block = [layer, segments, score, mask, rates](Context &inner, Tensor<A, Exec> const &input) {
        return layer(inner, input, segments, score, mask, rates);
    };
    return again ? recompute(context, block, x) : block(context, x);
}

/// Attention map (H L, L) of one sequence for the input x (T, C) of a layer: row h L + i is head h, query i.
template <class Context, Scalar S, class Exec, class A, class Score>
Tensor<A, Exec> layer_attention_map(Context &context, PostNormLayer<S, Exec> const &layer, Tensor<A, Exec> const &x,
                                    Segments<Exec> const &segments, Score const &score, index_t sequence) {
    auto const &attention = layer.self_attention;
    auto const qkv = attention.projection(context, x);
    return attention_probabilities<Context, A>(context, {qkv, 0}, {qkv, attention.width()}, segments, segments,
                                               sequence, attention.heads, attention.width() / attention.heads, score,
                                               FullMask{});
}

} // namespace protlm::inline v0
