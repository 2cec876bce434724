#pragma once

#include "attention_reference.hpp"

#include <protlm/ops/permutation_mask.hpp>
#include <protlm/ops/relative_score.hpp>

#include <algorithm>

namespace protlm::test {

/// Attention with the relative term as the tests pose it. Arguments: q, k, v, r, r_w, r_r [, r_s, seg_embed].
struct RelativeCase {
    AttentionCase shape;
    index_t ahead = 0;       // how far r reaches after the query; behind is the longest of keys - 1
    index_t second = -1;     // first sequence of the backward half, if any
    bool segments = false;   // with segment term
    bool positioned = false; // queries at places of their own, else the last rows of the keys
    index_t types = 2;

    index_t behind() const {
        return std::max<index_t>(*std::max_element(shape.keys.begin(), shape.keys.end()) - 1, 0);
    }
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

/// Attention of a case; `make_mask(context)`.
template <class MakeMask>
auto relative_attention(RelativeCase const &c, MakeMask make_mask) {
    return [c, make_mask](auto &context, auto const &o) {
        auto const queries = make_segments(context, AttentionCase::offsets(c.shape.queries));
        auto const keys = make_segments(context, AttentionCase::offsets(c.shape.keys));
        return attention(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0}, Columns{o.tensor(2), 0}, queries,
                         keys, c.shape.heads, c.shape.width, relative_score(context, c, o), make_mask(context));
    };
}

inline auto const full_mask = [](auto &) { return FullMask{}; };
inline auto const causal_mask = [](auto &) { return CausalMask{}; };

} // namespace protlm::test
