#pragma once

#include "attention_reference.hpp"

#include <protlm/ops/permutation_mask.hpp>
#include <protlm/ops/relative_score.hpp>

#include <algorithm>
#include <functional>

namespace protlm::test {

/// Attention with the relative term as the tests pose it. Arguments: q, k, v, r, r_w, r_r [, r_s, seg_embed].
struct RelativeCase {
    AttentionCase shape;
    index_t ahead = 0;       // how far r reaches after the query; behind is the longest of keys - 1
    index_t second = -1;     // first sequence of the backward half, if any
    bool segments = false;   // with segment term
    bool positioned = false; // queries at places of their own, else the last rows of the keys
    index_t types = 2;

    index_t behind() const { return std::max<index_t>(*std::max_element(shape.keys.begin(), shape.keys.end()) - 1, 0); }
    index_t reach() const { return behind() + 1 + ahead; }

    std::vector<Argument> arguments(std::uint64_t seed = 1) const {
        auto all = shape.arguments(seed);
        index_t const columns = shape.columns();
        all.push_back(argument(Role::tensor, reach() * (second < 0 ? 1 : 2), columns, seed + 3));
        all.push_back(argument(Role::weight, shape.heads, shape.width, seed + 4));
        all.push_back(argument(Role::weight, shape.heads, shape.width, seed + 5));
        if (segments) {
            all.push_back(argument(Role::weight, shape.heads, shape.width, seed + 6));
            all.push_back(argument(Role::weight, 2, columns, seed + 7));
        }
        return all;
    }

    /// Ascending places among the keys: steps of 1, 2 and, seldom, very many.
    std::vector<std::int32_t> positions() const {
        std::vector<std::int32_t> places;
        for (std::size_t b = 0; b < shape.queries.size(); ++b) {
            index_t place = shape.keys[b] / 7, left = shape.queries[b];
            for (index_t i = 0; i < shape.queries[b]; ++i, --left) {
                places.push_back(static_cast<std::int32_t>(place));
                index_t const step = i % 17 == 9 ? 70 : i % 3 == 1 ? 2 : 1;
                place = std::min(place + step, std::max<index_t>(shape.keys[b] - left + 1, place));
            }
        }
        return places;
    }
    std::vector<std::int32_t> some_types(index_t rows, std::uint64_t seed) const {
        std::vector<std::int32_t> result;
        for (double value : random_values(rows, seed))
            result.push_back(static_cast<std::int32_t>((value + 1) * 0.4999 * static_cast<double>(types)));
        return result;
    }
    std::vector<std::int32_t> query_types() const { return some_types(shape.query_rows(), 31); }
    std::vector<std::int32_t> key_types() const { return some_types(shape.key_rows(), 32); }
};

/// The score of a case from its operands.
template <class Context, class Operands>
auto relative_score(Context &context, RelativeCase const &c, Operands const &o) {
    using A = typename std::decay_t<decltype(o.tensor(0))>::value_type;
    using S = typename std::decay_t<decltype(o.weight(4))>::scalar_type;
    RelativeScore<S, typename Context::execution_space> score(context, o.tensor(3), c.behind(), o.weight(4),
                                                              o.weight(5), static_cast<A>(c.shape.scale));
    if (c.second >= 0)
        score = score.with_backward_half(c.second);
    if (c.positioned)
        score = score.with_positions(context.template upload<std::int32_t>(c.positions()));
    if (c.segments)
        score = score.with_segments(context.template upload<std::int32_t>(c.query_types()),
                                    context.template upload<std::int32_t>(c.key_types()), o.weight(6), o.weight(7));
    return score;
}

/// Attention of a case; `make_mask(context)`. @param rate of dropout
template <class MakeMask>
auto relative_attention(RelativeCase const &c, MakeMask make_mask, double rate = 0.0) {
    return [c, make_mask, rate](auto &context, auto const &o) {
        auto const queries = make_segments(context, AttentionCase::offsets(c.shape.queries));
        auto const keys = make_segments(context, AttentionCase::offsets(c.shape.keys));
        return attention(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0}, Columns{o.tensor(2), 0}, queries,
                         keys, c.shape.heads, c.shape.width, relative_score(context, c, o), make_mask(context),
                         attention_products<float>, rate);
    };
}

inline auto const full_mask = [](auto &) { return FullMask{}; };
inline auto const causal_mask = [](auto &) { return CausalMask{}; };

/// The same written down pair by pair, with all gradients, in double.
struct QuadraticRelative {
    /// Whether query i of sequence b sees key j.
    using Sees = std::function<bool(std::size_t b, index_t i, index_t j)>;
    RelativeCase c;
    Sees sees = [](std::size_t, index_t, index_t) { return true; };

    std::vector<double> out = {};
    std::vector<std::vector<double>> gradients = {}; // of every argument
    std::vector<std::int32_t> positions = {}, query_types = {}, key_types = {};

    void run(std::vector<Argument> const &all, std::vector<double> const &g) {
        out.assign(all[0].values.size(), 0.0);
        gradients.clear();
        for (auto const &one : all)
            gradients.emplace_back(one.values.size(), 0.0);
        positions = c.positions();
        query_types = c.query_types();
        key_types = c.key_types();
        index_t q_row = 0, k_row = 0;
        for (std::size_t b = 0; b < c.shape.queries.size(); ++b) {
            for (index_t i = 0; i < c.shape.queries[b]; ++i)
                for (index_t head = 0; head < c.shape.heads; ++head)
                    run_row(all, g, b, i, q_row, k_row, head);
            q_row += c.shape.queries[b];
            k_row += c.shape.keys[b];
        }
    }

  private:
    struct Pair {
        std::size_t key, encoding, segment; // first elements of the head
        bool encoded, same;
    };
    std::size_t element(index_t row, index_t head) const {
        return static_cast<std::size_t>(row * c.shape.columns() + head * c.shape.width);
    }
    Pair pair(std::size_t b, index_t i, index_t j, index_t q_row, index_t k_row, index_t head) const {
        index_t const place =
            c.positioned ? positions[static_cast<std::size_t>(q_row + i)] : i + c.shape.keys[b] - c.shape.queries[b];
        index_t const p = c.behind() - place + j;
        bool const second = c.second >= 0 && static_cast<index_t>(b) >= c.second;
        bool const same =
            query_types[static_cast<std::size_t>(q_row + i)] == key_types[static_cast<std::size_t>(k_row + j)];
        bool const encoded = p >= 0 && p < c.reach();
        return {element(k_row + j, head), encoded ? element(p + (second ? c.reach() : 0), head) : 0,
                element(same ? 0 : 1, head), encoded, same};
    }
    double score(std::vector<Argument> const &all, Pair const &at, std::size_t q, std::size_t head) const {
        double sum = 0;
        for (std::size_t d = 0; d < static_cast<std::size_t>(c.shape.width); ++d) {
            double const query = all[0].values[q + d];
            sum += (query + all[4].values[head + d]) * all[1].values[at.key + d];
            if (at.encoded)
                sum += (query + all[5].values[head + d]) * all[3].values[at.encoding + d];
            if (c.segments)
                sum += (query + all[6].values[head + d]) * all[7].values[at.segment + d];
        }
        return c.shape.scale * sum;
    }
    void run_row(std::vector<Argument> const &all, std::vector<double> const &g, std::size_t b, index_t i,
                 index_t q_row, index_t k_row, index_t head) {
        auto const width = static_cast<std::size_t>(c.shape.width);
        std::size_t const q = element(q_row + i, head), h = element(0, head);
        std::vector<double> p(static_cast<std::size_t>(c.shape.keys[b]), 0.0);
        double total = 0, mean = 0;
        for (std::size_t j = 0; j < p.size(); ++j)
            if (sees(b, i, static_cast<index_t>(j)))
                total += p[j] = std::exp(score(all, pair(b, i, static_cast<index_t>(j), q_row, k_row, head), q, h));
        if (total == 0)
            return; // sees nothing: zero, without gradient
        std::vector<double> dp(p.size(), 0.0);
        for (std::size_t j = 0; j < p.size(); ++j) {
            p[j] /= total;
            std::size_t const v = element(k_row + static_cast<index_t>(j), head);
            for (std::size_t d = 0; d < width; ++d) {
                out[q + d] += p[j] * all[2].values[v + d];
                dp[j] += g[q + d] * all[2].values[v + d];
                gradients[2][v + d] += p[j] * g[q + d];
            }
            mean += dp[j] * p[j];
        }
        for (std::size_t j = 0; j < p.size(); ++j)
            add_pair(all, pair(b, i, static_cast<index_t>(j), q_row, k_row, head), q, h,
                     c.shape.scale * p[j] * (dp[j] - mean));
    }
    void add_pair(std::vector<Argument> const &all, Pair const &at, std::size_t q, std::size_t h, double ds) {
        for (std::size_t d = 0; d < static_cast<std::size_t>(c.shape.width); ++d) {
            double const query = all[0].values[q + d];
            auto const term = [&](std::size_t bias, std::size_t other, std::size_t at_other) {
                gradients[0][q + d] += ds * all[other].values[at_other + d];
                gradients[bias][h + d] += ds * all[other].values[at_other + d];
                gradients[other][at_other + d] += ds * (query + all[bias].values[h + d]);
            };
            term(4, 1, at.key);
            if (at.encoded)
                term(5, 3, at.encoding);
            if (c.segments)
                term(6, 7, at.segment);
        }
    }
};

/// Output and all gradients of a case against the pairwise definition, onto nothing and onto what is there.
template <class Case, class MakeMask>
void check_relative(std::string const &name, RelativeCase const &c, MakeMask make_mask, QuadraticRelative::Sees sees) {
    auto const arguments = representable<typename Case::scalar>(c.arguments());
    QuadraticRelative reference{c, sees};
    auto const g = random_values(c.shape.query_rows() * c.shape.columns(), 55);
    reference.run(arguments, g);
    double const allowed = attention_tolerance<Case>();
    auto const build = relative_attention(c, make_mask);
    auto const columns = static_cast<std::size_t>(c.shape.columns());
    auto const out = forward<Case, typename Case::Inference>(arguments, build);
    BOOST_TEST(compare_scaled(name + ", out", as_double(out), reference.out, allowed, columns));
    for (bool existing : {false, true}) {
        auto const gradients = backward<Case>(arguments, build, g, existing);
        for (std::size_t i = 0; i < arguments.size(); ++i) // sums over all pairs cancel: ten times the tolerance
            BOOST_TEST(compare_scaled(name + ", gradient of argument " + std::to_string(i), gradients[i],
                                      reference.gradients[i], i < 3 ? 2 * allowed : 10 * allowed));
    }
}

inline bool sees_all(std::size_t, index_t, index_t) { return true; }

} // namespace protlm::test
