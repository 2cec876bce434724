#include <model/xlnet_models.hpp>
#include <support/compare.hpp>

#include <protlm/embed/embedding_model.hpp>
#include <protlm/embed/xlnet.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Scalars = std::tuple<float, double>;

/// Rows [first, last) of a matrix with `cols` columns.
std::vector<double> rows_of_matrix(std::vector<double> const &all, index_t first, index_t last, index_t cols = 24) {
    return {all.begin() + first * cols, all.begin() + last * cols};
}
std::vector<double> row_of_matrix(std::vector<double> const &all, index_t row, index_t cols = 24) {
    return rows_of_matrix(all, row, row + 1, cols);
}

XlnetConfig unidirectional(bool same_length = false) {
    auto config = small_xlnet();
    config.attn_type = "uni";
    config.same_length = same_length;
    return config;
}

static_assert(EmbeddingModel<Xlnet<>>);

BOOST_AUTO_TEST_SUITE(xlnet_run)

BOOST_AUTO_TEST_CASE(bad_batches_are_errors_on_the_host) {
    auto const model = made_xlnet();
    std::vector<std::int32_t> tokens{2, 5, 37};
    std::vector<std::int64_t> const offsets{0, 3};
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, offsets});
               }) == "Xlnet: tokens[2] is 37, expected at least 0 and below vocab_size 37");
    tokens[2] = -1;
    BOOST_TEST(message_of([&] { model.validate({tokens, {}, offsets}); }).starts_with("Xlnet: tokens[2] is -1"));
    Inference<Exec> context;
    Permutation const example, other({5});
    auto const packed = make_packed(context, example.view());
    BOOST_TEST(message_of([&] { model.hidden_state(context, packed, 4); }) ==
               "Xlnet: hidden_state: layer is 4, expected at least 0 and at most 3");
    BOOST_TEST(message_of([&] { model.attention_map(context, packed, 3, 0); }) ==
               "Xlnet: attention_map: layer is 3, expected at least 0 and below 3");
    auto const order = make_two_stream_order(context, other.rank, other.is_target, other.offsets);
    BOOST_TEST(message_of([&] { model.two_stream(context, packed, order); }) ==
               "Xlnet: order has 5 tokens, expected 68");
    Xlnet<> const bare(small_xlnet(), {.language_model = false});
    BOOST_TEST(message_of([&] { bare.logits(context, bare.encode(context, packed)); }) ==
               "Xlnet: logits: the model has no language model head");
}

// A batch without tokens has no rows, as in the other families; also with a memory and two streams.
BOOST_AUTO_TEST_CASE(a_batch_without_tokens_has_no_rows) {
    auto second_half_backward = unidirectional(true);
    second_half_backward.bi_data = true;
    for (auto const &config : {small_xlnet(), second_half_backward})
        for (std::vector<index_t> const &lengths : {std::vector<index_t>{}, {0}, {0, 0}})
            for (bool const typed : {false, true}) {
                if (config.bi_data && lengths.size() % 2 != 0)
                    continue;
                auto const model = made_xlnet(config);
                Permutation example(lengths);
                example.typed = typed;
                Inference<Exec> context;
                auto const packed = make_packed(context, example.view());
                BOOST_TEST(model.encode(context, packed).rows() == 0);
                Xlnet<>::Memory memory;
                for (int segment = 0; segment < 2; ++segment)
                    BOOST_TEST(model.encode(context, packed, memory).rows() == 0);
                BOOST_TEST(two_stream(model, context, example).query.rows() == 0);
                Training<Exec> training;
                BOOST_TEST(model.encode(training, make_packed(training, example.view())).rows() == 0);
            }
}

BOOST_AUTO_TEST_CASE(all_hidden_states_on_request) {
    auto const model = made_xlnet();
    Inference<Exec> context;
    Permutation const example;
    auto const packed = make_packed(context, example.view());
    std::vector<Xlnet<>::Activations> states;
    auto const last = to_vector(model.encode(context, packed, &states).view());
    BOOST_REQUIRE(states.size() == 4u);
    BOOST_TEST(compare_bits("last", to_vector(states[3].view()), last, 24));
    for (index_t n = 0; n <= 3; ++n)
        BOOST_TEST(compare_bits("hidden_state", to_vector(model.hidden_state(context, packed, n).view()),
                                to_vector(states[static_cast<std::size_t>(n)].view()), 24));
}

BOOST_AUTO_TEST_CASE(rows_of_attention_maps_sum_to_one) {
    for (auto const &config : {small_xlnet(), unidirectional()}) {
        auto const model = made_xlnet(config);
        Inference<Exec> context;
        Permutation const example;
        auto const packed = make_packed(context, example.view());
        for (index_t sequence = 0; sequence < 4; ++sequence) {
            auto const map = model.attention_map(context, packed, 1, sequence);
            index_t const length = packed.segments.length(sequence);
            BOOST_TEST(map.rows() == 3 * length);
            auto const values = to_vector(map.view());
            for (index_t row = 0; row < map.rows(); ++row) {
                double sum = 0;
                for (index_t j = 0; j < length; ++j) {
                    double const p = values[static_cast<std::size_t>(row * length + j)];
                    BOOST_TEST((config.unidirectional() && j > row % length ? p == 0.0 : p > 0.0));
                    sum += p;
                }
                BOOST_TEST(std::abs(sum - 1) < 1e-5);
            }
        }
    }
}

// A protein has the same bits alone and in any batch, in both streams, also after a memory.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_proteins_bits_do_not_depend_on_the_batch, S, Scalars) {
    for (auto config : {small_xlnet(), unidirectional(true)}) {
        auto const model = made_xlnet<S>(config);
        Inference<Exec> context;
        Permutation batch, next({5, 31, 3, 12});
        batch.typed = next.typed = true;
        typename Xlnet<S>::Memory memory;
        auto const all = to_vector(model.encode(context, make_packed(context, batch.view()), memory).view());
        auto const packed_next = make_packed(context, next.view());
        auto const order_next = make_two_stream_order(context, next.rank, next.is_target, next.offsets);
        auto const streams = model.two_stream(context, packed_next, order_next, memory);
        auto const content = to_vector(streams.content.view()), query = to_vector(streams.query.view());
        for (std::size_t b = 0; b < 4; ++b) {
            auto const first = batch.part(b), second = next.part(b);
            typename Xlnet<S>::Memory own;
            BOOST_TEST(compare_bits("encode",
                                    to_vector(model.encode(context, make_packed(context, first.view()), own).view()),
                                    rows_of_matrix(all, batch.offsets[b], batch.offsets[b + 1]), 24));
            auto const order = make_two_stream_order(context, second.rank, second.is_target, second.offsets);
            auto const alone = model.two_stream(context, make_packed(context, second.view()), order, own);
            BOOST_TEST(compare_bits("content", to_vector(alone.content.view()),
                                    rows_of_matrix(content, next.offsets[b], next.offsets[b + 1]), 24));
            BOOST_TEST(compare_bits(
                "query", to_vector(alone.query.view()),
                rows_of_matrix(query, order_next.target_segments.host[b], order_next.target_segments.host[b + 1]), 24));
        }
    }
}

BOOST_AUTO_TEST_CASE(portable_kernels_give_the_same_numbers) {
    for (auto config : {small_xlnet(), unidirectional(true)})
        for (bool const bi_data : {false, true}) {
            config.bi_data = bi_data;
            config.clamp_len = bi_data ? 6 : -1;
            auto const model = made_xlnet<double>(config);
            auto const run = [&](auto context) {
                Permutation example, next({5, 31, 3, 12});
                example.typed = next.typed = true;
                Xlnet<double>::Memory memory;
                auto values = to_vector(model.encode(context, make_packed(context, example.view()), memory).view());
                auto const order = make_two_stream_order(context, next.rank, next.is_target, next.offsets);
                auto const streams = model.two_stream(context, make_packed(context, next.view()), order, memory);
                for (auto const *stream : {&streams.content, &streams.query}) {
                    auto const more = to_vector(stream->view());
                    values.insert(values.end(), more.begin(), more.end());
                }
                return values;
            };
            BOOST_TEST(compare("hidden states", run(Inference<Exec, Kernels::native>()),
                               run(Inference<Exec, Kernels::portable>()), {.relative = 1e-10, .absolute = 1e-10}, 24));
        }
}

// A target's logits know nothing of tokens that come later in the order, nor of the target itself; to the last bit.
BOOST_AUTO_TEST_CASE(the_query_stream_leaks_nothing) {
    for (auto const &[config, context_tokens] :
         {std::pair{small_xlnet(), true}, {unidirectional(), true}, {small_xlnet(), false}}) {
        auto const model = made_xlnet(config);
        Inference<Exec> context;
        Permutation example({6, 30});
        for (std::size_t t = 0; !context_tokens && t < 36; ++t) // all in the order: the first target sees nothing
            example.rank[t] = static_cast<std::int32_t>(t * 7 % 36);
        auto const logits = [&](Permutation const &of) {
            return to_vector(model.logits(context, two_stream(model, context, of).query).view());
        };
        auto const expected = logits(example);
        BOOST_TEST(std::all_of(expected.begin(), expected.end(), [](double l) { return std::isfinite(l); }));
        int hidden = 0, seen = 0;
        for (index_t j = 6; j < 36; ++j) {
            auto changed = example;
            auto &token = changed.tokens[static_cast<std::size_t>(j)];
            token = (token + 11) % 37;
            auto const actual = logits(changed);
            index_t row = 0;
            for (index_t i = 0; i < 36; ++i) {
                if (!example.is_target[static_cast<std::size_t>(i)])
                    continue;
                bool const visible =
                    i >= 6 && example.rank[static_cast<std::size_t>(j)] < example.rank[static_cast<std::size_t>(i)] &&
                    (!config.unidirectional() || j <= i);
                bool const same = row_of_matrix(actual, row, 37) == row_of_matrix(expected, row, 37);
                BOOST_TEST(same == !visible, "token " << j << ", target " << i);
                ++(visible ? seen : hidden);
                ++row;
            }
        }
        BOOST_TEST(hidden > 50);
        BOOST_TEST(seen > 50);
    }
}

BOOST_AUTO_TEST_CASE(unidirectional_models_are_causal) {
    auto const model = made_xlnet(unidirectional());
    Inference<Exec> context;
    Permutation const example({20});
    auto const expected = encoded(model, context, example);
    for (index_t j = 0; j < 20; ++j) {
        auto changed = example;
        changed.tokens[static_cast<std::size_t>(j)] = (changed.tokens[static_cast<std::size_t>(j)] + 5) % 37;
        auto const actual = encoded(model, context, changed);
        for (index_t i = 0; i < 20; ++i)
            BOOST_TEST((row_of_matrix(actual, i) == row_of_matrix(expected, i)) == (i < j));
    }
    // what a bidirectional model does under a causal mask
    auto const masked = made_xlnet();
    BOOST_TEST(
        compare("causal mask",
                to_vector(masked.encode(context, make_packed(context, example.view()), nullptr, CausalMask{}).view()),
                expected, {.relative = 1e-6, .absolute = 1e-6}, 24));
}

// With bi_data the second half of the batch is as if its proteins were turned round, and their results back again.
BOOST_AUTO_TEST_CASE(the_second_half_of_a_batch_may_run_backward) {
    auto config = small_xlnet();
    config.bi_data = true;
    auto const both_ways = made_xlnet<double>(config), forward = made_xlnet<double>();
    Inference<Exec> context;
    Permutation batch({7, 20, 13, 9});
    batch.typed = true;
    auto turned = batch;
    auto const turn_second_half = [&](auto &entries, index_t width) {
        for (std::size_t b = 2; b < 4; ++b)
            for (index_t i = batch.offsets[b], j = batch.offsets[b + 1] - 1; i < j; ++i, --j)
                std::swap_ranges(entries.begin() + i * width, entries.begin() + (i + 1) * width,
                                 entries.begin() + j * width);
    };
    turn_second_half(turned.tokens, 1), turn_second_half(turned.types, 1);
    turn_second_half(turned.rank, 1), turn_second_half(turned.is_target, 1);
    auto expected = encoded(forward, context, turned);
    turn_second_half(expected, 24);
    BOOST_TEST(compare("encode", encoded(both_ways, context, batch), expected, {.relative = 1e-9, .absolute = 1e-10}));
    expected = to_vector(two_stream(forward, context, turned).content.view());
    turn_second_half(expected, 24);
    auto const streams = two_stream(both_ways, context, batch);
    BOOST_TEST(compare("content", to_vector(streams.content.view()), expected, {.relative = 1e-9, .absolute = 1e-10}));
    auto const query = to_vector(streams.query.view()),
               query_turned = to_vector(two_stream(forward, context, turned).query.view());
    index_t row = 0;
    for (std::size_t b = 0; b < 4; ++b) {
        auto const part = batch.part(b);
        auto const targets = static_cast<index_t>(part.labels.size());
        for (index_t i = 0; i < targets; ++i)
            BOOST_TEST(compare("query", row_of_matrix(query, row + i),
                               row_of_matrix(query_turned, row + (b < 2 ? i : targets - 1 - i)),
                               {.relative = 1e-9, .absolute = 1e-10}));
        row += targets;
    }
    BOOST_TEST(message_of([&] { encoded(both_ways, context, Permutation({3})); }) ==
               "Xlnet: bi_data: the batch has 1 sequences, expected an even number: the second half runs backward");
}

// Read from left to right, segments that see all that came before are as good as one piece.
BOOST_AUTO_TEST_CASE(segments_with_a_long_memory_equal_one_piece) {
    for (bool const limited : {false, true}) {
        auto config = unidirectional();
        if (limited)
            config.mem_len = 64;
        auto const model = made_xlnet<double>(config);
        Inference<Exec> context;
        Permutation const whole({23, 40});
        auto const expected = encoded(model, context, whole);
        Xlnet<double>::Memory memory;
        std::vector<std::pair<index_t, index_t>> const cuts[] = {
            {{0, 5}, {0, 17}}, {{5, 6}, {17, 30}}, {{6, 23}, {30, 40}}};
        for (auto const &cut : cuts) {
            Permutation segment{std::vector<index_t>{}};
            std::vector<double> rows;
            for (std::size_t b = 0; b < 2; ++b) {
                auto const first = whole.offsets[b] + cut[b].first, last = whole.offsets[b] + cut[b].second;
                segment.tokens.insert(segment.tokens.end(), whole.tokens.begin() + first, whole.tokens.begin() + last);
                segment.offsets.push_back(static_cast<std::int64_t>(segment.tokens.size()));
                auto const part = rows_of_matrix(expected, first, last);
                rows.insert(rows.end(), part.begin(), part.end());
            }
            auto const packed = make_packed(context, PackedView{segment.tokens, {}, segment.offsets});
            BOOST_TEST(compare("segment", to_vector(model.encode(context, packed, memory).view()), rows,
                               {.relative = 1e-9, .absolute = 1e-10}, 24));
        }
        BOOST_TEST(memory.segments.length(0) == 23);
        BOOST_TEST(memory.segments.length(1) == 40);
    }
}

BOOST_AUTO_TEST_CASE(memories_keep_what_the_config_says) {
    auto const lengths = [](std::optional<index_t> mem_len, std::optional<index_t> reuse_len) {
        auto config = small_xlnet();
        config.mem_len = mem_len;
        config.reuse_len = reuse_len;
        auto const model = made_xlnet(config);
        Inference<Exec> context;
        Xlnet<>::Memory memory;
        std::vector<index_t> result;
        for (auto const &example : {Permutation({10, 4}), Permutation({6, 9})}) {
            model.encode(context, make_packed(context, example.view()), memory);
            BOOST_TEST(memory.layers.size() == 3u);
            result.insert(result.end(), {memory.segments.length(0), memory.segments.length(1)});
        }
        return result;
    };
    using Lengths = std::vector<index_t>;
    BOOST_TEST(lengths({}, {}) == (Lengths{10, 4, 16, 13}), boost::test_tools::per_element());
    BOOST_TEST(lengths(0, 0) == (Lengths{10, 4, 16, 13}), boost::test_tools::per_element());
    BOOST_TEST(lengths(8, {}) == (Lengths{8, 4, 8, 8}), boost::test_tools::per_element());
    BOOST_TEST(lengths({}, 5) == (Lengths{5, 4, 10, 9}), boost::test_tools::per_element());
    BOOST_TEST(lengths(8, 5) == (Lengths{5, 4, 8, 8}), boost::test_tools::per_element());
    auto const model = made_xlnet();
    Inference<Exec> context;
    Xlnet<>::Memory memory;
    Permutation const two({3, 4}), three({3, 4, 5});
    model.encode(context, make_packed(context, two.view()), memory);
    BOOST_TEST(message_of([&] { model.encode(context, make_packed(context, three.view()), memory); }) ==
               "Xlnet: memory has 2 sequences, expected 3");
}

// One layer: query i sees the keys from place i on up to its own, whatever is older it does not see.
BOOST_AUTO_TEST_CASE(same_length_hides_the_old_end_of_the_memory) {
    auto config = unidirectional(true);
    config.n_layer = 1;
    auto const model = made_xlnet(config);
    Inference<Exec> context;
    auto const second = [&](Permutation const &first) {
        Xlnet<>::Memory memory;
        model.encode(context, make_packed(context, first.view()), memory);
        return encoded_after(model, context, memory, Permutation({9}));
    };
    Permutation const first({6});
    auto const expected = second(first);
    for (index_t j = 0; j < 6; ++j) {
        auto changed = first;
        changed.tokens[static_cast<std::size_t>(j)] = (changed.tokens[static_cast<std::size_t>(j)] + 3) % 37;
        auto const actual = second(changed);
        for (index_t i = 0; i < 9; ++i)
            BOOST_TEST((row_of_matrix(actual, i) != row_of_matrix(expected, i)) == (i <= j));
    }
}

// One layer: keys that are farther than clamp_len are all the same distance away, so two of them may change places.
BOOST_AUTO_TEST_CASE(clamped_distances_are_all_alike) {
    auto config = small_xlnet();
    config.n_layer = 1;
    Inference<Exec> context;
    Permutation const example({30});
    auto swapped = example;
    swapped.tokens[2] = (example.tokens[9] + 1) % 37; // the two differ
    auto other = swapped;
    std::swap(other.tokens[2], other.tokens[9]);
    for (index_t const clamp : {-1, 8}) {
        config.clamp_len = clamp;
        auto const model = made_xlnet<double>(config);
        auto const a = row_of_matrix(encoded(model, context, swapped), 20),
                   b = row_of_matrix(encoded(model, context, other), 20);
        BOOST_TEST((max_relative_error(a, b) < 1e-12) == (clamp == 8));
    }
    config.clamp_len = 29; // nothing is farther
    BOOST_TEST(compare_bits("far clamp", encoded(made_xlnet(config), context, example),
                            encoded(made_xlnet([&] {
                                        config.clamp_len = -1;
                                        return config;
                                    }()),
                                    context, example)));
}

// The segment term sees whether types are alike, not which they are; one type for all changes nothing.
BOOST_AUTO_TEST_CASE(token_types_count_by_being_alike) {
    auto const model = made_xlnet<double>();
    Inference<Exec> context;
    Permutation plain, typed, turned, alike;
    typed.typed = turned.typed = alike.typed = true;
    for (auto &type : turned.types)
        type = 7 - type;
    std::fill(alike.types.begin(), alike.types.end(), 1);
    auto const expected = encoded(model, context, typed);
    BOOST_TEST(compare_bits("turned", encoded(model, context, turned), expected));
    BOOST_TEST(max_relative_error(encoded(model, context, plain), expected) > 1e-3);
    BOOST_TEST(compare("alike", encoded(model, context, alike), encoded(model, context, plain),
                       {.relative = 1e-9, .absolute = 1e-10}));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
