#include "attention_reference.hpp"

namespace protlm::test {
namespace {

// Products of bfloat16 pairs, where the processor has them, beside exact ones.
BOOST_AUTO_TEST_SUITE(attention_bfloat16)

using Case = OpCase<Kokkos::DefaultHostExecutionSpace, float, Kernels::native>;

template <class Mask>
void check_rounded(AttentionCase const &shape, Mask mask, bool biased) {
    auto given = shape.arguments();
    given.push_back(argument(Role::weight, 32, shape.heads, 4));
    auto const run = [&](auto products) {
        return as_double(
            biased ? forward<Case, typename Case::Inference>(given, biased_attention(shape, mask, true, 16, products))
                   : forward<Case, typename Case::Inference>(given, scaled_attention(shape, mask, products)));
    };
    auto const exact = run(attention_products<float>), rounded = run(attention_products<bfloat16>);
    double most = 0;
    for (std::size_t i = 0; i < exact.size(); ++i)
        most = std::max(most, std::abs(rounded[i] - exact[i]));
    BOOST_TEST(most < 0.02);
    if (protlm::detail::has_rounded_operands() && shape.query_rows() > 10)
        BOOST_TEST(most > 0); // else the products were exact
}

BOOST_AUTO_TEST_CASE(close_to_exact_products) {
    for (index_t width : {1, 2, 5, 15, 16, 17, 32, 33, 64, 100, 128})
        for (bool biased : {false, true}) {
            AttentionCase const own{
                .queries = {3, 0, 50, 1, 129}, .keys = {3, 0, 50, 1, 129}, .heads = 2, .width = width, .scale = 0.3};
            BOOST_TEST_CONTEXT("width " << width << (biased ? ", bias" : "")) {
                check_rounded(own, FullMask{}, biased);
                check_rounded(own, CausalMask{}, biased);
                check_rounded({.queries = {1, 400, 7}, .keys = {300, 401, 2}, .heads = 1, .width = width, .scale = 0.3},
                              FullMask{}, biased);
            }
        }
}

BOOST_AUTO_TEST_CASE(a_protein_has_the_same_bits_in_any_batch) {
    index_t const heads = 2;
    for (index_t width : {16, 23, 64})
        for (index_t length : {1, 2, 5, 13, 48, 97, 128, 131, 400}) {
            auto const run = [&](std::vector<index_t> const &lengths, index_t first) {
                AttentionCase const shape{.queries = lengths, .keys = lengths, .heads = heads, .width = width};
                index_t const columns = heads * width;
                std::vector<Argument> given;
                for (std::uint64_t part = 0; part < 3; ++part) {
                    Argument joint{Role::tensor, 0, columns, {}};
                    for (index_t l : lengths) {
                        auto const own = random_values(l * columns, 10 * static_cast<std::uint64_t>(l) + part);
                        joint.values.insert(joint.values.end(), own.begin(), own.end());
                        joint.rows += l;
                    }
                    given.push_back(joint);
                }
                given.push_back(argument(Role::weight, 32, heads, 4));
                auto const all = forward<Case, typename Case::Inference>(
                    given, biased_attention(shape, FullMask{}, true, 16, attention_products<bfloat16>));
                auto const begin = all.begin() + first * columns;
                return std::vector(begin, begin + length * columns);
            };
            BOOST_TEST(compare_bits("batch", run({37, 500, length, 3}, 537), run({length}, 0)));
        }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
