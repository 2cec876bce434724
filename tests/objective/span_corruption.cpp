#include <protlm/objective/span_corruption.hpp>

#include "objective/support.hpp"
#include "support/message_of.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::prott5();
std::string const protein = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPI";

using Tokens = std::vector<std::int32_t>;

/// What the decoder is to write for sequence `b`; all of its rows must have labels.
Tokens target(SequencePairs const &it, std::size_t b) {
    return {it.labels.begin() + it.decoder_offsets[b], it.labels.begin() + it.decoder_offsets[b + 1]};
}
Tokens encoder(SequencePairs const &it, std::size_t b) {
    return {it.tokens.begin() + it.offsets[b], it.tokens.begin() + it.offsets[b + 1]};
}
Tokens decoder(SequencePairs const &it, std::size_t b) {
    return {it.decoder_tokens.begin() + it.decoder_offsets[b], it.decoder_tokens.begin() + it.decoder_offsets[b + 1]};
}
Tokens original(Batch const &batch, std::size_t b) {
    return {batch.tokens.begin() + batch.offsets[b], batch.tokens.begin() + batch.offsets[b + 1]};
}

template <class Objective>
void test_same_in_any_batch(Objective const &objective) {
    Batch const batch = random_batch(vocabulary, 60, 100, 1000, 3);
    auto const whole = objective.apply(batch, vocabulary, 7);
    for (std::size_t const step : {1u, 2u, 7u}) { // every step-th sequence, backwards
        std::vector<std::size_t> from;
        for (std::size_t b = 60; b-- > 0;)
            if (b % step == 0)
                from.push_back(b);
        auto const some = objective.apply(chosen_sequences(batch, from), vocabulary, 7);
        for (std::size_t i = 0; i < from.size(); ++i) {
            BOOST_TEST(some.samples[i] == batch.samples[from[i]]);
            BOOST_TEST(encoder(some, i) == encoder(whole, from[i]));
            BOOST_TEST(target(some, i) == target(whole, from[i]));
            BOOST_TEST(decoder(some, i) == decoder(whole, from[i]));
        }
    }
    Batch changed = batch;
    changed.epoch = 4;
    BOOST_CHECK(objective.apply(changed, vocabulary, 7).tokens != whole.tokens);
    BOOST_CHECK(objective.apply(batch, vocabulary, 8).tokens != whole.tokens);
    changed.epoch = 3;
    for (std::uint64_t &sample : changed.samples)
        sample += 60;
    BOOST_CHECK(objective.apply(changed, vocabulary, 7).tokens != whole.tokens);
}

} // namespace

BOOST_AUTO_TEST_SUITE(span_corruption)

BOOST_AUTO_TEST_CASE(the_examples_of_the_documentation) {
    auto const spans = SpanCorruption{}.apply(batch_of(vocabulary, protein), vocabulary, 7);
    BOOST_TEST(text(vocabulary, spans.tokens) == "MKTAYIAKQR<0>ISF<1>FSRQLEERLGLIEVQAPI</s>");
    BOOST_TEST(text(vocabulary, spans.decoder_tokens) == "<pad><0>Q<1>VKSH");
    BOOST_TEST(text(vocabulary, spans.labels) == "<0>Q<1>VKSH</s>");
    Batch const batch = batch_of(vocabulary, protein.substr(0, 22));
    auto const whole = ProteinDenoising{}.apply(batch, vocabulary, 6);
    BOOST_TEST(text(vocabulary, whole.tokens) == "M<0>TAYIAK<0>RQI<0>FVKPHFSRQ</s>");
    BOOST_TEST(text(vocabulary, whole.decoder_tokens) == "<pad>" + protein.substr(0, 22));
    BOOST_TEST(whole.labels == batch.tokens);
    BOOST_TEST(std::count(whole.tokens.begin(), whole.tokens.end(), 127) == 3); // ProtT5's <extra_id_0>
    auto const chosen = ProteinDenoising{.chosen_only = true}.apply(batch, vocabulary, 6);
    BOOST_TEST(chosen.tokens == whole.tokens);
    BOOST_TEST(chosen.decoder_tokens == whole.decoder_tokens);
    BOOST_TEST(chosen.rows == (std::vector<index_t>{1, 8, 12, 16}));
    BOOST_TEST(text(vocabulary, chosen.labels) == "KQSS");
}

BOOST_AUTO_TEST_CASE(spans_put_back_give_the_proteins) {
    for (bool const roll : {false, true})
        for (double const density : {0.01, 0.15, 0.5, 0.9})
            for (double const mean : {1.0, 3.0, 10.0}) {
                SpanCorruption const objective{.density = density, .mean_span = mean, .roll = roll};
                Batch const batch = random_batch(vocabulary, 60, 80);
                auto const it = objective.apply(batch, vocabulary, 5);
                for (std::size_t b = 0; b < 60; ++b)
                    BOOST_TEST(fill_spans(vocabulary, encoder(it, b), target(it, b)) == original(batch, b));
            }
    BOOST_TEST(message_of([] {
                   fill_spans(vocabulary, Tokens{127}, Tokens{126, 3});
               }) == "fill_spans: the target has no <extra_id_0>");
}

BOOST_AUTO_TEST_CASE(the_decoder_reads_its_target_one_place_later) {
    Batch const batch = random_batch(vocabulary, 30, 60);
    for (auto const &it :
         {SpanCorruption{}.apply(batch, vocabulary, 5), ProteinDenoising{}.apply(batch, vocabulary, 5)})
        for (std::size_t b = 0; b < 30; ++b) {
            Tokens expected = target(it, b);
            BOOST_TEST(expected.back() == vocabulary.sep);
            expected.insert(expected.begin(), vocabulary.pad);
            expected.pop_back();
            BOOST_TEST(decoder(it, b) == expected);
            BOOST_TEST(encoder(it, b).back() == vocabulary.sep);
        }
}

BOOST_AUTO_TEST_CASE(evaluation_asks_for_hidden_residues_only) {
    Batch const batch = random_batch(vocabulary, 30, 60);
    auto const spans = SpanCorruption{}.apply(batch, vocabulary, 5);
    auto const asked = SpanCorruption{}.evaluation().apply(batch, vocabulary, 5);
    BOOST_TEST(asked.tokens == spans.tokens);
    BOOST_TEST(asked.decoder_tokens == spans.decoder_tokens);
    std::vector<index_t> rows;
    Tokens labels;
    for (std::size_t i = 0; i < spans.rows.size(); ++i)
        if (!vocabulary.is_special(spans.labels[i])) {
            rows.push_back(spans.rows[i]);
            labels.push_back(spans.labels[i]);
        }
    BOOST_TEST(asked.rows == rows);
    BOOST_TEST(asked.labels == labels);
    auto const whole = ProteinDenoising{}.evaluation().apply(batch, vocabulary, 5);
    BOOST_TEST(whole.rows == ProteinDenoising{.chosen_only = true}.apply(batch, vocabulary, 5).rows);
}

BOOST_AUTO_TEST_CASE(sentinels_ascend_and_stand_for_the_spans) {
    Batch const batch = random_batch(vocabulary, 200, 200);
    auto const it = SpanCorruption{}.apply(batch, vocabulary, 11);
    for (std::size_t b = 0; b < 200; ++b) {
        auto const sentinels = [&](Tokens const &tokens) {
            Tokens found;
            for (std::int32_t const token : tokens)
                if (token >= 28)
                    found.push_back(token);
            return found;
        };
        Tokens const found = sentinels(encoder(it, b));
        BOOST_TEST(found == sentinels(target(it, b)));
        for (std::size_t i = 0; i < found.size(); ++i)
            BOOST_TEST(found[i] == 127 - static_cast<int>(i));
    }
}

BOOST_AUTO_TEST_CASE(density_and_mean_span_are_exact_in_each_protein) {
    Batch const batch = random_batch(vocabulary, 500, 400);
    auto const it = SpanCorruption{.roll = false}.apply(batch, vocabulary, 1);
    double hidden = 0, spans = 0;
    for (std::size_t b = 0; b < 500; ++b) {
        auto const length = static_cast<double>(batch.length(static_cast<index_t>(b)) - 1);
        Tokens const out = target(it, b);
        auto const sentinels =
            static_cast<double>(std::count_if(out.begin(), out.end(), [](int t) { return t >= 28; }));
        double const residues = static_cast<double>(out.size()) - sentinels - 1;
        if (length > 1) {
            BOOST_TEST(residues == std::max(1.0, std::round(0.15 * length)));
            BOOST_TEST(sentinels == std::max(1.0, std::round(residues / 3)));
            auto const in = encoder(it, b);
            BOOST_TEST(in.front() < 28); // without roll, a gap comes first and a span last
            BOOST_TEST(in[in.size() - 2] >= 28);
        } else {
            BOOST_TEST(residues == 0);
        }
        hidden += residues;
        spans += sentinels;
    }
    BOOST_TEST(std::abs(hidden / spans - 3) < 0.05);
}

BOOST_AUTO_TEST_CASE(every_division_is_as_likely_and_rolled_every_place_is) {
    Batch batch; // 40 residues: 6 hidden in 2 spans, of 1 to 5 residues
    for (std::uint64_t i = 0; i < 6000; ++i)
        append_sequence(batch, vocabulary, std::vector<std::uint8_t>(40, 4), {}, i);
    auto const it = SpanCorruption{.roll = false}.apply(batch, vocabulary, 23);
    std::vector<double> first(5), gap(33);
    for (std::size_t b = 0; b < 6000; ++b) {
        Tokens const out = target(it, b), in = encoder(it, b);
        ++first[static_cast<std::size_t>(std::find(out.begin(), out.end(), 126) - out.begin() - 2)];
        ++gap[static_cast<std::size_t>(std::find(in.begin(), in.end(), 127) - in.begin() - 1)];
    }
    fits(first, std::vector<double>(5, 1200));
    fits(gap, std::vector<double>(33, 6000.0 / 33));
    auto const rolled = SpanCorruption{}.apply(batch, vocabulary, 23);
    std::vector<double> place(40);
    for (std::size_t b = 0; b < 6000; ++b) {
        std::size_t at = 0;
        for (std::int32_t const token : encoder(rolled, b)) {
            Tokens const out = target(rolled, b);
            auto const from = std::find(out.begin(), out.end(), token);
            std::size_t length = 1;
            if (token >= 28) {
                auto const to = std::find_if(from + 1, out.end(), [](int t) { return t >= 28 || t == 1; });
                length = static_cast<std::size_t>(to - from - 1);
                for (std::size_t i = 0; i < length; ++i)
                    ++place[at + i];
            }
            at += length;
        }
    }
    for (double const count : place) // 900 expected
        within(count, 6000, 0.15);
}

BOOST_AUTO_TEST_CASE(long_proteins_have_longer_spans_where_sentinels_end) {
    for (bool const roll : {false, true}) {
        Batch const batch = batch_of(vocabulary, std::string(20000, 'A'));
        auto const it = SpanCorruption{.roll = roll}.apply(batch, vocabulary, 3);
        BOOST_TEST(std::abs(static_cast<double>(it.labels.size()) - (3000 + 100 + 1)) <= 1);
        BOOST_TEST(fill_spans(vocabulary, it.tokens, it.labels) == batch.tokens);
    }
}

BOOST_AUTO_TEST_CASE(short_and_empty_proteins) {
    Batch batch;
    append_sequence(batch, vocabulary, {}, {}, 0);
    append_sequence(batch, vocabulary, encode(vocabulary, "M"), {}, 1);
    append_sequence(batch, vocabulary, encode(vocabulary, "MK"), {}, 2);
    auto const it = SpanCorruption{.roll = false}.apply(batch, vocabulary, 1);
    BOOST_TEST(text(vocabulary, it.tokens) == "</s>M</s>M<0></s>");
    BOOST_TEST(text(vocabulary, it.labels) == "</s></s><0>K</s>");
    BOOST_TEST(it.decoder_offsets == (std::vector<std::int64_t>{0, 1, 2, 5}));
    BOOST_TEST(SpanCorruption{}.apply(Batch(), vocabulary, 1).rows.empty());
}

BOOST_AUTO_TEST_CASE(two_proteins_share_the_sentinels) {
    Batch batch;
    append_sequence(batch, vocabulary, encode(vocabulary, protein), encode(vocabulary, protein), 5);
    auto const it = SpanCorruption{}.apply(batch, vocabulary, 1);
    BOOST_TEST(fill_spans(vocabulary, it.tokens, it.labels) == batch.tokens);
    BOOST_TEST(std::count(it.tokens.begin(), it.tokens.end(), 1) == 2); // both </s> stay
    BOOST_TEST(std::count(it.labels.begin(), it.labels.end(), 1) == 1);
}

BOOST_AUTO_TEST_CASE(denoising_rates) {
    Batch const batch = random_batch(vocabulary, 2500, 420);
    auto const it = ProteinDenoising{.chosen_only = true}.apply(batch, vocabulary, 1);
    double const residues = static_cast<double>(batch.size() - batch.sequences());
    within(static_cast<double>(it.rows.size()), residues, 0.15);
    double masks = 0;
    std::map<std::int32_t, double> drawn;
    for (std::size_t i = 0; i < it.rows.size(); ++i) {
        std::int32_t const token = it.tokens[static_cast<std::size_t>(it.rows[i])];
        BOOST_TEST(it.labels[i] == batch.tokens[static_cast<std::size_t>(it.rows[i])]);
        if (token == 127)
            ++masks;
        else
            ++drawn[token];
    }
    double const chosen = static_cast<double>(it.rows.size());
    within(masks, chosen, 0.9);
    BOOST_TEST(drawn.size() == vocabulary.residues.size());
    std::vector<double> counts;
    for (auto const &[token, count] : drawn)
        counts.push_back(count);
    fits(counts, std::vector<double>(counts.size(), (chosen - masks) / static_cast<double>(counts.size())));
    // rows without a label are as they were
    Tokens restored = it.tokens;
    for (std::size_t i = 0; i < it.rows.size(); ++i)
        restored[static_cast<std::size_t>(it.rows[i])] = it.labels[i];
    BOOST_CHECK(restored == batch.tokens);
}

BOOST_AUTO_TEST_CASE(a_sequence_is_the_same_in_any_batch) {
    test_same_in_any_batch(SpanCorruption{});
    test_same_in_any_batch(ProteinDenoising{});
}

BOOST_AUTO_TEST_CASE(options_and_vocabularies_are_checked) {
    auto const spans = [](SpanCorruption const &it) { return message_of([&] { it.validate(vocabulary); }); };
    BOOST_TEST(spans({.density = 1}) == "SpanCorruption: density is 1, expected between 0 and 1");
    BOOST_TEST(spans({.mean_span = 0.5}) == "SpanCorruption: mean_span is 0.5, expected at least 1");
    auto const whole = [](ProteinDenoising const &it) { return message_of([&] { it.validate(vocabulary); }); };
    BOOST_TEST(whole({.rate = 1.5}) == "ProteinDenoising: rate is 1.5, expected above 0 and at most 1");
    BOOST_TEST(whole({.rate = 0}) == "ProteinDenoising: rate is 0, expected above 0 and at most 1");
    BOOST_TEST(whole({.mask = -1}) == "ProteinDenoising: mask is -1, expected 0 to 1");
    auto const on = [](Vocabulary const &other) { return message_of([&] { SpanCorruption{}.validate(other); }); };
    BOOST_TEST(on(Vocabulary::protbert()) == "SpanCorruption: the vocabulary has no sentinel <extra_id_0>");
    BOOST_TEST(on(Vocabulary::from_pieces({"<extra_id_0>", "A"})) ==
               "SpanCorruption: the vocabulary has no padding token, with which decoders start");
    BOOST_TEST(on(Vocabulary::from_pieces({"<extra_id_0>", "A", "<pad>"})) ==
               "SpanCorruption: the vocabulary has no </s>, with which targets end");
}

BOOST_AUTO_TEST_SUITE_END()
