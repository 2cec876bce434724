#pragma once

#include <protlm/layers/layer_norm.hpp>
#include <protlm/layers/linear.hpp>
#include <protlm/layers/xlnet_rows.hpp>
#include <protlm/ops/attention.hpp>
#include <protlm/ops/linear_transposed.hpp>
#include <protlm/ops/relative_score.hpp>

#include <cmath>
#include <string>

namespace protlm::inline v0 {

/// Extents of an XLNet layer; H D need not be C.
struct XlnetShape {
    index_t width = 0;                 // C
    index_t heads = 1, head_width = 0; // H, D
    index_t inner = 0;                 // F
    index_t projected() const { return heads * head_width; }
};

/// Where one layer lies in a table.
struct XlnetLayerIds {
    ParameterId q = -1, k = -1, v = -1, o = -1, r = -1; // (C, H, D)
    ParameterId r_r_bias = -1, r_s_bias = -1, r_w_bias = -1, seg_embed = -1;
    LayerNormIds attention_norm, output_norm;
    LinearIds inner, output;
};

/// Adds `name`.rel_attn.* and `name`.ff.* in Hugging Face's order; all but norms and biases of ff are normal.
inline XlnetLayerIds add_xlnet_layer(ParameterTable &table, std::string const &name, XlnetShape const &shape,
                                     double deviation) {
    auto const normal = Initialiser::truncated_normal(deviation);
    std::string const attention = name + ".rel_attn.", ff = name + ".ff.";
    auto const projection = [&](char const *part) {
        return table.add(attention + part, {shape.width, shape.heads, shape.head_width}, normal);
    };
    auto const bias = [&](char const *part) {
        return table.add(attention + part, {shape.heads, shape.head_width}, normal);
    };
    XlnetLayerIds ids;
    ids.q = projection("q");
    ids.k = projection("k");
    ids.v = projection("v");
    ids.o = projection("o");
    ids.r = projection("r");
    ids.r_r_bias = bias("r_r_bias");
    ids.r_s_bias = bias("r_s_bias");
    ids.r_w_bias = bias("r_w_bias");
    ids.seg_embed = table.add(attention + "seg_embed", {2, shape.heads, shape.head_width}, normal);
    ids.attention_norm = add_layer_norm(table, attention + "layer_norm", shape.width);
    ids.output_norm = add_layer_norm(table, ff + "layer_norm", shape.width);
    ids.inner = add_linear(table, ff + "layer_1", shape.inner, shape.width, deviation);
    ids.output = add_linear(table, ff + "layer_2", shape.width, shape.inner, deviation);
    return ids;
}

/// One layer of XLNet: relative attention with a segment term, then feed-forward, each with residual and norm. Yang et
/// al., arXiv 1906.08237, sections 2.3 to 2.5.
template <Scalar S, class Exec>
struct XlnetLayer {
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>;

    XlnetShape shape;
    Weight<S, Exec> q, k, v, r; // (C, H D)
    Weight<S, Exec> o;          // (C, H D) as the affine maps have theirs: outputs first
    Weight<S, Exec> r_r_bias, r_s_bias, r_w_bias, seg_embed;
    LayerNorm<S, Exec> attention_norm, output_norm;
    Linear<S, Exec> inner, output;
    Activation activation = Activation::gelu;
    double dropout_rate = 0.0; // of attention probabilities as well

    XlnetLayer(Parameters<S, Exec> const &parameters, XlnetLayerIds const &ids, XlnetShape const &extents, double eps)
        : shape(extents), q(matrix(parameters, ids.q)), k(matrix(parameters, ids.k)), v(matrix(parameters, ids.v)),
          r(matrix(parameters, ids.r)), o(matrix(parameters, ids.o)), r_r_bias(parameters.weight(ids.r_r_bias)),
          r_s_bias(parameters.weight(ids.r_s_bias)), r_w_bias(parameters.weight(ids.r_w_bias)),
          seg_embed(parameters.weight(ids.seg_embed, 2, extents.projected())),
          attention_norm(parameters, ids.attention_norm, eps), output_norm(parameters, ids.output_norm, eps),
          inner(parameters, ids.inner), output(parameters, ids.output) {}

    /// What all streams of a layer share: keys, values and encodings, (Tk, H D) and (P, H D).
    struct Projected {
        Activations k, v, r;
    };
    /// @param x (Tk, C): a memory's rows and the content stream's
    template <class Context>
    Projected project(Context &context, Activations const &x, XlnetKeys<A, Exec> const &keys) const {
        return {linear_transposed<Context, S>(context, x, k), linear_transposed<Context, S>(context, x, v),
                linear_transposed<Context, S>(context, keys.encodings, r)};
    }

    /// The score of a stream's queries.
    template <class Context>
    auto score(Context &context, Projected const &projected, XlnetQueries<Exec> const &queries,
               XlnetKeys<A, Exec> const &keys) const {
        auto const scale = static_cast<A>(1.0 / std::sqrt(static_cast<double>(shape.head_width)));
        RelativeScore<S, Exec> relative(context, projected.r, keys.behind, r_w_bias, r_r_bias, scale);
        if (queries.places.size() > 0)
            relative = relative.with_positions(queries.places);
        if (keys.types.size() > 0)
            relative = relative.with_segments(queries.types, keys.types, r_s_bias, seg_embed);
        if (keys.backward_from >= 0)
            relative = relative.with_backward_half(keys.backward_from);
        return relative;
    }

    /// One stream, x (R, C) to (R, C).
    template <class Context, class Mask>
    Activations stream(Context &context, Activations const &x, Projected const &projected,
                       XlnetQueries<Exec> const &queries, XlnetKeys<A, Exec> const &keys, Mask const &mask) const {
        DropoutScope<Context> const scope(context, queries.samples, queries.positions);
        auto const asked = linear_transposed<Context, S>(context, x, q);
        auto const mixed = attention<Context, A>(
            context, {asked, 0}, {projected.k, 0}, {projected.v, 0}, queries.segments, keys.segments, shape.heads,
            shape.head_width, score(context, projected, queries, keys), mask, attention_products<S>, dropout_rate);
        Linear<S, Exec> projection;
        projection.weight = o;
        auto const h = attention_norm(context, projection.with_residual(context, mixed, x, dropout_rate));
        auto const u = dropout(context, inner(context, h, activation), dropout_rate);
        return output_norm(context, output.with_residual(context, u, h, dropout_rate));
    }

  private:
    Weight<S, Exec> matrix(Parameters<S, Exec> const &parameters, ParameterId id) const {
        return parameters.weight(id, shape.width, shape.projected());
    }
};

} // namespace protlm::inline v0
