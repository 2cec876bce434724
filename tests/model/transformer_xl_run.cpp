#include <model/transformer_xl_models.hpp>
#include <support/compare.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Scalars = std::tuple<float, double>;

/// Rows [first, last) of a matrix with `cols` columns.
std::vector<double> rows_of_matrix(std::vector<double> const &all, index_t first, index_t last, index_t cols = 24) {
    return {all.begin() + first * cols, all.begin() + last * cols};
}

template <class Model, class Context>
std::vector<double> encoded(Model const &model, Context &context, PackedView batch) {
    return to_vector(model.encode(context, make_packed(context, batch)).view());
}
template <class Model, class Context>
std::vector<double> encoded(Model const &model, Context &context, PackedView batch, typename Model::Memory &memory) {
    return to_vector(model.encode(context, make_packed(context, batch), memory).view());
}

auto const configs = {small_transformer_xl(), other_transformer_xl(), clustered_transformer_xl()};

BOOST_AUTO_TEST_SUITE(transformer_xl_run)

BOOST_AUTO_TEST_CASE(what_cannot_be_is_an_error) {
    auto const model = made_transformer_xl();
    std::vector<std::int32_t> tokens{2, 5, 30};
    std::vector<std::int64_t> const offsets{0, 3};
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, offsets});
               }) == "TransformerXl: tokens[2] is 30, expected at least 0 and below vocab_size 30");
    tokens[2] = -1;
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, offsets});
               }).starts_with("TransformerXl: tokens[2] is -1"));
    Inference<Exec> context;
    Example const two({3, 4}), three({3, 4, 5});
    auto const packed = make_packed(context, two.view());
    BOOST_TEST(message_of([&] { model.hidden_state(context, packed, 3); }) ==
               "TransformerXl: hidden_state: layer is 3, expected at least 0 and at most 2");
    TransformerXl<>::Memory memory;
    model.encode(context, packed, memory);
    BOOST_TEST(message_of([&] { model.encode(context, make_packed(context, three.view()), memory); }) ==
               "TransformerXl: memory has 2 sequences, expected 3");
    TransformerXl<> const bare(small_transformer_xl(), {.language_model = false});
    BOOST_TEST(message_of([&] { bare.logits(context, bare.encode(context, packed)); }) ==
               "TransformerXl: logits: the model has no language model head");
    std::vector<std::int32_t> const rank{0, 1, 2, 0, 1, 2, 3}, target{1, 1, 1, 1, 1, 1, 1};
    auto const order = make_two_stream_order(context, rank, target, two.offsets);
    BOOST_TEST(message_of([&] { model.two_stream(context, packed, order); }) ==
               "TransformerXl: two_stream: the model has no mask embedding");
}

// A batch without tokens has no rows, as in the other families; also with a memory and two streams.
BOOST_AUTO_TEST_CASE(a_batch_without_tokens_has_no_rows) {
    for (auto const &config : configs)
        for (std::vector<index_t> const &lengths : {std::vector<index_t>{}, {0}, {0, 0}}) {
            auto const model = made_transformer_xl(config, {.mask_embedding = true});
            Example const example(lengths);
            Inference<Exec> context;
            auto const packed = make_packed(context, example.view());
            BOOST_TEST(model.encode(context, packed).rows() == 0);
            TransformerXl<>::Memory memory;
            for (int segment = 0; segment < 2; ++segment)
                BOOST_TEST(model.encode(context, packed, memory).rows() == 0);
            auto const order = make_two_stream_order(context, std::vector<std::int32_t>{}, std::vector<std::int32_t>{},
                                                     example.offsets);
            BOOST_TEST(model.two_stream(context, packed, order).query.rows() == 0);
            Training<Exec> training;
            BOOST_TEST(model.encode(training, make_packed(training, example.view())).rows() == 0);
        }
}

BOOST_AUTO_TEST_CASE(all_hidden_states_on_request) {
    auto const model = made_transformer_xl(other_transformer_xl());
    Inference<Exec> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    std::vector<TransformerXl<>::Activations> states, with_memory;
    auto const last = to_vector(model.encode(context, packed, &states).view());
    TransformerXl<>::Memory memory;
    model.encode(context, packed, memory, &with_memory);
    BOOST_REQUIRE(states.size() == 3u);
    BOOST_REQUIRE(with_memory.size() == 3u);
    BOOST_TEST(compare_bits("last", to_vector(states[2].view()), last, 24));
    for (index_t n = 0; n <= 2; ++n) {
        auto const state = to_vector(states[static_cast<std::size_t>(n)].view());
        BOOST_TEST(compare_bits("hidden_state", to_vector(model.hidden_state(context, packed, n).view()), state, 24));
        BOOST_TEST(compare_bits("memory", to_vector(with_memory[static_cast<std::size_t>(n)].view()), state, 24));
    }
}

// A protein has the same bits alone and in any batch, also after a memory of its own length.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_proteins_bits_do_not_depend_on_the_batch, S, Scalars) {
    for (auto const &config : configs) {
        auto const model = made_transformer_xl<S>(config);
        Inference<Exec> context;
        Example const batch({17, 1, 40, 9}), next({5, 31, 3, 12});
        typename TransformerXl<S>::Memory memory;
        auto const first = encoded(model, context, batch.view(), memory);
        auto const second = encoded(model, context, next.view(), memory);
        for (std::size_t b = 0; b < 4; ++b) {
            typename TransformerXl<S>::Memory own;
            auto const alone = [&](Example const &all, std::vector<double> const &expected) {
                std::vector<std::int32_t> const tokens(all.tokens.begin() + all.offsets[b],
                                                       all.tokens.begin() + all.offsets[b + 1]);
                std::vector<std::int64_t> const offsets{0, all.offsets[b + 1] - all.offsets[b]};
                BOOST_TEST(compare_bits("segment", encoded(model, context, {tokens, {}, offsets}, own),
                                        rows_of_matrix(expected, all.offsets[b], all.offsets[b + 1]), 24));
            };
            alone(batch, first);
            alone(next, second);
        }
    }
}

BOOST_AUTO_TEST_CASE(portable_kernels_give_the_same_numbers) {
    for (auto const &config : configs) {
        auto const model = made_transformer_xl<double>(config);
        auto const run = [&](auto context) {
            TransformerXl<double>::Memory memory;
            std::vector<double> values;
            for (auto const &piece : cut(Example(), {0.4, 0.5, 1.0})) {
                auto const hidden = model.encode(context, make_packed(context, piece.view()), memory);
                auto const more = to_vector(model.logits(context, hidden).view());
                values.insert(values.end(), more.begin(), more.end());
            }
            return values;
        };
        BOOST_TEST(compare("logits", run(Inference<Exec, Kernels::native>()), run(Inference<Exec, Kernels::portable>()),
                           {.relative = 1e-10, .absolute = 1e-10}, 30));
    }
}

// Segments that see all that came before are as good as one piece.
BOOST_AUTO_TEST_CASE(segments_with_a_long_memory_equal_one_piece) {
    for (auto config : configs) {
        config.mem_len = 64;
        auto const model = made_transformer_xl<double>(config);
        Inference<Exec> context;
        Example const whole;
        auto const expected = encoded(model, context, whole.view());
        TransformerXl<double>::Memory memory;
        std::vector<index_t> next(4, 0);
        for (auto const &piece : cut(whole, {0.3, 0.35, 0.9, 1.0})) {
            auto const hidden = encoded(model, context, piece.view(), memory);
            for (std::size_t b = 0; b < 4; ++b) {
                index_t const length = piece.offsets[b + 1] - piece.offsets[b], first = whole.offsets[b] + next[b];
                if (length > 0)
                    BOOST_TEST(compare("segment", rows_of_matrix(hidden, piece.offsets[b], piece.offsets[b + 1]),
                                       rows_of_matrix(expected, first, first + length),
                                       {.relative = 1e-9, .absolute = 1e-10}, 24));
                next[b] += length;
            }
        }
        for (index_t b = 0; b < 4; ++b)
            BOOST_TEST(memory.segments.length(b) ==
                       whole.offsets[static_cast<std::size_t>(b) + 1] - whole.offsets[static_cast<std::size_t>(b)]);
    }
}

// A later token changes no bit of an earlier one, in its own segment or of the memory's.
BOOST_AUTO_TEST_CASE(nothing_is_seen_before_its_time) {
    for (auto const &config : configs) {
        auto const model = made_transformer_xl(config);
        Inference<Exec> context;
        Example const example({20});
        auto const run = [&](Example const &of) {
            TransformerXl<>::Memory memory;
            std::vector<double> rows;
            for (auto const &piece : cut(of, {0.3, 0.8, 1.0})) {
                auto const hidden = encoded(model, context, piece.view(), memory);
                rows.insert(rows.end(), hidden.begin(), hidden.end());
            }
            return rows;
        };
        auto const expected = run(example);
        for (index_t j = 0; j < 20; ++j) {
            auto changed = example;
            auto &token = changed.tokens[static_cast<std::size_t>(j)];
            token = (token + 11) % 30;
            auto const actual = run(changed);
            BOOST_TEST(rows_of_matrix(actual, 0, j) == rows_of_matrix(expected, 0, j));
            BOOST_TEST(rows_of_matrix(actual, j, j + 1) != rows_of_matrix(expected, j, j + 1));
        }
    }
}

// One layer with a window of four keys, its own among them; a segment's start makes no difference.
BOOST_AUTO_TEST_CASE(same_length_shows_as_many_keys_to_all) {
    auto config = other_transformer_xl();
    config.n_layer = 1;
    config.mem_len = 4;
    auto const model = made_transformer_xl(config);
    Inference<Exec> context;
    Example const example({15});
    for (auto const &shares : {std::vector{1.0}, std::vector{0.4, 1.0}, std::vector{0.1, 0.2, 0.5, 1.0}}) {
        auto const run = [&](Example const &of) {
            TransformerXl<>::Memory memory;
            std::vector<double> rows;
            for (auto const &piece : cut(of, shares)) {
                auto const hidden = encoded(model, context, piece.view(), memory);
                rows.insert(rows.end(), hidden.begin(), hidden.end());
            }
            return rows;
        };
        auto const expected = run(example);
        for (index_t j = 0; j < 15; ++j) {
            auto changed = example;
            auto &token = changed.tokens[static_cast<std::size_t>(j)];
            token = (token + 7) % 30;
            auto const actual = run(changed);
            for (index_t i = 0; i < 15; ++i)
                BOOST_TEST((rows_of_matrix(actual, i, i + 1) != rows_of_matrix(expected, i, i + 1)) ==
                               (j <= i && i < j + 4),
                           "token " << j << ", row " << i);
        }
    }
}

BOOST_AUTO_TEST_CASE(memories_keep_what_the_config_says) {
    auto config = small_transformer_xl();
    config.mem_len = 8;
    auto const model = made_transformer_xl(config);
    Inference<Exec> context;
    TransformerXl<>::Memory memory;
    std::vector<TransformerXl<>::Activations> states;
    Example const first({10, 4, 0}), second({6, 9, 2});
    model.encode(context, make_packed(context, first.view()), memory, &states);
    BOOST_TEST(memory.segments.host == (std::vector<std::int64_t>{0, 8, 12, 12}), boost::test_tools::per_element());
    auto const before = to_vector(memory.layers[1].view()), inputs = to_vector(states[1].view());
    BOOST_TEST(before == rows_of_matrix(inputs, 2, 14), boost::test_tools::per_element());
    std::vector<index_t> const turned{2, 1, 0, 1};
    auto const chosen = memory.select(context, turned);
    BOOST_TEST(chosen.segments.host == (std::vector<std::int64_t>{0, 0, 4, 12, 16}), boost::test_tools::per_element());
    BOOST_TEST(rows_of_matrix(to_vector(chosen.layers[1].view()), 4, 12) == rows_of_matrix(before, 0, 8));
    BOOST_TEST(rows_of_matrix(to_vector(chosen.layers[1].view()), 12, 16) == rows_of_matrix(before, 8, 12));
    std::vector<index_t> const none{3};
    BOOST_TEST(message_of([&] { memory.select(context, none); }) == "RecurrentMemory: select: sequence 3 of 3");
    model.encode(context, make_packed(context, second.view()), memory, &states);
    BOOST_TEST(memory.segments.host == (std::vector<std::int64_t>{0, 8, 16, 18}), boost::test_tools::per_element());
    auto const after = to_vector(memory.layers[1].view());
    BOOST_TEST(rows_of_matrix(after, 0, 2) == rows_of_matrix(before, 6, 8));
    BOOST_TEST(rows_of_matrix(after, 2, 8) == rows_of_matrix(to_vector(states[1].view()), 0, 6));
    // without a memory every segment stands alone
    config.mem_len = 0;
    auto const forgetful = made_transformer_xl(config);
    TransformerXl<>::Memory nothing;
    for (auto const &example : {first, second})
        BOOST_TEST(compare_bits("segment", encoded(forgetful, context, example.view(), nothing),
                                encoded(forgetful, context, example.view()), 24));
    BOOST_TEST(nothing.empty());
}

// Zeros are keys like others: tokens attend them, so that results differ from those of an empty memory.
BOOST_AUTO_TEST_CASE(zeros_in_front_are_seen) {
    auto config = small_transformer_xl();
    config.mem_len = 6;
    auto const model = made_transformer_xl(config);
    Inference<Exec> context;
    Example const example({5, 9});
    TransformerXl<>::Memory empty;
    auto zeros = model.zero_memory(context, 2);
    BOOST_TEST(zeros.segments.length(1) == 6);
    auto const without = encoded(model, context, example.view(), empty),
               with = encoded(model, context, example.view(), zeros);
    BOOST_TEST(with.size() == without.size());
    BOOST_TEST(max_relative_error(with, without) > 1e-3);
    BOOST_TEST(zeros.segments.length(0) == 6);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(log_probabilities_and_losses_agree, S, Scalars) {
    for (index_t const div_val : {1, 2}) {
        auto const model = made_transformer_xl<S>(clustered_transformer_xl(div_val));
        Inference<Exec> context;
        Example const example;
        auto const packed = make_packed(context, example.view());
        auto const hidden = model.encode(context, packed);
        auto const all = to_vector(model.logits(context, hidden).view());
        double expected = 0;
        for (std::size_t t = 0; t < example.tokens.size(); ++t) {
            double sum = 0;
            for (std::size_t v = 0; v < 30; ++v)
                sum += std::exp(all[30 * t + v]);
            BOOST_TEST(std::abs(sum - 1) < (std::same_as<S, double> ? 1e-12 : 1e-5));
            expected -= all[30 * t + static_cast<std::size_t>(example.tokens[t])];
        }
        auto const loss = model.token_loss(context, hidden, packed.tokens);
        BOOST_TEST(loss.labelled == static_cast<index_t>(example.tokens.size()));
        BOOST_TEST(compare("loss", to_vector(loss.sum.view()), std::vector{expected},
                           {.relative = std::same_as<S, double> ? 1e-12 : 1e-5}));
    }
}

// What follows is seen under a full mask, at a distance with a sign of its own.
BOOST_AUTO_TEST_CASE(a_full_mask_shows_what_follows) {
    auto const model = made_transformer_xl<double>();
    Inference<Exec> context;
    Example const example({12});
    auto const run = [&](Example const &of, auto const &mask) {
        return to_vector(model.encode(context, make_packed(context, of.view()), nullptr, mask).view());
    };
    BOOST_TEST(compare("causal", run(example, CausalMask{}), encoded(model, context, example.view()),
                       {.relative = 1e-12, .absolute = 1e-12}));
    auto const expected = run(example, FullMask{});
    auto turned = example;
    std::reverse(turned.tokens.begin(), turned.tokens.end());
    auto const backward = run(turned, FullMask{});
    BOOST_TEST(max_relative_error(rows_of_matrix(backward, 11, 12), rows_of_matrix(expected, 0, 1)) > 1e-3);
    for (std::size_t j = 0; j < 12; ++j) {
        auto changed = example;
        changed.tokens[j] = (changed.tokens[j] + 9) % 30;
        auto const actual = run(changed, FullMask{});
        for (index_t i = 0; i < 12; ++i)
            BOOST_TEST(rows_of_matrix(actual, i, i + 1) != rows_of_matrix(expected, i, i + 1));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
