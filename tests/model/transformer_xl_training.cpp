#include <model/transformer_xl_models.hpp>
#include <protlm/ops/add.hpp>
#include <support/compare.hpp>
#include <support/jacobian.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
template <class S>
using Memory = typename TransformerXl<S>::Memory;

auto const configs = {small_transformer_xl(), other_transformer_xl(), clustered_transformer_xl(),
                      clustered_transformer_xl(1)};

/// Gradient of all parameters for the loss of `forward(context)`.
template <class Context, class Model, class Forward>
std::vector<double> gradient(Model &model, Forward const &forward) {
    model.parameters().enable_gradients();
    Context context;
    context.set_dropout({5, 0, {}, {}});
    model.parameters().zero_gradients(context.exec());
    context.backward(forward(context));
    return to_vector(model.parameters().gradients());
}

/// Four elements of each tensor, one of a tensor that has fewer: their places in the flat buffer.
template <class Model>
std::vector<std::size_t> some_elements(Model const &model) {
    std::vector<std::size_t> chosen;
    for (auto const &entry : model.parameters().table().entries())
        for (index_t i = entry.size() < 4 ? 3 : 0; i < 4; ++i)
            chosen.push_back(static_cast<std::size_t>(entry.offset + i * entry.size() / 4));
    return chosen;
}

/// The backward's gradient of some elements of each tensor against differences of `loss()`.
template <class Forward, class Loss>
void check_gradient(TransformerXl<double> &model, Forward const &forward, Loss const &loss) {
    auto const all = gradient<Training<Exec>>(model, forward);
    auto const places = some_elements(model);
    auto const values = model.parameters().values(); // shares the memory
    std::vector<double> at, expected;
    for (std::size_t const place : places) {
        at.push_back(values(place));
        expected.push_back(all[place]);
    }
    auto const numerical = numerical_gradient(
        [&](std::vector<double> const &x) {
            for (std::size_t i = 0; i < x.size(); ++i)
                values(places[i]) = x[i];
            double const result = loss();
            for (std::size_t i = 0; i < x.size(); ++i)
                values(places[i]) = at[i];
            return result;
        },
        at, 1e-4);
    BOOST_TEST(compare("gradient", expected, numerical, {.relative = 1e-6, .absolute = 1e-6}));
}

BOOST_AUTO_TEST_SUITE(transformer_xl_training)

// The memory is a constant: differences are taken with the one that the weights as they are have made.
BOOST_AUTO_TEST_CASE(gradients_of_two_segments_are_right) {
    for (auto const &config : configs) {
        auto model = made_transformer_xl<double>(config);
        auto const pieces = cut(Example({7, 3, 12}), {0.5, 1.0});
        Inference<Exec> context;
        Memory<double> fixed;
        model.encode(context, make_packed(context, pieces[0].view()), fixed);
        check_gradient(
            model, [&](auto &training) { return pieces_loss(model, training, pieces); },
            [&] {
                auto memory = fixed;
                double sum = 0;
                for (std::size_t n = 0; n < 2; ++n) {
                    auto const packed = make_packed(context, pieces[n].view());
                    auto const hidden = n == 0 ? model.encode(context, packed) : model.encode(context, packed, memory);
                    auto const labels = context.upload<std::int32_t>(pieces[n].labels);
                    sum += to_vector(model.token_loss(context, hidden, labels).sum.view())[0];
                }
                return sum;
            });
    }
}

BOOST_AUTO_TEST_CASE(gradients_of_log_probabilities_are_right) {
    auto model = made_transformer_xl<double>(clustered_transformer_xl());
    Example const example({9, 4});
    auto const loss = [&](auto &context) {
        auto const packed = make_packed(context, example.view());
        return cross_entropy(context, model.logits(context, model.encode(context, packed)), packed.tokens).sum;
    };
    check_gradient(model, loss, [&] {
        Inference<Exec> context;
        return to_vector(loss(context).view())[0];
    });
}

// Proteins and memories of unequal lengths, run again and again: the same bits, and those of plain kernels but for
// rounding.
BOOST_AUTO_TEST_CASE(gradients_do_not_change_from_run_to_run) {
    for (auto config : configs) {
        config.mem_len = 10;
        auto model = made_transformer_xl<double>(config);
        auto const pieces = cut(Example({19, 1, 40, 9}), {0.3, 0.6, 1.0});
        auto const loss = [&](auto &context) { return pieces_loss(model, context, pieces); };
        auto const expected = gradient<Training<Exec>>(model, loss);
        for (int run = 0; run < 10; ++run)
            BOOST_TEST(compare_bits("gradient", gradient<Training<Exec>>(model, loss), expected));
        auto const portable = gradient<Training<Exec, Kernels::portable>>(model, loss);
        BOOST_TEST(max_relative_error(portable, expected) < 1e-10);
    }
}

BOOST_AUTO_TEST_CASE(recomputed_layers_give_the_same_bits) {
    for (auto config : configs) {
        config.dropout = config.dropatt = 0.2;
        auto model = made_transformer_xl(config);
        auto const pieces = cut(Example(), {0.4, 1.0});
        auto const loss = [&](auto &context) { return pieces_loss(model, context, pieces); };
        auto const expected = gradient<Training<Exec>>(model, loss);
        model.set_recompute(true);
        BOOST_TEST(compare_bits("gradient", gradient<Training<Exec>>(model, loss), expected));
        BOOST_TEST(max_relative_error(expected, std::vector<double>(expected.size(), 0.0)) > 0);
    }
}

// Dropout falls on both segments differently, though positions begin anew; a protein's is its own in any batch.
BOOST_AUTO_TEST_CASE(dropout_is_keyed_by_protein_and_segment) {
    auto config = small_transformer_xl();
    config.dropout = 0.3;
    auto const model = made_transformer_xl(config);
    std::vector<std::int32_t> const tokens{2, 5, 7, 7, 9, 2, 4, 3};
    std::vector<std::int64_t> const offsets{0, 5, 8};
    std::vector<std::uint64_t> const samples{4, 9};
    auto const run = [&](PackedView batch) {
        Training<Exec> context;
        context.set_dropout({5, 0, {}, {}});
        std::vector<TransformerXl<>::Activations> states;
        Memory<float> memory;
        std::vector<double> embeddings;
        for (int segment = 0; segment < 2; ++segment) {
            model.encode(context, make_packed(context, batch), memory, &states);
            auto const values = to_vector(states[0].view());
            embeddings.insert(embeddings.end(), values.begin(), values.end());
        }
        context.tape().clear();
        return embeddings;
    };
    auto const both = run({tokens, {}, offsets, samples});
    BOOST_TEST(std::vector<double>(both.begin(), both.begin() + 8 * 24) !=
               std::vector<double>(both.begin() + 8 * 24, both.end()));
    std::vector<std::int64_t> const own{0, 3};
    auto const second = run({std::span(tokens).subspan(5), {}, own, std::span(samples).subspan(1)});
    BOOST_TEST(std::equal(second.begin(), second.begin() + 3 * 24, both.begin() + 5 * 24));
}

// Of attention probabilities alone, with a memory: its keys come first. Gradients by differences, both sets of kernels.
BOOST_AUTO_TEST_CASE(dropatt_drops_probabilities_of_memory_and_segment) {
    auto config = small_transformer_xl();
    auto const plain = made_transformer_xl<double>(config);
    config.dropatt = 0.3;
    auto model = made_transformer_xl<double>(config);
    auto const pieces = cut(Example({7, 5}), {0.5, 1.0});
    auto const loss = [&](auto &context) { return pieces_loss(model, context, pieces); };
    auto const value = [&](auto const &of, std::vector<Piece> const &all) {
        Training<Exec> context;
        context.set_dropout({5, 0, {}, {}});
        double const result = to_vector(pieces_loss(of, context, all).view())[0];
        context.tape().clear();
        return result;
    };
    BOOST_TEST(value(model, pieces) != value(plain, pieces));
    auto const whole = cut(Example({7, 5}), {1.0}); // a memory is a constant for the gradient, not for differences
    check_gradient(
        model, [&](auto &context) { return pieces_loss(model, context, whole); }, [&] { return value(model, whole); });
    auto const native = gradient<Training<Exec>>(model, loss);
    auto const portable = gradient<Training<Exec, Kernels::portable>>(model, loss);
    BOOST_TEST(max_relative_error(portable, native) < 1e-10);
    Inference<Exec> inference;
    Memory<double> none;
    auto const packed = make_packed(inference, pieces[0].view());
    BOOST_TEST(to_vector(model.encode(inference, packed).view()) == to_vector(plain.encode(inference, packed).view()));
}

BOOST_AUTO_TEST_CASE(every_gradient_is_heard_of_once) {
    for (auto const &config : configs) {
        auto model = made_transformer_xl(config);
        model.parameters().enable_gradients();
        Training<Exec> context;
        Example example({6, 4}); // no token of the last cluster
        for (auto &token : example.tokens)
            token %= 20;
        auto const loss = pieces_loss(model, context, cut(example, {0.5, 1.0}));
        std::vector<ParameterId> heard;
        context.backward(loss, 1.0, [&](ParameterId id) { heard.push_back(id); });
        std::sort(heard.begin(), heard.end());
        BOOST_TEST(heard.size() == model.parameters().table().entries().size());
        BOOST_TEST((std::adjacent_find(heard.begin(), heard.end()) == heard.end()));
    }
}

/// Sequences with an order of prediction for some of their tokens.
struct Order {
    Example example{{9, 2, 14}};
    std::vector<std::int32_t> rank, target, labels;

    Order() {
        CounterRandom const random{8, Purpose::sample};
        for (std::size_t t = 0; t < example.tokens.size(); ++t) {
            auto const bits = random(0, static_cast<std::uint32_t>(t));
            bool const ordered = bits[0] % 2 == 0 || t == 9;
            rank.push_back(ordered ? static_cast<std::int32_t>(bits[1] % 40) : -1);
            target.push_back(ordered && (bits[2] % 3 != 0 || t == 9));
            if (target.back())
                labels.push_back(example.tokens[t]);
        }
    }
    template <class Model, class Context>
    auto run(Model const &model, Context &context) const {
        return model.two_stream(context, make_packed(context, example.view()),
                                make_two_stream_order(context, rank, target, example.offsets));
    }
    template <class Model, class Context>
    auto loss(Model const &model, Context &context) const {
        auto const hidden = run(model, context).query;
        return model.token_loss(context, hidden, context.template upload<std::int32_t>(labels)).sum;
    }
};

BOOST_AUTO_TEST_CASE(gradients_of_two_streams_are_right) {
    Order const order;
    for (auto config : {small_transformer_xl(), other_transformer_xl()}) {
        auto model = made_transformer_xl<double>(config, {.mask_embedding = true});
        auto const loss = [&](auto &context) { return order.loss(model, context); };
        check_gradient(model, loss, [&] {
            Inference<Exec> context;
            return to_vector(loss(context).view())[0];
        });
        auto const expected = gradient<Training<Exec>>(model, loss);
        BOOST_TEST(max_relative_error(gradient<Training<Exec, Kernels::portable>>(model, loss), expected) < 1e-10);
        model.set_recompute(true);
        BOOST_TEST(compare_bits("recompute", gradient<Training<Exec>>(model, loss), expected));
    }
}

// A target's state knows nothing of the tokens that it may not see, nor of itself; to the last bit.
BOOST_AUTO_TEST_CASE(two_streams_leak_nothing) {
    Order const order;
    auto const model = made_transformer_xl(small_transformer_xl(), {.mask_embedding = true});
    Inference<Exec> context;
    auto const expected = to_vector(order.run(model, context).query.view());
    auto const size = static_cast<index_t>(order.rank.size());
    auto const sequence = [&](index_t t) {
        return std::upper_bound(order.example.offsets.begin(), order.example.offsets.end(), t) -
               order.example.offsets.begin();
    };
    int seen = 0, hidden = 0;
    for (index_t j = 0; j < size; ++j) {
        auto changed = order;
        auto &token = changed.example.tokens[static_cast<std::size_t>(j)];
        token = (token + 13) % 30;
        auto const actual = to_vector(changed.run(model, context).query.view());
        auto row = expected.begin();
        for (index_t i = 0; i < size; ++i) {
            if (!order.target[static_cast<std::size_t>(i)])
                continue;
            bool const visible = sequence(i) == sequence(j) &&
                                 order.rank[static_cast<std::size_t>(j)] < order.rank[static_cast<std::size_t>(i)];
            bool const same = std::equal(row, row + 24, actual.begin() + (row - expected.begin()));
            BOOST_TEST(same == !visible, "token " << j << ", target " << i);
            ++(visible ? seen : hidden);
            row += 24;
        }
    }
    BOOST_TEST(seen > 30);
    BOOST_TEST(hidden > 100);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
