#include "support.hpp"

#include <protlm/ops/linear.hpp>

#include <span>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(linear_weights)

using FloatAndDouble = OpCases<float, double>;

/// Q, K and V of different heights placed together, as one model's parameters.
template <class Case>
struct Fused {
    using Params = Parameters<typename Case::scalar, typename Case::device>;
    static constexpr index_t width = 37;
    Params parameters;
    std::vector<ParameterId> weights, biases;

    explicit Fused(std::vector<index_t> const &heights) {
        ParameterTable table;
        table.add("before", {3}, Initialiser::ones());
        for (index_t height : heights) {
            weights.push_back(
                table.add("weight" + std::to_string(height), {height, width}, Initialiser::truncated_normal(0.5)));
            biases.push_back(table.add("bias" + std::to_string(height), {height}, Initialiser::truncated_normal(0.5)));
        }
        table.add("behind", {5}, Initialiser::ones());
        table.place_together(weights);
        table.place_together(biases);
        parameters = Params(table);
        parameters.initialise(5);
        parameters.enable_gradients();
    }
};

BOOST_AUTO_TEST_CASE_TEMPLATE(a_group_is_its_members_side_by_side, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    std::vector<index_t> const heights{20, 7, 33};
    index_t const rows = 26, together = 60;
    Fused<Case> joint(heights), apart(heights);
    auto const x_values = random_values(rows * Fused<Case>::width, 1), g = random_values(rows * together, 2);

    typename Case::Training context;
    auto const x = make_tensor<A>(context, rows, Fused<Case>::width, x_values);
    auto const y = linear(context, x, joint.parameters.weight(joint.weights), joint.parameters.weight(joint.biases));
    BOOST_REQUIRE_EQUAL(y.cols(), together);
    y.accumulate();
    write_values(y.gradient_view(), g);
    context.tape().run();

    typename Case::Training other;
    auto const z = make_tensor<A>(other, rows, Fused<Case>::width, x_values);
    auto const joined = host_elements(y.view());
    index_t first = 0;
    for (std::size_t i = 0; i < heights.size(); ++i) {
        auto const part =
            linear(other, z, apart.parameters.weight(apart.weights[i]), apart.parameters.weight(apart.biases[i]));
        std::vector<A> columns;
        std::vector<double> part_gradient;
        for (index_t t = 0; t < rows; ++t)
            for (index_t j = first; j < first + heights[i]; ++j) {
                columns.push_back(joined[static_cast<std::size_t>(t * together + j)]);
                part_gradient.push_back(g[static_cast<std::size_t>(t * together + j)]);
            }
        // an element knows nothing of its neighbours' columns
        BOOST_TEST(compare_bits("columns of part " + std::to_string(i), host_elements(part.view()), columns));
        part.accumulate();
        write_values(part.gradient_view(), part_gradient);
        first += heights[i];
    }
    other.tape().run();
    BOOST_TEST(compare_bits("parameter gradients", host_elements(apart.parameters.gradients()),
                            host_elements(joint.parameters.gradients())));
    BOOST_TEST(compare_scaled("gradient of x", host_values(z.gradient_view()), host_values(x.gradient_view()),
                              tolerance<Case>()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_rows_give_no_rows_and_change_nothing, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    Fused<Case> fused({8});
    typename Case::Training context;
    auto const x = context.template tensor<A>(0, Fused<Case>::width);
    auto const y = linear(context, x, fused.parameters.weight(fused.weights), fused.parameters.weight(fused.biases),
                          Activation::gelu);
    BOOST_TEST(y.rows() == 0);
    BOOST_TEST(y.cols() == 8);
    y.accumulate();
    context.tape().run();
    for (double gradient : host_values(fused.parameters.gradients()))
        BOOST_REQUIRE_EQUAL(gradient, 0.0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_output_that_no_loss_uses_has_no_effect, Case, FloatAndDouble) {
    using A = typename Case::accumulate;
    Fused<Case> fused({8});
    typename Case::Training context;
    auto const x = make_tensor<A>(context, 2, Fused<Case>::width, random_values(2 * Fused<Case>::width, 1));
    linear(context, x, fused.parameters.weight(fused.weights), fused.parameters.weight(fused.biases));
    context.tape().run();
    BOOST_TEST(!x.has_gradient());
    for (double gradient : host_values(fused.parameters.gradients()))
        BOOST_REQUIRE_EQUAL(gradient, 0.0);
}

BOOST_AUTO_TEST_CASE(errors_name_the_argument_and_both_extents) {
    using Case = ReferenceCase;
    Fused<Case> fused({8});
    Case::Training context;
    using Tensors = Tensor<double, Case::device>;
    auto const w = fused.parameters.weight(fused.weights), b = fused.parameters.weight(fused.biases);
    auto const message = [&](Tensors x, auto const &weight, auto const &bias, Activation f, Tensors residual) {
        try {
            linear(context, x, weight, bias, f, residual);
        } catch (Error const &error) {
            return std::string(error.what());
        }
        return std::string("no error");
    };
    auto const x = context.tensor<double>(2, Fused<Case>::width), narrow = context.tensor<double>(2, 3),
               good = context.tensor<double>(2, 8), tall = context.tensor<double>(3, 8);
    BOOST_TEST(message(narrow, w, b, Activation::none, {}) == "linear: w has 37 columns, expected 3");
    BOOST_TEST(message(x, w, fused.parameters.weight(0), Activation::none, {}) ==
               "linear: b has 3 columns, expected 8");
    BOOST_TEST(message(x, w, b, Activation::none, tall) == "linear: residual has 3 rows, expected 2");
    BOOST_TEST(message(x, w, b, Activation::none, narrow) == "linear: residual has 3 columns, expected 8");
    BOOST_TEST(message(x, w, b, Activation::gelu, good) == "linear: residual and activation exclude each other");
    BOOST_TEST(message(x, w, b, Activation::none, good) == "no error");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
