#include "support.hpp"

#include <protlm/ops/sinusoid.hpp>

#include <support/message_of.hpp>

#include <cmath>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(sinusoid_op)

using OnDefault = DefaultOpCases<float, double>;

/// What the papers say, row by row, with cosines less `offset`.
std::vector<double> expected(index_t width, index_t behind, index_t ahead, index_t clamp, double offset) {
    std::vector<double> values;
    for (index_t distance = behind; distance >= -ahead; --distance) {
        index_t const d = clamp > 0 ? std::clamp(distance, -clamp, clamp) : distance;
        for (bool const sine : {true, false})
            for (index_t j = 0; j < width; j += 2) {
                double const angle =
                    static_cast<double>(d) / std::pow(10000.0, static_cast<double>(j) / static_cast<double>(width));
                values.push_back(sine ? std::sin(angle) : std::cos(angle) - offset);
            }
    }
    return values;
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_are_distances_from_behind_to_ahead, Case, OnDefault) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    Tolerance const tolerance{.absolute = std::same_as<A, double> ? 1e-11 : 1e-7};
    for (index_t const clamp : {-1, 0, 3, 500})
        for (bool const less_one : {true, false}) {
            auto const y = relative_sinusoids<A>(context, 10, 700, 20, clamp, less_one);
            BOOST_TEST(y.rows() == 721);
            BOOST_TEST(!y.needs_gradient());
            BOOST_TEST(compare("encodings", host_values(y.view()), expected(10, 700, 20, clamp, less_one ? 1.0 : 0.0),
                               tolerance, 10));
        }
}

// The slowest cosines less one keep all their digits, where one less a rounded cosine has none.
BOOST_AUTO_TEST_CASE(small_differences_from_one_are_exact) {
    ReferenceCase::Inference context;
    auto const y = host_values(relative_sinusoids<float>(context, 1024, 5, 0, -1).view());
    double const angle = 5 / std::pow(10000.0, 1022.0 / 1024.0);
    BOOST_TEST(std::abs(y[1023] / (-0.5 * angle * angle) - 1) < 1e-6);
}

BOOST_AUTO_TEST_CASE(odd_widths_and_negative_reaches_are_refused) {
    ReferenceCase::Inference context;
    BOOST_TEST(message_of([&] { relative_sinusoids<double>(context, 7, 3, 0, -1); }) ==
               "relative_sinusoids: width is 7, expected an even number");
    BOOST_TEST(message_of([&] { relative_sinusoids<double>(context, 8, -1, 0, -1); }) ==
               "relative_sinusoids: behind is -1 and ahead 0, expected at least 0");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
