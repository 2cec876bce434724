#include "support.hpp"

#include <protlm/ops/add.hpp>
#include <protlm/ops/gather.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(add_and_gather)

using InDouble = OpCases<double>;
using FloatAndDouble = OpCases<float, double>;

auto const sum_of_both = [](auto &context, auto const &o) { return add(context, o.tensor(0), o.tensor(1)); };

auto gather(std::vector<index_t> rows) {
    return [rows](auto &context, auto const &o) {
        return gather_rows(context, o.tensor(0), context.template upload<index_t>(rows));
    };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_of_add, Case, InDouble) {
    std::vector<Argument> both{argument(Role::tensor, 3, 5, 1), argument(Role::tensor, 3, 5, 2)};
    check_jacobians<Case>("add", both, sum_of_both);
    check_jacobians<Case>("x + x", {both[0]},
                          [](auto &context, auto const &o) { return add(context, o.tensor(0), o.tensor(0)); });
    check_jacobians<Case>("(a + b) + a", both, [](auto &context, auto const &o) {
        return add(context, add(context, o.tensor(0), o.tensor(1)), o.tensor(0));
    });
    check_jacobians<Case>("(a + b) + (a + b)", both, [](auto &context, auto const &o) {
        auto const sum = add(context, o.tensor(0), o.tensor(1));
        return add(context, sum, sum);
    });
    both[0].role = Role::constant;
    check_jacobians<Case>("constant + b", both, sum_of_both);
    std::swap(both[0], both[1]);
    check_jacobians<Case>("a + constant", both, sum_of_both);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_of_gather, Case, InDouble) {
    std::vector<Argument> const x{argument(Role::tensor, 5, 3, 1)};
    check_jacobians<Case>("some rows", x, gather({4, 0, 3}));
    check_jacobians<Case>("all rows", x, gather({0, 1, 2, 3, 4}));
    check_jacobians<Case>("gather of a sum", {x[0], argument(Role::tensor, 5, 3, 2)}, [](auto &context, auto const &o) {
        auto const sum = add(context, o.tensor(0), o.tensor(1));
        auto const few = gather_rows(context, sum, context.template upload<index_t>(std::vector<index_t>{1, 4}));
        auto const others = gather_rows(context, sum, context.template upload<index_t>(std::vector<index_t>{4, 2}));
        return add(context, few, others);
    });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(sums_and_copies_are_exact, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    std::vector<Argument> const both{argument(Role::tensor, 130, 17, 1), argument(Role::tensor, 130, 17, 2)};
    std::vector<A> sums, rows;
    for (std::size_t i = 0; i < both[0].values.size(); ++i)
        sums.push_back(static_cast<A>(both[0].values[i]) + static_cast<A>(both[1].values[i]));
    std::vector<index_t> picked;
    for (index_t t = 129; t >= 0; t -= 3) {
        picked.push_back(t);
        for (index_t j = 0; j < 17; ++j)
            rows.push_back(static_cast<A>(both[0].values[static_cast<std::size_t>(t * 17 + j)]));
    }
    BOOST_TEST(compare_bits("add", forward<Case, typename Case::Inference>(both, sum_of_both), sums, 17));
    BOOST_TEST(compare_bits("gather", forward<Case, typename Case::Inference>({both[0]}, gather(picked)), rows, 17));
    check_agreement<Case>("add", both, sum_of_both);
    check_agreement<Case>("gather", {both[0]}, gather(picked));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(nothing_gathered_leaves_a_zero_gradient, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    typename Case::Training context;
    auto const x = make_tensor<A>(context, 3, 2, random_values(6, 1));
    auto const y = gather_rows(context, x, context.template upload<index_t>(std::vector<index_t>{}));
    BOOST_TEST(y.rows() == 0);
    y.accumulate();
    context.tape().run();
    BOOST_TEST(host_values(x.gradient_view()) == std::vector<double>(6, 0.0), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    auto const a = context.tensor<double>(2, 3), b = context.tensor<double>(3, 3), c = context.tensor<double>(2, 4);
    auto const is = [](std::string text) { return [text](Error const &error) { return error.what() == text; }; };
    BOOST_CHECK_EXCEPTION(add(context, a, b), Error, is("add: b has 3 rows, expected 2"));
    BOOST_CHECK_EXCEPTION(add(context, a, c), Error, is("add: b has 4 columns, expected 3"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
