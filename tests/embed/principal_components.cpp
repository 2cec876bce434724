#include <embed/models.hpp>
#include <support/compare.hpp>

#include <protlm/embed/principal_components.hpp>

#include <array>
#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;

BOOST_AUTO_TEST_SUITE(principal_components_suite)

BOOST_AUTO_TEST_CASE(points_on_a_line_have_one_component) {
    // (1, 2, 2) times -1, 0, 3 around an offset; distances along the line are 3 apart a unit
    std::vector<double> points;
    for (double const t : {-1.0, 0.0, 3.0})
        for (double const direction : {1.0, 2.0, 2.0})
            points.push_back(10 + t * direction);
    auto const result = principal_components(points, 3, 2);
    BOOST_TEST(compare("line", result.coordinates[0], std::array{-5., -2., 7.}, {.relative = 1e-12}));
    BOOST_TEST(std::abs(result.variance[0] - 1) < 1e-12);
    BOOST_TEST(std::abs(result.variance[1]) < 1e-12);
    for (double const coordinate : result.coordinates[1])
        BOOST_TEST(std::abs(coordinate) < 1e-6);
}

BOOST_AUTO_TEST_CASE(all_components_keep_all_distances) {
    CounterRandom const random{1, Purpose::sample};
    std::vector<double> points;
    for (std::uint32_t i = 0; i < 6 * 40; ++i)
        points.push_back(uniform_double(random(0, i)[0], 0));
    auto const result = principal_components(points, 6, 6);
    double shares = 0;
    for (std::size_t c = 0; c < 6; ++c) {
        shares += result.variance[c];
        BOOST_TEST((c == 0 || result.variance[c] <= result.variance[c - 1]));
    }
    BOOST_TEST(std::abs(shares - 1) < 1e-12);
    for (std::size_t a = 0; a < 6; ++a)
        for (std::size_t b = 0; b < a; ++b) {
            double before = 0, after = 0;
            for (std::size_t j = 0; j < 40; ++j)
                before += std::pow(points[a * 40 + j] - points[b * 40 + j], 2);
            for (std::size_t c = 0; c < 6; ++c)
                after += std::pow(result.coordinates[c][a] - result.coordinates[c][b], 2);
            BOOST_TEST(std::abs(after - before) < 1e-10 * before);
        }
}

BOOST_AUTO_TEST_CASE(equal_points_have_no_variance_and_odd_sizes_are_errors) {
    auto const result = principal_components(std::vector<double>(8, 3.0), 4, 2);
    BOOST_TEST(result.variance[0] == 0.0);
    BOOST_TEST(message_of([] {
                   principal_components({1, 2, 3}, 2, 1);
               }) == "principal_components: 3 values are no 2 points");
    BOOST_TEST(message_of([] {
                   principal_components({1, 2}, 2, 3);
               }) == "principal_components: 3 directions of 2 points");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
