// The test support is tested code: a comparison that lets everything pass would make every other test worthless.

#include <support/compare.hpp>
#include <support/devices.hpp>
#include <support/jacobian.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace protlm::test {
namespace {

using Doubles = std::vector<double>;
double const nan = std::nan("");
double const infinity = std::numeric_limits<double>::infinity();

std::string message_of(boost::test_tools::assertion_result const &result) {
    std::ostringstream out;
    out << result.message();
    return out.str();
}

bool has(std::string const &text, std::string const &part) { return text.find(part) != std::string::npos; }

BOOST_AUTO_TEST_SUITE(support_compare)

BOOST_AUTO_TEST_CASE(agrees_within_the_tolerance_only) {
    Doubles const expected{1.0, -100.0, 0.0};
    BOOST_TEST(compare("same", expected, expected, {}));
    BOOST_TEST(compare("near", Doubles{1.009, -100.9, 0}, expected, {.relative = 0.01}));
    BOOST_TEST(!compare("far", Doubles{1.011, -100.0, 0}, expected, {.relative = 0.01}));
    BOOST_TEST(!compare("zero", Doubles{1.0, -100.0, 1e-30}, expected, {.relative = 0.01}));
    BOOST_TEST(compare("zero", Doubles{1.0, -100.0, 1e-30}, expected, {.relative = 0.01, .absolute = 1e-29}));
    BOOST_TEST(compare("floats", std::array<float, 2>{1, 2}, std::vector<int>{1, 2}, {}));
}

BOOST_AUTO_TEST_CASE(nothing_and_not_a_number_never_agree) {
    BOOST_TEST(!compare("empty", Doubles{}, Doubles{}, {.relative = 1}));
    BOOST_TEST(!compare("sizes", Doubles{1, 2}, Doubles{1}, {.relative = 1}));
    BOOST_TEST(!compare("actual", Doubles{nan}, Doubles{1}, {1e9, 1e9}));
    BOOST_TEST(!compare("expected", Doubles{1}, Doubles{nan}, {1e9, 1e9}));
    BOOST_TEST(!compare("both", Doubles{nan}, Doubles{nan}, {1e9, 1e9}));
    BOOST_TEST(!compare("infinite", Doubles{infinity}, Doubles{1}, {1e9, 1e9}));
}

BOOST_AUTO_TEST_CASE(the_message_says_what_differs_and_where) {
    auto const message =
        message_of(compare("gradient of query", Doubles{1, 2, 3, 4.5}, Doubles{1, 2, 3, 4}, {.relative = 0.1}, 2));
    BOOST_TEST(has(message, "gradient of query: [1, 1] is 4.5, expected 4;"), message);
    BOOST_TEST(has(message, "1 of 4 differ, largest relative error 0.125"), message);
    BOOST_TEST(has(message_of(compare("x", Doubles{1, 5}, Doubles{1, 4}, {})), "x: [1] is 5, expected 4"));
    BOOST_TEST(has(message_of(compare("x", Doubles{1}, Doubles{1, 4}, {})), "x: 1 values, expected 2"));
    auto const many = message_of(compare("x", Doubles(50, 1.0), Doubles(50, 2.0), {}));
    BOOST_TEST(has(many, "[4] is 1"), many);
    BOOST_TEST(!has(many, "[5] is 1"), many);
    BOOST_TEST(has(many, "50 of 50 differ"), many);
}

BOOST_AUTO_TEST_CASE(largest_relative_error_is_in_units_of_the_largest_value) {
    BOOST_TEST(max_relative_error(Doubles{1, 10}, Doubles{2, 10}) == 0.1);
    BOOST_TEST(max_relative_error(Doubles{0.5}, Doubles{0}) == 0.5);
    BOOST_TEST(max_relative_error(Doubles{nan}, Doubles{1}) == infinity);
    BOOST_TEST(max_relative_error(Doubles{1}, Doubles{1, 2}) == infinity);
}

BOOST_AUTO_TEST_CASE(bits_are_compared_as_bits) {
    BOOST_TEST(compare_bits("same", Doubles{1, nan}, Doubles{1, nan}));
    BOOST_TEST(!compare_bits("zeros", Doubles{0.0}, Doubles{-0.0}));
    BOOST_TEST(!compare_bits("last bit", Doubles{1.0}, Doubles{std::nextafter(1.0, 2.0)}));
    BOOST_TEST(!compare_bits("empty", Doubles{}, Doubles{}));
    BOOST_TEST(!compare_bits("sizes", Doubles{1, 2}, Doubles{1}));
    auto const message = message_of(compare_bits("row", Doubles{1, 2, 3, 4}, Doubles{1, 2, 5, 4}, 2));
    BOOST_TEST(has(message, "row: [1, 0] is 3, expected the same bits as 5"), message);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(support_jacobian)

BOOST_AUTO_TEST_CASE(agrees_with_derivatives_known_in_closed_form) {
    auto const f = [](Doubles const &x) {
        return Doubles{std::sin(x[0]) * x[1], std::exp(x[1] / 10), x[0] * x[0] * x[0]};
    };
    double const a = 0.7, b = -3;
    Jacobian const jacobian = numerical_jacobian(f, {a, b});
    BOOST_TEST(jacobian.rows == 3u);
    BOOST_TEST(jacobian.columns == 2u);
    Doubles const expected{std::cos(a) * b, std::sin(a), 0, std::exp(b / 10) / 10, 3 * a * a, 0};
    BOOST_TEST(compare("jacobian", jacobian.values, expected, {.relative = 1e-10, .absolute = 1e-12}, 2));
    BOOST_TEST(jacobian(1, 1) == jacobian.values[3]);
}

BOOST_AUTO_TEST_CASE(backward_is_the_transposed_product) {
    Jacobian const jacobian{2, 3, {1, 2, 3, 4, 5, 6}};
    BOOST_TEST(jacobian.backward(Doubles{10, 1}) == (Doubles{14, 25, 36}), boost::test_tools::per_element());
    BOOST_CHECK_THROW(jacobian.backward(Doubles{1}), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(finds_a_wrong_derivative) {
    auto const f = [](Doubles const &x) { return Doubles{x[0] * x[0]}; };
    BOOST_TEST(!compare("wrong by 1e-6", Doubles{2.000002}, numerical_jacobian(f, {1.0}).values, {.relative = 1e-7}));
}

BOOST_AUTO_TEST_CASE(gradient_of_a_number) {
    auto const f = [](Doubles const &x) { return x[0] * x[1]; };
    BOOST_TEST(compare("gradient", numerical_gradient(f, {3, 4}), Doubles{4, 3}, {.relative = 1e-10}));
    BOOST_CHECK_THROW(numerical_gradient(f, {}), std::invalid_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(support_devices)

using FloatAndDouble = Cases<float, double>;
static_assert(std::tuple_size_v<Devices> >= 1);
static_assert(std::tuple_size_v<FloatAndDouble> == 2 * std::tuple_size_v<Devices>);
static_assert(std::tuple_size_v<HostCases<float>> == std::tuple_size_v<HostDevices>);

BOOST_AUTO_TEST_CASE_TEMPLATE(every_device_runs_a_kernel, Case, FloatAndDouble) {
    using Device = typename Case::device;
    typename Case::scalar sum = 0;
    Kokkos::parallel_reduce(
        "protlm::test::sum", Kokkos::RangePolicy<Device>(0, 100),
        KOKKOS_LAMBDA(int i, typename Case::scalar &partial) { partial += static_cast<typename Case::scalar>(i); },
        sum);
    BOOST_TEST(sum == 4950);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(support_temporary_folder)

BOOST_AUTO_TEST_CASE(is_fresh_and_vanishes) {
    std::filesystem::path kept;
    {
        TemporaryFolder const a, b;
        BOOST_TEST(a.path() != b.path());
        BOOST_TEST(std::filesystem::is_empty(a.path()));
        kept = a.path();
        std::string const bytes("a\0b\r\n", 5);
        BOOST_TEST(read_file(a.write("deep/down/file", bytes)) == bytes);
    }
    BOOST_TEST(!std::filesystem::exists(kept));
    BOOST_CHECK_THROW(read_file(kept / "file"), std::runtime_error);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
