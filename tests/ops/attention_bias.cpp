#include "attention_reference.hpp"

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(attention_bucket_bias)

using FloatAndDouble = DefaultOpCases<float, double>;
using Storage = DefaultOpCases<bfloat16, half>;

/// The published rule with borders as exact integers: bucket `exact + n` begins at the first distance d with
/// (d / exact)^(log buckets) >= (max / exact)^n, in 128-bit integers, so no logarithm is rounded.
std::int32_t bucket_by_integers(index_t offset, bool bidirectional, index_t buckets, index_t max_distance) {
    std::int32_t first = 0;
    index_t distance = offset < 0 ? -offset : 0;
    if (bidirectional) {
        buckets /= 2;
        distance = std::abs(offset);
        first = offset > 0 ? static_cast<std::int32_t>(buckets) : 0;
    }
    index_t const exact = buckets / 2, logarithmic = buckets - exact;
    if (distance < exact)
        return first + static_cast<std::int32_t>(distance);
    index_t n = 0;
    auto const power = [](long double base, index_t exponent) {
        long double result = 1;
        for (index_t i = 0; i < exponent; ++i)
            result *= base;
        return result;
    };
    // d^logarithmic * exact^(n + 1) >= max^(n + 1) * exact^logarithmic, in numbers that 64 bits of mantissa hold nearly
    while (n + 1 < logarithmic &&
           power(static_cast<long double>(distance) / static_cast<long double>(exact), logarithmic) >=
               power(static_cast<long double>(max_distance) / static_cast<long double>(exact), n + 1) * (1 - 1e-15L))
        ++n;
    return first + static_cast<std::int32_t>(exact + n);
}

BOOST_AUTO_TEST_CASE(buckets_follow_the_published_rule) {
    struct Rule {
        bool bidirectional;
        index_t buckets, max_distance;
    };
    for (auto [bidirectional, buckets, max_distance] : {Rule{true, 32, 128}, Rule{false, 32, 128}, Rule{true, 20, 60},
                                                        Rule{false, 20, 60}, Rule{true, 64, 1000}, Rule{false, 2, 5}})
        for (index_t offset = -3000; offset <= 3000; ++offset)
            BOOST_REQUIRE_MESSAGE(relative_bucket(offset, bidirectional, buckets, max_distance) ==
                                      bucket_by_integers(offset, bidirectional, buckets, max_distance),
                                  "offset " << offset << " of " << buckets << " buckets to " << max_distance << ": "
                                            << relative_bucket(offset, bidirectional, buckets, max_distance)
                                            << ", expected "
                                            << bucket_by_integers(offset, bidirectional, buckets, max_distance));
}

// T5's own setting, as borders: the distances at which a new bucket begins.
BOOST_AUTO_TEST_CASE(borders_of_thirty_two_buckets) {
    auto const borders = [](bool bidirectional, int sign) {
        std::vector<index_t> found;
        for (index_t distance = 1; distance <= 500; ++distance)
            if (relative_bucket(sign * distance, bidirectional, 32, 128) !=
                relative_bucket(sign * (distance - 1), bidirectional, 32, 128))
                found.push_back(distance);
        return found;
    };
    // 8 * 16^(n / 8) for n = 1 .. 7, rounded up
    std::vector<index_t> const both{1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
    BOOST_TEST(borders(true, -1) == both, boost::test_tools::per_element());
    BOOST_TEST(borders(true, 1) == both, boost::test_tools::per_element());
    // 16 * 8^(n / 16) for n = 1 .. 15, rounded up
    std::vector<index_t> const past{1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                    19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};
    BOOST_TEST(borders(false, -1) == past, boost::test_tools::per_element());
    BOOST_TEST(borders(false, 1).empty()); // what lies ahead shares bucket 0
    BOOST_TEST(relative_bucket(1, true, 32, 128) == 17);
    BOOST_TEST(relative_bucket(-1, true, 32, 128) == 1);
    BOOST_TEST(relative_bucket(40000, true, 32, 128) == 31);
    BOOST_TEST(relative_bucket(-40000, true, 32, 128) == 15);
    BOOST_TEST(relative_bucket(-40000, false, 32, 128) == 31);
}

/// Checks attention with a bias table against the quadratic reference, the table's gradient included.
template <class Case, class Mask>
void check_biased(std::string const &name, AttentionCase const &shape, Mask mask, bool bidirectional, index_t buckets,
                  index_t max_distance, double allowed) {
    auto arguments = shape.arguments();
    arguments.push_back(argument(Role::weight, buckets, shape.heads, 9, 2.0));
    arguments = representable<typename Case::scalar>(arguments);
    auto const build = biased_attention(shape, mask, bidirectional, max_distance);
    auto const at = [&](index_t head, index_t i, index_t j, index_t n, index_t m) {
        return static_cast<std::size_t>(
            bucket_by_integers(j - i - (m - n), bidirectional, buckets, max_distance) * shape.heads + head);
    };
    std::vector<double> table(static_cast<std::size_t>(buckets * shape.heads), 0.0);
    QuadraticAttention reference{shape};
    if (!Mask::everything)
        reference.sees = causal_sees;
    reference.bias = [&](index_t head, index_t i, index_t j, index_t n, index_t m) {
        return arguments[3].values[at(head, i, j, n, m)];
    };
    reference.on_gradient = [&](index_t head, index_t i, index_t j, index_t n, index_t m, double gradient) {
        table[at(head, i, j, n, m)] += gradient;
    };
    check_attention<Case>(name, arguments, build, reference, allowed);
    auto const g = random_values(shape.query_rows() * shape.columns(), 55);
    table.assign(table.size(), 0.0);
    reference.run(arguments, g);
    for (bool existing : {false, true})
        BOOST_TEST(compare_scaled(name + ", gradient of the table", backward<Case>(arguments, build, g, existing)[3],
                                  table, 10 * allowed)); // sums over all pairs, which cancel
}

BOOST_AUTO_TEST_CASE_TEMPLATE(full_against_the_reference, Case, FloatAndDouble) {
    double const allowed = attention_tolerance<Case>();
    AttentionCase const self{
        .queries = {1, 0, 49, 129, 400}, .keys = {1, 0, 49, 129, 400}, .heads = 2, .width = 5, .scale = 1.0};
    check_biased<Case>("self", self, FullMask{}, true, 32, 128, allowed);
    AttentionCase const other{.queries = {1, 60, 0, 5}, .keys = {140, 20, 7, 0}, .heads = 3, .width = 8, .scale = 0.3};
    check_biased<Case>("cross", other, FullMask{}, true, 20, 60, allowed);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(causal_against_the_reference, Case, FloatAndDouble) {
    AttentionCase const shape{
        .queries = {1, 0, 49, 129, 3}, .keys = {1, 0, 49, 200, 150}, .heads = 2, .width = 5, .scale = 1.0};
    check_biased<Case>("causal", shape, CausalMask{}, false, 32, 128, attention_tolerance<Case>());
    check_biased<Case>("causal, 20 buckets", shape, CausalMask{}, false, 20, 60, attention_tolerance<Case>());
}

// A table in 16 bit is read exactly; everything else is float.
BOOST_AUTO_TEST_CASE_TEMPLATE(tables_in_sixteen_bit, Case, Storage) {
    AttentionCase const shape{.queries = {60}, .keys = {60}, .heads = 2, .width = 5, .scale = 1.0};
    check_biased<Case>("16 bit", shape, FullMask{}, true, 32, 128, attention_tolerance<Case>());
}

BOOST_AUTO_TEST_CASE(impossible_tables_are_refused) {
    ReferenceCase::Training context;
    Operands<ReferenceCase, ReferenceCase::Training> const o(
        context, {argument(Role::weight, 2, 1, 1), argument(Role::weight, 32, 1, 1)});
    using Bias = BucketBias<double, ReferenceCase::device>;
    BOOST_CHECK_THROW(Bias(context, o.weight(0), true, 128), Error);
    BOOST_CHECK_THROW(Bias(context, o.weight(1), true, 8), Error);
    BOOST_CHECK_THROW(Bias(context, o.weight(1), false, 16), Error);
    BOOST_CHECK_NO_THROW(Bias(context, o.weight(1), true, 9));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
