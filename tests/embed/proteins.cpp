#include <embed/models.hpp>
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

BOOST_AUTO_TEST_CASE(repeated_ids_empty_records_and_masked_letters_are_told) {
    auto const odd = read(">a\nM1K\n>b\n>a\nMM\n>a\nM\n>c\nM\n>b\nA\n", {.fasta = {InvalidLetters::mask}});
    BOOST_TEST(odd.proteins.size() == 6);
    BOOST_TEST(odd.proteins.repeated_ids() == (std::vector<std::string>{"a", "b"}), boost::test_tools::per_element());
    BOOST_TEST(
        warnings(odd.report, odd.proteins, 0) ==
            (std::vector<std::string>{"records without residues, whose vectors are zeros: 1",
                                      "letters outside the alphabet, read as X: 1",
                                      "ids that occur more than once, all kept in the order of the input: 2 (a, b)"}),
        boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
