#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/embed/read_proteins.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

EncoderShape const shape{.width = 1, .layers = 1, .heads = 1, .inner = 1, .positions = 12};

struct Read {
    Proteins proteins;
    ReadReport report;
};

Read read(std::string const &text, ReadOptions const &options = {}) {
    TemporaryFolder const folder;
    Read result;
    result.proteins =
        read_proteins({folder.write("a.fasta", text).string()}, Vocabulary::protbert(), options, result.report);
    return result;
}

BOOST_AUTO_TEST_SUITE(proteins)

BOOST_AUTO_TEST_CASE(ids_are_headers_as_given_or_their_first_words) {
    std::string const text = ">sp|P1/2 some name = x\nMKT\n>b/c\td\nAA\nCC\n>\nM\n";
    auto const whole = read(text).proteins;
    BOOST_TEST(whole.ids() == (std::vector<std::string>{"sp|P1/2 some name = x", "b/c\td", ""}),
               boost::test_tools::per_element());
    auto const words = read(text, {.ids = ProteinIds::word}).proteins;
    BOOST_TEST(words.ids() == (std::vector<std::string>{"sp|P1/2", "b/c", ""}), boost::test_tools::per_element());
    BOOST_TEST(whole.lengths() == (std::vector<index_t>{3, 4, 1}), boost::test_tools::per_element());
    BOOST_TEST(decode(Vocabulary::protbert(), whole.tokens(1)) == "AACC");
    BOOST_TEST(whole.residues() == 8);
    BOOST_TEST(whole.residues(std::vector<index_t>{2, 0}) == 4);
    BOOST_TEST(whole.longest() == 4);
}

BOOST_AUTO_TEST_CASE(long_proteins_are_errors_cut_or_left_out_and_never_silently) {
    std::string const text = ">a\nMKTAY\n>b\nMKT\n>c\nMKTAYIA\n";
    BOOST_TEST(message_of([&] { read(text, {.max_length = 4}); }) ==
               "protein a has 5 residues, but the limit is 4; on_long decides: windows, cut or skip");
    auto const cut = read(text, {.max_length = 4, .on_long = LongProteins::cut});
    BOOST_TEST(cut.proteins.lengths() == (std::vector<index_t>{4, 3, 4}), boost::test_tools::per_element());
    BOOST_TEST(decode(Vocabulary::protbert(), cut.proteins.tokens(2)) == "MKTA");
    BOOST_TEST(warnings(cut.report, cut.proteins, 4) ==
                   std::vector<std::string>{"proteins longer than 4 residues, cut: 2 (a (5 residues), c (7 residues))"},
               boost::test_tools::per_element());
    auto const skipped = read(text, {.max_length = 4, .on_long = LongProteins::skip});
    BOOST_TEST(skipped.proteins.ids() == std::vector<std::string>{"b"}, boost::test_tools::per_element());
    BOOST_TEST(
        warnings(skipped.report, skipped.proteins, 4) ==
            std::vector<std::string>{"proteins longer than 4 residues, left out: 2 (a (5 residues), c (7 residues))"},
        boost::test_tools::per_element());
    auto const windows = read(text, {.max_length = 4, .on_long = LongProteins::windows});
    BOOST_TEST(windows.proteins.lengths() == (std::vector<index_t>{5, 3, 7}), boost::test_tools::per_element());
    BOOST_TEST(warnings(windows.report, windows.proteins, 4) ==
                   std::vector<std::string>{"proteins longer than 4 residues, embedded in overlapping windows: 2 (a (5 "
                                            "residues), c (7 residues))"},
               boost::test_tools::per_element());
    auto const all = read(text);
    BOOST_TEST(all.proteins.size() == 3);
    BOOST_TEST(warnings(all.report, all.proteins, 0).empty());
}

BOOST_AUTO_TEST_CASE(the_limit_is_the_models_or_less) {
    BOOST_TEST(length_limit(shape, 2, 0) == 10);
    BOOST_TEST(length_limit(shape, 2, 7) == 7);
    BOOST_TEST(message_of([] { length_limit(shape, 2, 11); }) ==
               "max-length is 11 residues, but the model has 12 positions, which is 10 residues and 2 special tokens");
    BOOST_TEST(message_of([] { length_limit(shape, 2, -1); }) == "max-length is -1, expected at least 0");
    BOOST_TEST(length_limit(EncoderShape{}, 2, 0) == 0);
    BOOST_TEST(length_limit(EncoderShape{}, 2, 99) == 99);
}

BOOST_AUTO_TEST_CASE(duplicate_ids_are_an_error_unless_they_are_kept) {
    std::string const text = ">a x\nMK\n>b\nM\n>a x\nMM\n>a y\nM\n>b\nA\n";
    BOOST_TEST(message_of([&] { read(text); }) ==
               "ids that more than one protein has: 2 (a x, b); duplicates decides: keep or first");
    BOOST_TEST(message_of([&] { read(">a x\nM\n>a y\nK\n", {.ids = ProteinIds::word}); }) ==
               "ids that more than one protein has (parts of their headers): 1 (a); duplicates decides: keep or first");
    BOOST_TEST(read(">a x\nM\n>a y\nK\n").proteins.size() == 2);
    auto const kept = read(text, {.duplicates = DuplicateIds::keep});
    BOOST_TEST(kept.proteins.ids() == (std::vector<std::string>{"a x", "b", "a x", "a y", "b"}),
               boost::test_tools::per_element());
    BOOST_TEST(warnings(kept.report, kept.proteins, 0) ==
                   std::vector<std::string>{"ids that occur more than once, all kept in the order of the input: 2 "
                                            "(a x, b)"},
               boost::test_tools::per_element());
    auto const first = read(text, {.duplicates = DuplicateIds::first});
    BOOST_TEST(first.proteins.ids() == (std::vector<std::string>{"a x", "b", "a y"}), boost::test_tools::per_element());
    BOOST_TEST(first.proteins.lengths() == (std::vector<index_t>{2, 1, 1}), boost::test_tools::per_element());
    BOOST_TEST(warnings(first.report, first.proteins, 0) ==
                   std::vector<std::string>{"proteins whose ids came before, left out: 2"},
               boost::test_tools::per_element());
    std::string many;
    for (int i = 0; i < 14; ++i)
        many += ">p" + std::to_string(i % 7) + "\nM\n";
    BOOST_TEST(message_of([&] { read(many); }) ==
               "ids that more than one protein has: 7 (p0, p1, p2, p3, p4, ...); duplicates decides: keep or first");
    // what is left out does not count, and several files are one input
    BOOST_TEST(read(">a\n>a\nM\n").proteins.size() == 1);
    TemporaryFolder const folder;
    auto const one = folder.write("1.fasta", ">a\nM\n").string(), second = folder.write("2.fasta", ">a\nK").string();
    ReadReport report;
    BOOST_TEST(message_of([&] {
                   read_proteins({one, second}, Vocabulary::protbert(), {}, report);
               }) == "ids that more than one protein has: 1 (a); duplicates decides: keep or first");
}

BOOST_AUTO_TEST_CASE(empty_records_are_left_out_kept_or_an_error_and_never_silently) {
    std::string const text = ">a\n>b\nM\n>c\n\n>d\n-*\n";
    auto const skipped = read(text);
    BOOST_TEST(skipped.proteins.ids() == std::vector<std::string>{"b"}, boost::test_tools::per_element());
    BOOST_TEST(warnings(skipped.report, skipped.proteins, 0) ==
                   std::vector<std::string>{"records without residues, left out: 3 (a, c, d)"},
               boost::test_tools::per_element());
    auto const kept = read(text, {.on_empty = EmptyRecords::keep});
    BOOST_TEST(kept.proteins.lengths() == (std::vector<index_t>{0, 1, 0, 0}), boost::test_tools::per_element());
    BOOST_TEST(warnings(kept.report, kept.proteins, 0) ==
                   std::vector<std::string>{"records without residues, whose vectors are zeros: 3 (a, c, d)"},
               boost::test_tools::per_element());
    BOOST_TEST(message_of([&] { read(text, {.on_empty = EmptyRecords::error}); }) ==
               "protein \"a\" has no residues; empty decides: skip or keep");
    std::string many;
    for (int i = 0; i < 8; ++i)
        many += ">p" + std::to_string(i) + "\n";
    auto const eight = read(many);
    BOOST_TEST(warnings(eight.report, eight.proteins, 0) ==
                   std::vector<std::string>{"records without residues, left out: 8 (p0, p1, p2, p3, p4, ...)"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(ids_can_be_accessions) {
    for (auto const &[word, accession] :
         std::vector<std::pair<std::string, std::string>>{{"sp|P12345|AATM_RABIT", "P12345"},
                                                          {"tr|A0A024R161|A0A024R161_HUMAN", "A0A024R161"},
                                                          {"gi|15674171|ref|NP_268346.1|", "NP_268346.1"},
                                                          {"ref|NP_268346.1|", "NP_268346.1"},
                                                          {"pdb|1ABC|A", "1ABC_A"},
                                                          {"pdb|1ABC|", "1ABC"},
                                                          {"gi|640|pdb|1ABC|B", "1ABC_B"},
                                                          {"P12345", "P12345"},
                                                          {"UniRef50_P12345", "UniRef50_P12345"},
                                                          {"d1dlwa_", "d1dlwa_"},
                                                          {"my|own|name", "my|own|name"},
                                                          {"sp|", "sp|"},
                                                          {"sp||X", "sp||X"},
                                                          {"|", "|"},
                                                          {"", ""}})
        BOOST_TEST(accession_of(word) == accession, word);
    auto const ids = read(">sp|P1|A_B name\nMK\n>sp|P2-2|A_B\nM\n", {.ids = ProteinIds::accession}).proteins.ids();
    BOOST_TEST(ids == (std::vector<std::string>{"P1", "P2-2"}), boost::test_tools::per_element());
}

// biotrainer_core/functions/hashing.py: sha256(f"{sequence}_{len(sequence)}")
BOOST_AUTO_TEST_CASE(ids_can_be_hashes_of_sequences) {
    auto const hashed =
        read(">a\nMKTAYUZOBX\n>b\nmktay\nuzobx\n>c\nMKTAYXXXXX*\n>d\nM1J\n",
             {.fasta = {InvalidLetters::mask}, .duplicates = DuplicateIds::keep, .ids = ProteinIds::sequence_hash});
    BOOST_TEST(hashed.proteins.id(0) == "ff2c37485b4e418e44b40d26a3f4be9d85de1a6d520b056165bef0129f3733f5");
    BOOST_TEST(hashed.proteins.id(1) == hashed.proteins.id(0));
    BOOST_TEST(hashed.proteins.id(2) == "b005594ffdba146d3aeeb0f7a89de3fd91ea4d4c9d28fac53e7a43321b4917d1");
    BOOST_TEST(hashed.proteins.id(3) == sequence_hash("MXX"));
    auto const vocabulary = Vocabulary::protbert(); // the model sees what it would see under any name
    BOOST_TEST(decode(vocabulary, hashed.proteins.tokens(0)) == "MKTAYXXXXX");
    BOOST_TEST(decode(vocabulary, hashed.proteins.tokens(3)) == "MXX");
    BOOST_TEST(hashed.report.counts.masked == 2u);
    BOOST_TEST(message_of([] {
                   read(">a\nMKJ\n", {.ids = ProteinIds::sequence_hash});
               }).find(":2:3: letter 'J' (record a) is not in the alphabet") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(ids_are_utf8_and_may_be_missing) {
    auto const text = read(">prot\xE9ine \xB5\nM\n>prot\xC3\xA9ine\nM\n>  spaced name\nM\n>\nM\n");
    BOOST_TEST(text.proteins.ids() ==
                   (std::vector<std::string>{"prot\xC3\xA9ine \xC2\xB5", "prot\xC3\xA9ine", "spaced name", ""}),
               boost::test_tools::per_element());
    BOOST_TEST(
        warnings(text.report, text.proteins, 0) ==
            (std::vector<std::string>{"headers that are no UTF-8, taken for Latin-1: 1", "proteins without a name: 1"}),
        boost::test_tools::per_element());
    BOOST_TEST(read(">  spaced name\nM\n", {.ids = ProteinIds::word}).proteins.id(0) == "spaced");
    BOOST_TEST(message_of([] { read(">\nM\n>\nK\n"); }) ==
               "ids that more than one protein has: 1 (no name); duplicates decides: keep or first");
    auto const dna = read(">a\n" + std::string(1000, 'G') + "\n");
    BOOST_REQUIRE(warnings(dna.report, dna.proteins, 0).size() == 1u);
    BOOST_TEST(warnings(dna.report, dna.proteins, 0)[0].ends_with(
        "a.fasta: all residues are A, C, G, T, U or N: is it DNA or RNA?"));
}

BOOST_AUTO_TEST_CASE(masked_letters_are_told) {
    auto const odd = read(">a\nM1K\n>c\nM\n", {.fasta = {InvalidLetters::mask}});
    BOOST_TEST(decode(Vocabulary::protbert(), odd.proteins.tokens(0)) == "MXK");
    BOOST_TEST(warnings(odd.report, odd.proteins, 0) ==
                   std::vector<std::string>{"letters outside the alphabet, read as X: 1"},
               boost::test_tools::per_element());
    BOOST_TEST(message_of([] { read(">a\nM1K\n"); }).find(":2:2: letter '1' (record a) is not in the alphabet") !=
               std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
