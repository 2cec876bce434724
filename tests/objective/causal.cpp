#include <protlm/objective/causal.hpp>

#include "objective/support.hpp"
#include "support/message_of.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <string>
#include <vector>

using namespace protlm;
using namespace protlm::test;

namespace {

Vocabulary const vocabulary = Vocabulary::protbert();

} // namespace

BOOST_AUTO_TEST_SUITE(causal)

BOOST_AUTO_TEST_CASE(the_example_of_the_documentation) {
    auto const segments = CausalLanguageModel{.segment_length = 4}.apply(batch_of(vocabulary, "MKTAYI"), vocabulary);
    BOOST_REQUIRE(segments.size() == 2u);
    BOOST_TEST(text(vocabulary, segments[0].tokens) == "[CLS]MKT");
    BOOST_TEST(text(vocabulary, segments[0].labels) == "MKTA");
    BOOST_TEST(text(vocabulary, segments[1].tokens) == "AYI");
    BOOST_TEST(text(vocabulary, segments[1].labels) == "YI[SEP]");
    BOOST_TEST(segments[1].before == std::vector<index_t>{0});
}

BOOST_AUTO_TEST_CASE(without_segments_every_token_predicts_the_next) {
    Batch const batch = random_batch(vocabulary, 20, 30);
    auto const segments = CausalLanguageModel{}.apply(batch, vocabulary);
    BOOST_REQUIRE(segments.size() == 1u);
    CausalSegment const &all = segments[0];
    BOOST_TEST(all.samples == batch.samples);
    for (std::size_t b = 0; b < 20; ++b) {
        auto const at = [&](auto const &values, std::int64_t begin, std::int64_t end) {
            return std::vector<std::int32_t>(values.begin() + begin, values.begin() + end);
        };
        auto const begin = batch.offsets[b], end = batch.offsets[b + 1];
        BOOST_TEST(at(all.tokens, all.offsets[b], all.offsets[b + 1]) == at(batch.tokens, begin, end - 1));
        BOOST_TEST(at(all.labels, all.offsets[b], all.offsets[b + 1]) == at(batch.tokens, begin + 1, end));
    }
}

BOOST_AUTO_TEST_CASE(segments_put_together_are_the_proteins) {
    Vocabulary const xlnet = Vocabulary::protxlnet();
    for (Vocabulary const &it : {vocabulary, xlnet, Vocabulary::prott5()})
        for (index_t const length : {1, 2, 7, 64}) {
            Batch const batch = random_batch(it, 40, 50);
            auto const segments = CausalLanguageModel{.segment_length = length}.apply(batch, it);
            std::map<std::uint64_t, std::vector<std::int32_t>> tokens, labels;
            std::vector<std::uint64_t> last = batch.samples;
            for (CausalSegment const &segment : segments) {
                BOOST_TEST(segment.labels.size() == segment.tokens.size());
                BOOST_TEST(segment.token_types.size() == segment.tokens.size());
                for (std::size_t b = 0; b < segment.samples.size(); ++b) {
                    auto const begin = segment.offsets[b], end = segment.offsets[b + 1];
                    BOOST_TEST(end - begin <= length);
                    BOOST_TEST(end > begin);
                    // it continues what stood at `before`
                    BOOST_TEST(last[static_cast<std::size_t>(segment.before[b])] == segment.samples[b]);
                    auto const append = [&](auto &to, auto const &from) {
                        to.insert(to.end(), from.begin() + begin, from.begin() + end);
                    };
                    append(tokens[segment.samples[b]], segment.tokens);
                    append(labels[segment.samples[b]], segment.labels);
                }
                last = segment.samples;
            }
            for (std::size_t b = 0; b < 40; ++b) {
                std::vector<std::int32_t> whole(batch.tokens.begin() + batch.offsets[b],
                                                batch.tokens.begin() + batch.offsets[b + 1]);
                if (whole.size() < 2)
                    continue;
                BOOST_TEST(labels[b] == std::vector<std::int32_t>(whole.begin() + 1, whole.end()));
                whole.pop_back();
                BOOST_TEST(tokens[b] == whole);
            }
        }
}

BOOST_AUTO_TEST_CASE(proteins_without_a_second_token_have_no_part) {
    Vocabulary const bare = Vocabulary::from_pieces({"A", "L", "X"});
    Batch batch;
    append_sequence(batch, bare, encode(bare, "A"), {}, 1);
    append_sequence(batch, bare, {}, {}, 2);
    auto const empty = CausalLanguageModel{.segment_length = 4}.apply(batch, bare);
    BOOST_REQUIRE(empty.size() == 1u);
    BOOST_TEST(empty[0].tokens.empty());
    append_sequence(batch, bare, encode(bare, "AL"), {}, 3);
    auto const one = CausalLanguageModel{.segment_length = 4}.apply(batch, bare);
    BOOST_REQUIRE(one.size() == 1u);
    BOOST_TEST(one[0].samples == std::vector<std::uint64_t>{3});
    BOOST_TEST(one[0].before == std::vector<index_t>{2});
    BOOST_TEST(CausalLanguageModel{}.apply(Batch(), bare).size() == 1u);
}

BOOST_AUTO_TEST_CASE(options_are_checked) {
    BOOST_TEST(message_of([] { CausalLanguageModel{.segment_length = -1}.validate(vocabulary); }) ==
               "CausalLanguageModel: segment_length is -1, expected at least 0");
}

BOOST_AUTO_TEST_SUITE_END()
