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
    auto const words = read(text, {.whole_header = false}).proteins;
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
               "protein a has 5 residues, but the limit is 4; long proteins can be cut or skipped");
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
               "ids that more than one protein has: 2 (a x, b); duplicates can be kept");
    BOOST_TEST(message_of([&] { read(">a x\nM\n>a y\nK\n", {.whole_header = false}); }) ==
               "ids that more than one protein has: 1 (a); duplicates can be kept");
    BOOST_TEST(read(">a x\nM\n>a y\nK\n").proteins.size() == 2);
    auto const kept = read(text, {.duplicates = DuplicateIds::keep});
    BOOST_TEST(kept.proteins.ids() == (std::vector<std::string>{"a x", "b", "a x", "a y", "b"}),
               boost::test_tools::per_element());
    BOOST_TEST(warnings(kept.report, kept.proteins, 0) ==
                   std::vector<std::string>{"ids that occur more than once, all kept in the order of the input: 2 "
                                            "(a x, b)"},
               boost::test_tools::per_element());
    std::string many;
    for (int i = 0; i < 14; ++i)
        many += ">p" + std::to_string(i % 7) + "\nM\n";
    BOOST_TEST(message_of([&] { read(many); }) ==
               "ids that more than one protein has: 7 (p0, p1, p2, p3, p4, ...); duplicates can be kept");
    // what is left out does not count, and several files are one input
    BOOST_TEST(read(">a\n>a\nM\n").proteins.size() == 1);
    TemporaryFolder const folder;
    auto const first = folder.write("1.fasta", ">a\nM\n").string(), second = folder.write("2.fasta", ">a\nK").string();
    ReadReport report;
    BOOST_TEST(message_of([&] {
                   read_proteins({first, second}, Vocabulary::protbert(), {}, report);
               }) == "ids that more than one protein has: 1 (a); duplicates can be kept");
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
               "protein \"a\" has no residues; empty records can be skipped or kept");
    std::string many;
    for (int i = 0; i < 8; ++i)
        many += ">p" + std::to_string(i) + "\n";
    auto const eight = read(many);
    BOOST_TEST(warnings(eight.report, eight.proteins, 0) ==
                   std::vector<std::string>{"records without residues, left out: 8 (p0, p1, p2, p3, p4, ...)"},
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(masked_letters_are_told) {
    auto const odd = read(">a\nM1K\n>c\nM\n", {.fasta = {InvalidLetters::mask}});
    BOOST_TEST(decode(Vocabulary::protbert(), odd.proteins.tokens(0)) == "MXK");
    BOOST_TEST(warnings(odd.report, odd.proteins, 0) ==
                   std::vector<std::string>{"letters outside the alphabet, read as X: 1"},
               boost::test_tools::per_element());
    BOOST_TEST(message_of([] { read(">a\nM1K\n"); }).ends_with(":2:2: letter '1' (record a) is not in the alphabet"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
