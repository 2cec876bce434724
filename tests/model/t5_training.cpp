#include <model/t5_models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double>;
using Exec = Kokkos::DefaultExecutionSpace;

template <class S, class E = Exec>
T5<S, E> trained(T5Config config = small_t5(), double dropout = 0.0) {
    config.dropout_rate = dropout;
    auto model = made_t5<S, E>(config);
    model.parameters().enable_gradients();
    return model;
}

struct Pass {
    double loss;
    std::vector<double> gradients;
};

template <class Model, class Context>
Pass pass(Model &model, Context &context, T5Example const &example, std::uint64_t seed = 1) {
    model.parameters().zero_gradients(context.exec());
    DropoutKeys<typename Context::execution_space> keys;
    keys.seed = seed;
    context.set_dropout(keys);
    auto const loss = t5_loss(model, context, example);
    auto const value = to_vector(loss.sum.view())[0];
    context.backward(loss.sum);
    return {value, to_vector(model.parameters().gradients())};
}

T5Config gated_and_untied() {
    auto config = small_t5();
    config.feed_forward_proj = "gated-gelu";
    config.tie_word_embeddings = false;
    return config;
}

template <class Flat>
void write(Flat const &flat, std::vector<double> const &values) {
    auto const host = Kokkos::create_mirror_view(flat);
    for (std::size_t i = 0; i < values.size(); ++i)
        host(i) = values[i];
    Kokkos::deep_copy(flat, host);
}

/// A direction in which one named group of tensors, or all, move by random amounts.
std::vector<double> direction(ParameterTable const &table, std::string const &part, std::uint64_t seed) {
    std::vector<double> d(static_cast<std::size_t>(table.extent()), 0.0);
    for (auto const &entry : table.entries())
        if (entry.name.find(part) != entry.name.npos)
            for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i) {
                auto const bits = CounterRandom{seed, Purpose::sample}(static_cast<std::uint64_t>(i), 0);
                d[static_cast<std::size_t>(i)] = 2 * uniform_double(bits[0], bits[1]) - 1;
            }
    return d;
}

BOOST_AUTO_TEST_SUITE(t5_training)

// Slopes along random directions, of everything and of each kind of tensor, by differences of fourth order.
BOOST_AUTO_TEST_CASE(gradients_are_those_of_numerical_differences) {
    auto smooth = small_t5();
    smooth.feed_forward_proj = "gelu";
    T5Example const example{Example({7, 5, 19}), Example({4, 17, 2})};
    for (auto const &[config, dropout] :
         {std::pair{smooth, 0.0}, {gated_and_untied(), 0.0}, {gated_and_untied(), 0.3}}) {
        auto model = trained<double>(config, dropout);
        Training<Exec> context;
        auto const gradients = pass(model, context, example).gradients;
        auto const start = to_vector(model.parameters().values());
        auto const loss_at = [&](std::vector<double> const &d, double step) {
            auto moved = start;
            for (std::size_t i = 0; i < moved.size(); ++i)
                moved[i] += step * d[i];
            write(model.parameters().values(), moved);
            context.set_dropout({1, 0, {}, {}}); // as in `pass`
            double const result = to_vector(t5_loss(model, context, example).sum.view())[0];
            context.tape().clear();
            return result;
        };
        for (char const *part : {"", "shared", "encoder.", "decoder.block.0.layer.0", "EncDecAttention", "layer_norm",
                                 "relative_attention_bias", "DenseReluDense"}) {
            auto const d = direction(model.parameters().table(), part, 7);
            double const h = 2e-4,
                         slope = (8 * (loss_at(d, h) - loss_at(d, -h)) - (loss_at(d, 2 * h) - loss_at(d, -2 * h))) /
                                 (12 * h);
            double product = 0;
            for (std::size_t i = 0; i < d.size(); ++i)
                product += d[i] * gradients[i];
            BOOST_TEST(product != 0.0);
            BOOST_TEST(std::abs(product - slope) < 1e-6 * std::max(1.0, std::abs(slope)),
                       '"' << part << "\": " << product << ", by differences " << slope);
        }
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(recomputed_blocks_give_the_same_bits, Case, Cases) {
    for (double const dropout : {0.0, 0.3})
        for (auto const &config : {small_t5(), gated_and_untied()}) {
            T5Example const example;
            auto kept = trained<typename Case::scalar, typename Case::device>(config, dropout);
            auto again = trained<typename Case::scalar, typename Case::device>(config, dropout);
            again.set_recompute(true);
            Training<typename Case::device> context_kept, context_again;
            auto const expected = pass(kept, context_kept, example);
            auto const actual = pass(again, context_again, example);
            BOOST_TEST(actual.loss == expected.loss);
            BOOST_TEST(compare_bits("gradients", actual.gradients, expected.gradients));
        }
}

BOOST_AUTO_TEST_CASE(portable_kernels_give_the_same_gradients) {
    for (auto const &config : {small_t5(), gated_and_untied()}) {
        auto model = trained<double>(config, 0.2);
        Training<Exec, Kernels::native> native;
        Training<Exec, Kernels::portable> portable;
        auto const a = pass(model, native, T5Example()), b = pass(model, portable, T5Example());
        BOOST_TEST(std::abs(a.loss - b.loss) < 1e-10 * b.loss);
        BOOST_TEST(compare("gradients", a.gradients, b.gradients, {.relative = 1e-8, .absolute = 1e-9}));
    }
}

BOOST_AUTO_TEST_CASE(recomputing_needs_less_memory) {
    T5Example const example{Example(std::vector<index_t>(30, 40)), Example(std::vector<index_t>(30, 40))};
    auto kept = trained<float>(), again = trained<float>();
    again.set_recompute(true);
    Training<Exec> context_kept, context_again;
    pass(kept, context_kept, example);
    pass(again, context_again, example);
    BOOST_TEST(context_again.pool().statistics().peak_bytes < 0.7 * context_kept.pool().statistics().peak_bytes);
}

BOOST_AUTO_TEST_CASE(a_training_step_allocates_nothing_in_the_steady_state) {
    for (bool const recompute : {false, true}) {
        auto model = trained<float>(small_t5(), 0.1);
        model.set_recompute(recompute);
        Training<Exec> context;
        T5Example const example;
        pass(model, context, example, 1);
        pass(model, context, example, 2);
        auto const before = context.pool().statistics();
        for (std::uint64_t step = 3; step < 6; ++step)
            pass(model, context, example, step);
        BOOST_TEST(context.pool().statistics().allocations == before.allocations);
        BOOST_TEST(context.pool().statistics().bytes_in_use == 0u); // the tape keeps nothing
    }
}

BOOST_AUTO_TEST_CASE(dropout_follows_its_seed_and_does_not_exist_in_inference) {
    T5Example const example;
    auto with = trained<double>(small_t5(), 0.2), without = trained<double>();
    Training<Exec> context;
    double const plain = pass(without, context, example).loss;
    double const first = pass(with, context, example, 1).loss;
    BOOST_TEST(pass(with, context, example, 1).loss == first);
    BOOST_TEST(pass(with, context, example, 2).loss != first);
    BOOST_TEST(first != plain);
    Inference<Exec> inference;
    BOOST_TEST(to_vector(t5_loss(with, inference, example).sum.view())[0] == plain);
}

// The keys of dropout are a protein and a position: the same loss wherever a protein stands in its batch.
BOOST_AUTO_TEST_CASE(dropout_does_not_depend_on_the_batch) {
    auto model = trained<double>(small_t5(), 0.3);
    T5Example const example{Example({17, 9}), Example({8, 21})};
    auto const loss = [&](std::vector<std::size_t> const &order) {
        T5Example picked{Example(std::vector<index_t>{}), Example(std::vector<index_t>{})};
        std::vector<std::uint64_t> samples;
        for (std::size_t const b : order) {
            for (auto [from, to] : {std::pair{&example.source, &picked.source}, {&example.target, &picked.target}}) {
                to->tokens.insert(to->tokens.end(), from->tokens.begin() + from->offsets[b],
                                  from->tokens.begin() + from->offsets[b + 1]);
                to->offsets.push_back(static_cast<std::int64_t>(to->tokens.size()));
            }
            samples.push_back(100 + b);
        }
        Training<Exec> context;
        DropoutKeys<Exec> keys;
        keys.seed = 5;
        context.set_dropout(keys);
        auto const source = make_packed(context, {picked.source.tokens, {}, picked.source.offsets, samples});
        auto const target = make_packed(context, {picked.target.tokens, {}, picked.target.offsets, samples});
        auto const hidden = model.decode(context, target, model.encode(context, source), source.segments);
        std::vector<std::int32_t> const labels(picked.target.tokens.size(), 5);
        auto const sum =
            to_vector(model.token_loss(context, hidden, context.template upload<std::int32_t>(labels)).sum.view())[0];
        context.tape().clear();
        return sum;
    };
    BOOST_TEST(std::abs(loss({0}) + loss({1}) - loss({0, 1})) < 1e-9);
    BOOST_TEST(std::abs(loss({1, 0}) - loss({0, 1})) < 1e-9);
}

// The masks of attention probabilities, self and cross, encoder and decoder: those of portable kernels.
BOOST_AUTO_TEST_CASE(portable_kernels_drop_the_same) {
    auto model = trained<double>(small_t5(), 0.3);
    T5Example const example{Example({17, 9}), Example({8, 21})};
    Training<Exec> native;
    Training<Exec, Kernels::portable> portable;
    auto const expected = pass(model, native, example), actual = pass(model, portable, example);
    BOOST_TEST(actual.loss == expected.loss, boost::test_tools::tolerance(1e-11));
    BOOST_TEST(compare("gradients", actual.gradients, expected.gradients, {.relative = 1e-8, .absolute = 1e-10}));
}

BOOST_AUTO_TEST_CASE(training_with_dropout_decreases_the_loss) {
    auto model = trained<float>(small_t5(), 0.1);
    Training<Exec> context;
    T5Example const example;
    double const labelled = static_cast<double>(example.target.labels.size());
    double const first = pass(model, context, example, 1).loss / labelled;
    auto const values = model.parameters().values();
    auto const gradients = model.parameters().gradients();
    double last = first;
    for (std::uint64_t step = 2; step <= 80; ++step) {
        Kokkos::parallel_for( // plain gradient descent
            "protlm::test::descent", range(context.exec(), 0, static_cast<index_t>(values.extent(0))),
            KOKKOS_LAMBDA(index_t i) { values(i) -= static_cast<float>(0.05 / labelled) * gradients(i); });
        last = pass(model, context, example, step).loss / labelled;
    }
    BOOST_TEST(first > 2.5);
    BOOST_TEST(last < 0.5 * first);
}

BOOST_AUTO_TEST_CASE(every_parameter_is_announced_once_and_shared_ones_last) {
    for (bool const recompute : {false, true}) {
        auto model = trained<float>();
        model.set_recompute(recompute);
        Training<Exec> context;
        auto const loss = t5_loss(model, context, T5Example());
        std::vector<ParameterId> heard;
        context.backward(loss.sum, 1.0, [&](ParameterId id) { heard.push_back(id); });
        auto const &table = model.parameters().table();
        BOOST_TEST(heard.size() == table.entries().size());
        auto const place = [&](std::string const &name) {
            return std::find(heard.begin(), heard.end(), table.find(name)) - heard.begin();
        };
        BOOST_TEST(place("shared.weight") == static_cast<std::ptrdiff_t>(heard.size()) - 1);
        std::string const bias = ".block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        BOOST_TEST(place("decoder" + bias) > place("decoder.block.1.layer.0.SelfAttention.q.weight"));
        BOOST_TEST(place("encoder" + bias) > place("encoder.block.1.layer.0.SelfAttention.q.weight"));
        std::sort(heard.begin(), heard.end());
        BOOST_TEST((std::adjacent_find(heard.begin(), heard.end()) == heard.end()));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
