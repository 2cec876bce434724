#include <protlm/data/sampling.hpp>

#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

using protlm::Permutation;
using protlm::test::check_error;

namespace {

std::vector<std::uint64_t> order(std::uint64_t n, std::uint64_t seed, std::uint64_t epoch) {
    Permutation const permutation(n, seed, epoch);
    std::vector<std::uint64_t> result;
    for (std::uint64_t i = 0; i < n; ++i)
        result.push_back(permutation(i));
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(sampling)

BOOST_AUTO_TEST_CASE(each_sample_comes_once) {
    for (std::uint64_t n = 1; n <= 300; n += n < 70 ? 1 : 23) {
        auto const it = order(n, n, 3);
        BOOST_TEST(std::set<std::uint64_t>(it.begin(), it.end()).size() == n);
        BOOST_TEST(*std::max_element(it.begin(), it.end()) == n - 1);
    }
    auto const it = order(100'003, 1, 2);
    std::vector<bool> seen(it.size());
    for (auto const i : it)
        seen.at(i) = true;
    BOOST_TEST(std::count(seen.begin(), seen.end(), false) == 0);
}

BOOST_AUTO_TEST_CASE(seeds_and_epochs_give_other_orders_and_the_same_give_the_same) {
    BOOST_CHECK(order(1000, 1, 0) == order(1000, 1, 0));
    BOOST_CHECK(order(1000, 1, 0) != order(1000, 2, 0));
    BOOST_CHECK(order(1000, 1, 0) != order(1000, 1, 1));
}

BOOST_AUTO_TEST_CASE(billions_of_samples) {
    std::uint64_t const n = (std::uint64_t(1) << 40) + 12345;
    Permutation const permutation(n, 1, 0);
    std::set<std::uint64_t> images;
    std::uint64_t upper_half = 0;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        std::uint64_t const image = permutation(i * 54'000'001);
        BOOST_REQUIRE_LT(image, n);
        images.insert(image);
        upper_half += image >= n / 2;
    }
    BOOST_TEST(images.size() == 20'000u);
    BOOST_TEST(std::abs(static_cast<double>(upper_half) - 10'000) < 4 * 71); // sigma is sqrt(5000) = 71
    BOOST_TEST(Permutation(~std::uint64_t(0), 1, 0)(5) < ~std::uint64_t(0));
}

BOOST_AUTO_TEST_CASE(every_place_gets_every_sample_equally_often) {
    // Chi-square with n-1 degrees of freedom for each place, over many seeds; 6 sigma above the mean.
    for (std::uint64_t const n : {2u, 5u, 13u, 100u}) {
        int const rounds = 4000;
        for (std::uint64_t const place : {std::uint64_t(0), n / 2, n - 1}) {
            std::map<std::uint64_t, double> count;
            for (int seed = 0; seed < rounds; ++seed)
                ++count[Permutation(n, static_cast<std::uint64_t>(seed), 1)(place)];
            double const expected = rounds / static_cast<double>(n);
            double chi_square = 0;
            for (std::uint64_t i = 0; i < n; ++i)
                chi_square += (count[i] - expected) * (count[i] - expected) / expected;
            double const freedom = static_cast<double>(n) - 1;
            BOOST_TEST(chi_square < freedom + 6 * std::sqrt(2 * freedom));
        }
    }
}

BOOST_AUTO_TEST_CASE(neighbours_do_not_stay_neighbours) {
    auto const it = order(10'000, 3, 0);
    int close = 0;
    for (std::size_t i = 1; i < it.size(); ++i)
        close += std::max(it[i], it[i - 1]) - std::min(it[i], it[i - 1]) <= 10;
    BOOST_TEST(close < 20 + 6 * 5); // expected 20, sigma about 4.5
}

BOOST_AUTO_TEST_CASE(limits_are_checked) {
    check_error([] { Permutation(0, 1, 1); }, "nothing to permute");
    check_error([] { Permutation(5, 1, 1u << 24); }, "epoch 16777216");
    check_error([] { Permutation(5, 1, 1)(5); }, "index 5 of 5");
}

BOOST_AUTO_TEST_SUITE_END()
