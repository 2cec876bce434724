#include "support.hpp"

#include <protlm/ops/activation.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(activation_functions)

using Scalars = std::tuple<float, double>;

/// The definitions in long double, to the last bit of what is tested.
long double gelu(long double x) { return 0.5L * x * std::erfc(-x / std::sqrt(2.0L)); }
long double gelu_slope(long double x) {
    return 0.5L * std::erfc(-x / std::sqrt(2.0L)) +
           x * std::exp(-0.5L * x * x) / std::sqrt(2 * 3.14159265358979323846L);
}
long double gelu_tanh(long double x) {
    return 0.5L * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846L) * (x + 0.044715L * x * x * x)));
}

/// Points on both sides of zero, dense near it and far out.
std::vector<double> points() {
    std::vector<double> x{0.0, -0.0};
    for (double p = -20; p <= 20; p += 0.01)
        x.push_back(p);
    for (double p = 1e-8; p < 1e3; p *= 1.3)
        x.push_back(p), x.push_back(-p);
    return x;
}

/// f of the vector unit for one value in every lane.
template <class S, class F>
S one_lane(F f, double x) {
    S lane[protlm::detail::lanes<S>];
    protlm::detail::store(lane, f(protlm::detail::broadcast(static_cast<S>(x))));
    for (S value : lane)
        BOOST_REQUIRE((value == lane[0] || (std::isnan(value) && std::isnan(lane[0]))));
    return lane[0];
}

BOOST_AUTO_TEST_CASE_TEMPLATE(device_and_vector_forms_follow_the_definition, S, Scalars) {
    // float: the error function by Abramowitz and Stegun 7.1.26 has 1.5e-7, tanh is off by roundings of 1;
    // both count relative to max(1, |x|)
    double const bound = std::same_as<S, float> ? 6e-7 : 2e-15;
    double worst = 0;
    for (double p : points()) {
        S const x = static_cast<S>(p);
        double const scale = std::max(1.0, std::abs(p));
        auto const exact = gelu(static_cast<long double>(x)), slope = gelu_slope(static_cast<long double>(x)),
                   with_tanh = gelu_tanh(static_cast<long double>(x));
        long double const sigmoid = 1 / (1 + std::exp(-static_cast<long double>(x))), silu = x * sigmoid,
                          silu_slope = sigmoid * (1 + x * (1 - sigmoid));
        auto const device_silu = protlm::detail::activate(Activation::silu, x);
        S const vector_silu = one_lane<S>(protlm::detail::activate_vector<Activation::silu, S>, p),
                vector_silu_slope = one_lane<S>(protlm::detail::slope_vector<Activation::silu, S>, p);
        auto const device = protlm::detail::activate(Activation::gelu, x),
                   device_tanh = protlm::detail::activate(Activation::gelu_tanh, x);
        S const vector = one_lane<S>(protlm::detail::activate_vector<Activation::gelu, S>, p),
                vector_slope = one_lane<S>(protlm::detail::slope_vector<Activation::gelu, S>, p),
                vector_tanh = one_lane<S>(protlm::detail::activate_vector<Activation::gelu_tanh, S>, p),
                vector_tanh_slope = one_lane<S>(protlm::detail::slope_vector<Activation::gelu_tanh, S>, p);
        for (auto [value, expected] : {std::pair<S, long double>{device.value, exact},
                                       {device.slope, slope},
                                       {vector, exact},
                                       {vector_slope, slope},
                                       {device_silu.value, silu},
                                       {device_silu.slope, silu_slope},
                                       {vector_silu, silu},
                                       {vector_silu_slope, silu_slope},
                                       {device_tanh.value, with_tanh},
                                       {vector_tanh, with_tanh},
                                       {vector_tanh_slope, device_tanh.slope}})
            worst = std::max(worst, std::abs(static_cast<double>(static_cast<long double>(value) - expected)) / scale);
    }
    BOOST_TEST(worst < bound);
    BOOST_TEST(worst > 0.0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(relu_and_none_are_exact, S, Scalars) {
    for (double p : points()) {
        S const x = static_cast<S>(p);
        BOOST_REQUIRE_EQUAL(protlm::detail::activate(Activation::relu, x).value, x > S(0) ? x : S(0));
        BOOST_REQUIRE_EQUAL(one_lane<S>(protlm::detail::activate_vector<Activation::relu, S>, p), x > S(0) ? x : S(0));
        BOOST_REQUIRE_EQUAL(protlm::detail::activate(Activation::relu, x).slope, x > S(0) ? S(1) : S(0));
        BOOST_REQUIRE_EQUAL(one_lane<S>(protlm::detail::slope_vector<Activation::relu, S>, p), x > S(0) ? S(1) : S(0));
        BOOST_REQUIRE_EQUAL(one_lane<S>(protlm::detail::activate_vector<Activation::none, S>, p), x);
        BOOST_REQUIRE_EQUAL(one_lane<S>(protlm::detail::slope_vector<Activation::none, S>, p), S(1));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_activation_hides_that_a_value_is_not_a_number, S, Scalars) {
    double const nan = std::numeric_limits<double>::quiet_NaN();
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::activate_vector<Activation::gelu, S>, nan)));
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::activate_vector<Activation::gelu_tanh, S>, nan)));
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::activate_vector<Activation::relu, S>, nan)));
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::activate_vector<Activation::silu, S>, nan)));
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::activate_vector<Activation::tanh, S>, nan)));
    BOOST_TEST(std::isnan(one_lane<S>(protlm::detail::slope_vector<Activation::relu, S>, nan)));
    BOOST_TEST(std::isnan(protlm::detail::activate(Activation::relu, static_cast<S>(nan)).value));
    BOOST_TEST(std::isnan(protlm::detail::activate(Activation::relu, static_cast<S>(nan)).slope));
    BOOST_TEST(std::isnan(protlm::detail::activate(Activation::gelu, static_cast<S>(nan)).value));
    BOOST_TEST(std::isnan(protlm::detail::activate(Activation::gelu_tanh, static_cast<S>(nan)).value));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(exponential_of_the_vector_unit, S, Scalars) {
    double const unit = std::numeric_limits<S>::epsilon();
    double worst = 0;
    for (double p = -87.3; p < 87.9; p += 0.00713) {
        S const x = static_cast<S>(p);
        auto const expected = std::exp(static_cast<long double>(x));
        S const actual = one_lane<S>([](auto v) { return protlm::detail::exp(v); }, p);
        worst = std::max(worst, static_cast<double>(std::abs(static_cast<long double>(actual) - expected) / expected));
    }
    BOOST_TEST(worst < 2 * unit); // the docstring's two units in the last place
    auto const exponential = [](auto v) { return protlm::detail::exp(v); };
    BOOST_TEST(one_lane<S>(exponential, 0.0) == S(1));
    BOOST_TEST(one_lane<S>(exponential, -1e30) == S(0)); // hidden scores vanish
    BOOST_TEST(one_lane<S>(exponential, -2000.0) == S(0));
    BOOST_TEST(std::isnan(one_lane<S>(exponential, std::numeric_limits<double>::quiet_NaN())));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_and_largest_of_lanes, S, Scalars) {
    S lane[protlm::detail::lanes<S>];
    for (int i = 0; i < protlm::detail::lanes<S>; ++i)
        lane[i] = static_cast<S>((i * 7) % protlm::detail::lanes<S>) - S(3);
    S sum = 0, largest = lane[0];
    for (S value : lane) {
        sum += value;
        largest = std::max(largest, value);
    }
    BOOST_TEST(protlm::detail::sum_lanes<S>(protlm::detail::load(lane)) == sum);
    BOOST_TEST(protlm::detail::max_lanes<S>(protlm::detail::load(lane)) == largest);
    for (int n = 0; n <= protlm::detail::lanes<S>; ++n) {
        S part[protlm::detail::lanes<S>], stored[protlm::detail::lanes<S>];
        std::fill(stored, stored + protlm::detail::lanes<S>, S(99));
        protlm::detail::store(part, protlm::detail::load_part(lane, n));
        protlm::detail::store_part(stored, protlm::detail::load(lane), n);
        for (int i = 0; i < protlm::detail::lanes<S>; ++i) {
            BOOST_REQUIRE_EQUAL(part[i], i < n ? lane[i] : S(0));
            BOOST_REQUIRE_EQUAL(stored[i], i < n ? lane[i] : S(99));
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
