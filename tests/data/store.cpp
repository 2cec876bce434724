#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>

#include "support.hpp"
#include "support/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace protlm;
using protlm::test::check_error;
using protlm::test::read_file;
using protlm::test::TemporaryFolder;

namespace {

using Proteins = std::vector<std::pair<std::string, std::string>>; // id, letters

Proteins random_proteins(std::size_t count, std::uint64_t seed, std::size_t longest = 300) {
    std::mt19937_64 random(seed);
    Proteins proteins;
    for (std::size_t i = 0; i < count; ++i)
        proteins.emplace_back("sp|" + std::to_string(i) + "/A", test::random_protein(random, random() % (longest + 1)));
    return proteins;
}

StoreCounts write_store(std::filesystem::path const &path, Proteins const &proteins, StoreOptions options = {},
                        Vocabulary const &vocabulary = Vocabulary::protbert()) {
    StoreWriter writer(path, vocabulary, options);
    for (auto const &[id, letters] : proteins)
        writer.add(id, encode(vocabulary, letters));
    return writer.commit();
}

Proteins contents(TokenStore const &store, Subset subset) {
    Proteins proteins;
    for (std::uint64_t i = subset.first; i < subset.first + subset.count; ++i)
        proteins.emplace_back(store.id(i), decode(store.vocabulary(), store.tokens(i)));
    return proteins;
}

std::set<std::string> sequences(Proteins const &proteins) {
    std::set<std::string> result;
    for (auto const &[id, letters] : proteins)
        result.insert(letters);
    return result;
}

TokenStore open(std::string const &bytes, StoreCheck what = StoreCheck::automatic) {
    return TokenStore::from_memory(std::as_bytes(std::span(bytes)), what, "x.store");
}

} // namespace

BOOST_AUTO_TEST_SUITE(store)

BOOST_AUTO_TEST_CASE(xxh64_has_the_published_values) {
    auto const hash = [](std::string_view text, std::uint64_t seed = 0) {
        return detail::xxh64(text.data(), text.size(), seed);
    };
    BOOST_TEST(hash("") == 0xEF46DB3751D8E999ull);
    BOOST_TEST(hash("a") == 0xD24EC4F1A98C6E5Bull);
    BOOST_TEST(hash("abc") == 0x44BC2CF5AD770999ull);
    BOOST_TEST(hash("Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1ull);
    BOOST_TEST(hash("Nobody inspects the spammish repetition", 1) != 0xFBCEA83C8A378BF1ull);
    std::string text;
    std::mt19937_64 random(1);
    for (int i = 0; i < 300; ++i) {
        text.push_back(static_cast<char>(random()));
        detail::Xxh64 parts;
        for (std::size_t at = 0, part = 0; at < text.size(); at += part) {
            part = std::min<std::size_t>(random() % 70, text.size() - at);
            parts.update(text.data() + at, part);
        }
        BOOST_TEST(parts.digest() == hash(text));
    }
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read) {
    TemporaryFolder const folder;
    for (std::size_t count : {0u, 1u, 2u, 500u}) {
        Proteins const proteins = random_proteins(count, count);
        StoreCounts const counts = write_store(folder / "s", proteins);
        TokenStore const store(folder / "s", StoreCheck::full);
        BOOST_CHECK(contents(store, store.all()) == proteins);
        BOOST_CHECK(store.training() == store.all());
        BOOST_TEST(store.held_out().count == 0u);
        BOOST_CHECK(store.counts() == counts);
        BOOST_CHECK(store.vocabulary() == Vocabulary::protbert());
        check_error([&] { store.tokens(count); }, "sequence " + std::to_string(count) + " of");
    }
    BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1); // nothing left beside it
}

BOOST_AUTO_TEST_CASE(large_stores_go_through_side_files) {
    TemporaryFolder const folder;
    Proteins proteins = random_proteins(150'000, 4, 60);
    for (auto &[id, letters] : proteins)
        id += std::string(30, 'i');
    write_store(folder / "s", proteins, {.held_out = 0.5});
    TokenStore const store(folder / "s", StoreCheck::full);
    Proteins both = contents(store, store.training());
    BOOST_TEST(both.size() > 70'000u);
    BOOST_TEST(both.size() < 80'000u);
    Proteins const held_out = contents(store, store.held_out());
    both.insert(both.end(), held_out.begin(), held_out.end());
    std::sort(both.begin(), both.end());
    std::sort(proteins.begin(), proteins.end());
    BOOST_CHECK(both == proteins);
}

BOOST_AUTO_TEST_CASE(the_split_depends_on_the_sequence_and_the_seed_only) {
    TemporaryFolder const folder;
    Proteins proteins = random_proteins(5000, 7);
    write_store(folder / "a", proteins, {.held_out = 0.1});
    TokenStore const a(folder / "a");
    std::set<std::string> const held_out = sequences(contents(a, a.held_out()));
    std::set<std::string> const training = sequences(contents(a, a.training()));
    double const expected = 0.1 * static_cast<double>(training.size() + held_out.size());
    BOOST_TEST(std::abs(static_cast<double>(held_out.size()) - expected) < 3 * std::sqrt(0.9 * expected));
    for (std::string const &letters : held_out)
        BOOST_TEST(training.count(letters) == 0u);

    // Half of the proteins, in another order, deduplicated, in a vocabulary of another order: the same side for each.
    std::reverse(proteins.begin(), proteins.end());
    proteins.resize(2500);
    std::vector<std::string> pieces = Vocabulary::protbert().pieces;
    std::reverse(pieces.begin(), pieces.end());
    write_store(folder / "b", proteins, {.held_out = 0.1, .deduplicate = true}, Vocabulary::from_pieces(pieces));
    TokenStore const b(folder / "b");
    for (auto const &[id, letters] : contents(b, b.held_out()))
        BOOST_TEST(held_out.count(letters) == 1u);
    for (auto const &[id, letters] : contents(b, b.training()))
        BOOST_TEST(training.count(letters) == 1u);

    write_store(folder / "c", proteins, {.held_out = 0.1, .split_seed = 1});
    TokenStore const c(folder / "c");
    BOOST_CHECK(sequences(contents(c, c.held_out())) != sequences(contents(b, b.held_out())));
    write_store(folder / "d", proteins, {.held_out = 1});
    BOOST_TEST(TokenStore(folder / "d").training().count == 0u);
    check_error([&] { write_store(folder / "e", {}, {.held_out = 1.5}); }, "held_out is 1.5");
}

BOOST_AUTO_TEST_CASE(duplicates_are_left_out) {
    TemporaryFolder const folder;
    Proteins proteins = random_proteins(3000, 8, 3); // short ones: many are equal
    StoreCounts const counts = write_store(folder / "s", proteins, {.deduplicate = true});
    TokenStore const store(folder / "s");
    BOOST_CHECK(sequences(contents(store, store.all())) == sequences(proteins));
    BOOST_TEST(store.size() == sequences(proteins).size());
    BOOST_TEST(counts.duplicates == proteins.size() - store.size());
    BOOST_TEST(store.id(0) == proteins[0].first); // the first of equal ones stays
    detail::SequenceSet set;
    BOOST_TEST(set.insert({0, 0}));
    BOOST_TEST(!set.insert({0, 0}));
    BOOST_TEST(set.insert({0, 1}));
    BOOST_TEST(set.insert({1, 0}));
    BOOST_TEST(!set.insert({0, 1}));
    BOOST_TEST(set.size() == 3u);
}

BOOST_AUTO_TEST_CASE(an_interrupted_write_leaves_the_old_store) {
    TemporaryFolder const folder;
    Proteins const old = random_proteins(10, 1);
    write_store(folder / "s", old);
    {
        StoreWriter writer(folder / "s", Vocabulary::protbert());
        for (auto const &[id, letters] : random_proteins(20'000, 2))
            writer.add(id, encode(Vocabulary::protbert(), letters));
        // What a kill would leave is no store, whatever has reached the disk.
        check_error([&] { TokenStore(folder / "s.partial"); }, "not a protlm token store");
    }
    TokenStore const store(folder / "s");
    BOOST_CHECK(contents(store, store.all()) == old);
    BOOST_TEST(!std::filesystem::exists(folder / "s.partial"));
    check_error([&] { StoreWriter(folder / "none/s", Vocabulary::protbert()); }, "none/s");
}

BOOST_AUTO_TEST_CASE(the_room_that_is_still_needed_is_known) {
    TemporaryFolder const folder;
    StoreWriter writer(folder / "s", Vocabulary::protbert());
    for (int i = 0; i < 10; ++i)
        writer.add("id", encode(Vocabulary::protbert(), "MKTAY"));
    // Of 50 residues, 10 index entries and 20 letters of ids: index and ids twice at the end, once now.
    BOOST_TEST(writer.room_to_go(1) == 180.0);
    BOOST_TEST(writer.room_to_go(0.1) == 10 * (50 + 2 * 180) - (50 + 180));
    writer.check_room(0.1);
    check_error([&] { writer.check_room(1e-12); }, "s: needs about 4099");
    StoreWriter fewer(folder / "t", Vocabulary::protbert(), {.deduplicate = true});
    fewer.add("id", encode(Vocabulary::protbert(), "MKTAY"));
    fewer.check_room(1e-18);
}

BOOST_AUTO_TEST_CASE(a_store_is_recognised) {
    TemporaryFolder const folder;
    write_store(folder / "s", random_proteins(3, 1));
    BOOST_TEST(TokenStore::recognise(folder / "s"));
    BOOST_TEST(!TokenStore::recognise(folder.write("text", "PLMSTOR")));
    BOOST_TEST(!TokenStore::recognise(folder.path()));
    BOOST_TEST(!TokenStore::recognise(folder / "none"));
}

BOOST_AUTO_TEST_CASE(every_truncation_and_every_changed_byte_is_noticed) {
    TemporaryFolder const folder;
    Proteins const proteins = random_proteins(12, 3, 20);
    write_store(folder / "s", proteins, {.held_out = 0.3});
    std::string const good = read_file(folder / "s");
    BOOST_CHECK_NO_THROW(open(good));
    for (std::size_t size = 0; size < good.size(); ++size)
        for (StoreCheck const what : {StoreCheck::quick, StoreCheck::full})
            BOOST_CHECK_THROW(open(good.substr(0, size), what), Error);
    BOOST_CHECK_THROW(open(good + "x"), Error);

    TokenStore const original = open(good);
    std::size_t noticed = 0;
    for (std::size_t at = 0; at < good.size(); ++at)
        for (int bit : {0, 7}) {
            std::string bad = good;
            bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
            try {
                TokenStore const store = open(bad);
                BOOST_CHECK(contents(store, store.all()) == contents(original, original.all())); // only padding differs
            } catch (Error const &error) {
                BOOST_TEST(std::string(error.what()).starts_with("x.store: "));
                ++noticed;
            }
        }
    BOOST_TEST(noticed > 2 * (good.size() - 4 * detail::store_alignment));
}

BOOST_AUTO_TEST_CASE(errors_say_what_is_wrong) {
    TemporaryFolder const folder;
    write_store(folder / "s", random_proteins(12, 3, 20));
    std::string const good = read_file(folder / "s");
    check_error([&] { open(good.substr(0, good.size() - 1)); }, "x.store: has " + std::to_string(good.size() - 1) +
                                                                    " bytes, expected " + std::to_string(good.size()) +
                                                                    " (truncated?)");
    check_error([] { open(">a\nMKT\n"); }, "x.store: not a protlm token store");
    check_error([&] { TokenStore(folder / "none"); }, "none: cannot open");
    std::string bad = good;
    bad[8] = 9;
    check_error([&] { open(bad); }, "version 9 of the token store, expected 1");
    bad = good;
    bad[40] = static_cast<char>(bad[40] + 1);
    check_error([&] { open(bad); }, "damaged header");
    bad = good;
    auto const header = detail::read_as<detail::StoreHeader>(good.data());
    char &residue = bad[header.section[detail::residues_section].offset];
    residue = static_cast<char>(residue ^ 1);
    check_error([&] { open(bad); }, "section residues is damaged");
    BOOST_CHECK_NO_THROW(open(bad, StoreCheck::quick)); // reads headers only
    check_error([&] { open(bad, StoreCheck::quick).verify(); }, "section residues is damaged");
    bad = good;
    bad[header.section[detail::index_section].offset + 16 + 7] = 0x7F;
    check_error([&] { open(bad, StoreCheck::quick).tokens(0); }, "damaged index at sequence 0");
}

BOOST_AUTO_TEST_SUITE_END()
