#include <support/compare.hpp>

#include <protlm/core/parameters.hpp>

#include <boost/test/unit_test.hpp>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(parameter_tables)

using Exec = Kokkos::DefaultHostExecutionSpace;
using protlm::test::compare_bits;

auto says(std::string text) {
    return [text](Error const &error) { return error.what() == text; };
}

template <class Flat>
auto elements(Flat const &flat) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), flat);
    return std::vector<typename Flat::non_const_value_type>(host.data(), host.data() + host.size());
}

BOOST_AUTO_TEST_CASE(tensors_lie_in_order_aligned_and_apart) {
    ParameterTable table;
    auto const a = table.add("a", {3, 5}, Initialiser::zeros());
    auto const b = table.add("b", {16}, Initialiser::zeros());
    auto const c = table.add("c", {2, 3, 4}, Initialiser::zeros());
    auto const d = table.add("d", {}, Initialiser::ones());
    table.layout();
    BOOST_TEST(table[a].offset == 0);
    BOOST_TEST(table[b].offset == 16);
    BOOST_TEST(table[c].offset == 32);
    BOOST_TEST(table[d].offset == 64);
    BOOST_TEST(table.extent() == 80);
    BOOST_TEST(table.parameter_count() == 15 + 16 + 24 + 1);
    BOOST_TEST(table[c].rows() == 6);
    BOOST_TEST(table[c].cols() == 4);
    BOOST_TEST(table[b].rows() == 1);
    BOOST_TEST(table[d].rows() == 1);
    table.layout(); // again: nothing changes
    BOOST_TEST(table.extent() == 80);
    BOOST_CHECK_EXCEPTION(table.add("e", {1}, Initialiser::zeros()), Error,
                          says("ParameterTable: e comes after layout()"));
}

BOOST_AUTO_TEST_CASE(groups_lie_together_but_keep_their_place_in_the_table) {
    ParameterTable table;
    table.add("first", {1}, Initialiser::ones());
    auto const q = table.add("q", {3, 5}, Initialiser::ones());
    auto const q_bias = table.add("q.bias", {3}, Initialiser::ones());
    auto const k = table.add("k", {2, 5}, Initialiser::ones());
    auto const k_bias = table.add("k.bias", {2}, Initialiser::ones());
    auto const last = table.add("last", {4}, Initialiser::ones());
    table.place_together({q, k});
    table.place_together({q_bias, k_bias});
    Parameters<float, Exec> parameters(table);
    auto const &laid_out = parameters.table();
    BOOST_TEST(laid_out[q].offset == 16);
    BOOST_TEST(laid_out[k].offset == 16 + 15); // no gap within
    BOOST_TEST(laid_out[q_bias].offset == 48);
    BOOST_TEST(laid_out[k_bias].offset == 51);
    BOOST_TEST(laid_out[last].offset == 64);
    BOOST_TEST(laid_out.entries()[2].name == "q.bias");

    parameters.initialise(1);
    auto const joint = parameters.weight({q, k});
    BOOST_TEST(joint.rows() == 5);
    BOOST_TEST(joint.cols() == 5);
    BOOST_TEST(joint.values.data() == parameters.weight(q).values.data());
    BOOST_TEST(joint.ids.size() == 2u);
    auto const bias = parameters.weight({q_bias, k_bias});
    BOOST_TEST(bias.rows() == 1);
    BOOST_TEST(bias.cols() == 5);
    BOOST_CHECK_EXCEPTION(parameters.weight({q, last}), Error,
                          says("Parameters: last does not lie behind q: place_together was not called"));
}

BOOST_AUTO_TEST_CASE(no_two_tensors_overlap_however_they_are_grouped) {
    ParameterTable table;
    std::vector<ParameterId> odd;
    for (index_t i = 0; i < 40; ++i) {
        auto const id = table.add(std::string("t").append(std::to_string(i)), {i % 7, 1 + i % 5}, Initialiser::zeros());
        if (i % 3 == 1)
            odd.push_back(id);
    }
    table.place_together(odd);
    table.layout();
    std::vector<int> owners(static_cast<std::size_t>(table.extent()), 0);
    for (auto const &entry : table.entries()) {
        BOOST_REQUIRE(entry.offset + entry.size() <= table.extent());
        for (index_t i = 0; i < entry.size(); ++i)
            ++owners[static_cast<std::size_t>(entry.offset + i)];
    }
    BOOST_TEST(*std::max_element(owners.begin(), owners.end()) == 1);
}

BOOST_AUTO_TEST_CASE(aliases_are_names_of_the_same_tensor) {
    ParameterTable table;
    auto const embedding = table.add("embedding", {30, 8}, Initialiser::zeros());
    table.alias(embedding, "decoder.weight");
    BOOST_TEST(table.find("embedding") == embedding);
    BOOST_TEST(table.find("decoder.weight") == embedding);
    BOOST_TEST(table.find("nothing") == -1);
    BOOST_TEST(table.parameter_count() == 240); // counted once
    BOOST_TEST(table[embedding].aliases.size() == 1u);
    BOOST_CHECK_EXCEPTION(table.add("decoder.weight", {1}, Initialiser::zeros()), Error,
                          says("ParameterTable: the name decoder.weight is taken"));
    BOOST_CHECK_EXCEPTION(table.alias(embedding, "embedding"), Error,
                          says("ParameterTable: the name embedding is taken"));
    BOOST_CHECK_EXCEPTION(table.add("bad", {3, -1}, Initialiser::zeros()), Error,
                          says("ParameterTable: bad has a negative extent -1"));
}

BOOST_AUTO_TEST_CASE(gradients_have_the_layout_of_the_values) {
    ParameterTable table;
    table.add("a", {3}, Initialiser::ones());
    auto const b = table.add("b", {2, 4}, Initialiser::ones());
    Parameters<bfloat16, Exec> parameters(table);
    BOOST_TEST(!parameters.weight(b).trained());
    parameters.enable_gradients();
    auto const weight = parameters.weight(b);
    static_assert(std::same_as<std::decay_t<decltype(weight.gradients(0, 0))>, float>);
    BOOST_TEST(weight.trained());
    BOOST_TEST(weight.gradients.data() - parameters.gradients().data() == parameters.table()[b].offset);
    BOOST_TEST(parameters.gradients().extent(0) == parameters.values().extent(0));
    weight.gradients(1, 3) = 5;
    auto const *const memory = parameters.gradients().data();
    parameters.enable_gradients(); // again: keeps what is there
    BOOST_TEST(parameters.gradients().data() == memory);
    BOOST_TEST(weight.gradients(1, 3) == 5);
    parameters.zero_gradients(Exec());
    BOOST_TEST(weight.gradients(1, 3) == 0);
}

ParameterTable large_table() {
    ParameterTable table;
    table.add("normal", {500, 400}, Initialiser::truncated_normal(0.02));
    table.add("zeros", {100}, Initialiser::zeros());
    table.add("ones", {7}, Initialiser::ones());
    table.add("other", {500, 400}, Initialiser::truncated_normal(0.02));
    return table;
}

BOOST_AUTO_TEST_CASE(initialisation_is_a_function_of_the_seed) {
    Parameters<float, Exec> first(large_table()), second(large_table());
    first.initialise(42);
    second.initialise(43);
    BOOST_TEST(!compare_bits("other seed", elements(second.values()), elements(first.values())));
    second.initialise(42);
    BOOST_TEST(compare_bits("same seed", elements(second.values()), elements(first.values())));
    // in 16 bit the same values, rounded; in double those of float
    Parameters<bfloat16, Exec> rounded(large_table());
    Parameters<double, Exec> widened(large_table());
    rounded.initialise(42);
    widened.initialise(42);
    for (std::size_t i = 0; i < first.values().extent(0); i += 97) {
        BOOST_REQUIRE_EQUAL(static_cast<float>(rounded.values()(i)),
                            static_cast<float>(static_cast<bfloat16>(first.values()(i))));
        BOOST_REQUIRE_EQUAL(widened.values()(i), static_cast<double>(first.values()(i)));
    }
    // a tensor's values do not depend on the extents of those before it: a model may grow by its head
    ParameterTable longer;
    longer.add("normal", {9}, Initialiser::truncated_normal(0.02));
    longer.add("zeros", {1}, Initialiser::zeros());
    longer.add("ones", {1}, Initialiser::zeros());
    auto const other = longer.add("other", {500, 400}, Initialiser::truncated_normal(0.02));
    Parameters<float, Exec> grown(longer);
    grown.initialise(42);
    BOOST_TEST(grown.weight(other).values(499, 399) == first.weight(3).values(499, 399));
}

BOOST_AUTO_TEST_CASE(truncated_normals_have_their_moments_and_bounds) {
    Parameters<float, Exec> parameters(large_table());
    parameters.initialise(7);
    auto const values = parameters.weight(0).values;
    double const n = 200000;
    double mean = 0, square = 0, fourth = 0, largest = 0, beyond_one = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        double const x = static_cast<double>(values.data()[i]) / 0.02;
        mean += x / n;
        square += x * x / n;
        fourth += x * x * x * x / n;
        largest = std::max(largest, std::abs(x));
        beyond_one += (std::abs(x) > 1) / n;
    }
    BOOST_TEST(largest <= 2.0 + 1e-6);
    BOOST_TEST(largest > 1.999);
    // of a standard normal cut off at 2: variance 0.773741, fourth moment 1.416189, P(|x| > 1) = 0.284767
    BOOST_TEST(std::abs(mean) < 4.5 * 0.88 / std::sqrt(n));
    BOOST_TEST(std::abs(square - 0.773741) < 4.5 * std::sqrt((1.416189 - 0.773741 * 0.773741) / n));
    BOOST_TEST(std::abs(fourth - 1.416189) < 0.05);
    BOOST_TEST(std::abs(beyond_one - 0.284767) < 4.5 * std::sqrt(0.2848 * 0.7152 / n));
    for (std::size_t i = 0; i < 7; ++i)
        BOOST_TEST(parameters.weight(2).values(0, i) == 1.0f);
    for (std::size_t i = 0; i < 100; ++i)
        BOOST_TEST(parameters.weight(1).values(0, i) == 0.0f);
    // neighbours, and tensors among each other, are independent
    double neighbours = 0, tensors = 0;
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
        neighbours += static_cast<double>(values.data()[i] * values.data()[i + 1]) / (0.0004 * n);
        tensors += static_cast<double>(values.data()[i] * parameters.weight(3).values.data()[i]) / (0.0004 * n);
    }
    BOOST_TEST(std::abs(neighbours) < 4.5 * 0.774 / std::sqrt(n));
    BOOST_TEST(std::abs(tensors) < 4.5 * 0.774 / std::sqrt(n));
}

BOOST_AUTO_TEST_CASE(copies_share_values_and_gradients_even_those_made_later) {
    ParameterTable table;
    auto const a = table.add("a", {2, 3}, Initialiser::ones());
    Parameters<float, Exec> first(table);
    Parameters<float, Exec> second = first;
    first.initialise(1);
    BOOST_TEST(second.weight(a).values(1, 2) == 1.0f);
    BOOST_TEST(!second.weight(a).trained());
    second.enable_gradients();
    BOOST_REQUIRE(first.weight(a).trained());
    first.weight(a).gradients(0, 1) = 5.0f;
    BOOST_TEST(second.weight(a).gradients(0, 1) == 5.0f);
    second.zero_gradients(Exec());
    BOOST_TEST(first.weight(a).gradients(0, 1) == 0.0f);
}

BOOST_AUTO_TEST_CASE(a_weight_has_slices_and_other_shapes_with_the_same_elements) {
    ParameterTable table;
    auto const a = table.add("a", {6, 4}, Initialiser::truncated_normal(1.0));
    auto const b = table.add("b", {2, 3, 4}, Initialiser::truncated_normal(1.0));
    Parameters<double, Exec> parameters(table);
    parameters.initialise(2);
    parameters.enable_gradients();
    auto const whole = parameters.weight(a), part = whole.slice(2, 3);
    BOOST_TEST(part.rows() == 3);
    BOOST_TEST(part.cols() == 4);
    BOOST_TEST(part.ids == whole.ids, boost::test_tools::per_element());
    BOOST_TEST(&part.values(0, 0) == &whole.values(2, 0));
    BOOST_TEST(&part.gradients(2, 3) == &whole.gradients(4, 3));
    auto const wide = parameters.weight(b, 2, 12);
    BOOST_TEST(wide.cols() == 12);
    BOOST_TEST(&wide.values(1, 0) == &parameters.weight(b).values(3, 0));
    BOOST_TEST(&wide.gradients(1, 0) == &parameters.weight(b).gradients(3, 0));
    BOOST_CHECK_EXCEPTION(whole.slice(4, 3), Error, says("Weight: slice: rows 4 to 7 of 6"));
    BOOST_CHECK_EXCEPTION(parameters.weight(b, 5, 5), Error, says("Weight: as_matrix: 5 x 5 of 6 x 4 elements"));
}

BOOST_AUTO_TEST_CASE(gaps_between_tensors_are_zero) {
    Parameters<float, Exec> parameters(large_table());
    parameters.initialise(7);
    std::vector<bool> used(parameters.values().extent(0), false);
    for (auto const &entry : parameters.table().entries())
        std::fill_n(used.begin() + entry.offset, entry.size(), true);
    int gaps = 0;
    for (std::size_t i = 0; i < used.size(); ++i)
        if (!used[i]) {
            BOOST_REQUIRE_EQUAL(parameters.values()(i), 0.0f);
            ++gaps;
        }
    BOOST_TEST(gaps > 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
