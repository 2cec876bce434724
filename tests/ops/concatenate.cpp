#include "support.hpp"

#include <protlm/ops/concatenate.hpp>

#include <support/message_of.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(concatenate_op)

using InDouble = OpCases<double>;
using OnDefault = DefaultOpCases<float, double>;

/// Sequences of 2, 0, 3 rows before others of 1, 4, 2.
constexpr auto join = [](auto &context, auto const &o) {
    std::vector<std::int64_t> const first{0, 2, 2, 5}, second{0, 1, 5, 7};
    auto const joined = join_segments(context, make_segments(context, first), make_segments(context, second));
    return concatenate(context, o.tensor(0), o.tensor(1), joined);
};

/// Columns 1 and 2 of the first, all of the second, the first column of the first.
constexpr auto beside = [](auto &context, auto const &o) {
    return concatenate_columns(context, std::vector{ColumnRange{o.tensor(0), 1, 2},
                                                    ColumnRange{o.tensor(1), 0, o.tensor(1).cols()},
                                                    ColumnRange{o.tensor(0), 0, 1}});
};

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_come_sequence_by_sequence, Case, OnDefault) {
    std::vector<Argument> arguments{{Role::tensor, 5, 1, {0, 1, 2, 3, 4}},
                                    {Role::tensor, 7, 1, {10, 11, 12, 13, 14, 15, 16}}};
    auto const output = as_double(forward<Case, typename Case::Inference>(arguments, join));
    std::vector<double> const expected{0, 1, 10, 11, 12, 13, 14, 2, 3, 4, 15, 16};
    BOOST_TEST(compare("rows", output, expected, {}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(columns_come_side_by_side, Case, OnDefault) {
    std::vector<Argument> arguments{{Role::tensor, 2, 3, {0, 1, 2, 3, 4, 5}}, {Role::tensor, 2, 1, {10, 11}}};
    auto const output = as_double(forward<Case, typename Case::Inference>(arguments, beside));
    std::vector<double> const expected{1, 2, 10, 0, 4, 5, 11, 3};
    BOOST_TEST(compare("columns", output, expected, {}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians, Case, InDouble) {
    check_jacobians<Case>("rows", {argument(Role::tensor, 5, 3, 1), argument(Role::tensor, 7, 3, 2)}, join);
    check_jacobians<Case>("a memory", {argument(Role::constant, 5, 3, 1), argument(Role::tensor, 7, 3, 2)}, join);
    check_jacobians<Case>("columns", {argument(Role::tensor, 4, 3, 1), argument(Role::tensor, 4, 2, 2)}, beside);
    check_jacobians<Case>("constant columns", {argument(Role::tensor, 4, 3, 1), argument(Role::constant, 4, 2, 2)},
                          beside);
}

BOOST_AUTO_TEST_CASE(wrong_extents_are_told) {
    using Case = ReferenceCase;
    auto const message = [](index_t first, index_t second, auto const &build) {
        return message_of([&] {
            forward<Case, Case::Inference>({argument(Role::tensor, first, 3, 1), argument(Role::tensor, second, 3, 2)},
                                           build);
        });
    };
    BOOST_TEST(message(4, 7, join) == "place_rows: rows has 5 entries, expected 4");
    BOOST_TEST(message(4, 5, beside) == "concatenate_columns: part has 5 rows, expected 4");
    Inference<Kokkos::DefaultExecutionSpace> context;
    std::vector<std::int64_t> const two{0, 1, 2}, one{0, 1};
    BOOST_TEST(message_of([&] { join_segments(context, make_segments(context, two), make_segments(context, one)); }) ==
               "join_segments: second has 1 sequences, expected 2");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
