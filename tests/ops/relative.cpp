#include "relative_reference.hpp"

#include <protlm/ops/attention_probabilities.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(relative_score_op)

using FloatAndDouble = DefaultOpCases<float, double>;
using InDouble = DefaultOpCases<double>;
using Storage = DefaultOpCases<bfloat16, half>;

/// Lengths on both sides of strips (12 and 16), tiles (48 and 128) and tasks (384), in one batch.
std::vector<index_t> const lengths{1, 0, 5, 11, 13, 16, 17, 47, 49, 97, 129, 130, 260, 385};

auto causal_in(AttentionCase const &shape) {
    return [=](std::size_t b, index_t i, index_t j) { return j <= i + shape.keys[b] - shape.queries[b]; };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_length_full, Case, FloatAndDouble) {
    RelativeCase const c{.shape = {.queries = lengths, .keys = lengths}, .ahead = 384};
    check_relative<Case>("full", c, full_mask, sees_all);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_length_causal_with_memory, Case, FloatAndDouble) {
    RelativeCase c{.shape = {.queries = lengths, .keys = lengths}};
    check_relative<Case>("causal", c, causal_mask, causal_in(c.shape));
    for (std::size_t b = 0; b < c.shape.keys.size(); ++b)
        c.shape.keys[b] += static_cast<index_t>(b * b % 7 * 30);
    check_relative<Case>("causal with memory", c, causal_mask, causal_in(c.shape));
}

// More queries than keys; what r does not reach has no relative term, though it is seen.
BOOST_AUTO_TEST_CASE_TEMPLATE(queries_before_the_first_key, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {5, 60, 130, 3}, .keys = {3, 1, 129, 0}};
    for (index_t ahead : {0, 7, 200}) {
        RelativeCase const c{.shape = shape, .ahead = ahead};
        check_relative<Case>("full, " + std::to_string(ahead) + " ahead", c, full_mask, sees_all);
    }
    RelativeCase const c{.shape = shape};
    check_relative<Case>("causal", c, causal_mask, causal_in(shape));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(head_widths_of_every_kind, Case, FloatAndDouble) {
    for (index_t width : {1, 5, 16, 31, 40, 64, 130}) {
        RelativeCase const c{.shape = {.queries = {50, 1, 0, 131},
                                       .keys = {70, 1, 5, 131},
                                       .heads = 3,
                                       .width = width,
                                       .scale = 0.3 / std::sqrt(static_cast<double>(width))},
                             .ahead = 130,
                             .segments = width % 2 == 1};
        check_relative<Case>("width " + std::to_string(width), c, full_mask, sees_all);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(segments_positions_and_halves, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {1, 9, 0, 50, 70}, .keys = {20, 129, 4, 300, 150}, .heads = 2, .width = 5};
    for (bool segments : {false, true})
        for (bool positioned : {false, true})
            for (index_t second : {-1, 3}) {
                RelativeCase const c{.shape = shape,
                                     .ahead = 299,
                                     .second = second,
                                     .segments = segments,
                                     .positioned = positioned,
                                     .types = 3};
                check_relative<Case>(std::string(segments ? "segments" : "no segments") +
                                         (positioned ? ", positions" : "") + (second > 0 ? ", halves" : ""),
                                     c, full_mask, sees_all);
            }
}

// Weights in 16 bit are read exactly; everything else is float.
BOOST_AUTO_TEST_CASE_TEMPLATE(weights_in_sixteen_bit, Case, Storage) {
    RelativeCase const c{.shape = {.queries = {60}, .keys = {60}, .heads = 2, .width = 5}, .segments = true};
    check_relative<Case>("16 bit", c, causal_mask, causal_in(c.shape));
}

/// A mask without interval or a loop of its own, as a user may write one: no key of the query's own parity.
struct OtherParityMask {
    using Kernel = OtherParityMask;
    static constexpr bool everything = false, interval = false;
    OtherParityMask kernel() const { return {}; }
    KOKKOS_FUNCTION bool operator()(AttentionPlace const &, index_t i, index_t j) const { return (i + j) % 2 == 1; }
    KOKKOS_FUNCTION index_t key_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t key_end(AttentionPlace const &place, index_t) const { return place.keys; }
    KOKKOS_FUNCTION index_t query_begin(AttentionPlace const &, index_t) const { return 0; }
    KOKKOS_FUNCTION index_t query_end(AttentionPlace const &place, index_t) const { return place.queries; }
};

BOOST_AUTO_TEST_CASE_TEMPLATE(a_mask_of_the_users_own, Case, InDouble) {
    RelativeCase const c{.shape = {.queries = {1, 60, 140}, .keys = {1, 60, 150}}, .ahead = 149};
    check_relative<Case>(
        "other parity", c, [](auto &) { return OtherParityMask{}; },
        [](std::size_t, index_t i, index_t j) { return (i + j) % 2 == 1; });
}

// The map of probabilities times v is the output; rows of queries that see nothing are zero.
BOOST_AUTO_TEST_CASE_TEMPLATE(probabilities_belong_to_the_output, Case, InDouble) {
    RelativeCase const c{.shape = {.queries = {4, 30}, .keys = {40, 20}, .heads = 2, .width = 5}, .segments = true};
    auto const arguments = c.arguments();
    auto const out = forward<Case, typename Case::Inference>(arguments, relative_attention(c, causal_mask));
    auto const map = forward<Case, typename Case::Inference>(arguments, [&](auto &context, auto const &o) {
        return attention_probabilities(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0},
                                       make_segments(context, AttentionCase::offsets(c.shape.queries)),
                                       make_segments(context, AttentionCase::offsets(c.shape.keys)), 1, 2, 5,
                                       relative_score(context, c, o), CausalMask{});
    });
    BOOST_REQUIRE_EQUAL(map.size(), 2u * 30 * 20);
    std::vector<double> mixed, expected;
    for (index_t i = 0; i < 30; ++i)
        for (index_t column = 0; column < 10; ++column) {
            double sum = 0;
            for (index_t j = 0; j < 20; ++j)
                sum += map[static_cast<std::size_t>((column / 5 * 30 + i) * 20 + j)] *
                       arguments[2].values[static_cast<std::size_t>((40 + j) * 10 + column)];
            mixed.push_back(sum);
            expected.push_back(out[static_cast<std::size_t>((4 + i) * 10 + column)]);
        }
    BOOST_TEST(compare_scaled("mixed values", mixed, expected, attention_tolerance<Case>(), 10));
    BOOST_TEST(map[9 * 20] == 0); // ten queries come before the first key
    BOOST_TEST(map[10 * 20] == 1);
}

BOOST_AUTO_TEST_CASE(errors_name_what_does_not_fit) {
    ReferenceCase::Training context;
    RelativeCase const c{.shape = {.queries = {3, 2}, .keys = {5, 2}, .heads = 2, .width = 3}, .ahead = 2};
    Operands<ReferenceCase, ReferenceCase::Training> const o(context, c.arguments());
    using Score = RelativeScore<double, ReferenceCase::device>;
    auto const message = [&](auto const &f) {
        try {
            f();
        } catch (Error const &error) {
            return std::string(error.what());
        }
        return std::string("no error");
    };
    auto const make = [&](index_t behind) { return Score(context, o.tensor(3), behind, o.weight(4), o.weight(5), 1); };
    auto const queries = make_segments(context, AttentionCase::offsets(c.shape.queries)),
               keys = make_segments(context, AttentionCase::offsets(c.shape.keys));
    auto const types = context.upload<std::int32_t>(std::vector<std::int32_t>(4, 0));
    BOOST_TEST(message([&] { make(4).validate(queries, keys, 2, 3); }) == "no error");
    BOOST_TEST(message([&] { make(7); }) == "RelativeScore: behind is 7, expected one of the 7 rows of r");
    BOOST_TEST(message([&] { make(3).validate(queries, keys, 2, 3); }) ==
               "RelativeScore: r reaches 3 behind the query, expected at least 4 for 5 keys");
    BOOST_TEST(message([&] { make(4).validate(queries, keys, 2, 4); }) == "RelativeScore: r has 6 columns, expected 8");
    BOOST_TEST(message([&] { make(4).with_positions(types).validate(queries, keys, 2, 3); }) ==
               "RelativeScore: positions has 4 entries, expected 5");
    // the portable context has no transposed encodings
    BOOST_TEST(message([&] { make(4).validate(queries, keys, 2, 3, true); }) ==
               "RelativeScore: made by a context with portable kernels, but attention is called with native ones: "
               "expected one context for both");
    BOOST_TEST(message([&] { make(4).with_segments(types, types, o.weight(4), o.weight(5)); }) ==
               "RelativeScore: seg_embed has 6 elements, expected 12");
    BOOST_TEST(message([&] { make(4).with_backward_half(1); }) ==
               "RelativeScore: r has 7 rows, expected two halves that reach 4 behind");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
