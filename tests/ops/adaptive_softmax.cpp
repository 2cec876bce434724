#include "support.hpp"

#include <protlm/ops/adaptive_softmax.hpp>

#include <support/message_of.hpp>

#include <cmath>
#include <numeric>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(adaptive_softmax_op)

using InDouble = OpCases<double>;
using InAll = OpCases<double, float>;
using OnDefault = DefaultOpCases<float, double>;

// seven tokens: a shortlist of 3, clusters of 2 and of 2
std::vector<index_t> const ends{3, 5, 7};
std::vector<std::int32_t> const labels{0, 4, 2, 6, 3, 1, 4};

/// Head logits (7, 3 + 2) and the tails' (3, 2), (1, 2) for the rows that have a label there.
std::vector<Argument> loss_arguments() {
    return {argument(Role::tensor, 7, 5, 1, 2), argument(Role::tensor, 3, 2, 2, 2), argument(Role::tensor, 1, 2, 3, 2)};
}

constexpr auto loss = [](auto &context, auto const &o) {
    return adaptive_cross_entropy(context, o.tensor(0), {o.tensor(1), o.tensor(2)}, sort_labels(context, labels, ends))
        .sum;
};

/// Head (4, 3 + 2) and the first tail for every row.
std::vector<Argument> shifted_arguments() {
    return {argument(Role::tensor, 4, 5, 1, 2), argument(Role::tensor, 4, 2, 2, 2)};
}

constexpr auto tail_shifted = [](auto &context, auto const &o) {
    return log_softmax(context, o.tensor(1), log_softmax(context, o.tensor(0)), 3);
};

double log_sum(double const *values, std::size_t n) {
    return std::log(std::accumulate(values, values + n, 0.0, [](double sum, double v) { return sum + std::exp(v); }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(labels_are_sorted_by_cluster, Case, OnDefault) {
    typename Case::Inference context;
    auto const sorted = sort_labels(context, labels, ends);
    auto const head = host_values(sorted.head.view());
    BOOST_TEST(compare("head", head, std::vector<double>{0, 3, 2, 4, 3, 1, 3}, {}));
    BOOST_REQUIRE(sorted.tails.size() == 2u);
    BOOST_TEST(compare("rows", host_values(sorted.tails[0].rows.view()), std::vector<double>{1, 4, 6}, {}));
    BOOST_TEST(compare("labels", host_values(sorted.tails[0].tokens.view()), std::vector<double>{1, 0, 1}, {}));
    BOOST_TEST(compare("rows", host_values(sorted.tails[1].rows.view()), std::vector<double>{3}, {}));
    BOOST_TEST(compare("labels", host_values(sorted.tails[1].tokens.view()), std::vector<double>{1}, {}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(the_loss_is_that_of_the_two_choices, Case, InAll) {
    auto const arguments = loss_arguments();
    typename Case::Inference context;
    Operands<Case, typename Case::Inference> const o(context, arguments);
    auto const result =
        adaptive_cross_entropy(context, o.tensor(0), {o.tensor(1), o.tensor(2)}, sort_labels(context, labels, ends));
    std::vector<std::size_t> const head{0, 3, 2, 4, 3, 1, 3}, tail{0, 1, 0, 1, 0, 0, 1}, tail_row{0, 0, 0, 0, 1, 0, 2};
    double expected = 0;
    index_t correct = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        double const *row = arguments[0].values.data() + 5 * i;
        expected += log_sum(row, 5) - row[head[i]];
        bool right = std::max_element(row, row + 5) == row + head[i];
        if (head[i] >= 3) {
            double const *tail_logits = arguments[head[i] - 2].values.data() + 2 * tail_row[i];
            expected += log_sum(tail_logits, 2) - tail_logits[tail[i]];
            right = right && std::max_element(tail_logits, tail_logits + 2) == tail_logits + tail[i];
        }
        correct += right;
    }
    BOOST_TEST(result.labelled == 7);
    BOOST_TEST(result.correct == correct);
    BOOST_TEST(compare("sum", host_values(result.sum.view()), std::vector{expected}, {.relative = 1e-6}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    check_jacobians<Case>("loss", loss_arguments(), loss);
    check_jacobians<Case>("log softmax", {argument(Role::tensor, 3, 5, 1, 2)},
                          [](auto &context, auto const &o) { return log_softmax(context, o.tensor(0)); });
    check_jacobians<Case>("with a shift", shifted_arguments(), tail_shifted);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(agrees_with_plain_kernels, Case, InAll) {
    check_agreement<Case>("loss", loss_arguments(), loss);
    check_agreement<Case>("with a shift", shifted_arguments(), tail_shifted);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(log_softmax_is_that, Case, OnDefault) {
    auto const arguments = shifted_arguments();
    auto const actual = as_double(forward<Case, typename Case::Inference>(arguments, tail_shifted));
    std::vector<double> expected;
    for (std::size_t i = 0; i < 4; ++i) {
        double const *head = arguments[0].values.data() + 5 * i, *tail = arguments[1].values.data() + 2 * i;
        for (std::size_t j = 0; j < 2; ++j)
            expected.push_back(head[3] - log_sum(head, 5) + tail[j] - log_sum(tail, 2));
    }
    BOOST_TEST(compare_scaled("log probabilities", actual, expected, tolerance<Case>()));
}

BOOST_AUTO_TEST_CASE(a_cluster_without_labels_costs_nothing) {
    using Case = ReferenceCase;
    std::vector<std::int32_t> const short_ones{0, 2};
    Case::Training context;
    auto const head = make_tensor<double>(context, 2, 5, random_values(10, 1));
    auto const empty = context.tensor<double>(0, 2);
    auto const result = adaptive_cross_entropy(context, head, {empty, empty}, sort_labels(context, short_ones, ends));
    context.backward(result.sum);
    BOOST_TEST(head.has_gradient());
    BOOST_TEST(!empty.has_gradient());
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_told) {
    ReferenceCase::Inference context;
    std::vector<std::int32_t> const wrong{0, 7};
    BOOST_TEST(message_of([&] { sort_labels(context, wrong, ends); }) ==
               "sort_by_cluster: tokens[1] is 7, expected at least 0 and below 7");
    auto const head = context.tensor<double>(6, 5), tail = context.tensor<double>(3, 2);
    BOOST_TEST(message_of([&] {
                   adaptive_cross_entropy(context, head, {tail, tail}, sort_labels(context, labels, ends));
               }) == "adaptive_cross_entropy: labels has 7 entries, expected 6");
    BOOST_TEST(message_of([&] { adaptive_cross_entropy(context, head, {tail}, sort_labels(context, labels, ends)); }) ==
               "adaptive_cross_entropy: tails has 1 entries, expected 2");
    BOOST_TEST(message_of([&] { log_softmax(context, head, tail); }) == "log_softmax: shift has 3 rows, expected 6");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
