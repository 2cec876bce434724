#include "support.hpp"

#include <protlm/ops/norm.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(norm_op)

using InDouble = OpCases<double>;
using Storage = DefaultOpCases<float, double, bfloat16, half>;

std::vector<Argument> layer_norm_arguments(index_t rows, index_t cols, Role weight = Role::weight,
                                           Role input = Role::tensor) {
    return {argument(input, rows, cols, 1), argument(weight, 1, cols, 2), argument(weight, 1, cols, 3)};
}

auto layer_norm_with(double eps) {
    return
        [eps](auto &context, auto const &o) { return layer_norm(context, o.tensor(0), o.weight(1), o.weight(2), eps); };
}
auto rms_norm_with(double eps) {
    return [eps](auto &context, auto const &o) { return rms_norm(context, o.tensor(0), o.weight(1), eps); };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    for (index_t cols : {2, 5, 9, 17})
        for (double eps : {1e-12, 0.1}) {
            std::string const name = std::to_string(cols) + " columns";
            check_jacobians<Case>("layer_norm, " + name, layer_norm_arguments(3, cols), layer_norm_with(eps));
            check_jacobians<Case>("rms_norm, " + name,
                                  {argument(Role::tensor, 3, cols, 1), argument(Role::weight, 1, cols, 2)},
                                  rms_norm_with(eps));
        }
    // one column: nothing is left of x in LayerNorm, its sign in RMSNorm
    check_jacobians<Case>("layer_norm, 1 column", layer_norm_arguments(3, 1), layer_norm_with(0.1));
    check_jacobians<Case>("rms_norm, 1 column", {argument(Role::tensor, 3, 1, 1), argument(Role::weight, 1, 1, 2)},
                          rms_norm_with(0.1));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_of_parts, Case, InDouble) {
    check_jacobians<Case>("frozen", layer_norm_arguments(3, 5, Role::frozen), layer_norm_with(1e-5));
    check_jacobians<Case>("constant", layer_norm_arguments(3, 5, Role::weight, Role::constant), layer_norm_with(1e-5));
    check_jacobians<Case>("only x", {argument(Role::tensor, 3, 5, 1), argument(Role::frozen, 1, 5, 2)},
                          rms_norm_with(1e-6));
    auto beta_only = layer_norm_arguments(3, 5);
    beta_only[1].role = Role::frozen;
    check_jacobians<Case>("only beta", beta_only, layer_norm_with(1e-5));
}

// Sums over tokens go by blocks of 128 rows.
BOOST_AUTO_TEST_CASE_TEMPLATE(all_kernels_agree, Case, Storage) {
    for (index_t rows : {1, 2, 127, 128, 129, 300})
        for (index_t cols : {3, 16, 31, 100, 257}) { // of 1 or 2 columns nothing but roundings is left
            std::string const name = std::to_string(rows) + " x " + std::to_string(cols);
            check_agreement<Case>("layer_norm " + name, layer_norm_arguments(rows, cols), layer_norm_with(1e-3));
            check_agreement<Case>("rms_norm " + name,
                                  {argument(Role::tensor, rows, cols, 1), argument(Role::weight, 1, cols, 2)},
                                  rms_norm_with(1e-3));
        }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_have_the_promised_mean_and_deviation, Case, Storage) {
    index_t const rows = 5, cols = 75;
    std::vector<Argument> const arguments{argument(Role::tensor, rows, cols, 1, 30.0),
                                          {Role::weight, 1, cols, std::vector<double>(cols, 1.0)},
                                          {Role::weight, 1, cols, std::vector<double>(cols, 0.0)}};
    auto const y = forward<Case, typename Case::Inference>(arguments, layer_norm_with(1e-12));
    auto const z = forward<Case, typename Case::Inference>(arguments, rms_norm_with(1e-12));
    for (index_t i = 0; i < rows; ++i) {
        double mean = 0, square = 0, rms = 0;
        for (index_t j = 0; j < cols; ++j) {
            auto const at = static_cast<std::size_t>(i * cols + j);
            mean += static_cast<double>(y[at]) / cols;
            square += static_cast<double>(y[at]) * static_cast<double>(y[at]) / cols;
            rms += static_cast<double>(z[at]) * static_cast<double>(z[at]) / cols;
        }
        BOOST_TEST(std::abs(mean) < 1e-6);
        BOOST_TEST(std::abs(square - 1) < 1e-5);
        BOOST_TEST(std::abs(rms - 1) < 1e-5);
    }
}

// A large common part must not eat the variance: sums of squares would lose all digits here.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_large_mean_does_not_hurt, Case, Storage) {
    index_t const cols = 64;
    auto arguments = layer_norm_arguments(2, cols);
    for (double &x : arguments[0].values)
        x = 4096.0 + std::round(64 * x) / 64.0; // exact in float
    arguments = representable<typename Case::scalar>(arguments);
    for (std::size_t i = 0; i < arguments[0].values.size(); ++i)
        arguments[0].values[i] = 4096.0 + static_cast<double>(i % 7) / 64.0;
    auto const expected = forward<ReferenceCase, ReferenceCase::Inference>(arguments, layer_norm_with(1e-12));
    auto const actual = forward<Case, typename Case::Inference>(arguments, layer_norm_with(1e-12));
    // the mean itself is rounded to 4096 * 6e-8, 1 % of the deviation of 0.03
    double const allowed = std::same_as<typename Case::accumulate, double> ? 1e-9 : 2e-2;
    BOOST_TEST(compare_scaled("layer_norm", as_double(actual), expected, allowed));
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    std::vector<Argument> const arguments{argument(Role::tensor, 2, 4, 1), argument(Role::weight, 1, 4, 2),
                                          argument(Role::weight, 1, 3, 3)};
    Operands<ReferenceCase, ReferenceCase::Training> const o(context, arguments);
    auto const is = [](std::string text) { return [text](Error const &error) { return error.what() == text; }; };
    BOOST_CHECK_EXCEPTION(layer_norm(context, o.tensor(0), o.weight(2), o.weight(1), 1e-12), Error,
                          is("layer_norm: gamma has 3 columns, expected 4"));
    BOOST_CHECK_EXCEPTION(layer_norm(context, o.tensor(0), o.weight(1), o.weight(2), 1e-12), Error,
                          is("layer_norm: beta has 3 columns, expected 4"));
    BOOST_CHECK_EXCEPTION(rms_norm(context, o.tensor(0), o.weight(2), 1e-12), Error,
                          is("rms_norm: gamma has 3 columns, expected 4"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
