#include <protlm/model/beam_search.hpp>
#include <protlm/model/t5_decoder.hpp>

#include <model/t5_models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Scalars = std::tuple<float, double>;

T5Config gated_and_untied() {
    auto config = small_t5();
    config.feed_forward_proj = "gated-gelu";
    config.tie_word_embeddings = false;
    return config;
}

std::vector<TextStart> one_each(index_t proteins) {
    std::vector<TextStart> starts;
    for (index_t b = 0; b < proteins; ++b)
        starts.push_back({.source = b, .tokens = {0}, .sample = static_cast<std::uint64_t>(b)});
    return starts;
}

/// Logits (tokens, V) of one text by the whole decoder at once.
template <class Model, class Context>
std::vector<double> uncached(Model const &model, Context &context, Example const &source,
                             std::vector<std::int32_t> const &text) {
    std::vector<std::int64_t> const offsets{0, static_cast<std::int64_t>(text.size())};
    auto const from = make_packed(context, source.view());
    auto const to = make_packed(context, {text, {}, offsets, {}});
    return to_vector(
        model.logits(context, model.decode(context, to, model.encode(context, from), from.segments)).view());
}

BOOST_AUTO_TEST_SUITE(t5_generation)

// 40 tokens: the caches grow twice.
template <class S, Kernels kernels>
void check_cached_decoding(T5Config const &config) {
    auto const model = made_t5<S>(config);
    Inference<Exec, kernels> context;
    std::vector<index_t> const lengths{17, 1, 40};
    Example const sources(lengths), texts({40, 40, 40});
    T5Decoder<S, Exec> decoder(context, model, sources.view());
    std::vector<std::vector<double>> steps;
    for (std::size_t t = 0; t < 40; ++t) {
        std::vector<std::int32_t> const tokens{texts.tokens[t], texts.tokens[40 + t], texts.tokens[80 + t]};
        steps.push_back(to_vector(decoder.step(context, std::span<std::int32_t const>(tokens)).view()));
    }
    for (std::size_t b = 0; b < 3; ++b) {
        Example one{std::vector<index_t>{}};
        one.tokens.assign(sources.tokens.begin() + sources.offsets[b], sources.tokens.begin() + sources.offsets[b + 1]);
        one.offsets = {0, lengths[b]};
        std::vector<std::int32_t> const text(texts.tokens.begin() + static_cast<std::ptrdiff_t>(40 * b),
                                             texts.tokens.begin() + static_cast<std::ptrdiff_t>(40 * b + 40));
        std::vector<double> cached;
        for (auto const &step : steps)
            cached.insert(cached.end(), step.begin() + static_cast<std::ptrdiff_t>(30 * b),
                          step.begin() + static_cast<std::ptrdiff_t>(30 * b + 30));
        double const tolerance = std::same_as<S, double> ? 1e-12 : 2e-5; // sums over other stretches of keys
        BOOST_TEST(max_relative_error(cached, uncached(model, context, one, text)) < tolerance);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(cached_decoding_gives_the_logits_of_the_whole_forward, S, Scalars) {
    for (auto const &config : {small_t5(), gated_and_untied()}) {
        check_cached_decoding<S, Kernels::native>(config);
        check_cached_decoding<S, Kernels::portable>(config);
    }
}

// A token's logits have the same bits whatever other texts are there, however often rows changed places before.
BOOST_AUTO_TEST_CASE_TEMPLATE(reordered_rows_go_on_as_if_alone, S, Scalars) {
    auto const model = made_t5<S>();
    Inference<Exec> context;
    Example const sources({17, 5, 30});
    std::vector<std::vector<std::int32_t>> histories(3);
    std::vector<std::size_t> source{0, 1, 2};
    T5Decoder<S, Exec> decoder(context, model, sources.view());
    std::vector<std::vector<index_t>> const orders{{0, 0, 1, 1, 2}, {1, 0, 3, 3, 4, 4}, {0, 1, 2, 3, 4, 5},
                                                   {1, 1, 3, 5},    {0, 2, 3},          {2, 2, 2}};
    for (std::size_t step = 0; step < 24; ++step) {
        auto const &order = orders[step / 4];
        if (step % 4 == 0) {
            decoder.reorder(context, std::span<index_t const>(order));
            auto const old_histories = histories;
            auto const old_source = source;
            histories.clear();
            source.clear();
            for (index_t const row : order) {
                histories.push_back(old_histories[static_cast<std::size_t>(row)]);
                source.push_back(old_source[static_cast<std::size_t>(row)]);
            }
        }
        std::vector<std::int32_t> tokens;
        for (std::size_t i = 0; i < histories.size(); ++i) {
            auto const bits = CounterRandom{step, Purpose::sample}(i, 0);
            tokens.push_back(static_cast<std::int32_t>(uniform_below(bits[0], 30)));
            histories[i].push_back(tokens.back());
        }
        auto const logits = to_vector(decoder.step(context, std::span<std::int32_t const>(tokens)).view());
        BOOST_TEST(decoder.rows() == static_cast<index_t>(tokens.size()));
        if (step % 4 != 3)
            continue;
        for (std::size_t i = 0; i < histories.size(); ++i) {
            Example one{std::vector<index_t>{}};
            one.tokens.assign(sources.tokens.begin() + sources.offsets[source[i]],
                              sources.tokens.begin() + sources.offsets[source[i] + 1]);
            one.offsets = {0, static_cast<std::int64_t>(one.tokens.size())};
            T5Decoder<S, Exec> alone(context, model, one.view());
            std::vector<double> last;
            for (std::int32_t const token : histories[i])
                last = to_vector(alone.step(context, std::span<std::int32_t const>(&token, 1)).view());
            std::vector<double> const row(logits.begin() + static_cast<std::ptrdiff_t>(30 * i),
                                          logits.begin() + static_cast<std::ptrdiff_t>(30 * i + 30));
            BOOST_TEST(compare_bits("logits", row, last));
        }
    }
}

// By hand: the whole decoder runs again for every token.
BOOST_AUTO_TEST_CASE(greedy_texts_are_those_of_the_uncached_model) {
    auto const model = made_t5<double>();
    Inference<Exec> context;
    Example const sources({17, 5, 30});
    T5Decoder<double, Exec> decoder(context, model, sources.view());
    auto const starts = one_each(3);
    GenerationOptions const options{.end = 1, .max_length = 20};
    auto const texts = generate_greedy(context, decoder, std::span<TextStart const>(starts), options);
    for (std::size_t b = 0; b < 3; ++b) {
        Example one{std::vector<index_t>{}};
        one.tokens.assign(sources.tokens.begin() + sources.offsets[b], sources.tokens.begin() + sources.offsets[b + 1]);
        one.offsets = {0, static_cast<std::int64_t>(one.tokens.size())};
        std::vector<std::int32_t> text{0};
        while (text.size() < 21 && (text.size() == 1 || text.back() != 1)) {
            auto const logits = uncached(model, context, one, text);
            text.push_back(most_probable(std::span(logits).last(30)));
        }
        BOOST_TEST(texts[b].tokens == text, boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(several_texts_of_a_protein_share_its_keys) {
    auto const model = made_t5<float>();
    Inference<Exec> context;
    Example const sources({17, 5, 30});
    std::vector<TextStart> starts;
    for (index_t b = 0; b < 3; ++b)
        for (std::uint32_t copy = 0; copy < 4; ++copy)
            starts.push_back({.source = b, .tokens = {0}, .sample = static_cast<std::uint64_t>(b), .copy = copy});
    GenerationOptions const options{.end = 1, .max_length = 15};
    SamplingOptions const sampling{.temperature = 1.5, .top_p = 0.95, .seed = 3};
    T5Decoder<float, Exec> decoder(context, model, sources.view());
    auto const texts = generate_samples(context, decoder, std::span<TextStart const>(starts), options, sampling);
    for (std::size_t i = 0; i < starts.size(); ++i) {
        T5Decoder<float, Exec> alone(context, model, sources.view());
        auto const one =
            generate_samples(context, alone, std::span<TextStart const>(starts).subspan(i, 1), options, sampling);
        BOOST_TEST(one[0].tokens == texts[i].tokens, boost::test_tools::per_element());
        BOOST_TEST(one[0].score == texts[i].score);
    }
    BeamOptions const search{.beams = 3, .results = 3};
    T5Decoder<float, Exec> for_beams(context, model, sources.view());
    auto const few = one_each(3);
    auto const found = beam_search(context, for_beams, std::span<TextStart const>(few), options, search);
    for (std::size_t b = 0; b < 3; ++b) {
        T5Decoder<float, Exec> alone(context, model, sources.view());
        auto const one = beam_search(context, alone, std::span<TextStart const>(few).subspan(b, 1), options, search)[0];
        BOOST_REQUIRE(one.size() == found[b].size());
        for (std::size_t i = 0; i < one.size(); ++i) {
            BOOST_TEST(one[i].tokens == found[b][i].tokens, boost::test_tools::per_element());
            BOOST_TEST(one[i].score == found[b][i].score);
        }
    }
}

// Doubling room: 200 steps build the caches anew four times, so that a step allocates nothing that stays.
BOOST_AUTO_TEST_CASE(memory_grows_with_the_text_and_not_with_the_steps) {
    auto const model = made_t5<float>();
    Inference<Exec> context;
    Example const sources({17, 5});
    T5Decoder<float, Exec> decoder(context, model, sources.view());
    std::vector<std::int32_t> const tokens{3, 4};
    for (int t = 0; t < 140; ++t) // room for 256 from here on
        decoder.step(context, std::span<std::int32_t const>(tokens));
    auto const before = context.pool().statistics();
    for (int t = 0; t < 100; ++t)
        decoder.step(context, std::span<std::int32_t const>(tokens));
    BOOST_TEST(context.pool().statistics().bytes_in_use == before.bytes_in_use);
    BOOST_TEST(context.pool().statistics().allocations <= before.allocations + 2);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_an_error) {
    auto const model = made_t5<float>();
    Inference<Exec> context;
    Example const sources({17, 5});
    T5Decoder<float, Exec> decoder(context, model, sources.view());
    auto const step = [&](std::vector<std::int32_t> const &tokens) {
        return message_of([&] { decoder.step(context, std::span<std::int32_t const>(tokens)); });
    };
    BOOST_TEST(step({3}) == "T5Decoder: tokens has 1 entries, expected 2");
    BOOST_TEST(step({3, 30}) == "T5: tokens[1] is 30, expected at least 0 and below vocab_size 30");
    auto const reorder = [&](std::vector<index_t> const &rows) {
        return message_of([&] { decoder.reorder(context, std::span<index_t const>(rows)); });
    };
    BOOST_TEST(reorder({0, 2}) == "T5Decoder: reorder: row 2 is not one of 2");
    BOOST_TEST(reorder({1, 0}) == "T5Decoder: reorder: row 0 breaks the order of the proteins");
    auto const encoder = made_t5<float>(small_t5(), {.decoder = false});
    BOOST_TEST(message_of([&] { T5Decoder<float, Exec>(context, encoder, sources.view()); }) ==
               "T5Decoder: the model has no decoder");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
