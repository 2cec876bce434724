#include <protlm/objective/masked.hpp>

#include "objective/support.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::protbert();

/// The corrupted tokens and the labels (-1 where there is none) of one sequence.
std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> part(Batch const &batch, MaskedBatch const &masked,
                                                                     std::size_t b) {
    auto const begin = batch.offsets[b], end = batch.offsets[b + 1];
    std::vector<std::int32_t> labels(static_cast<std::size_t>(end - begin), -1);
    for (std::size_t i = 0; i < masked.rows.size(); ++i)
        if (masked.rows[i] >= begin && masked.rows[i] < end)
            labels[static_cast<std::size_t>(masked.rows[i] - begin)] = masked.labels[i];
    return {{masked.tokens.begin() + begin, masked.tokens.begin() + end}, labels};
}

} // namespace

BOOST_AUTO_TEST_SUITE(masked)

BOOST_AUTO_TEST_CASE(the_example_of_the_documentation) {
    MaskedBatch const it = MaskedLanguageModel{}.apply(batch_of(vocabulary, "MKTAYIAKQRQISFVKSHFSRQ"), vocabulary, 298);
    BOOST_TEST(text(vocabulary, it.tokens) == "[CLS]MKT[MASK]YIAKQRQI[MASK]FVKSHFSGQ[SEP]");
    BOOST_TEST(it.rows == (std::vector<index_t>{4, 13, 21, 22}));
    BOOST_TEST(text(vocabulary, it.labels) == "ASRQ");
}

BOOST_AUTO_TEST_CASE(rates_over_a_million_residues) {
    Batch const batch = random_batch(vocabulary, 2500, 420);
    MaskedBatch const it = MaskedLanguageModel{}.apply(batch, vocabulary, 1);
    double const residues = static_cast<double>(batch.size() - 2 * batch.sequences());
    BOOST_TEST(residues > 1e6);
    double const chosen = static_cast<double>(it.rows.size());
    within(chosen, residues, 0.15);
    double masks = 0, same = 0, other = 0;
    std::map<std::int32_t, double> drawn;
    for (std::size_t i = 0; i < it.rows.size(); ++i) {
        std::int32_t const token = it.tokens[static_cast<std::size_t>(it.rows[i])];
        masks += token == vocabulary.mask;
        same += token == it.labels[i];
        if (token != vocabulary.mask && token != it.labels[i]) {
            ++other;
            ++drawn[token];
        }
    }
    within(masks, chosen, 0.8);
    within(other, chosen, 0.1 * 20 / 21); // one random residue in 21 is the same again
    within(same, chosen, 0.1 + 0.1 / 21);
    BOOST_TEST(drawn.size() == 21u);
    for (auto const &[token, count] : drawn)
        BOOST_TEST(std::abs(count - other / 21) < 5 * std::sqrt(other / 21)); // 21 draws of one test: 5 sigma
}

BOOST_AUTO_TEST_CASE(labels_are_the_truth_and_all_else_is_unchanged) {
    Batch const batch = random_batch(vocabulary, 50, 300);
    MaskedBatch const it = MaskedLanguageModel{}.apply(batch, vocabulary, 5);
    BOOST_TEST(it.rows.size() > 1000u);
    BOOST_REQUIRE_EQUAL(it.rows.size(), it.labels.size());
    BOOST_REQUIRE_EQUAL(it.tokens.size(), batch.tokens.size());
    BOOST_TEST((std::adjacent_find(it.rows.begin(), it.rows.end(), std::greater_equal<>()) == it.rows.end()));
    std::vector<std::int32_t> restored = it.tokens;
    for (std::size_t i = 0; i < it.rows.size(); ++i) {
        auto const row = static_cast<std::size_t>(it.rows[i]);
        BOOST_TEST(it.labels[i] == batch.tokens[row]);
        BOOST_TEST(!vocabulary.is_special(batch.tokens[row]));
        BOOST_TEST((it.tokens[row] == vocabulary.mask || !vocabulary.is_special(it.tokens[row])));
        restored[row] = it.labels[i];
    }
    BOOST_CHECK(restored == batch.tokens);
}

BOOST_AUTO_TEST_CASE(a_sequence_is_masked_the_same_in_any_batch) {
    Batch const batch = random_batch(vocabulary, 60, 100, 1000, 3);
    MaskedBatch const whole = MaskedLanguageModel{}.apply(batch, vocabulary, 7);
    for (std::size_t const step : {1u, 2u, 7u}) { // every step-th sequence, backwards
        Batch other;
        other.epoch = 3;
        std::vector<std::size_t> from;
        for (std::size_t b = 60; b-- > 0;)
            if (b % step == 0) {
                auto const begin = batch.tokens.begin() + batch.offsets[b];
                auto const end = batch.tokens.begin() + batch.offsets[b + 1];
                append_sequence(other, vocabulary, std::vector<std::uint8_t>(begin + 1, end - 1), {}, batch.samples[b]);
                from.push_back(b);
            }
        MaskedBatch const some = MaskedLanguageModel{}.apply(other, vocabulary, 7);
        for (std::size_t i = 0; i < from.size(); ++i)
            BOOST_CHECK(part(other, some, i) == part(batch, whole, from[i]));
    }
    Batch changed = batch;
    changed.epoch = 4;
    BOOST_CHECK(MaskedLanguageModel{}.apply(changed, vocabulary, 7).rows != whole.rows);
    BOOST_CHECK(MaskedLanguageModel{}.apply(batch, vocabulary, 8).rows != whole.rows);
    for (std::uint64_t &sample : changed.samples)
        sample += 60;
    changed.epoch = 3;
    BOOST_CHECK(MaskedLanguageModel{}.apply(changed, vocabulary, 7).rows != whole.rows);
}

BOOST_AUTO_TEST_CASE(rates_at_their_limits) {
    Batch const batch = random_batch(vocabulary, 5, 50);
    MaskedBatch const none = MaskedLanguageModel{.rate = 1e-30}.apply(batch, vocabulary, 1);
    BOOST_TEST(none.rows.empty());
    BOOST_CHECK(none.tokens == batch.tokens);
    MaskedBatch const all = MaskedLanguageModel{.rate = 1, .mask = 1, .random = 0}.apply(batch, vocabulary, 1);
    BOOST_TEST(static_cast<index_t>(all.rows.size()) == batch.size() - 2 * batch.sequences());
    for (index_t const row : all.rows)
        BOOST_TEST(all.tokens[static_cast<std::size_t>(row)] == vocabulary.mask);
    MaskedBatch const kept = MaskedLanguageModel{.rate = 1, .mask = 0, .random = 0}.apply(batch, vocabulary, 1);
    BOOST_CHECK(kept.tokens == batch.tokens);
    BOOST_CHECK(kept.rows == all.rows);
    MaskedBatch const empty = MaskedLanguageModel{}.apply(Batch{}, vocabulary, 1);
    BOOST_TEST(empty.tokens.empty());
}

BOOST_AUTO_TEST_CASE(wrong_settings_are_errors) {
    auto const message = [](MaskedLanguageModel model, Vocabulary const &words) -> std::string {
        try {
            model.apply({}, words, 1);
        } catch (Error const &error) {
            return error.what();
        }
        return "no error";
    };
    BOOST_TEST(message({.rate = 1.5}, vocabulary) ==
               "MaskedLanguageModel: rate is 1.5, expected above 0 and at most 1");
    BOOST_TEST(message({.rate = 0}, vocabulary) == "MaskedLanguageModel: rate is 0, expected above 0 and at most 1");
    BOOST_TEST(message({.mask = 0.8, .random = 0.3}, vocabulary).find("at most 1 together") != std::string::npos);
    BOOST_TEST(message({.random = -0.1}, vocabulary).find("random -0.1") != std::string::npos);
    BOOST_TEST(message({.rate = std::nan("")}, vocabulary).find("rate is nan") != std::string::npos);
    BOOST_TEST(message({}, Vocabulary::from_pieces({"A"})).find("no mask token") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
