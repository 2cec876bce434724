#include "relative_reference.hpp"

namespace protlm::test {
namespace {

// Same-length windows and permutations: against their definitions, pair by pair.
BOOST_AUTO_TEST_SUITE(attention_masks)

using FloatAndDouble = DefaultOpCases<float, double>;

/// Hugging Face's rule (transformers 4.35, Transformer-XL), as a matrix of ones above one diagonal and below another.
bool same_length_sees(index_t i, index_t j, index_t queries, index_t keys, index_t mem_len) {
    index_t const memory = keys - queries, mask_len = keys - mem_len;
    index_t const shift = mask_len > 0 ? queries - mask_len : queries;
    bool const hidden = j - i >= 1 + memory || j - i <= -shift; // triu(ones, 1 + memory) + tril(ones, -shift)
    return !hidden;
}

/// The ranges that skip tiles hold exactly the visible pairs at their ends.
template <class Mask>
void check_ranges(Mask const &mask, AttentionPlace const &place) {
    for (index_t i = 0; i < place.queries; ++i)
        for (index_t j = 0; j < place.keys; ++j) {
            bool const inside = j >= mask.key_begin(place, i) && j < mask.key_end(place, i);
            BOOST_REQUIRE(!mask(place, i, j) ||
                          (inside && i >= mask.query_begin(place, j) && i < mask.query_end(place, j)));
            if (Mask::interval)
                BOOST_REQUIRE(mask(place, i, j) == inside);
        }
}

BOOST_AUTO_TEST_CASE(same_length_is_the_published_window) {
    for (index_t queries : {1, 4, 9})
        for (index_t memory : {0, 1, 5, 20})
            for (index_t mem_len : {0, 1, 5, 20, 100}) {
                AttentionPlace place;
                place.queries = queries;
                place.keys = queries + memory;
                SameLengthMask const mask{mem_len};
                for (index_t i = 0; i < queries; ++i)
                    for (index_t j = 0; j < place.keys; ++j)
                        BOOST_REQUIRE_EQUAL(mask(place, i, j), same_length_sees(i, j, queries, place.keys, mem_len));
                check_ranges(mask, place);
                check_ranges(CausalMask{}, place);
            }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(same_length_windows_skip_tiles, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {1, 0, 50, 200, 140, 390}, .keys = {41, 3, 90, 500, 140, 430}};
    for (index_t mem_len : {0, 40, 290, 1000}) {
        RelativeCase const c{.shape = shape};
        check_relative<Case>(
            "mem_len " + std::to_string(mem_len), c, [=](auto &) { return SameLengthMask{mem_len}; },
            [&](std::size_t b, index_t i, index_t j) {
                return same_length_sees(i, j, shape.queries[b], shape.keys[b], mem_len);
            });
    }
}

/// A random order of each sequence, about a third of its tokens targets.
struct Order {
    std::vector<std::int64_t> offsets;
    std::vector<std::int32_t> rank, is_target;
    std::vector<index_t> target_rows = {}, target_counts = {};

    Order(std::vector<index_t> const &lengths, std::uint64_t seed) : offsets(AttentionCase::offsets(lengths)) {
        auto const draw = random_values(offsets.back(), seed), chosen = random_values(offsets.back(), seed + 1);
        rank.resize(draw.size());
        for (std::size_t b = 0; b < lengths.size(); ++b) {
            index_t const before = static_cast<index_t>(target_rows.size());
            for (std::int64_t t = offsets[b]; t < offsets[b + 1]; ++t) {
                for (std::int64_t other = offsets[b]; other < offsets[b + 1]; ++other)
                    rank[static_cast<std::size_t>(t)] +=
                        draw[static_cast<std::size_t>(other)] < draw[static_cast<std::size_t>(t)];
                is_target.push_back(chosen[static_cast<std::size_t>(t)] < -0.3);
                if (is_target.back())
                    target_rows.push_back(t);
            }
            target_counts.push_back(static_cast<index_t>(target_rows.size()) - before);
        }
    }
    /// The rule of XLNet's data code for token `row` and another at `seen`, of the same sequence.
    bool sees(std::int64_t row, std::int64_t seen, bool content) const {
        auto const i = static_cast<std::size_t>(row), j = static_cast<std::size_t>(seen);
        return (content && i == j) || rank[j] < rank[i] + (is_target[i] ? 0 : 1);
    }
    template <class Context>
    auto on(Context &context) const {
        return make_two_stream_order(context, rank, is_target, offsets);
    }
};

std::vector<index_t> const token_lengths{1, 0, 30, 140, 61}, memories{3, 4, 0, 150, 20};

/// Both streams of an order over keys with a memory in front.
AttentionCase stream(Order const &order, bool content) {
    AttentionCase shape{.queries = content ? token_lengths : order.target_counts, .keys = token_lengths};
    for (std::size_t b = 0; b < shape.keys.size(); ++b)
        shape.keys[b] += memories[b];
    return shape;
}

auto permutation_mask(Order const &order, bool content, bool causal) {
    return [=](auto &context) {
        auto const made = order.on(context);
        return content ? made.content_mask(causal) : made.query_mask(causal);
    };
}

/// Whether query i of sequence b sees key j in a stream.
auto permutation_sees(Order const &order, bool content, bool causal) {
    return [=](std::size_t b, index_t i, index_t j) {
        index_t first_target = 0;
        for (std::size_t before = 0; before < b; ++before)
            first_target += order.target_counts[before];
        std::int64_t const row =
            content ? order.offsets[b] + i : order.target_rows[static_cast<std::size_t>(first_target + i)];
        std::int64_t const seen = order.offsets[b] + j - memories[b];
        return j < memories[b] || (order.sees(row, seen, content) && (!causal || seen <= row));
    };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(permutations_in_both_streams, Case, FloatAndDouble) {
    Order const order(token_lengths, 5);
    for (bool content : {true, false})
        for (bool causal : {false, true}) {
            RelativeCase const c{.shape = stream(order, content), .ahead = 290, .segments = causal};
            check_relative<Case>(std::string(content ? "content" : "query") + (causal ? ", causal" : ""), c,
                                 permutation_mask(order, content, causal), permutation_sees(order, content, causal));
        }
}

// A first target sees nothing: zero, no gradient, and nothing that is not a number.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_target_that_sees_nothing, Case, FloatAndDouble) {
    std::vector<std::int32_t> const rank{2, 0, 1, 3}, is_target{0, 1, 0, 1};
    RelativeCase const c{.shape = {.queries = {2}, .keys = {4}, .heads = 2, .width = 4}, .ahead = 3};
    auto const build = relative_attention(c, [&](auto &context) {
        return make_two_stream_order(context, rank, is_target, std::vector<std::int64_t>{0, 4}).query_mask();
    });
    auto const out = forward<Case, typename Case::Inference>(c.arguments(), build);
    auto const gradients = backward<Case>(c.arguments(), build, random_values(16, 3), false);
    for (std::size_t d = 0; d < 8; ++d) {
        BOOST_TEST(out[d] == 0);
        BOOST_TEST(gradients[0][d] == 0);
        BOOST_TEST(std::isfinite(out[8 + d]));
        BOOST_TEST(out[8 + d] != 0);
    }
    for (auto const &gradient : gradients)
        for (double value : gradient)
            BOOST_REQUIRE(std::isfinite(value));
}

BOOST_AUTO_TEST_CASE(orders_know_their_targets) {
    ReferenceCase::Inference context;
    std::vector<std::int32_t> const rank{1, 0, 2, 0, 1}, is_target{0, 1, 1, 0, 1};
    auto const order = make_two_stream_order(context, rank, is_target, std::vector<std::int64_t>{0, 3, 3, 5});
    auto const equals = [](auto const &buffer, std::vector<double> const &expected) {
        BOOST_TEST(host_values(buffer.view()) == expected, boost::test_tools::per_element());
    };
    equals(order.limit, {2, 0, 2, 1, 1});
    equals(order.targets, {1, 2, 4});
    equals(order.target_positions, {1, 2, 1});
    BOOST_TEST(order.target_segments.host == (std::vector<std::int64_t>{0, 2, 2, 3}), boost::test_tools::per_element());
    auto const keys = make_segments(context, std::vector<std::int64_t>{0, 10, 14, 16});
    equals(order.target_places(context, keys), {8, 9, 1});
    auto const few = make_segments(context, std::vector<std::int64_t>{0, 2, 2, 4});
    BOOST_CHECK_THROW(order.target_places(context, few), Error);
    BOOST_CHECK_THROW(make_two_stream_order(context, rank, is_target, std::vector<std::int64_t>{0, 4}), Error);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
