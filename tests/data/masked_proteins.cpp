#include <protlm/data/fasta_writer.hpp>
#include <protlm/data/masked_proteins.hpp>

#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

/// Pieces of tokens, sentinels as <0>, <1>, ...
std::string shown(std::vector<std::int32_t> const &tokens) {
    static Vocabulary const vocabulary = Vocabulary::prott5();
    std::string text;
    for (std::int32_t const token : tokens)
        text += vocabulary.is_special(token) ? '<' + std::to_string(127 - token) + '>'
                                             : std::string(1, vocabulary.letter(token));
    return text;
}

BOOST_AUTO_TEST_SUITE(masked_proteins)

BOOST_AUTO_TEST_CASE(open_residues_become_sentinels) {
    TemporaryFolder const folder;
    auto const file = folder.write("in.fasta", ">P1 some text\nMK??A\n?--X\n>P2\nACD\n>P3\n????\n").string();
    auto const vocabulary = Vocabulary::prott5();
    auto const proteins = read_masked_proteins({file}, vocabulary, "?", false);
    BOOST_REQUIRE(proteins.size() == 3u);
    BOOST_TEST(proteins[0].id == "P1");
    BOOST_TEST(shown(proteins[0].tokens) == "MK<0><0>A<0>X"); // '-' is a gap of an alignment
    BOOST_TEST(shown(proteins[1].tokens) == "ACD");
    BOOST_TEST(shown(proteins[2].tokens) == "<0><0><0><0>");
    auto const others = read_masked_proteins({file}, vocabulary, "?X-", false);
    BOOST_TEST(shown(others[0].tokens) == "MK<0><0>A<0><0><0><0>");
    auto const spans = read_masked_proteins({file}, vocabulary, "?X", true);
    BOOST_TEST(shown(spans[0].tokens) == "MK<0>A<1>");
    BOOST_TEST(shown(spans[2].tokens) == "<0>");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read_is_told) {
    TemporaryFolder const folder;
    std::string many = ">P1\n";
    for (int i = 0; i < 101; ++i)
        many += "A?";
    auto const file = folder.write("in.fasta", many).string();
    BOOST_TEST(message_of([&] { read_masked_proteins({file}, Vocabulary::prott5(), "?", true); }) ==
               "read_masked_proteins: P1 has more than 100 masked spans, as many as there are sentinels");
    BOOST_TEST(read_masked_proteins({file}, Vocabulary::prott5(), "?", false)[0].tokens.size() == 202u);
    BOOST_TEST(message_of([&] { read_masked_proteins({file}, Vocabulary::protbert(), "?", false); }) ==
               "read_masked_proteins: the vocabulary has no <extra_id_0> for masked residues");
    BOOST_TEST(message_of([&] { read_masked_proteins({file}, Vocabulary::prott5(), "X", false); }) ==
               file + ":2:2: letter '?' (record P1) is not in the alphabet; invalid decides: mask");
    FastaCounts counts;
    auto const masked = read_masked_proteins({file}, Vocabulary::prott5(), "", false, {InvalidLetters::mask}, &counts);
    BOOST_TEST(masked.size() == counts.records);
    BOOST_TEST(counts.masked > 0u);
}

BOOST_AUTO_TEST_CASE(without_letters_to_mask_any_vocabulary_will_do) {
    TemporaryFolder const folder;
    auto const file = folder.write("in.fasta", ">P1\nM-K\n>P2\nX\n").string();
    auto const vocabulary = Vocabulary::protbert();
    auto const proteins = read_masked_proteins({file}, vocabulary, "", false);
    std::vector<std::int32_t> const expected{vocabulary.residue_table['M'], vocabulary.residue_table['K']};
    BOOST_TEST(proteins[0].tokens == expected, boost::test_tools::per_element());
    PackedProteins const packed(proteins, 3);
    std::vector<std::int32_t> const tokens{expected[0], expected[1], 3, vocabulary.residue_table['X'], 3};
    BOOST_TEST(packed.tokens == tokens, boost::test_tools::per_element());
    BOOST_TEST(packed.offsets == (std::vector<std::int64_t>{0, 3, 5}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(unwanted_tokens_are_special_ones_and_some_letters) {
    auto const vocabulary = Vocabulary::prott5();
    std::vector<std::int32_t> const kept{1, 127};
    auto const unwanted = unwanted_tokens(vocabulary, 130, "XA", kept);
    for (std::int32_t token = 0; token < 130; ++token) {
        bool const letter = !vocabulary.is_special(token);
        bool const expected =
            letter ? vocabulary.letter(token) == 'X' || vocabulary.letter(token) == 'A' : token != 1 && token != 127;
        BOOST_TEST((std::count(unwanted.begin(), unwanted.end(), token) == 1) == expected);
    }
}

BOOST_AUTO_TEST_CASE(proteins_are_written_in_lines_without_special_tokens) {
    TemporaryFolder const folder;
    auto const vocabulary = Vocabulary::prott5();
    std::vector<std::int32_t> tokens{0};
    for (int i = 0; i < 61; ++i)
        tokens.push_back(vocabulary.residue_table['M']);
    tokens.insert(tokens.end(), {127, vocabulary.residue_table['K'], 1});
    {
        AtomicFile file(folder / "out.fasta");
        write_fasta(file, "P1 made up", vocabulary, tokens);
        write_fasta(file, "P2", vocabulary, std::vector<std::int32_t>{0, 1});
        file.commit();
    }
    BOOST_TEST(read_file(folder / "out.fasta") == ">P1 made up\n" + std::string(60, 'M') + "\nMK\n>P2\n");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
