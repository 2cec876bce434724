#include "support.hpp"

#include <protlm/ops/embedding.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(embedding_op)

using InDouble = OpCases<double>;
using InFloat = OpCases<float>;
using Storage = DefaultOpCases<float, double, bfloat16, half>;

using Ids = std::vector<std::int32_t>;

/// The sum over tables i of table[ids[i][t]].
auto embed(std::vector<Ids> ids) {
    return [ids](auto &context, auto const &o) {
        using Weight = std::decay_t<decltype(o.weight(0))>;
        using Context = std::decay_t<decltype(context)>;
        using Exec = typename Context::execution_space;
        auto const lookup = [&](std::size_t i) {
            return Lookup<typename Weight::scalar_type, Exec>{context.template upload<std::int32_t>(ids[i]),
                                                              o.weight(i)};
        };
        if (ids.size() == 1)
            return embedding(context, std::array{lookup(0)});
        return embedding(context, std::array{lookup(0), lookup(1), lookup(2)});
    };
}

BOOST_AUTO_TEST_CASE_TEMPLATE(jacobians_with_repeated_ids_and_several_tables, Case, InDouble) {
    check_jacobians<Case>("one table", {argument(Role::weight, 4, 3, 1)}, embed({{2, 0, 2, 2, 3}}));
    std::vector<Argument> tables{argument(Role::weight, 5, 3, 1), argument(Role::weight, 4, 3, 2),
                                 argument(Role::weight, 2, 3, 3)};
    std::vector<Ids> const ids{{4, 4, 0, 4}, {0, 1, 2, 3}, {1, 1, 1, 0}};
    check_jacobians<Case>("three tables", tables, embed(ids));
    tables[1].role = Role::frozen;
    check_jacobians<Case>("one of three is frozen", tables, embed(ids));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_are_exact_sums, Case, Storage) {
    index_t const vocabulary = 30, width = 70, tokens = 333; // more columns than a task of the backward owns
    std::vector<Ids> ids(3);
    for (index_t t = 0; t < tokens; ++t) {
        ids[0].push_back(static_cast<std::int32_t>(t * t % vocabulary));
        ids[1].push_back(static_cast<std::int32_t>(t % 40));
        ids[2].push_back(t > 100);
    }
    auto const tables = representable<typename Case::scalar>({argument(Role::weight, vocabulary, width, 1),
                                                              argument(Role::weight, 40, width, 2),
                                                              argument(Role::weight, 2, width, 3)});
    auto const y = forward<Case, typename Case::Inference>(tables, embed(ids));
    using A = typename Case::accumulate;
    std::vector<A> expected;
    for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t)
        for (std::size_t j = 0; j < static_cast<std::size_t>(width); ++j) {
            A sum = 0;
            for (std::size_t i = 0; i < 3; ++i)
                sum += static_cast<A>(
                    tables[i].values[static_cast<std::size_t>(ids[i][t]) * static_cast<std::size_t>(width) + j]);
            expected.push_back(sum);
        }
    BOOST_TEST(compare_bits("embedding", y, expected, static_cast<std::size_t>(width)));
    check_agreement<Case>("embedding", tables, embed(ids));
}

// Adding in the order of the tokens, whatever runs it: the sums have the same bits everywhere.
BOOST_AUTO_TEST_CASE_TEMPLATE(table_gradients_are_deterministic, Case, InFloat) {
    index_t const width = 130, tokens = 1000;
    Ids ids;
    for (index_t t = 0; t < tokens; ++t)
        ids.push_back(static_cast<std::int32_t>(t * 7 % 3));
    auto const g = as_double(random_values(tokens * width, 9));
    std::vector<Argument> const table{argument(Role::weight, 3, width, 1)};
    auto const gradient = backward<Case>(table, embed({ids}), g, false);
    std::vector<double> expected(static_cast<std::size_t>(3 * width), 0.0);
    for (std::size_t t = 0; t < ids.size(); ++t)
        for (std::size_t j = 0; j < static_cast<std::size_t>(width); ++j) {
            double &sum = expected[static_cast<std::size_t>(ids[t]) * static_cast<std::size_t>(width) + j];
            sum = static_cast<double>(static_cast<float>(sum) +
                                      static_cast<float>(g[t * static_cast<std::size_t>(width) + j]));
        }
    BOOST_TEST(compare_bits("gradient", gradient[0], expected));
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    Operands<ReferenceCase, ReferenceCase::Training> const o(
        context, {argument(Role::weight, 4, 3, 1), argument(Role::weight, 4, 2, 1)});
    auto const three = context.upload<std::int32_t>(Ids{0, 1, 2}), two = context.upload<std::int32_t>(Ids{0, 1});
    using L = Lookup<double, ReferenceCase::device>;
    auto const is = [](std::string text) { return [text](Error const &error) { return error.what() == text; }; };
    BOOST_CHECK_EXCEPTION(embedding(context, std::array{L{three, o.weight(0)}, L{two, o.weight(0)}}), Error,
                          is("embedding: ids has 2 entries, expected 3"));
    BOOST_CHECK_EXCEPTION(embedding(context, std::array{L{three, o.weight(0)}, L{three, o.weight(1)}}), Error,
                          is("embedding: table has 2 columns, expected 3"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
