#include <protlm/core/philox.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <set>
#include <tuple>
#include <vector>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(philox_numbers)

using Words = std::array<std::uint32_t, 4>;

Words words(PhiloxWords const &w) { return {w[0], w[1], w[2], w[3]}; }

// kat_vectors of Random123 (Salmon et al., SC11), philox4x32 with 10 rounds.
BOOST_AUTO_TEST_CASE(published_known_answers) {
    struct Vector {
        PhiloxWords counter;
        std::uint64_t key;
        Words expected;
    };
    std::vector<Vector> const vectors{
        {{{0, 0, 0, 0}}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
         0xffffffffffffffff,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         0x299f31d0a4093822,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (auto const &v : vectors)
        BOOST_TEST(words(philox(v.counter, v.key)) == v.expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(is_a_constant_expression) {
    static_assert(philox({{0, 0, 0, 0}}, 0)[0] == 0x6627e8d5);
    BOOST_TEST(true);
}

BOOST_AUTO_TEST_CASE(every_part_of_the_key_changes_the_numbers) {
    std::set<Words> seen;
    std::size_t made = 0;
    for (std::uint64_t seed : {1ull, 2ull, 1ull << 40})
        for (Purpose purpose : {Purpose::mask, Purpose::dropout, Purpose::crop})
            for (std::uint32_t epoch : {0u, 1u, 0xFFFFFFu})
                for (std::uint64_t sample : {0ull, 1ull, 1ull << 33})
                    for (std::uint32_t position : {0u, 1u, 40000u}) {
                        seen.insert(words(CounterRandom{seed, purpose, epoch}(sample, position)));
                        ++made;
                    }
    BOOST_TEST(made == 243u);
    BOOST_TEST(seen.size() == made);
}

BOOST_AUTO_TEST_CASE(uniform_numbers_stay_in_range_and_reach_its_ends) {
    BOOST_TEST(uniform_float(0) == 0.0f);
    BOOST_TEST(uniform_float(0xffffffff) < 1.0f);
    BOOST_TEST(uniform_float(0xffffffff) == 1.0f - 1.0f / 16777216.0f);
    BOOST_TEST(uniform_double(0, 0) == 0.0);
    BOOST_TEST(uniform_double(0xffffffff, 0xffffffff) == 1.0 - std::ldexp(1.0, -53));
    BOOST_TEST(uniform_double(0x80000000, 0) == 0.5);
    for (std::uint32_t n : {1u, 2u, 20u, 0xffffffffu}) {
        BOOST_TEST(uniform_below(0, n) == 0u);
        BOOST_TEST(uniform_below(0xffffffff, n) == n - 1);
    }
}

// Means of n uniform numbers lie within five standard deviations, 5 / sqrt(12 n); so do their correlations.
BOOST_AUTO_TEST_CASE(uniform_numbers_are_uniform) {
    constexpr int n = 100000;
    CounterRandom const random{7, Purpose::sample, 3};
    double sum = 0, squares = 0, product = 0;
    std::array<int, 20> bins{};
    for (std::uint32_t i = 0; i < n; ++i) {
        PhiloxWords const w = random(i, 0);
        double const u = uniform_float(w[0]), v = uniform_double(w[2], w[3]);
        sum += u;
        squares += u * u;
        product += (u - 0.5) * (v - 0.5);
        ++bins[uniform_below(w[1], 20)];
    }
    double const five_sigma = 5 / std::sqrt(12.0 * n);
    BOOST_TEST(std::abs(sum / n - 0.5) < five_sigma);
    BOOST_TEST(std::abs(squares / n - 1.0 / 3) < five_sigma * 1.04);
    BOOST_TEST(std::abs(product / n) < 5 / (12 * std::sqrt(double(n))));
    for (int count : bins)
        BOOST_TEST(std::abs(count - n / 20) < 5 * std::sqrt(n * 0.05 * 0.95));
}

BOOST_AUTO_TEST_CASE(a_kernel_gets_the_same_numbers_as_the_host) {
    CounterRandom const random{11, Purpose::dropout, 2};
    Kokkos::View<std::uint32_t *[4]> numbers("protlm::test::numbers", 1000);
    Kokkos::parallel_for(
        "protlm::test::philox", range(Kokkos::DefaultExecutionSpace(), 0, 1000), KOKKOS_LAMBDA(index_t i) {
            PhiloxWords const w = random(static_cast<std::uint64_t>(i) << 31, static_cast<std::uint32_t>(i));
            for (int k = 0; k < 4; ++k)
                numbers(i, k) = w[k];
        });
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), numbers);
    int equal = 0;
    for (int i = 0; i < 1000; ++i) {
        PhiloxWords const w = random(static_cast<std::uint64_t>(i) << 31, static_cast<std::uint32_t>(i));
        for (int k = 0; k < 4; ++k)
            equal += host(i, k) == w[k];
    }
    BOOST_TEST(equal == 4000);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
