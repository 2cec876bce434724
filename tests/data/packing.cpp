#include <protlm/data/packing.hpp>
#include <protlm/data/store_writer.hpp>

#include "support.hpp"
#include "support/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace protlm;
using protlm::test::check_error;
using protlm::test::TemporaryFolder;

namespace {

struct Fixture {
    TemporaryFolder folder;
    Vocabulary vocabulary = Vocabulary::protbert();
    std::vector<std::string> proteins;

    TokenStore store(std::size_t count, std::size_t shortest, std::size_t longest, double held_out = 0) {
        std::mt19937_64 random(count);
        StoreWriter writer(folder / "s", vocabulary, {.held_out = held_out});
        proteins.clear();
        for (std::size_t i = 0; i < count; ++i) {
            proteins.push_back(test::random_protein(random, shortest + random() % (longest - shortest + 1)));
            writer.add(std::to_string(i), encode(vocabulary, proteins.back()));
        }
        writer.commit();
        return TokenStore(folder / "s");
    }
};

/// The plans of one epoch.
std::vector<BatchPlan> epoch(Packer const &packer, std::uint64_t seed, std::uint64_t number = 0) {
    std::vector<BatchPlan> plans;
    for (Cursor cursor{seed, number, 0}; cursor.epoch == number; cursor = plans.back().next)
        plans.push_back(packer.plan(cursor));
    return plans;
}

/// One sequence of a batch as text, special tokens as pieces.
std::string text(Vocabulary const &vocabulary, Batch const &batch, index_t b) {
    std::string result;
    for (auto t = batch.offsets[static_cast<std::size_t>(b)]; t < batch.offsets[static_cast<std::size_t>(b) + 1]; ++t)
        result += vocabulary.pieces[static_cast<std::size_t>(batch.tokens[static_cast<std::size_t>(t)])];
    return result;
}

/// sample -> sequence text of some plans.
std::map<std::uint64_t, std::string> texts(Packer const &packer, std::vector<BatchPlan> const &plans) {
    std::map<std::uint64_t, std::string> result;
    for (BatchPlan const &plan : plans) {
        Batch const batch = packer.build(plan);
        for (index_t b = 0; b < batch.sequences(); ++b)
            BOOST_REQUIRE(
                result.emplace(batch.samples[static_cast<std::size_t>(b)], text(packer.store().vocabulary(), batch, b))
                    .second);
    }
    return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(packing, Fixture)

BOOST_AUTO_TEST_CASE(a_pair_in_detail) {
    Batch batch;
    append_sequence(batch, vocabulary, encode(vocabulary, "MK"), encode(vocabulary, "LAG"), 9);
    append_sequence(batch, vocabulary, encode(vocabulary, "T"), {}, 4);
    append_sequence(batch, vocabulary, {}, {}, 5);
    BOOST_TEST(batch.tokens == (std::vector<std::int32_t>{2, 21, 12, 3, 5, 6, 7, 3, 2, 15, 3, 2, 3}));
    BOOST_TEST(batch.token_types == (std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0}));
    BOOST_TEST(batch.offsets == (std::vector<std::int64_t>{0, 8, 11, 13}));
    BOOST_TEST(batch.samples == (std::vector<std::uint64_t>{9, 4, 5}));
    BOOST_TEST(batch.size() == 13);
    BOOST_TEST(batch.sequences() == 3);
    BOOST_TEST(batch.length(1) == 3);
    check_error([&] { append_sequence(batch, vocabulary, std::vector<std::uint8_t>{30}, {}, 0); }, "token 30");
    auto const t5 = Vocabulary::from_pieces({"<pad>", "</s>", "A"});
    Batch plain;
    append_sequence(plain, t5, encode(t5, "AA"), {}, 0);
    BOOST_TEST(plain.tokens == (std::vector<std::int32_t>{2, 2, 1}));
}

BOOST_AUTO_TEST_CASE(other_families_in_detail) {
    Vocabulary const t5 = Vocabulary::prott5();
    Vocabulary xlnet = Vocabulary::protxlnet();
    auto const add = [](Vocabulary const &it) {
        Batch batch;
        append_sequence(batch, it, encode(it, "LA"), {}, 1);
        append_sequence(batch, it, encode(it, "L"), encode(it, "AA"), 2);
        return batch;
    };
    BOOST_TEST(add(t5).tokens == (std::vector<std::int32_t>{4, 3, 1, 4, 1, 3, 3, 1}));
    BOOST_TEST(add(t5).token_types == std::vector<std::int32_t>(8, 0));
    BOOST_TEST(add(xlnet).tokens == (std::vector<std::int32_t>{17, 18, 4, 3, 17, 4, 18, 18, 4, 3}));
    BOOST_TEST(add(xlnet).token_types == std::vector<std::int32_t>(10, 0));
    xlnet.second_type = 1; // as in XLNet's own training
    xlnet.end_type = 2;
    BOOST_TEST(add(xlnet).token_types == (std::vector<std::int32_t>{0, 0, 0, 2, 0, 0, 1, 1, 1, 2}));
    for (Vocabulary const &it : {t5, xlnet, vocabulary})
        for (int const count : {1, 2}) {
            Batch batch;
            append_sequence(batch, it, encode(it, "L"),
                            count == 2 ? std::optional(std::span<std::uint8_t const>()) : std::nullopt, 0);
            BOOST_TEST(batch.size() == special_tokens(it, count) + 1);
            BOOST_TEST(!it.is_special(batch.tokens[static_cast<std::size_t>(leading_tokens(it))]));
        }
}

BOOST_AUTO_TEST_CASE(one_store_serves_every_vocabulary) {
    TokenStore const it = store(60, 1, 90);
    PackingOptions const options{.tokens = 700, .max_length = 42, .proteins_per_example = 2};
    auto const letters = [&](Packer const &packer) { // of each sample, without special tokens
        std::map<std::uint64_t, std::string> result;
        for (BatchPlan const &plan : epoch(packer, 5)) {
            Batch const batch = packer.build(plan);
            BOOST_TEST(batch.size() == plan.tokens());
            for (index_t b = 0; b < batch.sequences(); ++b) {
                std::string &text = result[batch.samples[static_cast<std::size_t>(b)]];
                for (index_t t = 0; t < batch.length(b); ++t) {
                    auto const token =
                        batch.tokens[static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)] + t)];
                    Vocabulary const &own = packer.vocabulary();
                    if (token == own.unknown)
                        text += 'X';
                    else if (!own.is_special(token))
                        text += own.letter(token);
                }
            }
        }
        return result;
    };
    auto const expected = letters(Packer(it, it.all(), options));
    BOOST_TEST(expected.size() == 30u);
    for (char const *family : {"bert", "albert", "transfo-xl", "xlnet"}) // XLNet's special tokens are as many
        BOOST_CHECK(letters(Packer(it, it.all(), options, Vocabulary::of(family))) == expected);
    auto without_one = options;
    --without_one.max_length; // T5 has one special token less
    BOOST_CHECK(letters(Packer(it, it.all(), without_one, Vocabulary::prott5())) == expected);
    // A letter of the store does not become X or unknown without a word, X itself does where there is an unknown token.
    check_error(
        [&] {
            Packer(it, it.all(), options, Vocabulary::from_pieces({"[UNK]", "A", "L", "X"}));
        },
        "has the letters CDEFGHIKMNPQRSTVWY, which the model's does not have");
    std::vector<std::string> no_x;
    for (char const letter : std::string_view("LAGVESIKRDTPNQFYMHCW"))
        no_x.emplace_back(1, letter);
    Packer const narrow(it, it.all(), options, Vocabulary::from_pieces(no_x));
    check_error([&] { narrow.build(narrow.plan({})); }, "has no letter that the model's vocabulary could take");
}

BOOST_AUTO_TEST_CASE(an_epoch_visits_every_protein_once) {
    TokenStore const it = store(501, 1, 90);
    for (int const per_example : {1, 2}) {
        Packer const packer(it, it.all(), {.tokens = 700, .max_length = 200, .proteins_per_example = per_example});
        BOOST_TEST(packer.examples() == (per_example == 1 ? 501u : 251u));
        std::multiset<std::string> seen;
        for (auto const &[sample, sequence] : texts(packer, epoch(packer, 5))) {
            std::string rest = sequence.substr(5); // after [CLS]
            int proteins_here = 0;
            for (std::size_t end; (end = rest.find("[SEP]")) != std::string::npos; rest.erase(0, end + 5)) {
                seen.insert(rest.substr(0, end));
                ++proteins_here;
            }
            BOOST_TEST(rest == "");
            BOOST_TEST(proteins_here == (per_example == 2 && sample < 250 ? 2 : 1));
        }
        BOOST_CHECK((seen == std::multiset<std::string>(proteins.begin(), proteins.end())));
    }
}

BOOST_AUTO_TEST_CASE(batches_are_full_but_never_over_the_budget) {
    TokenStore const it = store(300, 1, 200);
    Packer const packer(it, it.all(), {.tokens = 1000, .max_length = 512});
    auto const plans = epoch(packer, 1);
    BOOST_TEST(plans.size() > 20u);
    for (std::size_t i = 0; i < plans.size(); ++i) {
        BOOST_TEST(plans[i].tokens() <= 1000);
        BOOST_TEST(packer.build(plans[i]).size() == plans[i].tokens());
        if (i + 1 < plans.size())
            BOOST_TEST(plans[i].tokens() + plans[i + 1].examples.front().tokens > 1000);
    }
    BOOST_CHECK((plans.back().next == Cursor{1, 1, 0}));
}

BOOST_AUTO_TEST_CASE(a_protein_above_the_budget_is_alone) {
    TokenStore const it = store(40, 50, 100);
    Packer const packer(it, it.all(), {.tokens = 10, .max_length = 512});
    for (BatchPlan const &plan : epoch(packer, 1))
        BOOST_TEST(plan.examples.size() == 1u);
    Packer const everything(it, it.all(), {.tokens = 1'000'000, .max_length = 512});
    BOOST_TEST(epoch(everything, 1).size() == 1u); // fewer examples than a batch would hold
    BOOST_TEST(everything.plan({1, 0, 0}).examples.size() == 40u);
}

BOOST_AUTO_TEST_CASE(shares_are_a_balanced_partition_and_the_contents_do_not_depend_on_them) {
    TokenStore const it = store(400, 1, 400);
    Packer const packer(it, it.all(), {.tokens = 8000, .max_length = 100, .proteins_per_example = 2});
    BatchPlan const plan = packer.plan({3, 2, 7});
    auto const whole = texts(packer, {plan});
    BOOST_TEST(whole.size() > 50u);
    for (int const ranks : {1, 2, 3, 4, 7, 64, 200}) {
        std::vector<BatchPlan> parts;
        index_t least = plan.tokens(), most = 0;
        for (int rank = 0; rank < ranks; ++rank) {
            parts.push_back(share(plan, rank, ranks));
            least = std::min(least, parts.back().tokens());
            most = std::max(most, parts.back().tokens());
            BOOST_CHECK(parts.back().next == plan.next);
            BOOST_TEST(std::is_sorted(parts.back().examples.begin(), parts.back().examples.end(),
                                      [](auto const &a, auto const &b) { return a.sample < b.sample; }));
        }
        BOOST_TEST(most - least <= 100); // at most one example
        BOOST_CHECK(texts(packer, parts) == whole);
    }
    BatchPlan const nothing = share(packer.plan({3, 2, 7}), 199, 200);
    BOOST_TEST(packer.build(nothing).size() == 0);
    BOOST_TEST(packer.build(nothing).sequences() == 0);
    check_error([&] { share(plan, 2, 2); }, "part 2 of 2");
}

BOOST_AUTO_TEST_CASE(micro_batches_keep_the_limit) {
    TokenStore const it = store(200, 1, 300);
    Packer const packer(it, it.all(), {.tokens = 10'000, .max_length = 512});
    BatchPlan const plan = packer.plan({});
    for (index_t const limit : {20, 250, 400, 3000, 10'000}) {
        auto const parts = micro_batches(plan, limit);
        for (BatchPlan const &part : parts)
            BOOST_TEST((part.tokens() <= limit || part.examples.size() == 1));
        BOOST_CHECK(texts(packer, parts) == texts(packer, {plan}));
        if (limit == 3000)
            BOOST_TEST(parts.size() <= 5u);
    }
    BOOST_TEST(micro_batches(plan, 10'000).size() == 1u);
    BOOST_TEST(micro_batches(BatchPlan{}, 5).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_cursor_is_all_that_a_resume_needs) {
    TokenStore const it = store(100, 1, 100);
    PackingOptions const options{.tokens = 300, .max_length = 50, .proteins_per_example = 2};
    Packer const packer(it, it.all(), options);
    std::vector<Batch> through;
    Cursor cursor{11, 0, 0};
    for (int step = 0; step < 60; ++step) {
        BatchPlan const plan = packer.plan(cursor);
        through.push_back(packer.build(plan));
        BOOST_TEST(through.back().epoch == cursor.epoch);
        BOOST_CHECK((packer.plan(cursor).examples == plan.examples));
        cursor = plan.next;
        if (step == 29) {
            Packer const resumed(it, it.all(), options);
            Cursor from = cursor;
            for (int later = 30; later < 60; ++later) {
                BatchPlan const next = resumed.plan(from);
                through.push_back(resumed.build(next));
                from = next.next;
            }
        }
    }
    BOOST_TEST(cursor.epoch > 1u);
    for (int step = 0; step < 30; ++step) // the resumed half lies before the one that ran through
        BOOST_CHECK(through[static_cast<std::size_t>(30 + step)] == through[static_cast<std::size_t>(60 + step)]);
    BOOST_CHECK(packer.plan({11, 0, 50}).epoch == 1); // at the end of an epoch stands the next
    BOOST_CHECK(epoch(packer, 11, 0)[0].examples != epoch(packer, 11, 1)[0].examples);
    BOOST_CHECK(epoch(packer, 11, 0)[0].examples != epoch(packer, 12, 0)[0].examples);
}

BOOST_AUTO_TEST_CASE(long_proteins_are_cropped_at_random_places) {
    TokenStore const it = store(4, 1000, 1000);
    Packer const packer(it, it.all(), {.tokens = 5000, .max_length = 102});
    std::vector<int> covered(1000);
    int crops = 0;
    for (std::uint64_t number = 0; number < 500; ++number)
        for (auto const &[sample, sequence] : texts(packer, epoch(packer, 1, number))) {
            BOOST_REQUIRE_EQUAL(sequence.size(), 5u + 100 + 5);
            std::string const crop = sequence.substr(5, 100);
            std::size_t place = std::string::npos;
            for (std::string const &protein : proteins)
                place = std::min(place, protein.find(crop));
            BOOST_REQUIRE(place != std::string::npos);
            ++covered[place];
            ++crops;
        }
    BOOST_TEST(crops == 2000);
    // Starts are uniform over 901 places: in 9 bins of 100 (the last place apart) chi-square has 8 degrees of freedom.
    double chi_square = 0;
    for (std::size_t bin = 0; bin < 9; ++bin) {
        double const count = std::accumulate(&covered[bin * 100], &covered[bin * 100] + 100, 0.0);
        double const expected = 2000 * 100 / 901.0;
        chi_square += (count - expected) * (count - expected) / expected;
    }
    BOOST_TEST(chi_square < 8 + 5 * 4);
    BOOST_TEST(std::accumulate(covered.begin() + 901, covered.end(), 0) == 0);
}

BOOST_AUTO_TEST_CASE(pairs_share_the_length_limit) {
    auto const lengths = [&](std::size_t first, std::size_t second) {
        StoreWriter writer(folder / "pair", vocabulary);
        writer.add("a", std::vector<std::uint8_t>(first, 5));
        writer.add("b", std::vector<std::uint8_t>(second, 6));
        writer.commit();
        TokenStore const pair(folder / "pair");
        Packer const packer(pair, pair.all(), {.tokens = 100, .max_length = 23, .proteins_per_example = 2});
        Batch const batch = packer.build(packer.plan({}));
        std::pair<std::size_t, std::size_t> const counted{std::count(batch.tokens.begin(), batch.tokens.end(), 5),
                                                          std::count(batch.tokens.begin(), batch.tokens.end(), 6)};
        BOOST_TEST(static_cast<std::size_t>(batch.size()) == counted.first + counted.second + 3);
        return counted;
    };
    using Lengths = std::pair<std::size_t, std::size_t>;
    BOOST_CHECK((lengths(5, 6) == Lengths{5, 6}));
    BOOST_CHECK((lengths(10, 10) == Lengths{10, 10}));
    BOOST_CHECK((lengths(4, 50) == Lengths{4, 16}));
    BOOST_CHECK((lengths(50, 4) == Lengths{16, 4}));
    BOOST_CHECK((lengths(50, 50) == Lengths{10, 10}));
    BOOST_CHECK((lengths(11, 50) == Lengths{10, 10}));
    BOOST_CHECK((lengths(0, 50) == Lengths{0, 20}));
}

BOOST_AUTO_TEST_CASE(subsets_stay_apart) {
    TokenStore const it = store(300, 5, 60, 0.3);
    std::set<std::string> seen[2];
    int side = 0;
    for (Subset const subset : {it.training(), it.held_out()}) {
        Packer const packer(it, subset, {.tokens = 500, .max_length = 512});
        for (auto const &[sample, sequence] : texts(packer, epoch(packer, 1)))
            seen[side].insert(sequence);
        BOOST_TEST(seen[side].size() == subset.count);
        ++side;
    }
    for (std::string const &sequence : seen[1])
        BOOST_TEST(seen[0].count(sequence) == 0u);
}

BOOST_AUTO_TEST_CASE(a_store_that_others_write_into_is_an_error) {
    TokenStore const it = store(50, 20, 90);
    Packer const packer(it, it.all(), {.tokens = 2000});
    BatchPlan const plan = packer.plan({});
    packer.build(plan);
    // The same store with other proteins of the same lengths, written in place: nothing else tells.
    std::string bytes = test::read_file(folder / "s");
    bytes[256] = bytes[256] == 5 ? 6 : 5;
    folder.write("s", bytes);
    check_error([&] { packer.build(plan); }, "s: changed while it was being read");
    check_error([&] { packer.plan({}); }, "s: changed while it was being read");
    // Replaced as prepare does it, the old one is still there.
    TokenStore const old = store(50, 20, 90);
    Packer const going_on(old, old.all(), {.tokens = 2000});
    store(10, 5, 6);
    going_on.build(going_on.plan({}));
}

BOOST_AUTO_TEST_CASE(a_plan_that_does_not_fit_its_store_is_an_error) {
    TokenStore const it = store(5, 20, 30);
    Packer const packer(it, it.all(), {});
    BatchPlan plan = packer.plan({});
    plan.examples[0].residues[0] = 31; // what a changed index would do
    check_error([&] { packer.build(plan); }, " residues now, had 31 or more; was the file changed?");
}

BOOST_AUTO_TEST_CASE(that_all_are_held_out_is_said) {
    TokenStore const it = store(20, 5, 6, 1.0);
    check_error([&] { Packer(it, it.training(), {}); }, "all 20 proteins are held out, none is left to train on");
}

BOOST_AUTO_TEST_CASE(options_are_checked) {
    TokenStore const it = store(3, 5, 6);
    check_error([&] { Packer(it, {0, 0}, {}); }, " proteins is in the part that is asked for");
    check_error([&] { Packer(it, {2, 2}, {}); }, "sequences 2 to 4 of 3");
    check_error([&] { Packer(it, it.all(), {.tokens = 0}); }, "tokens is 0");
    check_error([&] { Packer(it, it.all(), {.max_length = 2}); }, "max_length is 2, expected at least 3");
    check_error([&] { Packer(it, it.all(), {.max_length = 4, .proteins_per_example = 2}); }, "expected at least 5");
    check_error([&] { Packer(it, it.all(), {.proteins_per_example = 3}); }, "proteins_per_example is 3");
    check_error([&] { Packer(it, it.all(), {}).plan({0, 1u << 24, 0}); }, "epoch 16777216");
}

BOOST_AUTO_TEST_SUITE_END()
