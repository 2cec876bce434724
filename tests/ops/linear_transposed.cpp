#include "support.hpp"

#include <protlm/ops/linear.hpp>
#include <protlm/ops/linear_transposed.hpp>

#include <support/message_of.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(linear_transposed_op)

using InDouble = OpCases<double>;
using InAll = OpCases<double, float, bfloat16, half>;
using OnDefault = DefaultOpCases<float, double>;

struct Shape {
    index_t t, k, n;
};

std::string describe(Shape s) {
    return "T " + std::to_string(s.t) + ", K " + std::to_string(s.k) + ", N " + std::to_string(s.n);
}

std::vector<Argument> arguments_of(Shape s, Role input = Role::tensor, Role weight = Role::weight) {
    return {argument(input, s.t, s.k, 1), argument(weight, s.k, s.n, 2)};
}

constexpr auto build = [](auto &context, auto const &o) {
    return linear_transposed(context, o.tensor(0), o.weight(1));
};

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    for (Shape s : {Shape{1, 1, 1}, Shape{3, 2, 5}, Shape{2, 7, 3}, Shape{1, 18, 19}})
        check_jacobians<Case>(describe(s), arguments_of(s), build);
    check_jacobians<Case>("frozen weight", arguments_of({3, 4, 5}, Role::tensor, Role::frozen), build);
    check_jacobians<Case>("constant input", arguments_of({3, 4, 5}, Role::constant), build);
    check_jacobians<Case>("one weight in two places", arguments_of({3, 4, 4}), [](auto &context, auto const &o) {
        return linear_transposed(context, linear_transposed(context, o.tensor(0), o.weight(1)), o.weight(1));
    });
}

/// Past one block of rows and of depth, with ends that fill no register.
BOOST_AUTO_TEST_CASE_TEMPLATE(agrees_with_plain_products, Case, InAll) {
    for (Shape s : {Shape{7, 33, 65}, Shape{200, 20, 35}, Shape{5, 530, 17}})
        check_agreement<Case>(describe(s), arguments_of(s), build);
}

/// The values of `linear` with the weight turned over; on hosts to the bit, since both run the same micro kernel in the
/// same order. Portable products are two kernels to the compiler, which may round them differently.
BOOST_AUTO_TEST_CASE_TEMPLATE(has_the_bits_of_linear, Case, OnDefault) {
    using Weights = Weight<typename Case::scalar, typename Case::device>;
    Shape const s{50, 37, 61};
    auto turned = arguments_of(s);
    auto &w = turned[1];
    for (index_t n = 0; n < s.n; ++n)
        for (index_t k = 0; k < s.k; ++k)
            w.values[static_cast<std::size_t>(n * s.k + k)] =
                arguments_of(s)[1].values[static_cast<std::size_t>(k * s.n + n)];
    std::swap(w.rows, w.cols);
    auto const expected = forward<Case, typename Case::Inference>(
        turned, [](auto &context, auto const &o) { return linear(context, o.tensor(0), o.weight(1), Weights{}); });
    auto const actual = forward<Case, typename Case::Inference>(arguments_of(s), build);
    if (Case::kernels == Kernels::native) {
        BOOST_TEST(compare_bits("output", actual, expected));
    } else {
        BOOST_REQUIRE(actual.size() == expected.size());
        for (std::size_t i = 0; i < actual.size(); ++i)
            BOOST_REQUIRE(std::abs(actual[i] - expected[i]) < 1e-4);
    }
}

BOOST_AUTO_TEST_CASE(wrong_extents_are_told) {
    using Case = ReferenceCase;
    BOOST_TEST(
        message_of([] {
            forward<Case, Case::Inference>({argument(Role::tensor, 3, 4, 1), argument(Role::frozen, 5, 6, 2)}, build);
        }) == "linear_transposed: w has 5 rows, expected 4");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
