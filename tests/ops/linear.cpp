#include "support.hpp"

#include <protlm/ops/linear.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(linear_op)

using InDouble = OpCases<double>;

struct Shape {
    index_t t, k, n;
};

constexpr Activation activations[] = {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::relu};

std::string describe(Shape s, Activation f) {
    return "T " + std::to_string(s.t) + ", K " + std::to_string(s.k) + ", N " + std::to_string(s.n) + ", activation " +
           std::to_string(static_cast<int>(f));
}

std::vector<Argument> arguments_of(Shape s, Role weight = Role::weight, Role input = Role::tensor) {
    return {argument(input, s.t, s.k, 1), argument(weight, s.n, s.k, 2), argument(weight, 1, s.n, 3)};
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_of_every_activation, Case, InDouble) {
    for (Activation f : activations)
        for (Shape s : {Shape{1, 1, 1}, Shape{3, 2, 5}, Shape{2, 7, 3}})
            check_jacobians<Case>(describe(s, f), arguments_of(s), [f](auto &context, auto const &o) {
                return linear(context, o.tensor(0), o.weight(1), o.weight(2), f);
            });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_without_bias_and_with_residual, Case, InDouble) {
    Shape const s{3, 4, 5};
    using Weights = Weight<double, typename Case::device>;
    check_jacobians<Case>(
        "no bias", {argument(Role::tensor, s.t, s.k, 1), argument(Role::weight, s.n, s.k, 2)},
        [](auto &context, auto const &o) { return linear(context, o.tensor(0), o.weight(1), Weights{}); });
    auto with_residual = arguments_of(s);
    with_residual.push_back(argument(Role::tensor, s.t, s.n, 4));
    check_jacobians<Case>("residual", with_residual, [](auto &context, auto const &o) {
        return linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::none, o.tensor(3));
    });
    // the residual of a square layer is often its own input
    check_jacobians<Case>("residual is x", arguments_of({3, 4, 4}), [](auto &context, auto const &o) {
        return linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::none, o.tensor(0));
    });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_of_parts, Case, InDouble) {
    auto const build = [](auto &context, auto const &o) {
        return linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::gelu);
    };
    check_jacobians<Case>("frozen weights", arguments_of({3, 4, 5}, Role::frozen), build);
    check_jacobians<Case>("constant input", arguments_of({3, 4, 5}, Role::weight, Role::constant), build);
    auto only_bias = arguments_of({3, 4, 5});
    only_bias[1].role = Role::frozen;
    check_jacobians<Case>("only the bias is trained", only_bias, build);
    auto only_weight = arguments_of({3, 4, 5});
    only_weight[2].role = Role::frozen;
    check_jacobians<Case>("only the weight is trained", only_weight, build);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(one_weight_in_two_places, Case, InDouble) {
    check_jacobians<Case>("twice", arguments_of({3, 4, 4}), [](auto &context, auto const &o) {
        auto const first = linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::gelu_tanh);
        return linear(context, first, o.weight(1), o.weight(2));
    });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
