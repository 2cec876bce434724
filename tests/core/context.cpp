#include <support/compare.hpp>
#include <support/devices.hpp>

#include <protlm/core/context.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/ops/add.hpp>
#include <protlm/ops/dropout.hpp>
#include <protlm/ops/linear.hpp>

#include <boost/test/unit_test.hpp>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(contexts_and_tape)

using test::compare_bits;
using Exec = Kokkos::DefaultHostExecutionSpace;
using Context = Training<Exec>;
using X = Tensor<double, Exec>;

BOOST_AUTO_TEST_CASE(records_run_backward_once_and_are_forgotten) {
    Tape tape;
    std::vector<int> order;
    auto const kept = std::make_shared<int>(0);
    for (int i = 0; i < 4; ++i)
        tape.record([&order, i, kept] { order.push_back(i); });
    BOOST_TEST(!tape.empty());
    BOOST_TEST(kept.use_count() == 5);
    tape.run();
    BOOST_TEST(order == (std::vector<int>{3, 2, 1, 0}), boost::test_tools::per_element());
    BOOST_TEST(tape.empty());
    BOOST_TEST(kept.use_count() == 1); // what a record keeps is freed
    tape.run();
    BOOST_TEST(order.size() == 4u);
    tape.record([&] { order.clear(); });
    tape.clear();
    tape.run();
    BOOST_TEST(order.size() == 4u);
}

BOOST_AUTO_TEST_CASE(what_a_record_keeps_is_freed_before_the_next_runs) {
    Tape tape;
    auto const kept = std::make_shared<int>(0);
    long seen = 0;
    tape.record([&] { seen = kept.use_count(); });
    tape.record([copy = kept] {});
    tape.run();
    BOOST_TEST(seen == 1);
}

BOOST_AUTO_TEST_CASE(the_listener_hears_each_parameter_when_it_is_complete) {
    Tape tape;
    std::vector<std::string> events;
    auto const op = [&](std::string name, std::vector<ParameterId> parameters) {
        tape.record([&events, name] { events.push_back(name); }, parameters);
    };
    op("embedding", {0}); // 0 is tied: used first and last
    op("first", {1, 2});
    op("again", {1});
    op("head", {0, 3});
    op("loss", {});
    tape.run([&](ParameterId id) { events.push_back("complete " + std::to_string(id)); });
    std::vector<std::string> const expected{"loss",       "head",       "complete 3", "again",     "first",
                                            "complete 1", "complete 2", "embedding",  "complete 0"};
    BOOST_TEST(events == expected, boost::test_tools::per_element());
    events.clear(); // a second pass counts anew
    op("first", {1});
    tape.run([&](ParameterId id) { events.push_back("complete " + std::to_string(id)); });
    BOOST_TEST(events == (std::vector<std::string>{"first", "complete 1"}), boost::test_tools::per_element());
}

/// A small network with two weights, the first of them used twice.
struct Network {
    static constexpr index_t rows = 9, width = 6;
    Parameters<double, Exec> parameters;

    Network() {
        ParameterTable table;
        for (std::string name : {"a", "b"}) {
            table.add(name + ".weight", {width, width}, Initialiser::truncated_normal(0.5));
            table.add(name + ".bias", {width}, Initialiser::truncated_normal(0.5));
        }
        parameters = Parameters<double, Exec>(table);
        parameters.initialise(3);
        parameters.enable_gradients();
    }
    template <class C>
    X layer(C &context, int which, X x) const {
        auto const y =
            linear(context, x, parameters.weight(2 * which), parameters.weight(2 * which + 1), Activation::gelu);
        return add(context, dropout(context, y, 0.3), x);
    }
    X input(Context &context) const {
        auto const x = context.tensor<double>(rows, width);
        for (std::size_t i = 0; i < x.view().size(); ++i)
            x.view().data()[i] = std::sin(static_cast<double>(3 * i + 1));
        return x;
    }
};

struct Outcome {
    std::vector<double> output, input_gradient, gradients;
    std::vector<ParameterId> heard;
    std::uint32_t ops;
};

template <class View>
std::vector<double> values(View const &view) {
    return std::vector<double>(view.data(), view.data() + view.size());
}

/// Layers a, b, a, each by `apply(context, layer, x)`, forward and backward.
template <class Apply>
Outcome run_network(Network &network, Context &context, Apply apply) {
    context.set_dropout({17, 1, {}, {}});
    network.parameters.zero_gradients(context.exec());
    auto const x = network.input(context);
    auto y = x;
    for (int which : {0, 1, 0})
        y = apply(
            context, [&network, which](Context &c, X in) { return network.layer(c, which, in); }, y);
    Outcome outcome;
    outcome.output = values(y.view());
    outcome.ops = context.op();
    y.accumulate();
    for (std::size_t i = 0; i < y.view().size(); ++i)
        y.gradient_view().data()[i] = std::cos(static_cast<double>(i));
    context.tape().run([&](ParameterId id) { outcome.heard.push_back(id); });
    outcome.input_gradient = values(x.gradient_view());
    outcome.gradients = values(network.parameters.gradients());
    return outcome;
}

auto const plainly = [](Context &context, auto f, X x) { return f(context, x); };
auto const again = [](Context &context, auto f, X x) { return recompute(context, f, x); };
auto const nested = [](Context &context, auto f, X x) {
    return recompute(
        context, [f](Context &c, X in) { return recompute(c, f, in); }, x);
};

void check_same(std::string const &name, Outcome const &actual, Outcome const &expected) {
    BOOST_TEST(compare_bits(name + ", output", actual.output, expected.output));
    BOOST_TEST(compare_bits(name + ", gradient of the input", actual.input_gradient, expected.input_gradient));
    BOOST_TEST(compare_bits(name + ", gradients", actual.gradients, expected.gradients));
    BOOST_TEST(actual.heard == expected.heard, boost::test_tools::per_element());
    BOOST_TEST(actual.ops == expected.ops);
}

// Dropout included: a block that runs again must draw the same masks.
BOOST_AUTO_TEST_CASE(recomputing_changes_no_bit) {
    Network network;
    Context context;
    auto const expected = run_network(network, context, plainly);
    BOOST_TEST(expected.heard == (std::vector<ParameterId>{2, 3, 0, 1}), boost::test_tools::per_element());
    BOOST_TEST(std::any_of(expected.gradients.begin(), expected.gradients.end(), [](double g) { return g != 0; }));
    check_same("recompute", run_network(network, context, again), expected);
    check_same("recompute in recompute", run_network(network, context, nested), expected);
    check_same("some blocks",
               run_network(
                   network, context,
                   [block = 0](Context &c, auto f, X x) mutable { return block++ % 2 ? recompute(c, f, x) : f(c, x); }),
               expected);
    BOOST_TEST(context.tape().empty());
}

BOOST_AUTO_TEST_CASE(recomputing_keeps_less) {
    Network network;
    auto const peak = [&](auto apply) {
        Context context;
        auto x = network.input(context);
        for (int layer = 0; layer < 20; ++layer)
            x = apply(
                context, [&](Context &c, X in) { return network.layer(c, 0, in); }, x);
        std::size_t const kept = context.pool().statistics().bytes_in_use;
        context.tape().clear();
        return kept;
    };
    // an input a layer in place of: product, before the activation, dropped, sum
    BOOST_TEST(peak(again) * 3 < peak(plainly));
}

BOOST_AUTO_TEST_CASE(an_error_in_a_recomputed_block_reaches_the_caller) {
    Network network;
    Context context;
    auto const x = network.input(context);
    BOOST_CHECK_THROW(recompute(
                          context, [](Context &, X) -> X { fail("no"); }, x),
                      Error);
}

// After the first steps the pool holds all that a step needs, also when batches differ a little in size.
BOOST_AUTO_TEST_CASE(a_step_in_the_steady_state_allocates_nothing) {
    Network network;
    Context context;
    for (auto apply : {0, 1}) {
        auto const step = [&] {
            if (apply == 0)
                run_network(network, context, plainly);
            else
                run_network(network, context, again);
        };
        step();
        step();
        std::size_t const before = context.pool().statistics().allocations;
        for (int i = 0; i < 10; ++i)
            step();
        BOOST_TEST(context.pool().statistics().allocations == before);
        BOOST_TEST(context.pool().statistics().bytes_in_use == 0u); // all of a step is given back
    }
}

BOOST_AUTO_TEST_CASE(inference_keeps_nothing) {
    Network const network;
    Inference<Exec> context;
    static_assert(!Inference<Exec>::training && Training<Exec>::training);
    {
        auto x = context.tensor<double>(Network::rows, Network::width);
        Kokkos::deep_copy(x.view(), 0.5);
        for (int layer = 0; layer < 5; ++layer)
            x = recompute(
                context, [&](Inference<Exec> &c, X in) { return network.layer(c, 1, in); }, x);
        BOOST_TEST(!x.needs_gradient());
        auto const one = static_cast<std::size_t>(Network::rows * Network::width) * sizeof(double);
        BOOST_TEST(context.pool().statistics().bytes_in_use < 2 * one + 512);
    }
    BOOST_TEST(context.pool().statistics().bytes_in_use == 0u);
}

BOOST_AUTO_TEST_CASE(a_second_backward_is_refused) {
    Context context;
    auto const loss = context.tensor<double>(1, 1);
    int runs = 0;
    context.tape().record([&] { ++runs; });
    context.backward(loss);
    BOOST_TEST(runs == 1);
    BOOST_CHECK_EXCEPTION(context.backward(loss), Error, [](Error const &error) {
        return std::string(error.what()).find("backward: the tape is empty: it has run already") == 0;
    });
}

BOOST_AUTO_TEST_CASE(backward_begins_with_the_seed) {
    Context context;
    auto const loss = context.tensor<double>(1, 1);
    double seen = 0;
    context.tape().record([&] { seen = loss.gradient_view()(0, 0); });
    context.backward(loss, 0.125);
    BOOST_TEST(seen == 0.125);
    loss.accumulate();
    context.tape().record([&] { seen = loss.gradient_view()(0, 0); });
    context.backward(loss); // over what was there
    BOOST_TEST(seen == 1.0);
}

BOOST_AUTO_TEST_CASE(uploads_and_libraries) {
    Context context;
    std::vector<std::int32_t> const values{3, 1, 4, 1, 5};
    auto const copy = context.upload<std::int32_t>(values);
    BOOST_TEST(copy.size() == 5);
    BOOST_TEST(std::equal(values.begin(), values.end(), copy.data()));
    BOOST_TEST(context.upload<double>(std::vector<double>{}).size() == 0);
    struct Handle {
        explicit Handle(Exec const &) {}
        int used = 0;
    };
    ++context.library<Handle>().used;
    BOOST_TEST(++context.library<Handle>().used == 2); // one a context
    Context other;
    BOOST_TEST(other.library<Handle>().used == 0);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
