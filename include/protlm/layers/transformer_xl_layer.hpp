#pragma once

#include <protlm/layers/layer_norm.hpp>
#include <protlm/layers/linear.hpp>
#include <protlm/layers/relative_rows.hpp>
#include <protlm/ops/attention.hpp>
#include <protlm/ops/relative_score.hpp>

#include <cmath>
#include <string>

namespace protlm::inline v0 {

/// Extents of a Transformer-XL layer; H D need not be C.
struct TransformerXlShape {
    index_t width = 0;                 // C
    index_t heads = 1, head_width = 0; // H, D
    index_t inner = 0;                 // F
    index_t projected() const { return heads * head_width; }
};

/// How a Transformer-XL's tensors begin: weights, and the deviation of the norms' around 1.
struct TransformerXlStart {
    Initialiser weights;
    double norm_deviation = 0.0;
};

/// Where one layer lies in a table.
struct TransformerXlLayerIds {
    ParameterId r_r_bias = -1, r_w_bias = -1; // (H, D)
    ParameterId qkv = -1, output = -1, position = -1;
    LayerNormIds attention_norm, output_norm;
    LinearIds inner, outer;
};

/// Adds `name`.dec_attn.* and `name`.pos_ff.* in Hugging Face's order.
/// @param shared its two biases, where all layers have the same; -1: of its own
inline TransformerXlLayerIds add_transformer_xl_layer(ParameterTable &table, std::string const &name,
                                                      TransformerXlShape const &shape, TransformerXlStart const &start,
                                                      TransformerXlLayerIds const &shared = {}) {
    std::string const attention = name + ".dec_attn.", ff = name + ".pos_ff.";
    index_t const width = shape.width, projected = shape.projected();
    auto const bias = [&](char const *part, ParameterId given) {
        if (given < 0)
            return table.add(attention + part, {shape.heads, shape.head_width}, start.weights);
        table.alias(given, attention + part);
        return given;
    };
    auto const norm = [&](std::string const &part) {
        return LayerNormIds{table.add(part + ".weight", {width}, Initialiser::normal(start.norm_deviation, 1.0)),
                            table.add(part + ".bias", {width}, Initialiser::zeros())};
    };
    auto const affine = [&](std::string const &part, index_t outputs, index_t inputs) {
        return LinearIds{table.add(part + ".weight", {outputs, inputs}, start.weights),
                         table.add(part + ".bias", {outputs}, Initialiser::zeros())};
    };
    TransformerXlLayerIds ids;
    ids.r_r_bias = bias("r_r_bias", shared.r_r_bias);
    ids.r_w_bias = bias("r_w_bias", shared.r_w_bias);
    ids.qkv = table.add(attention + "qkv_net.weight", {3 * projected, width}, start.weights);
    ids.output = table.add(attention + "o_net.weight", {width, projected}, start.weights);
    ids.attention_norm = norm(attention + "layer_norm");
    ids.position = table.add(attention + "r_net.weight", {projected, width}, start.weights);
    ids.inner = affine(ff + "CoreNet.0", shape.inner, width);
    ids.outer = affine(ff + "CoreNet.3", width, shape.inner);
    ids.output_norm = norm(ff + "layer_norm");
    return ids;
}

/// One layer of Transformer-XL: attention over a memory and the segment itself with relative positions, then
/// feed-forward, each with residual and norm. Dai et al., arXiv 1901.02860, section 3.
template <Scalar S, class Exec>
struct TransformerXlLayer {
    using A = accumulate_t<S>;
    using Hidden = Tensor<A, Exec>;

    TransformerXlShape shape;
    Weight<S, Exec> qkv, position; // (3 H D, C), (H D, C)
    Weight<S, Exec> r_w_bias, r_r_bias;
    Linear<S, Exec> output, inner, outer; // (C, H D), (F, C), (C, F)
    LayerNorm<S, Exec> attention_norm, output_norm;
    bool norm_first = false; // before attention and feed-forward instead of behind their residuals
    double dropout_rate = 0.0, attention_dropout_rate = 0.0; // the latter of attention probabilities

    TransformerXlLayer(Parameters<S, Exec> const &parameters, TransformerXlLayerIds const &ids,
                       TransformerXlShape const &extents, double eps)
        : shape(extents), qkv(parameters.weight(ids.qkv)), position(parameters.weight(ids.position)),
          r_w_bias(parameters.weight(ids.r_w_bias)), r_r_bias(parameters.weight(ids.r_r_bias)),
          output(parameters, LinearIds{ids.output, -1}), inner(parameters, ids.inner), outer(parameters, ids.outer),
          attention_norm(parameters, ids.attention_norm, eps), output_norm(parameters, ids.output_norm, eps) {}

    /// What the streams of a layer share, and the content's own queries.
    struct Projected {
        Columns<A, Exec> q, k, v; // columns of (T, .) and of (Tk, .)
        Hidden r;                 // (P, H D)
    };

    /// @param x (T, C) @param memory (M, C), or empty as `keys` says
    template <class Context>
    Projected project(Context &context, Hidden const &x, Hidden const &memory,
                      RelativeKeys<A, Exec> const &keys) const {
        index_t const width = shape.projected();
        Hidden const normed = normed_input(context, x);
        auto const r = linear<Context, S>(context, keys.encodings, position, {});
        if (!keys.joined) {
            auto const all = linear<Context, S>(context, normed, qkv, {});
            return {{all, 0}, {all, width}, {all, 2 * width}, r};
        }
        auto const q = linear<Context, S>(context, normed, qkv.slice(0, width), {});
        auto const rows = concatenate(context, normed_input(context, memory), normed, *keys.joined);
        auto const kv = linear<Context, S>(context, rows, qkv.slice(width, 2 * width), {});
        return {{q, 0}, {kv, 0}, {kv, width}, r};
    }

    /// The queries of another stream, (R, C) to (R, H D).
    template <class Context>
    Columns<A, Exec> queries(Context &context, Hidden const &x) const {
        return {linear<Context, S>(context, normed_input(context, x), qkv.slice(0, shape.projected()), {}), 0};
    }

    /// One stream, x (R, C) to (R, C). @param asked its queries
    template <class Context, class Mask>
    Hidden stream(Context &context, Hidden const &x, Columns<A, Exec> const &asked, Projected const &projected,
                  RelativeQueries<Exec> const &rows, RelativeKeys<A, Exec> const &keys, Mask const &mask) const {
        DropoutScope<Context> const scope(context, rows.samples, rows.positions);
        auto const scale = static_cast<A>(1.0 / std::sqrt(static_cast<double>(shape.head_width)));
        RelativeScore<S, Exec> score(context, projected.r, keys.behind, r_w_bias, r_r_bias, scale);
        if (rows.places.size() > 0)
            score = score.with_positions(rows.places);
        auto const mixed =
            attention<Context, A>(context, asked, projected.k, projected.v, rows.segments, keys.segments, shape.heads,
                                  shape.head_width, score, mask, attention_products<S>, attention_dropout_rate);
        auto const h = output.with_residual(context, mixed, x, dropout_rate);
        return feed_forward(context, norm_first ? h : attention_norm(context, h));
    }

  private:
    template <class Context>
    Hidden normed_input(Context &context, Hidden const &x) const {
        return norm_first ? attention_norm(context, x) : x;
    }
    template <class Context>
    Hidden feed_forward(Context &context, Hidden const &h) const {
        auto const u = inner(context, norm_first ? output_norm(context, h) : h, Activation::relu);
        auto const y = outer.with_residual(context, dropout(context, u, dropout_rate), h, dropout_rate);
        return norm_first ? y : output_norm(context, y);
    }
};

} // namespace protlm::inline v0
