#include "support.hpp"

#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/gather.hpp>
#include <protlm/ops/linear.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(cross_entropy_op)

using InDouble = OpCases<double>;
using FloatAndDouble = OpCases<float, double>;

using Labels = std::vector<std::int32_t>;

auto loss_of(Labels labels) {
    return [labels](auto &context, auto const &o) {
        return cross_entropy(context, o.tensor(0), context.template upload<std::int32_t>(labels)).sum;
    };
}

Labels some_labels(index_t rows, index_t classes) {
    Labels labels;
    for (index_t i = 0; i < rows; ++i)
        labels.push_back(static_cast<std::int32_t>((5 * i + 2) % classes));
    return labels;
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    for (index_t classes : {1, 2, 30})
        check_jacobians<Case>(std::to_string(classes) + " classes", {argument(Role::tensor, 4, classes, 1, 3.0)},
                              loss_of(some_labels(4, classes)));
    // the head of a language model: logits of labelled rows only
    check_jacobians<Case>(
        "tied head",
        {argument(Role::tensor, 5, 4, 1), argument(Role::weight, 7, 4, 2), argument(Role::weight, 1, 7, 3)},
        [](auto &context, auto const &o) {
            auto const rows = context.template upload<index_t>(std::vector<index_t>{1, 4});
            auto const labelled = gather_rows(context, o.tensor(0), rows);
            auto const logits = linear(context, labelled, o.weight(1), o.weight(2));
            return cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{6, 0})).sum;
        });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(loss_and_right_answers_follow_the_definition, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    index_t const rows = 301, classes = 33;
    auto const values = random_values(rows * classes, 1, 6.0);
    auto const labels = some_labels(rows, classes);
    double sum = 0;
    index_t correct = 0;
    std::vector<double> gradient;
    for (index_t i = 0; i < rows; ++i) {
        double const *x = values.data() + i * classes;
        double total = 0;
        for (index_t j = 0; j < classes; ++j)
            total += std::exp(x[j]);
        auto const label = labels[static_cast<std::size_t>(i)];
        sum += std::log(total) - x[label];
        correct += std::max_element(x, x + classes) - x == label;
        for (index_t j = 0; j < classes; ++j)
            gradient.push_back(2.5 * (std::exp(x[j]) / total - (j == label)));
    }
    BOOST_REQUIRE(correct > 0);
    typename Case::Training context;
    auto const logits = make_tensor<A>(context, rows, classes, values);
    auto const loss = cross_entropy(context, logits, context.template upload<std::int32_t>(labels));
    BOOST_TEST(loss.labelled == rows);
    BOOST_TEST(loss.correct == correct);
    double const allowed = std::same_as<A, float> ? 2e-6 : 1e-12; // roundings of logits and exponentials
    BOOST_TEST(compare("sum", host_values(loss.sum.view()), std::vector<double>{sum}, {.relative = allowed}));
    context.backward(loss.sum, 2.5);
    BOOST_TEST(compare_scaled("gradient", host_values(logits.gradient_view()), gradient, allowed));
    check_agreement<Case>("cross_entropy", {argument(Role::tensor, rows, classes, 1, 6.0)}, loss_of(labels));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(large_logits_neither_overflow_nor_vanish, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const logits = make_tensor<A>(context, 3, 3, {1e4, -1e4, 0, -1e4, -1e4, -1e4, 5e3, 5e3, -5e3});
    auto const loss = cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{1, 2, 0}));
    // 20000, log 3, log 2
    BOOST_TEST(compare("sum", host_values(loss.sum.view()), std::vector<double>{20000 + std::log(3.0) + std::log(2.0)},
                       {.relative = 1e-6}));
    context.backward(loss.sum);
    // -10000 is represented with steps of 1e-3 in float, so log 3 is coarse there
    BOOST_TEST(compare("gradient", host_values(logits.gradient_view()),
                       std::vector<double>{1, -1, 0, 1. / 3, 1. / 3, -2. / 3, -.5, .5, 0}, {.absolute = 1e-3}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(of_equal_logits_the_first_is_the_answer, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Inference context;
    auto const logits = make_tensor<A>(context, 2, 3, {1, 1, 1, 1, 1, 1});
    BOOST_TEST(cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{0, 1})).correct == 1);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_not_a_number_reaches_the_loss, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
        for (std::size_t place : {0u, 1u, 2u}) {
            typename Case::Inference context;
            std::vector<double> values{0.1, 0.2, 0.3};
            values[place] = bad;
            auto const loss = cross_entropy(context, make_tensor<A>(context, 1, 3, values),
                                            context.template upload<std::int32_t>(Labels{0}));
            BOOST_TEST(!std::isfinite(host_values(loss.sum.view())[0]));
        }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_labelled_row_is_no_loss, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const logits = context.template tensor<A>(0, 5);
    auto const loss = cross_entropy(context, logits, context.template upload<std::int32_t>(Labels{}));
    BOOST_TEST(loss.labelled == 0);
    BOOST_TEST(loss.correct == 0);
    BOOST_TEST(host_values(loss.sum.view())[0] == 0.0);
    context.backward(loss.sum);
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    auto const logits = context.tensor<double>(2, 3);
    BOOST_CHECK_EXCEPTION(cross_entropy(context, logits, context.upload<std::int32_t>(Labels{0, 1, 2})), Error,
                          [](Error const &error) {
                              return error.what() == std::string("cross_entropy: labels has 3 entries, expected 2");
                          });
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
