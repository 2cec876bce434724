#include <protlm/model/generate.hpp>
#include <protlm/model/recurrent_decoder.hpp>
#include <protlm/model/transformer_xl.hpp>

#include <model/models.hpp>
#include <support/compare.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Scalars = std::tuple<float, double>;

template <class S>
TransformerXl<S> made(index_t memory) {
    TransformerXlConfig config;
    config.vocab_size = 30;
    config.d_model = config.d_embed = 24;
    config.n_head = 3;
    config.d_head = 8;
    config.d_inner = 40;
    config.n_layer = 2;
    config.mem_len = memory;
    config.cutoffs = {};
    config.init_std = 0.2; // far from zero, so that differences show
    TransformerXl<S> model(config);
    model.initialise(3);
    return model;
}

BOOST_AUTO_TEST_SUITE(recurrent_generation)

// A memory as long as the text hides nothing: each token by itself is the whole text at once.
BOOST_AUTO_TEST_CASE_TEMPLATE(token_by_token_gives_the_logits_of_the_whole_text, S, Scalars) {
    auto const model = made<S>(40);
    Inference<Exec> context;
    Example const texts({30, 30});
    RecurrentDecoder<TransformerXl<S>> decoder(model, 2);
    std::vector<std::vector<double>> written(2);
    for (std::size_t t = 0; t < 30; ++t) {
        std::vector<std::int32_t> const tokens{texts.tokens[t], texts.tokens[30 + t]};
        auto const logits = to_vector(decoder.step(context, std::span<std::int32_t const>(tokens)).view());
        for (std::size_t b = 0; b < 2; ++b)
            written[b].insert(written[b].end(), logits.begin() + static_cast<std::ptrdiff_t>(30 * b),
                              logits.begin() + static_cast<std::ptrdiff_t>(30 * b + 30));
    }
    auto const whole = model.encode(context, make_packed(context, {texts.tokens, {}, texts.offsets, {}}));
    auto const expected = to_vector(model.logits(context, whole).view());
    written[0].insert(written[0].end(), written[1].begin(), written[1].end());
    BOOST_TEST(max_relative_error(written[0], expected) < (std::same_as<S, double> ? 1e-12 : 2e-5));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(texts_do_not_depend_on_each_other, S, Scalars) {
    auto const model = made<S>(8);
    Inference<Exec> context;
    std::vector<TextStart> starts;
    for (std::int32_t b = 0; b < 4; ++b)
        starts.push_back({.source = b, .tokens = {2, 5 + b, 7}, .sample = static_cast<std::uint64_t>(b)});
    GenerationPlan plan{.number = 3};
    plan.options = {.end = 3, .max_length = 20};
    plan.beam.beams = 3;
    for (auto const method : {GenerationMethod::greedy, GenerationMethod::beam, GenerationMethod::sample}) {
        plan.method = method;
        RecurrentDecoder<TransformerXl<S>> decoder(model, 4);
        auto const all = generate(context, decoder, std::span<TextStart const>(starts), plan);
        for (std::size_t b = 0; b < 4; ++b) {
            RecurrentDecoder<TransformerXl<S>> alone(model, 4);
            auto const one = generate(context, alone, std::span<TextStart const>(starts).subspan(b, 1), plan)[0];
            BOOST_REQUIRE(one.size() == all[b].size());
            BOOST_TEST(one.size() == (method == GenerationMethod::greedy ? 1u : 3u));
            for (std::size_t i = 0; i < one.size(); ++i) {
                BOOST_TEST(one[i].tokens == all[b][i].tokens, boost::test_tools::per_element());
                BOOST_TEST(one[i].score == all[b][i].score);
            }
        }
    }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_an_error) {
    auto const model = made<float>(8);
    Inference<Exec> context;
    RecurrentDecoder<TransformerXl<>> decoder(model, 2);
    std::vector<std::int32_t> const one{3}, wrong{3, 30};
    std::vector<index_t> const rows{0, 2};
    BOOST_TEST(message_of([&] { decoder.step(context, std::span<std::int32_t const>(one)); }) ==
               "RecurrentDecoder: tokens has 1 entries, expected 2");
    BOOST_TEST(message_of([&] { decoder.step(context, std::span<std::int32_t const>(wrong)); }) ==
               "TransformerXl: tokens[1] is 30, expected at least 0 and below vocab_size 30");
    BOOST_TEST(message_of([&] { decoder.reorder(context, std::span<index_t const>(rows)); }) ==
               "RecurrentDecoder: reorder: row 2 is not one of 2");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
