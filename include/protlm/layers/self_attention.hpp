#pragma once

#include <protlm/layers/linear.hpp>
#include <protlm/ops/attention.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where the projections of one self-attention lie in a table.
struct SelfAttentionIds {
    LinearIds query, key, value, output;
};

/// Names of the four projections below a layer's own name; they differ from model to model.
struct SelfAttentionNames {
    std::string query = "attention.self.query", key = "attention.self.key", value = "attention.self.value",
                output = "attention.output.dense";
};

/// Adds the four projections; query, key and value are placed together, so that one product serves all three.
inline SelfAttentionIds add_self_attention(ParameterTable &table, std::string const &layer,
                                           SelfAttentionNames const &names, index_t width, double deviation) {
    SelfAttentionIds ids;
    ids.query = add_linear(table, layer + names.query, width, width, deviation);
    ids.key = add_linear(table, layer + names.key, width, width, deviation);
    ids.value = add_linear(table, layer + names.value, width, width, deviation);
    table.place_together({ids.query.weight, ids.key.weight, ids.value.weight});
    table.place_together({ids.query.bias, ids.key.bias, ids.value.bias});
    ids.output = add_linear(table, layer + names.output, width, width, deviation);
    return ids;
}

/// Rates of the dropouts of an encoder's layers.
struct DropoutRates {
    double hidden = 0.0;    // of what attention and feed-forward add
    double attention = 0.0; // of attention probabilities
};

/// Multi-head self-attention up to its output projection and residual: Vaswani et al., arXiv 1706.03762, section 3.2.
template <Scalar S, class Exec>
struct SelfAttention {
    Linear<S, Exec> projection; // (3 C, C)
    Linear<S, Exec> output;     // (C, C)
    index_t heads = 1;

    SelfAttention() = default;
    SelfAttention(Parameters<S, Exec> const &parameters, SelfAttentionIds const &ids, index_t head_count)
        : projection(parameters, {ids.query, ids.key, ids.value}), output(parameters, ids.output), heads(head_count) {}

    index_t width() const { return output.weight.rows(); }

    /// x (T, C) + dropout(output(attention(x))).
    template <class Context, class A, class Score, class Mask>
    auto operator()(Context &context, Tensor<A, Exec> const &x, Segments<Exec> const &segments, Score const &score,
                    Mask const &mask, DropoutRates const &rates) const {
        index_t const c = width();
        auto const qkv = projection(context, x);
        auto const mixed = attention<Context, A>(context, {qkv, 0}, {qkv, c}, {qkv, 2 * c}, segments, segments, heads,
                                                 c / heads, score, mask, attention_products<S>, rates.attention);
        return output.with_residual(context, mixed, x, rates.hidden);
    }
};

} // namespace protlm::inline v0
