#include "support.hpp"

#include <protlm/ops/add.hpp>
#include <protlm/ops/gated_activation.hpp>
#include <protlm/ops/scale.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(gated_activation_and_scale)

using InDouble = OpCases<double>;
using AllScalars = OpCases<float, double>;

auto gated(Activation f) {
    return [f](auto &context, auto const &o) { return gated_activation(context, o.tensor(0), f); };
}

auto const thrice = [](auto &context, auto const &o) { return scale(context, o.tensor(0), 3.0); };

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    for (Activation const f : {Activation::gelu_tanh, Activation::gelu, Activation::tanh, Activation::none})
        for (index_t const width : {1, 3, 8, 19})
            check_jacobians<Case>("gated", {argument(Role::tensor, 3, 2 * width, 1, 2.0)}, gated(f));
    check_jacobians<Case>("scale", {argument(Role::tensor, 3, 5, 2)}, thrice);
    check_jacobians<Case>("u used twice", {argument(Role::tensor, 2, 6, 3)}, [](auto &context, auto const &o) {
        auto const half = scale(context, o.tensor(0), -0.5);
        return add(context, gated_activation(context, o.tensor(0), Activation::gelu),
                   gated_activation(context, half, Activation::tanh));
    });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(values_are_the_product_of_both_halves, Case, AllScalars) {
    std::vector<Argument> const u{argument(Role::tensor, 37, 2 * 45, 4, 3.0)};
    auto const values = as_double(forward<Case, typename Case::Inference>(u, gated(Activation::relu)));
    std::vector<double> expected;
    for (std::size_t i = 0; i < 37; ++i)
        for (std::size_t j = 0; j < 45; ++j) {
            double const gate = u[0].values[i * 90 + j];
            expected.push_back(gate > 0 ? gate * u[0].values[i * 90 + 45 + j] : 0.0);
        }
    BOOST_TEST(compare_scaled("relu", values, expected, 1e-6));
    for (Activation const f : {Activation::relu, Activation::gelu, Activation::gelu_tanh})
        check_agreement<Case>("gated", u, gated(f));
    check_agreement<Case>("scale", u, thrice);
    auto const triple = as_double(forward<Case, typename Case::Inference>(u, thrice));
    for (std::size_t i = 0; i < triple.size(); ++i)
        BOOST_TEST(std::abs(triple[i] - 3 * u[0].values[i]) < 1e-5);
}

BOOST_AUTO_TEST_CASE(an_odd_number_of_columns_is_an_error) {
    ReferenceCase::Training context;
    auto const u = context.tensor<double>(2, 5);
    BOOST_CHECK_EXCEPTION(gated_activation(context, u, Activation::relu), Error, [](Error const &error) {
        return std::string(error.what()) == "gated_activation: u has 5 columns, expected an even number";
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
