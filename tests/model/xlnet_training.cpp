#include <model/xlnet_models.hpp>
#include <support/compare.hpp>
#include <support/jacobian.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Scalars = std::tuple<float, double>;

template <class S = float>
Xlnet<S> made(double dropout = 0.0) {
    auto config = small_xlnet();
    config.dropout = dropout;
    auto model = made_xlnet<S>(config);
    model.parameters().enable_gradients();
    return model;
}

struct Pass {
    double loss;
    std::vector<double> gradients;
};

template <class Model, class Context>
Pass pass(Model &model, Context &context, Permutation const &example, std::uint64_t seed = 1) {
    model.parameters().zero_gradients(context.exec());
    DropoutKeys<Exec> keys;
    keys.seed = seed;
    context.set_dropout(keys);
    auto const loss = permutation_loss(model, context, example);
    auto const value = to_vector(loss.sum.view())[0];
    context.backward(loss.sum);
    return {value, to_vector(model.parameters().gradients())};
}

BOOST_AUTO_TEST_SUITE(xlnet_training)

/// A model of a few hundred parameters whose heads are together wider than the model.
XlnetConfig tiny() {
    XlnetConfig config;
    config.vocab_size = 37;
    config.d_model = 4;
    config.n_layer = 2;
    config.n_head = 2;
    config.d_head = 3;
    config.d_inner = 5;
    config.ff_activation = "gelu_new";
    config.initializer_range = 0.4;
    return config;
}

// Through both streams, the segment term, the encodings and behind a memory: every parameter's gradient.
template <Kernels kernels>
void check_gradient(XlnetConfig const &config) {
    auto model = made_xlnet<double>(config);
    model.parameters().enable_gradients();
    auto const fixed = made_xlnet<double>(config, 8);
    Permutation example({5, 3}), first({2, 4});
    example.typed = true;
    Inference<Exec, kernels> inference;
    Xlnet<double>::Memory remembered; // of other weights: it is no function of the parameters
    fixed.encode(inference, make_packed(inference, first.view()), remembered);
    auto const loss = [&](auto &context) {
        auto memory = remembered;
        auto const order = make_two_stream_order(context, example.rank, example.is_target, example.offsets);
        auto const streams = model.two_stream(context, make_packed(context, example.view()), order, memory);
        return model.token_loss(context, streams.query, context.template upload<std::int32_t>(example.labels)).sum;
    };
    Training<Exec, kernels> context;
    context.set_dropout({5, 0, {}, {}});
    context.backward(loss(context));
    auto const gradients = to_vector(model.parameters().gradients());
    auto const values = model.parameters().values();
    auto const host = Kokkos::create_mirror_view(values);
    auto const start = to_vector(values);
    for (auto const &entry : model.parameters().table().entries())
        for (std::uint64_t const seed : {1, 2, 3}) { // along directions by chance within each tensor
            std::vector<double> direction;
            double expected = 0, size = 0;
            for (index_t i = 0; i < entry.size(); ++i) {
                auto const bits = CounterRandom{seed, Purpose::sample}(static_cast<std::uint64_t>(i), 0);
                direction.push_back(2 * uniform_double(bits[0], bits[1]) - 1);
                double const part = direction.back() * gradients[static_cast<std::size_t>(entry.offset + i)];
                expected += part, size += std::abs(part);
            }
            auto const along = [&](std::vector<double> const &x) {
                std::copy(start.begin(), start.end(), host.data());
                for (index_t i = 0; i < entry.size(); ++i)
                    host(static_cast<std::size_t>(entry.offset + i)) += x[0] * direction[static_cast<std::size_t>(i)];
                Kokkos::deep_copy(values, host);
                context.set_dropout({5, 0, {}, {}});
                double const result = to_vector(loss(context).view())[0];
                context.tape().clear();
                return result;
            };
            double const actual = numerical_gradient(along, {0.0})[0];
            BOOST_TEST(std::abs(actual - expected) < 1e-7 * std::max(size, 1e-2),
                       entry.name << ": " << expected << ", numerically " << actual);
            BOOST_TEST(size > 1e-6, entry.name);
        }
}

BOOST_AUTO_TEST_CASE(gradients_are_those_of_the_loss) {
    check_gradient<Kernels::native>(tiny());
    auto config = tiny();
    config.attn_type = "uni";
    config.bi_data = config.same_length = true;
    check_gradient<Kernels::native>(config);
    config.clamp_len = 2;
    check_gradient<Kernels::portable>(config);
    config.dropout = 0.3; // of attention probabilities, too
    check_gradient<Kernels::portable>(config);
    check_gradient<Kernels::native>(config);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(recomputed_layers_give_the_same_bits, S, Scalars) {
    for (double const dropout : {0.0, 0.3}) {
        Permutation example;
        example.typed = true;
        auto kept = made<S>(dropout), again = made<S>(dropout);
        again.set_recompute(true);
        Training<Exec> context_kept, context_again;
        auto const expected = pass(kept, context_kept, example);
        auto const actual = pass(again, context_again, example);
        BOOST_TEST(actual.loss == expected.loss);
        BOOST_TEST(compare_bits("gradients", actual.gradients, expected.gradients));
    }
}

BOOST_AUTO_TEST_CASE(recomputing_needs_less_memory) {
    Permutation const example(std::vector<index_t>(30, 40));
    auto kept = made(), again = made();
    again.set_recompute(true);
    Training<Exec> context_kept, context_again;
    pass(kept, context_kept, example);
    pass(again, context_again, example);
    BOOST_TEST(context_again.pool().statistics().peak_bytes < 0.7 * context_kept.pool().statistics().peak_bytes);
}

BOOST_AUTO_TEST_CASE(a_training_step_allocates_nothing_in_the_steady_state) {
    auto model = made(0.1);
    Training<Exec> context;
    Permutation const example;
    pass(model, context, example, 1);
    pass(model, context, example, 2);
    auto const before = context.pool().statistics();
    for (std::uint64_t step = 3; step < 8; ++step)
        pass(model, context, example, step);
    auto const &after = context.pool().statistics();
    BOOST_TEST(before.allocations > 0u);
    BOOST_TEST(after.allocations == before.allocations);
    BOOST_TEST(after.peak_bytes == before.peak_bytes);
    BOOST_TEST(after.bytes_in_use == 0u); // the tape keeps nothing
    BOOST_TEST(context.tape().empty());
}

BOOST_AUTO_TEST_CASE(a_batch_has_the_gradient_of_its_parts) {
    auto model = made<double>();
    Training<Exec> context;
    Permutation whole;
    whole.typed = true;
    auto const expected = pass(model, context, whole);
    std::vector<double> sum(expected.gradients.size(), 0.0);
    double loss = 0;
    for (std::size_t b = 0; b < 4; ++b) {
        auto const one = pass(model, context, whole.part(b));
        loss += one.loss;
        for (std::size_t i = 0; i < sum.size(); ++i)
            sum[i] += one.gradients[i];
    }
    BOOST_TEST(std::abs(loss - expected.loss) < 1e-10 * std::abs(expected.loss));
    BOOST_TEST(compare("gradients", sum, expected.gradients, {.relative = 1e-8, .absolute = 1e-10}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(training_with_dropout_decreases_the_loss, S, Scalars) {
    auto model = made<S>(0.1);
    Training<Exec> context;
    Permutation const example;
    double const labelled = static_cast<double>(example.labels.size());
    double const first = pass(model, context, example, 1).loss / labelled;
    auto const values = model.parameters().values();
    auto const gradients = model.parameters().gradients();
    double last = first;
    for (std::uint64_t step = 2; step <= 60; ++step) {
        Kokkos::parallel_for( // plain gradient descent
            "protlm::test::descent", range(context.exec(), 0, static_cast<index_t>(values.extent(0))),
            KOKKOS_LAMBDA(index_t i) { values(i) -= static_cast<S>(0.2 / labelled) * gradients(i); });
        last = pass(model, context, example, step).loss / labelled;
    }
    BOOST_TEST(first > 3.0); // about log(37) and more
    BOOST_TEST(last < 0.5 * first);
}

BOOST_AUTO_TEST_CASE(dropout_follows_its_seed_and_does_not_exist_in_inference) {
    Permutation const example;
    auto with = made<double>(0.2), without = made<double>(0.0);
    Training<Exec> context;
    double const plain = pass(without, context, example).loss;
    double const first = pass(with, context, example, 1).loss;
    BOOST_TEST(pass(with, context, example, 1).loss == first);
    BOOST_TEST(pass(with, context, example, 2).loss != first);
    BOOST_TEST(first != plain);
    Inference<Exec> inference;
    BOOST_TEST(to_vector(permutation_loss(with, inference, example).sum.view())[0] == plain);
}

// The first protein of a batch has the dropout that it has alone; batches are keyed by their first protein where all
// share something: the encodings of distances.
BOOST_AUTO_TEST_CASE(dropout_is_keyed_by_the_protein) {
    auto const model = made<double>(0.2);
    Permutation const batch;
    auto const states = [&](Permutation const &example) {
        Training<Exec> context;
        DropoutKeys<Exec> keys;
        keys.seed = 4;
        context.set_dropout(keys);
        auto const streams = two_stream(model, context, example);
        auto values = std::pair(to_vector(streams.content.view()), to_vector(streams.query.view()));
        context.tape().clear();
        return values;
    };
    auto const all = states(batch), first = states(batch.part(0));
    auto const begin = [](std::vector<double> const &values, std::size_t size) {
        return std::vector<double>(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(size));
    };
    BOOST_TEST(compare_bits("content", begin(all.first, first.first.size()), first.first, 24));
    BOOST_TEST(compare_bits("query", begin(all.second, first.second.size()), first.second, 24));
    auto renamed = batch.part(0);
    renamed.samples[0] += 1;
    BOOST_TEST(max_relative_error(states(renamed).second, first.second) > 1e-3);
}

BOOST_AUTO_TEST_CASE(a_memory_has_no_gradient) {
    auto model = made<double>();
    Training<Exec> context;
    Permutation const first({6, 9}), second({8, 4});
    Xlnet<double>::Memory memory;
    model.encode(context, make_packed(context, first.view()), memory);
    for (auto const &layer : memory.layers)
        BOOST_TEST(!layer.needs_gradient());
    context.tape().clear();
    auto const order = make_two_stream_order(context, second.rank, second.is_target, second.offsets);
    auto const streams = model.two_stream(context, make_packed(context, second.view()), order, memory);
    auto const labels = context.upload<std::int32_t>(second.labels);
    context.backward(model.token_loss(context, streams.query, labels).sum);
    for (auto const &layer : memory.layers)
        BOOST_TEST(!layer.has_gradient());
}

BOOST_AUTO_TEST_CASE(every_parameter_that_the_loss_needs_is_announced_once_and_tied_ones_last) {
    auto model = made();
    Training<Exec> context;
    for (bool const typed : {true, false}) {
        Permutation example;
        example.typed = typed;
        std::vector<ParameterId> heard;
        context.backward(permutation_loss(model, context, example).sum, 1.0,
                         [&](ParameterId id) { heard.push_back(id); });
        auto const &table = model.parameters().table();
        // without token types there is no segment term
        BOOST_TEST(heard.size() == table.entries().size() - (typed ? 0 : 6));
        auto const place = [&](std::string const &name) {
            return std::find(heard.begin(), heard.end(), table.find(name)) - heard.begin();
        };
        auto const count = static_cast<std::ptrdiff_t>(heard.size());
        BOOST_TEST(std::set<ParameterId>(heard.begin(), heard.end()).size() == heard.size());
        BOOST_TEST(place("lm_loss.bias") == 0);
        BOOST_TEST(place("transformer.mask_emb") < count);
        BOOST_TEST(place("transformer.word_embedding.weight") > place("transformer.layer.0.rel_attn.q"));
        BOOST_TEST((place("transformer.layer.1.rel_attn.seg_embed") < count) == typed);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
