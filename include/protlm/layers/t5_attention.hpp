#pragma once

#include <protlm/layers/key_value_cache.hpp>
#include <protlm/layers/linear.hpp>
#include <protlm/layers/rms_norm.hpp>
#include <protlm/ops/attention.hpp>

#include <cmath>
#include <string>

namespace protlm::inline v0 {

/// Heads H and the width D of each; H D need not be the model's width.
struct HeadShape {
    index_t heads = 1, width = 1;
    index_t total() const { return heads * width; }
};

/// Where one attention and the norm in front of it lie in a table.
struct T5AttentionIds {
    LinearIds query, key, value, output;
    ParameterId norm = -1;
};

namespace detail {

inline LinearIds add_t5_map(ParameterTable &table, std::string const &name, index_t outputs, index_t inputs,
                            double deviation) {
    return {table.add(name + ".weight", {outputs, inputs}, Initialiser::normal(deviation)), -1};
}

} // namespace detail

/// Adds q, k, v and o without bias below `name`; deviations are Hugging Face's, so that scores begin at order one.
/// @param width C @param factor initializer_factor
inline T5AttentionIds add_t5_attention(ParameterTable &table, std::string const &name, index_t width, HeadShape shape,
                                       double factor) {
    double const c = static_cast<double>(width), d = static_cast<double>(shape.width);
    T5AttentionIds ids;
    ids.query = detail::add_t5_map(table, name + ".q", shape.total(), width, factor / std::sqrt(c * d));
    ids.key = detail::add_t5_map(table, name + ".k", shape.total(), width, factor / std::sqrt(c));
    ids.value = detail::add_t5_map(table, name + ".v", shape.total(), width, factor / std::sqrt(c));
    double const inner = static_cast<double>(shape.total());
    ids.output = detail::add_t5_map(table, name + ".o", width, shape.total(), factor / std::sqrt(inner));
    return ids;
}

/// x + dropout(o(attention(norm(x)))) within a stack; attention probabilities are dropped at the same rate. Raffel et
/// al., arXiv 1910.10683, section 2.1.
template <Scalar S, class Exec>
struct T5SelfAttention {
    RmsNorm<S, Exec> norm;
    Linear<S, Exec> projection; // (3 H D, C): q, k and v
    Linear<S, Exec> output;     // (C, H D)
    HeadShape shape;

    /// (T, C) to (T, C). @param score T5's bucket bias
    template <class Context, class A, class Score, class Mask>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Segments<Exec> const &segments, Score const &score,
                    Mask const &mask, double dropout_rate) const {
        index_t const inner = shape.total();
        auto const qkv = projection(context, norm(context, x));
        auto const mixed =
            attention<Context, A>(context, {qkv, 0}, {qkv, inner}, {qkv, 2 * inner}, segments, segments, shape.heads,
                                  shape.width, score, mask, attention_products<S>, dropout_rate);
        return output.with_residual(context, mixed, x, dropout_rate);
    }

    /// One more token of each text, (R, C) to (R, C), whose keys and values join the cache.
    template <class Context, class A, class Score>
    auto step(Context &context, Tensor<A, Exec> const &x, KeyValueCache<A, Exec> &cache, index_t layer,
              Score const &score) const {
        index_t const inner = shape.total();
        auto const qkv = projection(context, norm(context, x));
        cache.append(context, layer, Rows<A const>(qkv.value()).columns(inner, 2 * inner));
        auto const &past = cache.values(layer);
        auto const mixed =
            attention<Context, A>(context, {qkv, 0}, {past, 0}, {past, inner}, cache.queries(), cache.keys(),
                                  shape.heads, shape.width, score, CausalMask{}, attention_products<S>);
        return output(context, mixed, Activation::none, x);
    }
};

/// x + dropout(o(attention(norm(x), encoder))) without any bias. @see T5SelfAttention
template <Scalar S, class Exec>
struct T5CrossAttention {
    RmsNorm<S, Exec> norm;
    Linear<S, Exec> query;     // (H D, C)
    Linear<S, Exec> key_value; // (2 H D, C)
    Linear<S, Exec> output;    // (C, H D)
    HeadShape shape;

    /// Keys and values (Ts, 2 H D) of the encoder's output (Ts, C).
    template <class Context, class A>
    auto keys_and_values(Context &context, Tensor<A, Exec> const &encoded) const {
        return key_value(context, encoded);
    }

    /// (T, C) to (T, C). @param past from keys_and_values @param queries offsets of T @param keys offsets of Ts
    template <class Context, class A>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Tensor<A, Exec> const &past,
                    Segments<Exec> const &queries, Segments<Exec> const &keys, double dropout_rate) const {
        auto const q = query(context, norm(context, x));
        auto const mixed =
            attention<Context, A>(context, {q, 0}, {past, 0}, {past, shape.total()}, queries, keys, shape.heads,
                                  shape.width, ScaledDot<A>{A(1)}, FullMask{}, attention_products<S>, dropout_rate);
        return output.with_residual(context, mixed, x, dropout_rate);
    }
};

} // namespace protlm::inline v0
