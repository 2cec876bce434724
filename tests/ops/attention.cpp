#include "attention_reference.hpp"

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(attention_op)

using FloatAndDouble = DefaultOpCases<float, double>;

std::string describe(AttentionCase const &shape) {
    return std::to_string(shape.heads) + " heads of " + std::to_string(shape.width);
}

// Tiles are 48 queries and 128 keys, tasks 384 queries: lengths on both sides of each, all in one batch.
BOOST_AUTO_TEST_CASE_TEMPLATE(every_length_full, Case, FloatAndDouble) {
    AttentionCase shape{.queries = {1, 0, 2, 3, 17, 47, 48, 49, 97, 127, 128, 129, 0, 255, 257, 383, 384, 385, 512}};
    shape.keys = shape.queries;
    check_attention<Case>("self", shape.arguments(), scaled_attention(shape, FullMask{}), {shape},
                          attention_tolerance<Case>());
    std::rotate(shape.keys.begin(), shape.keys.begin() + 7, shape.keys.end()); // also queries without keys
    check_attention<Case>("cross", shape.arguments(), scaled_attention(shape, FullMask{}), {shape},
                          attention_tolerance<Case>());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_length_causal, Case, FloatAndDouble) {
    AttentionCase shape{.queries = {1, 0, 2, 3, 17, 47, 48, 49, 97, 127, 128, 129, 255, 257, 384, 385, 512}};
    shape.keys = shape.queries;
    check_attention<Case>("self", shape.arguments(), scaled_attention(shape, CausalMask{}), {shape, causal_sees},
                          attention_tolerance<Case>());
    for (std::size_t i = 0; i < shape.keys.size(); ++i) // a memory of keys comes before the queries
        shape.keys[i] += static_cast<index_t>(i * i % 7 * 50);
    check_attention<Case>("with a memory", shape.arguments(), scaled_attention(shape, CausalMask{}),
                          {shape, causal_sees}, attention_tolerance<Case>());
}

// The first queries see nothing: zero, and no gradient, whether or not they share a tile with others that see.
BOOST_AUTO_TEST_CASE_TEMPLATE(queries_that_see_no_key_give_zero, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {5, 60, 130, 3, 500}, .keys = {3, 1, 129, 0, 120}};
    check_attention<Case>("more queries than keys", shape.arguments(), scaled_attention(shape, CausalMask{}),
                          {shape, causal_sees}, attention_tolerance<Case>());
    auto const out = forward<Case, typename Case::Inference>(shape.arguments(), scaled_attention(shape, CausalMask{}));
    BOOST_TEST(out[0] == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(two_thousand, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {2000, 1999}, .keys = {2000, 1000}, .heads = 1, .width = 8};
    check_attention<Case>("2,000", shape.arguments(), scaled_attention(shape, FullMask{}), {shape},
                          attention_tolerance<Case>());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(head_widths_of_every_kind, Case, FloatAndDouble) {
    for (index_t width : {1, 5, 24, 31, 40, 64, 80, 96, 128, 130, 200}) {
        AttentionCase const shape{.queries = {50, 1, 0, 131},
                                  .keys = {20, 130, 5, 131},
                                  .heads = 3,
                                  .width = width,
                                  .scale = 1 / std::sqrt(static_cast<double>(width))};
        check_attention<Case>(describe(shape), shape.arguments(), scaled_attention(shape, FullMask{}), {shape},
                              attention_tolerance<Case>());
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(large_scores_neither_overflow_nor_vanish, Case, FloatAndDouble) {
    AttentionCase shape{.queries = {140}, .keys = {260}, .heads = 2, .width = 4, .scale = 100};
    auto arguments = shape.arguments();
    check_attention<Case>("scores to 400", arguments, scaled_attention(shape, FullMask{}), {shape},
                          std::same_as<typename Case::accumulate, double> ? 1e-10 : 2e-3); // 400 has roundings of 2e-5
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_not_a_number_stays_visible, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 140}, .keys = {3, 140}};
    for (std::size_t which : {0u, 1u, 2u}) {
        auto arguments = shape.arguments();
        arguments[which].values[10 * 4] = std::nan(""); // row 7 of the second sequence
        auto const out = forward<Case, typename Case::Inference>(arguments, scaled_attention(shape, FullMask{}));
        BOOST_TEST(std::isnan(out[10 * 4]));
        BOOST_TEST(std::isfinite(out[0])); // another sequence
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
