#include "support.hpp"

#include <protlm/ops/linear.hpp>
#include <protlm/ops/linear_transposed.hpp>

namespace protlm::test {
namespace {

// Products with weights of bfloat16 by the processor's instruction for pairs, where it has one, and by panels converted
// to float elsewhere. Rows must have the same bits in any batch either way.
BOOST_AUTO_TEST_SUITE(bfloat16_products)

using Exec = Kokkos::DefaultHostExecutionSpace;
using Native = OpCase<Exec, bfloat16, Kernels::native>;
using InFloat = OpCase<Exec, float, Kernels::native>;

struct Shape {
    index_t t, k, n;
};

std::string describe(Shape s) {
    return "T " + std::to_string(s.t) + ", K " + std::to_string(s.k) + ", N " + std::to_string(s.n);
}

std::vector<Argument> arguments_of(Shape s, bool transposed) {
    return {argument(Role::tensor, s.t, s.k, 1),
            transposed ? argument(Role::weight, s.k, s.n, 2) : argument(Role::weight, s.n, s.k, 2)};
}

template <class Case>
auto run(std::vector<Argument> const &arguments, bool transposed) {
    return forward<Case, typename Case::Inference>(arguments, [transposed](auto &context, auto const &o) {
        return transposed ? linear_transposed(context, o.tensor(0), o.weight(1))
                          : linear(context, o.tensor(0), o.weight(1), {});
    });
}

double as_bfloat16(double value) { return static_cast<double>(bfloat16(static_cast<float>(value))); }

// Odd depths and widths, several stretches of depth (1,024 elements), few rows (to 192) and many.
Shape const shapes[] = {{1, 1, 1},     {5, 3, 2},       {13, 33, 65}, {64, 2049, 33},
                        {193, 31, 64}, {250, 1030, 70}, {1, 4096, 96}};

BOOST_AUTO_TEST_CASE(are_those_of_rounded_factors) {
    for (bool transposed : {false, true})
        for (Shape s : shapes) {
            auto const arguments = arguments_of(s, transposed);
            auto const &x = arguments[0].values, &w = arguments[1].values;
            auto const y = run<Native>(arguments, transposed);
            for (index_t i = 0; i < s.t; i += 7)
                for (index_t j = 0; j < s.n; ++j) {
                    double sum = 0, size = 0;
                    for (index_t p = 0; p < s.k; ++p) {
                        auto const left = x[static_cast<std::size_t>(i * s.k + p)];
                        auto const right = w[static_cast<std::size_t>(transposed ? p * s.n + j : j * s.k + p)];
                        sum += left * as_bfloat16(right);
                        size += std::abs(left * right);
                    }
                    // x is rounded to 8 bits or not at all: 2^-9 of each product
                    double const found = static_cast<double>(y[static_cast<std::size_t>(i * s.n + j)]);
                    BOOST_TEST_REQUIRE(std::abs(found - sum) <= size / 400, describe(s)
                                                                                << ": " << found << ", " << sum);
                }
        }
}

BOOST_AUTO_TEST_CASE(rows_have_the_same_bits_in_any_batch) {
    for (bool transposed : {false, true})
        for (Shape s : {Shape{300, 75, 70}, Shape{300, 1100, 33}}) {
            auto const all = arguments_of(s, transposed);
            auto const whole = run<Native>(all, transposed);
            for (index_t count : {1, 2, 5, 6, 7, 12, 13, 18, 191, 192, 193, 299}) {
                auto part = all;
                index_t const first = (count * 7) % (s.t - count + 1);
                auto const begin = all[0].values.begin() + first * s.k;
                part[0] = {Role::tensor, count, s.k, {begin, begin + count * s.k}};
                auto const rows = run<Native>(part, transposed);
                auto const same = whole.begin() + first * s.n;
                BOOST_TEST_REQUIRE(std::equal(rows.begin(), rows.end(), same, same + count * s.n),
                                   describe(s) << ": " << count << " rows from " << first);
            }
        }
}

// Few rows go another way: panels packed by the task that needs them.
BOOST_AUTO_TEST_CASE(few_rows_of_float_have_the_bits_of_many) {
    for (bool transposed : {false, true}) {
        Shape const s{200, 1100, 70};
        auto const all = arguments_of(s, transposed);
        auto const whole = run<InFloat>(all, transposed);
        auto part = all;
        part[0] = {Role::tensor, 40, s.k, {all[0].values.begin(), all[0].values.begin() + 40 * s.k}};
        auto const rows = run<InFloat>(part, transposed);
        BOOST_TEST(std::equal(rows.begin(), rows.end(), whole.begin(), whole.begin() + 40 * s.n));
    }
}

#if defined(__x86_64__) && !defined(__CUDACC__)
BOOST_AUTO_TEST_CASE(rounding_is_to_the_nearest_even_one) {
    if (!protlm::detail::has_bfloat16_unit())
        return; // this processor converts panels instead
    std::vector<float> const values{1.0f, 1.00390625f, 1.01171875f, -2.5f, 0.0f, 3.1415927f, 65504.0f, -1e30f, 1e-20f};
    for (index_t n = 1; n <= static_cast<index_t>(values.size()); ++n) {
        std::vector<protlm::detail::BfloatPair> pairs(static_cast<std::size_t>(n + 1) / 2, 0xFFFFFFFFu);
        protlm::detail::round_row(values.data(), n, pairs.data());
        for (index_t j = 0; j < (n + 1) / 2 * 2; ++j) {
            auto const i = static_cast<std::size_t>(j);
            auto const expected = j < n ? bfloat16(values[i]) : bfloat16(0.0f);
            auto const found = static_cast<std::uint16_t>(pairs[i / 2] >> (16 * (i % 2)));
            BOOST_TEST(found == expected.value, "element " << j << " of " << n);
        }
    }
}
#endif

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
