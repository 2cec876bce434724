// Span corruption and denoising of T5, and that its decoder sees nothing ahead and its own protein only.

#include <protlm/model/t5.hpp>
#include <protlm/objective/span_corruption.hpp>

#include "objective/pairs.hpp"
#include "objective/support.hpp"

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::prott5();

T5<float, Host> tiny() {
    T5Config config;
    config.vocab_size = vocabulary.size();
    config.d_model = 32;
    config.d_kv = 16;
    config.d_ff = 64;
    config.num_layers = config.num_decoder_layers = 2;
    config.num_heads = 2;
    return T5<float, Host>(config);
}

/// Logits of the decoder's rows.
template <class Model>
auto logits_of(Inference<Host> &context, Model const &model, SequencePairs const &pairs) {
    auto const source = make_packed(context, {pairs.tokens, {}, pairs.offsets});
    auto const target = make_packed(context, {pairs.decoder_tokens, {}, pairs.decoder_offsets});
    auto const encoded = model.encode(context, source);
    return rows_of_values(model.logits(context, model.decode(context, target, encoded, source.segments)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(pairs_t5)

BOOST_AUTO_TEST_CASE(span_corruption) {
    auto model = tiny();
    test_learns(SpanCorruption{}, model, vocabulary, 0.4);
}

BOOST_AUTO_TEST_CASE(denoising) {
    auto model = tiny();
    test_learns(ProteinDenoising{}, model, vocabulary, 0.4);
    test_learns(ProteinDenoising{.chosen_only = true}, model, vocabulary, 0.5);
}

BOOST_AUTO_TEST_CASE(the_decoder_sees_what_it_wrote_and_its_own_protein) {
    auto model = tiny();
    model.initialise(5);
    Inference<Host> context;
    auto const pairs = SpanCorruption{}.apply(random_batch(vocabulary, 4, 10), vocabulary, 3);
    auto const before = logits_of(context, model, pairs);
    for (std::size_t b = 0; b < 4; ++b) {
        auto const begin = static_cast<std::size_t>(pairs.decoder_offsets[b]);
        auto const end = static_cast<std::size_t>(pairs.decoder_offsets[b + 1]);
        for (std::size_t row = begin; row < end; ++row) { // from the changed row on
            auto other = pairs;
            other.decoder_tokens[row] = other.decoder_tokens[row] == 5 ? 6 : 5;
            std::set<std::size_t> expected;
            for (std::size_t i = row; i < end; ++i)
                expected.insert(i);
            auto const changed = changed_rows(before, logits_of(context, model, other));
            BOOST_TEST(changed == expected, boost::test_tools::per_element());
        }
        std::set<std::size_t> own;
        for (std::size_t i = begin; i < end; ++i)
            own.insert(i);
        for (auto row = static_cast<std::size_t>(pairs.offsets[b]);
             row < static_cast<std::size_t>(pairs.offsets[b + 1]);
             ++row) { // every token of the source reaches its own decoder sequence and no other
            auto other = pairs;
            other.tokens[row] = other.tokens[row] == 5 ? 6 : 5;
            auto const changed = changed_rows(before, logits_of(context, model, other));
            BOOST_TEST(changed == own, boost::test_tools::per_element());
        }
    }
}

BOOST_AUTO_TEST_CASE(an_empty_batch_has_no_loss) {
    auto const model = tiny();
    Inference<Host> context;
    BOOST_TEST(SpanCorruption{}.loss(context, model, Batch(), vocabulary, 1).labelled == 0);
    ProteinDenoising const nothing{.rate = 1e-30, .chosen_only = true};
    BOOST_TEST(nothing.loss(context, model, batch_of(vocabulary, "MKT"), vocabulary, 1).labelled == 0);
}

BOOST_AUTO_TEST_SUITE_END()
