// What must hold for every optimizer, and the gradient norm.

#include "problem.hpp"
#include "support/compare.hpp"
#include "support/devices.hpp"

#include <protlm/train/adafactor.hpp>
#include <protlm/train/clipping.hpp>
#include <protlm/train/lamb.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;
using Host = Kokkos::DefaultHostExecutionSpace;

namespace {

template <class S, class Exec>
struct Adam : AdamW<S, Exec> {
    explicit Adam(Parameters<S, Exec> const &p) : AdamW<S, Exec>(p, {}) {}
};
template <class S, class Exec>
struct LambCase : Lamb<S, Exec> {
    explicit LambCase(Parameters<S, Exec> const &p) : Lamb<S, Exec>(p, {}) {}
};
template <class S, class Exec>
struct Factor : Adafactor<S, Exec> {
    explicit Factor(Parameters<S, Exec> const &p) : Adafactor<S, Exec>(p, {.beta1 = 0.9}) {}
};

template <template <class, class> class O, class S, class Exec>
std::vector<S> weights_after(index_t steps) {
    auto parameters = optimizer_problem<S, Exec>();
    O<S, Exec> optimizer(parameters);
    static_assert(Optimizer<O<S, Exec>, S, Exec>);
    for (index_t step = 1; step <= steps; ++step) {
        set_gradients(parameters, step);
        optimizer.step(Exec(), parameters, 1e-2, 1.0);
    }
    return to_vector(parameters.values());
}

/// Stops after three steps, carries the state into a new optimizer, goes on: the same bits as five steps at once.
template <template <class, class> class O, class S>
void check_resume() {
    auto parameters = optimizer_problem<S, Host>();
    O<S, Host> first(parameters);
    for (index_t step = 1; step <= 3; ++step) {
        set_gradients(parameters, step);
        first.step(Host(), parameters, 1e-2, 1.0);
    }
    O<S, Host> second(parameters);
    auto const from = first.state(), to = second.state();
    BOOST_REQUIRE(from.size() == to.size());
    for (std::size_t a = 0; a < from.size(); ++a) {
        BOOST_TEST(from[a].name == to[a].name);
        Kokkos::deep_copy(to[a].values, from[a].values);
    }
    second.set_steps(first.steps());
    for (index_t step = 4; step <= 5; ++step) {
        set_gradients(parameters, step);
        second.step(Host(), parameters, 1e-2, 1.0);
    }
    BOOST_TEST(compare_bits("weights", to_vector(parameters.values()), weights_after<O, S, Host>(5)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(optimizer_laws)

BOOST_AUTO_TEST_CASE(threads_do_not_change_a_bit) {
#ifdef KOKKOS_ENABLE_SERIAL
    BOOST_TEST(
        compare_bits("adamw", weights_after<Adam, float, Host>(3), weights_after<Adam, float, Kokkos::Serial>(3)));
    BOOST_TEST(compare_bits("lamb", weights_after<LambCase, float, Host>(3),
                            weights_after<LambCase, float, Kokkos::Serial>(3)));
    BOOST_TEST(compare_bits("adafactor", weights_after<Factor, float, Host>(3),
                            weights_after<Factor, float, Kokkos::Serial>(3)));
#endif
    BOOST_TEST(compare_bits("again", weights_after<LambCase, float, Host>(3), weights_after<LambCase, float, Host>(3)));
}

BOOST_AUTO_TEST_CASE(state_carries_a_run_over_bit_for_bit) {
    check_resume<Adam, float>();
    check_resume<LambCase, float>();
    check_resume<Factor, float>();
    check_resume<Adam, bfloat16>();
    check_resume<LambCase, bfloat16>();
    check_resume<Factor, bfloat16>();
}

BOOST_AUTO_TEST_CASE(first_step_of_adam_moves_every_weight_by_the_rate) {
    auto parameters = optimizer_problem<double, Host>();
    auto const before = to_vector(parameters.values());
    AdamW<double, Host> optimizer(parameters, {.epsilon = 1e-300, .weight_decay = 0});
    set_gradients(parameters, 1);
    optimizer.step(Host(), parameters, 0.125, 1.0);
    auto const after = to_vector(parameters.values());
    auto const &entry = parameters.table()[0];
    for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i) {
        double const moved = after[static_cast<std::size_t>(i)] - before[static_cast<std::size_t>(i)];
        BOOST_TEST(moved == -std::copysign(0.125, gradient_of(i, 1)), boost::test_tools::tolerance(1e-12));
    }
}

BOOST_AUTO_TEST_CASE(lamb_moves_a_tensor_by_the_rate_times_its_norm) {
    auto parameters = optimizer_problem<double, Host>();
    auto const before = to_vector(parameters.values());
    Lamb<double, Host> optimizer(parameters, {});
    set_gradients(parameters, 1);
    optimizer.step(Host(), parameters, 1e-2, 1.0);
    auto const after = to_vector(parameters.values());
    int moved = 0;
    for (auto const &entry : parameters.table().entries()) {
        double norm = 0, change = 0;
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i) {
            auto const k = static_cast<std::size_t>(i);
            norm += before[k] * before[k];
            change += (after[k] - before[k]) * (after[k] - before[k]);
        }
        if (is_decayed(entry) && norm > 0) {
            BOOST_TEST(std::sqrt(change) == 1e-2 * std::sqrt(norm), boost::test_tools::tolerance(1e-12));
            ++moved;
        } else if (entry.name == "zeros") { // ratio 1: each weight moves by about the rate
            BOOST_TEST(std::sqrt(change / 18) == 1e-2, boost::test_tools::tolerance(1e-4));
            ++moved;
        }
    }
    BOOST_TEST(moved == 3);
}

BOOST_AUTO_TEST_CASE(master_weights_keep_what_bfloat16_rounds_away) {
    ParameterTable table;
    table.add("weight", {20, 20}, Initialiser::ones());
    Parameters<bfloat16, Host> parameters(table);
    parameters.initialise(1);
    parameters.enable_gradients();
    Kokkos::deep_copy(parameters.gradients(), 1.0f);
    AdamW<bfloat16, Host> optimizer(parameters, {.weight_decay = 0});
    for (int step = 0; step < 64; ++step) // one step of 2^-10 is a quarter of bfloat16's spacing below 1
        optimizer.step(Host(), parameters, 0x1p-10, 1.0);
    auto const values = to_vector(parameters.values());
    auto const master = to_vector(optimizer.state().back().values);
    BOOST_TEST(optimizer.state().back().name == "master");
    for (index_t i = 0; i < 400; ++i) {
        auto const k = static_cast<std::size_t>(i);
        BOOST_TEST(static_cast<float>(values[k]) == 0.9375f);
        BOOST_TEST(master[k] == 0.9375f, boost::test_tools::tolerance(1e-5f));
    }
}

BOOST_AUTO_TEST_CASE(adafactor_keeps_one_number_a_row_and_one_a_column) {
    auto const parameters = optimizer_problem<float, Host>();
    Adafactor<float, Host> const optimizer(parameters, {});
    auto const state = optimizer.state();
    BOOST_REQUIRE(state.size() == 3);
    BOOST_TEST(state[0].values.extent(0) == 310 + 3 * 7 + 4 + 6);
    BOOST_TEST(state[1].values.extent(0) == 217 + 3 * 20 + 5 + 3);
    BOOST_TEST(state[2].values.extent(0) == 217 + 40 + 1);
}

BOOST_AUTO_TEST_CASE(adafactor_says_the_rate_it_takes) {
    auto parameters = optimizer_problem<float, Host>();
    Adafactor<float, Host> relative(parameters, {}), fixed(parameters, {.relative_step = false});
    BOOST_TEST(relative.effective_rate(0.5) == 1e-2);
    BOOST_TEST(fixed.effective_rate(0.5) == 0.5);
    relative.set_steps(40000);
    BOOST_TEST(relative.effective_rate(0.5) == 1.0 / 200);
}

BOOST_AUTO_TEST_CASE(norm_is_exact_and_clips) {
    auto parameters = optimizer_problem<float, Host>();
    set_gradients(parameters, 1);
    double expected = 0;
    for (auto const &entry : parameters.table().entries())
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
            expected += std::pow(static_cast<double>(static_cast<float>(gradient_of(i, 1))), 2);
    GradientNorm<Host> norm(parameters.table());
    BOOST_TEST(norm(Host(), parameters, 1.0, 1) == std::sqrt(expected), boost::test_tools::tolerance(1e-13));
    BOOST_TEST(norm(Host(), parameters, 0.5, 1) == 0.5 * std::sqrt(expected), boost::test_tools::tolerance(1e-13));
    GradientNorm<Host, Kernels::portable> portable(parameters.table());
    BOOST_TEST(portable(Host(), parameters, 1.0, 1) == std::sqrt(expected), boost::test_tools::tolerance(1e-13));
    BOOST_TEST(clip_factor(4.0, 1.0) == 0.25);
    BOOST_TEST(clip_factor(0.5, 1.0) == 1.0);
    BOOST_TEST(clip_factor(4.0, 0.0) == 1.0); // no limit
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_not_finite_is_named) {
    for (float const bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        auto parameters = optimizer_problem<float, Host>();
        set_gradients(parameters, 1);
        parameters.gradients()(static_cast<std::size_t>(parameters.table()[2].offset + 39)) = bad;
        GradientNorm<Host> norm(parameters.table());
        BOOST_CHECK_EXCEPTION(norm(Host(), parameters, 1.0, 17), Error, [](Error const &error) {
            return std::string(error.what()) == "step 17: the gradient of layer.0.LayerNorm.weight is not finite";
        });
    }
}

BOOST_AUTO_TEST_CASE(options_are_checked) {
    auto const parameters = optimizer_problem<float, Host>();
    auto const names = [](std::string const &text) {
        return [text](Error const &error) { return std::string(error.what()).find(text) != std::string::npos; };
    };
    using A = AdamW<float, Host>;
    using L = Lamb<float, Host>;
    using F = Adafactor<float, Host>;
    BOOST_CHECK_EXCEPTION(A(parameters, {.beta1 = 1.0}), Error, names("AdamW: beta1 is 1"));
    BOOST_CHECK_EXCEPTION(A(parameters, {.epsilon = 0}), Error, names("AdamW: epsilon is 0"));
    BOOST_CHECK_EXCEPTION(L(parameters, {.weight_decay = -1}), Error, names("Lamb: weight_decay is -1"));
    BOOST_CHECK_EXCEPTION(F(parameters, {.clip_threshold = 0}), Error, names("Adafactor: clip_threshold is 0"));
    BOOST_CHECK_EXCEPTION(F(parameters, {.relative_step = false, .warmup_init = true}), Error,
                          names("warmup_init needs relative_step"));
}

BOOST_AUTO_TEST_SUITE_END()
