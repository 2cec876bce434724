#pragma once

#include "support.hpp"

#include <protlm/core/segments.hpp>
#include <protlm/ops/attention.hpp>

#include <functional>
#include <numeric>

namespace protlm::test {

/// Packed attention as the tests pose it: lengths of queries and keys of each sequence, heads and their width.
struct AttentionCase {
    std::vector<index_t> queries = {}, keys = {};
    index_t heads = 1, width = 4;
    double scale = 0.5;

    static std::vector<std::int64_t> offsets(std::vector<index_t> const &lengths) {
        std::vector<std::int64_t> result{0};
        for (index_t length : lengths)
            result.push_back(result.back() + length);
        return result;
    }
    index_t query_rows() const { return std::accumulate(queries.begin(), queries.end(), index_t(0)); }
    index_t key_rows() const { return std::accumulate(keys.begin(), keys.end(), index_t(0)); }
    index_t columns() const { return heads * width; }
    /// q, k and v as arguments of an op.
    std::vector<Argument> arguments(std::uint64_t seed = 1) const {
        return {argument(Role::tensor, query_rows(), columns(), seed),
                argument(Role::tensor, key_rows(), columns(), seed + 1),
                argument(Role::tensor, key_rows(), columns(), seed + 2)};
    }
};

/// Attention written down as in the paper, with a matrix of all probabilities, in double.
struct QuadraticAttention {
    AttentionCase shape;
    /// Whether query i of a sequence sees key j, both from 0, with so many queries and keys.
    std::function<bool(index_t i, index_t j, index_t queries, index_t keys)> sees = [](index_t, index_t, index_t,
                                                                                       index_t) { return true; };
    /// What is added to the score.
    std::function<double(index_t head, index_t i, index_t j, index_t queries, index_t keys)> bias =
        [](index_t, index_t, index_t, index_t, index_t) { return 0.0; };
    /// What the probability of query row t and key j of its sequence is multiplied with behind the softmax.
    std::function<double(index_t head, index_t t, index_t j)> factor = [](index_t, index_t, index_t) { return 1.0; };

    std::vector<double> out = {}, dq = {}, dk = {}, dv = {};
    /// Called with the gradient of every score.
    std::function<void(index_t head, index_t i, index_t j, index_t queries, index_t keys, double gradient)>
        on_gradient = [](index_t, index_t, index_t, index_t, index_t, double) {};

    /// out of q, k and v; with a gradient g of out also theirs.
    void run(std::vector<Argument> const &qkv, std::vector<double> const &g) {
        out.assign(qkv[0].values.size(), 0.0);
        dq.assign(qkv[0].values.size(), 0.0);
        dk.assign(qkv[1].values.size(), 0.0);
        dv.assign(qkv[1].values.size(), 0.0);
        index_t q_row = 0, k_row = 0;
        for (std::size_t b = 0; b < shape.queries.size(); ++b) {
            for (index_t head = 0; head < shape.heads; ++head)
                run_head(qkv, g, q_row, shape.queries[b], k_row, shape.keys[b], head);
            q_row += shape.queries[b];
            k_row += shape.keys[b];
        }
    }

  private:
    void run_head(std::vector<Argument> const &qkv, std::vector<double> const &g, index_t q_row, index_t n,
                  index_t k_row, index_t m, index_t head) {
        index_t const columns = shape.columns(), first = head * shape.width;
        double const *q = qkv[0].values.data() + q_row * columns + first;
        double const *k = qkv[1].values.data() + k_row * columns + first;
        double const *v = qkv[2].values.data() + k_row * columns + first;
        double *o = out.data() + q_row * columns + first;
        std::vector<double> p(static_cast<std::size_t>(m)), dp(static_cast<std::size_t>(m));
        for (index_t i = 0; i < n; ++i) {
            double total = 0;
            for (index_t j = 0; j < m; ++j) {
                double score = bias(head, i, j, n, m);
                for (index_t d = 0; d < shape.width; ++d)
                    score += shape.scale * q[i * columns + d] * k[j * columns + d];
                p[static_cast<std::size_t>(j)] = sees(i, j, n, m) ? std::exp(score) : 0.0;
                total += p[static_cast<std::size_t>(j)];
            }
            if (total == 0.0)
                continue; // sees nothing: zero, without gradient
            for (double &value : p)
                value /= total;
            for (index_t j = 0; j < m; ++j)
                for (index_t d = 0; d < shape.width; ++d)
                    o[i * columns + d] +=
                        p[static_cast<std::size_t>(j)] * factor(head, q_row + i, j) * v[j * columns + d];
            if (!g.empty())
                backward_row(q, k, v, g.data() + q_row * columns + first, p, dp, q_row, i, n, k_row, m, head);
        }
    }

    void backward_row(double const *q, double const *k, double const *v, double const *g, std::vector<double> const &p,
                      std::vector<double> &dp, index_t q_row, index_t i, index_t n, index_t k_row, index_t m,
                      index_t head) {
        index_t const columns = shape.columns(), first = head * shape.width;
        double mean = 0;
        for (index_t j = 0; j < m; ++j) {
            double dot = 0;
            for (index_t d = 0; d < shape.width; ++d)
                dot += g[i * columns + d] * v[j * columns + d];
            dp[static_cast<std::size_t>(j)] = dot * factor(head, q_row + i, j);
            mean += dp[static_cast<std::size_t>(j)] * p[static_cast<std::size_t>(j)];
        }
        for (index_t j = 0; j < m; ++j) {
            double const probability = p[static_cast<std::size_t>(j)];
            double const ds = probability * (dp[static_cast<std::size_t>(j)] - mean);
            on_gradient(head, i, j, n, m, ds);
            for (index_t d = 0; d < shape.width; ++d) {
                auto const query = static_cast<std::size_t>((q_row + i) * columns + first + d),
                           key = static_cast<std::size_t>((k_row + j) * columns + first + d);
                dq[query] += shape.scale * ds * k[j * columns + d];
                dk[key] += shape.scale * ds * q[i * columns + d];
                dv[key] += probability * factor(head, q_row + i, j) * g[i * columns + d];
            }
        }
    }
};

/// Attention of arguments 0, 1 and 2 with plain scaling. @param rate of dropout
template <class Mask, class Products = decltype(attention_products<float>)>
auto scaled_attention(AttentionCase shape, Mask mask, Products products = {}, double rate = 0.0) {
    return [=](auto &context, auto const &o) {
        using A = typename std::decay_t<decltype(o.tensor(0))>::value_type;
        auto const queries = make_segments(context, AttentionCase::offsets(shape.queries));
        auto const keys = make_segments(context, AttentionCase::offsets(shape.keys));
        return attention(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0}, Columns{o.tensor(2), 0}, queries,
                         keys, shape.heads, shape.width, ScaledDot<A>{static_cast<A>(shape.scale)}, mask, products,
                         rate);
    };
}

/// The same with T5's bias, whose table (buckets, heads) is argument 3.
template <class Mask, class Products = decltype(attention_products<float>)>
auto biased_attention(AttentionCase shape, Mask mask, bool bidirectional, index_t max_distance, Products products = {},
                      double rate = 0.0) {
    return [=](auto &context, auto const &o) {
        using A = typename std::decay_t<decltype(o.tensor(0))>::value_type;
        using Weights = std::decay_t<decltype(o.weight(3))>;
        using Exec = typename std::decay_t<decltype(context)>::execution_space;
        auto const queries = make_segments(context, AttentionCase::offsets(shape.queries));
        auto const keys = make_segments(context, AttentionCase::offsets(shape.keys));
        BucketBias<typename Weights::scalar_type, Exec> const score(context, o.weight(3), bidirectional, max_distance,
                                                                    static_cast<A>(shape.scale));
        return attention(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0}, Columns{o.tensor(2), 0}, queries,
                         keys, shape.heads, shape.width, score, mask, products, rate);
    };
}

/// Causal as the paper and CausalMask define it: queries are the last ones of the keys.
inline bool causal_sees(index_t i, index_t j, index_t queries, index_t keys) { return j <= i + keys - queries; }

/// Output and gradients of `build` against the plain reference.
template <class Case, class Build>
void check_attention(std::string const &name, std::vector<Argument> const &arguments, Build const &build,
                     QuadraticAttention reference, double allowed) {
    auto const g = random_values(reference.shape.query_rows() * reference.shape.columns(), 55);
    reference.run(arguments, g);
    auto const columns = static_cast<std::size_t>(reference.shape.columns());
    auto const out = forward<Case, typename Case::Inference>(arguments, build);
    BOOST_TEST(compare_scaled(name + ", out", as_double(out), reference.out, allowed, columns));
    auto const gradients = backward<Case>(arguments, build, g, false);
    auto const added = backward<Case>(arguments, build, g, true);
    std::vector<double> const *expected[] = {&reference.dq, &reference.dk, &reference.dv};
    for (std::size_t i = 0; i < 3; ++i) {
        std::string const label = name + ", gradient of " + "qkv"[i];
        BOOST_TEST(compare_scaled(label, gradients[i], *expected[i], allowed, columns));
        BOOST_TEST(compare_scaled(label + " onto an existing one", added[i], *expected[i], allowed, columns));
    }
}

/// double: sums of up to 2,000 terms in another order. float: the same with 6e-8, and scores whose rounding the
/// exponential passes on.
template <class Case>
double attention_tolerance() {
    return std::same_as<typename Case::accumulate, double> ? 1e-12 : 2e-5;
}

} // namespace protlm::test
