#include "support.hpp"

#include <protlm/ops/binary_cross_entropy.hpp>
#include <protlm/ops/linear.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(binary_cross_entropy_op)

using InDouble = OpCases<double>;
using FloatAndDouble = OpCases<float, double>;
using Labels = std::vector<std::int32_t>;

auto loss_of(Labels labels) {
    return [labels](auto &context, auto const &o) {
        return binary_cross_entropy(context, o.tensor(0), context.template upload<std::int32_t>(labels)).sum;
    };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    check_jacobians<Case>("logits", {argument(Role::tensor, 5, 1, 1, 4.0)}, loss_of({1, 0, 0, 1, 1}));
    check_jacobians<Case>(
        "head", {argument(Role::tensor, 3, 4, 1), argument(Role::weight, 1, 4, 2), argument(Role::weight, 1, 1, 3)},
        [](auto &context, auto const &o) {
            auto const logits = linear(context, o.tensor(0), o.weight(1), o.weight(2));
            return binary_cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{0, 1, 0})).sum;
        });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(loss_and_right_answers_follow_the_definition, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    index_t const rows = 203;
    auto const x = random_values(rows, 1, 6.0);
    Labels labels;
    double sum = 0;
    index_t correct = 0;
    std::vector<double> gradient;
    for (std::size_t i = 0; i < x.size(); ++i) {
        labels.push_back(i % 3 == 0);
        double const p = 1 / (1 + std::exp(-x[i]));
        sum -= std::log(labels[i] ? p : 1 - p);
        correct += (x[i] > 0) == (labels[i] == 1);
        gradient.push_back(2.5 * (p - labels[i]));
    }
    BOOST_REQUIRE(correct > 0);
    typename Case::Training context;
    auto const logits = make_tensor<A>(context, rows, 1, x);
    auto const loss = binary_cross_entropy(context, logits, context.template upload<std::int32_t>(labels));
    BOOST_TEST(loss.labelled == rows);
    BOOST_TEST(loss.correct == correct);
    double const allowed = std::same_as<A, float> ? 2e-6 : 1e-12; // roundings of logits and exponentials
    BOOST_TEST(compare("sum", host_values(loss.sum.view()), std::vector<double>{sum}, {.relative = allowed}));
    context.backward(loss.sum, 2.5);
    BOOST_TEST(compare_scaled("gradient", host_values(logits.gradient_view()), gradient, allowed));
    check_agreement<Case>("binary_cross_entropy", {argument(Role::tensor, rows, 1, 1, 6.0)}, loss_of(labels));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(large_logits_neither_overflow_nor_vanish, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const logits = make_tensor<A>(context, 5, 1, {1e4, -1e4, 1e4, -1e4, 0});
    auto const loss =
        binary_cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{0, 1, 1, 0, 0}));
    BOOST_TEST(
        compare("sum", host_values(loss.sum.view()), std::vector<double>{20000 + std::log(2.0)}, {.relative = 1e-6}));
    BOOST_TEST(loss.correct == 3); // a logit of 0 answers no
    context.backward(loss.sum);
    BOOST_TEST(compare("gradient", host_values(logits.gradient_view()), std::vector<double>{1, -1, 0, 0, .5},
                       {.absolute = 1e-12}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_not_a_number_reaches_the_loss, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    for (std::int32_t const label : {0, 1}) {
        typename Case::Inference context;
        auto const loss = binary_cross_entropy(context, make_tensor<A>(context, 1, 1, {std::nan("")}),
                                               context.template upload<std::int32_t>(Labels{label}));
        BOOST_TEST(!std::isfinite(host_values(loss.sum.view())[0]));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_labelled_row_is_no_loss, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const loss = binary_cross_entropy(context, context.template tensor<A>(0, 1),
                                           context.template upload<std::int32_t>(Labels{}));
    BOOST_TEST(loss.labelled == 0);
    BOOST_TEST(loss.correct == 0);
    BOOST_TEST(host_values(loss.sum.view())[0] == 0.0);
    context.backward(loss.sum);
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    auto const message = [&](index_t cols, Labels const &labels) -> std::string {
        try {
            binary_cross_entropy(context, context.tensor<double>(2, cols), context.upload<std::int32_t>(labels));
        } catch (Error const &error) {
            return error.what();
        }
        return "no error";
    };
    BOOST_TEST(message(1, {0, 1, 0}) == "binary_cross_entropy: labels has 3 entries, expected 2");
    BOOST_TEST(message(2, {0, 1}) == "binary_cross_entropy: logits has 2 columns, expected 1");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
