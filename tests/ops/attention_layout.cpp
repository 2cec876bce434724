#include "attention_reference.hpp"

namespace protlm::test {
namespace {

// Where queries, keys and values may lie, and what must not be.
BOOST_AUTO_TEST_SUITE(attention_layout)

using FloatAndDouble = DefaultOpCases<float, double>;

/// Columns of one tensor.
std::vector<double> columns(std::vector<double> const &values, index_t rows, index_t all, index_t first,
                            index_t count) {
    std::vector<double> picked;
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = first; j < first + count; ++j)
            picked.push_back(values[static_cast<std::size_t>(i * all + j)]);
    return picked;
}

/// Self attention over columns of one joint tensor, where q, k and v begin.
auto joint_attention(AttentionCase shape, std::array<index_t, 3> first) {
    return [=](auto &context, auto const &o) {
        using A = typename std::decay_t<decltype(o.tensor(0))>::value_type;
        auto const segments = make_segments(context, AttentionCase::offsets(shape.queries));
        return attention(context, Columns{o.tensor(0), first[0]}, Columns{o.tensor(0), first[1]},
                         Columns{o.tensor(0), first[2]}, segments, segments, shape.heads, shape.width,
                         ScaledDot<A>{static_cast<A>(shape.scale)}, FullMask{});
    };
}

// Joint projections, columns that belong to nothing, and shared ones, whose gradients add up.
BOOST_AUTO_TEST_CASE_TEMPLATE(any_columns_of_one_tensor, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 0, 50, 1}, .keys = {3, 0, 50, 1}, .heads = 2, .width = 5};
    index_t const rows = shape.query_rows(), width = shape.columns();
    struct Layout {
        index_t all;
        std::array<index_t, 3> first;
    };
    for (auto [all, first] :
         {Layout{30, {0, 10, 20}}, Layout{30, {20, 0, 10}}, Layout{34, {1, 12, 23}}, Layout{10, {0, 0, 0}},
          Layout{20, {0, 10, 10}}, Layout{30, {0, 0, 0}}, Layout{30, {5, 5, 20}}}) {
        std::vector<Argument> const joint{argument(Role::tensor, rows, all, 1)};
        std::vector<Argument> parts;
        for (index_t f : first)
            parts.push_back({Role::tensor, rows, width, columns(joint[0].values, rows, all, f, width)});
        QuadraticAttention reference{shape};
        auto const g = random_values(rows * width, 55);
        reference.run(parts, g);
        std::vector<double> expected(joint[0].values.size(), 0.0);
        std::vector<double> const *of[] = {&reference.dq, &reference.dk, &reference.dv};
        for (std::size_t part = 0; part < 3; ++part)
            for (index_t i = 0; i < rows; ++i)
                for (index_t j = 0; j < width; ++j)
                    expected[static_cast<std::size_t>(i * all + first[part] + j)] +=
                        (*of[part])[static_cast<std::size_t>(i * width + j)];
        std::string const name = "columns from " + std::to_string(first[0]) + ", " + std::to_string(first[1]) + ", " +
                                 std::to_string(first[2]) + " of " + std::to_string(all);
        auto const build = joint_attention(shape, first);
        BOOST_TEST(compare_scaled(name, as_double(forward<Case, typename Case::Training>(joint, build)), reference.out,
                                  attention_tolerance<Case>()));
        for (bool existing : {false, true})
            BOOST_TEST(compare_scaled(name + ", gradient", backward<Case>(joint, build, g, existing)[0], expected,
                                      attention_tolerance<Case>(), static_cast<std::size_t>(all)));
    }
}

// Cross attention: keys and values in one tensor of the encoder.
BOOST_AUTO_TEST_CASE_TEMPLATE(keys_and_values_in_one_tensor, Case, FloatAndDouble) {
    AttentionCase const shape{.queries = {3, 50}, .keys = {70, 2}, .heads = 1, .width = 6};
    auto const parts = shape.arguments();
    std::vector<Argument> joint{parts[0], {Role::tensor, 72, 12, {}}};
    for (index_t i = 0; i < 72; ++i)
        for (std::size_t part : {1u, 2u})
            for (index_t j = 0; j < 6; ++j)
                joint[1].values.push_back(parts[part].values[static_cast<std::size_t>(i * 6 + j)]);
    auto const build = [&](auto &context, auto const &o) {
        using A = typename Case::accumulate;
        return attention(context, Columns{o.tensor(0), 0}, Columns{o.tensor(1), 0}, Columns{o.tensor(1), 6},
                         make_segments(context, AttentionCase::offsets(shape.queries)),
                         make_segments(context, AttentionCase::offsets(shape.keys)), shape.heads, shape.width,
                         ScaledDot<A>{static_cast<A>(shape.scale)}, FullMask{});
    };
    QuadraticAttention reference{shape};
    auto const g = random_values(shape.query_rows() * 6, 55);
    reference.run(parts, g);
    auto const gradients = backward<Case>(joint, build, g, false);
    double const allowed = attention_tolerance<Case>();
    BOOST_TEST(compare_scaled("dq", gradients[0], reference.dq, allowed));
    BOOST_TEST(compare_scaled("dk", columns(gradients[1], 72, 12, 0, 6), reference.dk, allowed));
    BOOST_TEST(compare_scaled("dv", columns(gradients[1], 72, 12, 6, 6), reference.dv, allowed));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_empty_batch_is_no_error, Case, FloatAndDouble) {
    for (std::vector<index_t> const &lengths : {std::vector<index_t>{}, {0}, {0, 0, 0}}) {
        AttentionCase const shape{.queries = lengths, .keys = lengths};
        auto const build = scaled_attention(shape, FullMask{});
        BOOST_TEST((forward<Case, typename Case::Training>(shape.arguments(), build).empty()));
        BOOST_TEST(backward<Case>(shape.arguments(), build, {}, false)[0].empty());
    }
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    ReferenceCase::Training context;
    auto const message = [&](std::vector<index_t> queries, std::vector<index_t> keys, index_t q, index_t k, index_t v,
                             index_t first) {
        try {
            attention(context, Columns{context.tensor<double>(q, 8), first}, Columns{context.tensor<double>(k, 8), 0},
                      Columns{context.tensor<double>(v, 8), 0}, make_segments(context, AttentionCase::offsets(queries)),
                      make_segments(context, AttentionCase::offsets(keys)), 2, 4, ScaledDot<double>{1}, FullMask{});
        } catch (Error const &error) {
            return std::string(error.what());
        }
        return std::string("no error");
    };
    BOOST_TEST(message({2, 3}, {2, 3}, 5, 5, 5, 0) == "no error");
    BOOST_TEST(message({2, 3}, {5}, 5, 5, 5, 0) == "attention: keys has 1 sequences, expected 2");
    BOOST_TEST(message({2, 3}, {2, 3}, 4, 5, 5, 0) == "attention: q has 4 rows, expected 5");
    BOOST_TEST(message({2, 3}, {2, 4}, 5, 5, 6, 0) == "attention: k has 5 rows, expected 6");
    BOOST_TEST(message({2, 3}, {2, 4}, 5, 6, 5, 0) == "attention: v has 5 rows, expected 6");
    BOOST_TEST(message({2, 3}, {2, 3}, 5, 5, 5, 1) == "attention: q has 8 columns, expected at least 9");
    BOOST_CHECK_THROW(make_segments(context, std::vector<std::int64_t>{}), Error);
    BOOST_CHECK_THROW(make_segments(context, std::vector<std::int64_t>{1, 2}), Error);
    BOOST_CHECK_THROW(make_segments(context, std::vector<std::int64_t>{0, 3, 2}), Error);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
