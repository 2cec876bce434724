#include <protlm/objective/permutation.hpp>

#include "objective/support.hpp"
#include "support/message_of.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::protxlnet();
PermutationLanguageModel const objective;

/// Ranks, targets, rows within the sequence and labels of one sequence.
std::vector<std::vector<std::int32_t>> part(Batch const &batch, PermutationBatch const &it, std::size_t b) {
    auto const begin = batch.offsets[b], end = batch.offsets[b + 1];
    std::vector<std::int32_t> rows, labels;
    for (std::size_t i = 0; i < it.rows.size(); ++i)
        if (it.rows[i] >= begin && it.rows[i] < end) {
            rows.push_back(static_cast<std::int32_t>(it.rows[i] - begin));
            labels.push_back(it.labels[i]);
        }
    return {{it.rank.begin() + begin, it.rank.begin() + end},
            {it.is_target.begin() + begin, it.is_target.begin() + end},
            rows,
            labels};
}

} // namespace

BOOST_AUTO_TEST_SUITE(permutation)

BOOST_AUTO_TEST_CASE(the_example_of_the_documentation) {
    auto const it = objective.apply(batch_of(vocabulary, "MKTAYIAKQRQISFVKSHFSRQ"), vocabulary, 2);
    BOOST_TEST(it.rank == (std::vector<std::int32_t>{-1, -1, -1, -1, -1, 1,  5,  -1, -1, -1, -1, -1,
                                                     -1, -1, 4,  2,  -1, -1, -1, -1, -1, -1, 3,  0}));
    BOOST_TEST(it.rows == (std::vector<index_t>{5, 6, 14, 15}));
    BOOST_TEST(text(vocabulary, it.labels) == "IAVK");
}

BOOST_AUTO_TEST_CASE(ranks_are_a_permutation_of_targets_and_special_tokens) {
    for (Vocabulary const &v : {vocabulary, Vocabulary::protbert()}) {
        Batch const batch = random_batch(v, 200, 100);
        auto const it = objective.apply(batch, v, 3);
        for (std::size_t b = 0; b < 200; ++b) {
            std::multiset<std::int32_t> ranks;
            for (auto t = static_cast<std::size_t>(batch.offsets[b]);
                 t < static_cast<std::size_t>(batch.offsets[b + 1]); ++t) {
                bool const special = v.is_special(batch.tokens[t]);
                BOOST_TEST(!(special && it.is_target[t]));
                if (special || it.is_target[t])
                    ranks.insert(it.rank[t]);
                else
                    BOOST_TEST(it.rank[t] == -1);
            }
            std::vector<std::int32_t> expected(ranks.size());
            std::iota(expected.begin(), expected.end(), 0);
            BOOST_TEST(std::vector(ranks.begin(), ranks.end()) == expected);
        }
        std::vector<index_t> rows;
        for (std::size_t t = 0; t < it.is_target.size(); ++t)
            if (it.is_target[t])
                rows.push_back(static_cast<index_t>(t));
        BOOST_TEST(it.rows == rows);
        for (std::size_t i = 0; i < rows.size(); ++i)
            BOOST_TEST(it.labels[i] == batch.tokens[static_cast<std::size_t>(rows[i])]);
    }
}

BOOST_AUTO_TEST_CASE(who_sees_whom) {
    Batch const batch = random_batch(vocabulary, 20, 40);
    auto const it = objective.apply(batch, vocabulary, 9);
    auto const sees = [&](std::size_t i, std::size_t j) { return it.rank[j] < it.rank[i] + (it.is_target[i] ? 0 : 1); };
    for (std::size_t b = 0; b < 20; ++b)
        for (auto i = static_cast<std::size_t>(batch.offsets[b]); i < static_cast<std::size_t>(batch.offsets[b + 1]);
             ++i) {
            bool const context = it.rank[i] < 0;
            BOOST_TEST(sees(i, i) != bool(it.is_target[i])); // a target does not see itself
            for (auto j = static_cast<std::size_t>(batch.offsets[b]);
                 j < static_cast<std::size_t>(batch.offsets[b + 1]); ++j) {
                if (it.rank[j] < 0)
                    BOOST_TEST(sees(i, j)); // all see the context
                else if (context)
                    BOOST_TEST(!sees(i, j)); // which sees nothing else
                else if (i != j)
                    BOOST_TEST(sees(i, j) == (it.rank[j] < it.rank[i]));
            }
        }
}

BOOST_AUTO_TEST_CASE(share_and_spans) {
    Batch const batch = random_batch(vocabulary, 4000, 150);
    auto const it = objective.apply(batch, vocabulary, 1);
    double residues = 0, deviation = 0;
    std::vector<double> spans(6);
    for (std::size_t b = 0; b < 4000; ++b) {
        auto const begin = static_cast<std::size_t>(batch.offsets[b]),
                   end = static_cast<std::size_t>(batch.offsets[b + 1]) - 2;
        double targets = 0;
        std::size_t run = 0;
        for (std::size_t t = begin; t <= end; ++t) {
            targets += it.is_target[t];
            if (it.is_target[t]) {
                ++run;
            } else if (run > 0) {
                BOOST_REQUIRE(run <= 5);
                ++spans[run];
                run = 0;
            }
        }
        double const length = static_cast<double>(end - begin);
        BOOST_TEST(std::abs(targets - length / 6) < 1);
        double const rest = length / 6 - std::floor(length / 6);
        deviation += rest * (1 - rest);
        residues += length;
    }
    BOOST_TEST(residues > 5e5);
    BOOST_TEST(std::abs(static_cast<double>(it.rows.size()) - residues / 6) < 3 * std::sqrt(deviation));
    // Lengths have chances as 1 : 1/2 : ... : 1/5, but the last span of a protein is cut to what is wanted. So: long
    // spans are rarer, and the mean is a little below 5 / (1 + 1/2 + ... + 1/5) = 2.19.
    for (std::size_t n = 1; n < 5; ++n)
        BOOST_TEST(spans[n] > spans[n + 1]);
    double const count = std::accumulate(spans.begin(), spans.end(), 0.0);
    double const mean = static_cast<double>(it.rows.size()) / count;
    BOOST_TEST(mean > 2.05);
    BOOST_TEST(mean < 2.19);
}

BOOST_AUTO_TEST_CASE(every_residue_is_as_likely_a_target_and_every_order_as_likely) {
    Batch batch; // 6000 proteins of 48 residues: 8 targets each
    for (std::uint64_t i = 0; i < 6000; ++i)
        append_sequence(batch, vocabulary, std::vector<std::uint8_t>(48, 20), {}, i);
    auto const it = objective.apply(batch, vocabulary, 17);
    std::vector<double> by_place(48), by_rank(10);
    for (std::size_t b = 0; b < 6000; ++b) {
        for (std::size_t t = 0; t < 48; ++t)
            by_place[t] += it.is_target[b * 50 + t];
        ++by_rank[static_cast<std::size_t>(it.rank[b * 50 + 49])]; // of <cls>: 8 targets, <sep>, <cls>
    }
    BOOST_TEST(it.rows.size() == 48000u);
    for (double const count : by_place)
        within(count, 6000, 1.0 / 6);
    fits(by_rank, std::vector<double>(10, 600));
}

BOOST_AUTO_TEST_CASE(a_sequence_is_the_same_in_any_batch) {
    Batch const batch = random_batch(vocabulary, 60, 100, 1000, 3);
    auto const whole = objective.apply(batch, vocabulary, 7);
    for (std::size_t const step : {1u, 2u, 7u}) { // every step-th sequence, backwards
        std::vector<std::size_t> from;
        for (std::size_t b = 60; b-- > 0;)
            if (b % step == 0)
                from.push_back(b);
        Batch const other = chosen_sequences(batch, from);
        auto const some = objective.apply(other, vocabulary, 7);
        for (std::size_t i = 0; i < from.size(); ++i)
            BOOST_CHECK(part(other, some, i) == part(batch, whole, from[i]));
    }
    Batch changed = batch;
    changed.epoch = 4;
    BOOST_CHECK(objective.apply(changed, vocabulary, 7).rows != whole.rows);
    BOOST_CHECK(objective.apply(batch, vocabulary, 8).rows != whole.rows);
    changed.epoch = 3;
    for (std::uint64_t &sample : changed.samples)
        sample += 60;
    BOOST_CHECK(objective.apply(changed, vocabulary, 7).rows != whole.rows);
}

BOOST_AUTO_TEST_CASE(unknown_tokens_are_context) {
    Batch const batch = batch_of(vocabulary, std::string(600, 'X') + std::string(600, 'A'));
    auto const it = objective.apply(batch, vocabulary, 2);
    for (std::size_t t = 0; t < 600; ++t)
        BOOST_TEST(it.rank[t] == -1);
    BOOST_TEST(it.rows.size() == 100u);
    auto const none = objective.apply(batch_of(vocabulary, "XX"), vocabulary, 2);
    BOOST_TEST(none.rows.empty());
    BOOST_TEST(objective.apply(Batch(), vocabulary, 2).rank.empty());
}

BOOST_AUTO_TEST_CASE(options_are_checked) {
    auto const message = [](PermutationLanguageModel const &it) {
        return message_of([&] { it.validate(vocabulary); });
    };
    BOOST_TEST(message({.share = 0.6}) == "PermutationLanguageModel: share is 0.6, expected above 0 and at most 0.5");
    BOOST_TEST(message({.longest_span = 0}) == "PermutationLanguageModel: longest_span is 0, expected at least 1");
    Batch const batch = random_batch(vocabulary, 50, 60);
    auto const singles = PermutationLanguageModel{.longest_span = 1}.apply(batch, vocabulary, 1);
    for (std::size_t i = 1; i < singles.rows.size(); ++i)
        BOOST_TEST(singles.rows[i] > singles.rows[i - 1] + 1);
}

BOOST_AUTO_TEST_SUITE_END()
