#include <model/models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double>;
using Exec = Kokkos::DefaultExecutionSpace;

template <class S = float, class E = Exec>
Bert<S, E> made(double dropout = 0.0) {
    auto config = small_config();
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
    Bert<S, E> model(config);
    model.initialise(3);
    model.parameters().enable_gradients();
    return model;
}

/// Dropout keyed by seed alone: a row's number stands for protein and position.
template <class Context>
void key(Context &context, std::uint64_t seed) {
    DropoutKeys<typename Context::execution_space> keys;
    keys.seed = seed;
    context.set_dropout(keys);
}

struct Pass {
    double loss;
    std::vector<double> gradients;
};

template <class Model, class Context>
Pass pass(Model &model, Context &context, Example const &example, std::uint64_t seed = 1) {
    model.parameters().zero_gradients(context.exec());
    key(context, seed);
    auto const loss = example_loss(model, context, example);
    auto const value = to_vector(loss.sum.view())[0];
    context.backward(loss.sum);
    return {value, to_vector(model.parameters().gradients())};
}

BOOST_AUTO_TEST_SUITE(bert_training)

BOOST_AUTO_TEST_CASE_TEMPLATE(recomputed_layers_give_the_same_bits, Case, Cases) {
    for (double const dropout : {0.0, 0.3}) {
        Example const example;
        auto kept = made<typename Case::scalar, typename Case::device>(dropout);
        auto again = made<typename Case::scalar, typename Case::device>(dropout);
        again.set_recompute(true);
        Training<typename Case::device> context_kept, context_again;
        auto const expected = pass(kept, context_kept, example);
        auto const actual = pass(again, context_again, example);
        BOOST_TEST(actual.loss == expected.loss);
        BOOST_TEST(compare_bits("gradients", actual.gradients, expected.gradients));
    }
}

BOOST_AUTO_TEST_CASE(recomputing_needs_less_memory) {
    Example const example(std::vector<index_t>(30, 40));
    auto kept = made(), again = made();
    again.set_recompute(true);
    Training<Exec> context_kept, context_again;
    pass(kept, context_kept, example);
    pass(again, context_again, example);
    BOOST_TEST(context_again.pool().statistics().peak_bytes < 0.7 * context_kept.pool().statistics().peak_bytes);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_training_step_allocates_nothing_in_the_steady_state, Case, Cases) {
    for (bool const recompute : {false, true}) {
        auto model = made<typename Case::scalar, typename Case::device>(0.1);
        model.set_recompute(recompute);
        Training<typename Case::device> context;
        Example const example;
        pass(model, context, example, 1);
        pass(model, context, example, 2);
        auto const before = context.pool().statistics();
        for (std::uint64_t step = 3; step < 8; ++step)
            pass(model, context, example, step);
        auto const &after = context.pool().statistics();
        BOOST_TEST(before.allocations > 0u);
        BOOST_TEST(after.allocations == before.allocations);
        BOOST_TEST(after.reserved_bytes == before.reserved_bytes);
        BOOST_TEST(after.peak_bytes == before.peak_bytes);
        BOOST_TEST(after.bytes_in_use == 0u); // the tape keeps nothing
        BOOST_TEST(context.tape().empty());
    }
}

BOOST_AUTO_TEST_CASE(gradients_accumulate_over_passes) {
    auto model = made<double>();
    Training<Exec> context;
    Example const first({17, 9}), second({40, 3});
    auto const a = pass(model, context, first), b = pass(model, context, second);
    model.parameters().zero_gradients(context.exec());
    for (auto const *example : {&first, &second})
        context.backward(example_loss(model, context, *example).sum);
    std::vector<double> sum;
    for (std::size_t i = 0; i < a.gradients.size(); ++i)
        sum.push_back(a.gradients[i] + b.gradients[i]);
    BOOST_TEST(compare("sum", to_vector(model.parameters().gradients()), sum, {.relative = 1e-9, .absolute = 1e-10}));
}

BOOST_AUTO_TEST_CASE(a_batch_has_the_gradient_of_its_parts) {
    auto model = made<double>();
    Training<Exec> context;
    Example const whole({17, 9, 33});
    auto const expected = pass(model, context, whole);
    std::vector<double> sum(expected.gradients.size(), 0.0);
    double loss = 0;
    for (std::size_t b = 0; b < 3; ++b) {
        auto const begin = whole.offsets[b], end = whole.offsets[b + 1];
        Example part{std::vector<index_t>{}};
        part.tokens.assign(whole.tokens.begin() + begin, whole.tokens.begin() + end);
        part.types.assign(whole.types.begin() + begin, whole.types.begin() + end);
        part.offsets = {0, end - begin};
        for (std::size_t i = 0; i < whole.rows.size(); ++i)
            if (whole.rows[i] >= begin && whole.rows[i] < end) {
                part.rows.push_back(whole.rows[i] - begin);
                part.labels.push_back(whole.labels[i]);
            }
        auto const one = pass(model, context, part);
        loss += one.loss;
        for (std::size_t i = 0; i < sum.size(); ++i)
            sum[i] += one.gradients[i];
    }
    BOOST_TEST(std::abs(loss - expected.loss) < 1e-10 * std::abs(expected.loss));
    BOOST_TEST(compare("gradients", sum, expected.gradients, {.relative = 1e-8, .absolute = 1e-10}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(training_with_dropout_decreases_the_loss, Case, Cases) {
    using S = typename Case::scalar;
    auto model = made<S, typename Case::device>(0.1);
    Training<typename Case::device> context;
    Example const example;
    double const labelled = static_cast<double>(example.labels.size());
    double const first = pass(model, context, example, 1).loss / labelled;
    auto const values = model.parameters().values();
    auto const gradients = model.parameters().gradients();
    double last = first;
    for (std::uint64_t step = 2; step <= 60; ++step) {
        Kokkos::parallel_for( // plain gradient descent
            "protlm::test::descent", range(context.exec(), 0, static_cast<index_t>(values.extent(0))),
            KOKKOS_LAMBDA(index_t i) { values(i) -= static_cast<S>(0.1 / labelled) * gradients(i); });
        last = pass(model, context, example, step).loss / labelled;
    }
    BOOST_TEST(first > 2.5); // about log(30) and more
    BOOST_TEST(last < 0.5 * first);
}

BOOST_AUTO_TEST_CASE(dropout_follows_its_seed_and_does_not_exist_in_inference) {
    Example const example;
    auto with = made<double>(0.2), without = made<double>(0.0);
    Training<Exec> context;
    double const plain = pass(without, context, example).loss;
    double const first = pass(with, context, example, 1).loss;
    BOOST_TEST(pass(with, context, example, 1).loss == first);
    BOOST_TEST(pass(with, context, example, 2).loss != first);
    BOOST_TEST(first != plain);
    Inference<Exec> inference;
    BOOST_TEST(to_vector(example_loss(with, inference, example).sum.view())[0] == plain);
}

// Attention probabilities alone: with either set of kernels, by protein and position, and in training only.
BOOST_AUTO_TEST_CASE(dropout_of_attention_is_keyed_by_the_protein) {
    auto config = small_config();
    config.attention_probs_dropout_prob = 0.3;
    Bert<double> model(config);
    model.initialise(1);
    auto const encoded = [&](auto &&context, Example const &example, std::vector<std::uint64_t> const &samples) {
        auto view = example.view();
        view.samples = samples;
        key(context, 7);
        auto const y = to_vector(model.encode(context, make_packed(context, view)).view());
        context.tape().clear();
        return y;
    };
    Example const both({9, 14});
    auto const of_both = encoded(Training<Exec>(), both, {4, 5});
    auto const portable = encoded(Training<Exec, Kernels::portable>(), both, {4, 5});
    BOOST_TEST(compare("portable kernels", portable, of_both, {.relative = 1e-9, .absolute = 1e-11}));
    Example second({14});
    std::copy(both.tokens.begin() + 9, both.tokens.end(), second.tokens.begin());
    auto const alone = encoded(Training<Exec>(), second, {5});
    std::ptrdiff_t const first = 9 * static_cast<std::ptrdiff_t>(config.hidden_size);
    BOOST_TEST(compare_bits("alone", alone, std::vector<double>(of_both.begin() + first, of_both.end())));
    BOOST_TEST((encoded(Training<Exec>(), second, {6}) != alone));
    Inference<Exec> inference;
    auto const without = to_vector(model.encode(inference, make_packed(inference, second.view())).view());
    BOOST_TEST((without != alone));
}

BOOST_AUTO_TEST_CASE(every_parameter_that_the_loss_needs_is_announced_once_and_tied_ones_last) {
    auto model = made();
    Training<Exec> context;
    Example const example;
    key(context, 1);
    auto const loss = example_loss(model, context, example);
    std::vector<ParameterId> heard;
    context.backward(loss.sum, 1.0, [&](ParameterId id) { heard.push_back(id); });
    auto const &table = model.parameters().table();
    BOOST_TEST(heard.size() == table.entries().size());
    std::vector<int> times(table.entries().size(), 0);
    for (ParameterId const id : heard)
        ++times[static_cast<std::size_t>(id)];
    BOOST_TEST(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
    auto const place = [&](std::string const &name) {
        return std::find(heard.begin(), heard.end(), table.find(name)) - heard.begin();
    };
    BOOST_TEST(place("bert.embeddings.word_embeddings.weight") > place("bert.encoder.layer.0.output.dense.weight"));
    BOOST_TEST(place("cls.predictions.transform.dense.weight") < place("bert.encoder.layer.2.output.dense.weight"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
