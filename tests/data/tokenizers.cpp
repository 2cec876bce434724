#include <protlm/data/sentencepiece_model.hpp>
#include <protlm/data/tokenizer_json.hpp>
#include <protlm/data/vocabulary.hpp>

#include "support.hpp"
#include "support/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

using protlm::test::check_error;

namespace {

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "tokenizers";

protlm::SentencePieceModel parse(std::string const &bytes) {
    return protlm::parse_sentencepiece_model(std::as_bytes(std::span(bytes)), "x.model");
}

/// A length-delimited field.
std::string field(int number, std::string const &content) {
    return std::string{char(number << 3 | 2), char(content.size())} + content;
}

std::string piece(std::string const &text, char type = 1) {
    return field(1, field(1, text) + std::string("\x15\0\0\x80\x3F\x18", 6) + type); // score 1.0, type
}

protlm::TokenizerJson parse_json(std::string const &text) {
    return protlm::parse_tokenizer_json(nlohmann::json::parse(text), "t.json");
}

} // namespace

BOOST_AUTO_TEST_SUITE(tokenizers)

BOOST_AUTO_TEST_CASE(pieces_of_real_sentencepiece_models) {
    auto const t5 = protlm::read_sentencepiece_model(fixtures / "t5/spiece.model");
    auto const expected = protlm::Vocabulary::prott5().pieces;
    BOOST_TEST(t5.pieces == std::vector(expected.begin(), expected.begin() + 28), boost::test_tools::per_element());
    BOOST_TEST(t5.unknown == 2);
    auto const xlnet = protlm::read_sentencepiece_model(fixtures / "xlnet/spiece.model");
    BOOST_TEST(xlnet.pieces.size() == 37u);
    BOOST_TEST(xlnet.unknown == 0);
    auto const special = protlm::Vocabulary::protxlnet().pieces;
    BOOST_TEST(std::vector(xlnet.pieces.begin(), xlnet.pieces.begin() + 17) ==
                   std::vector(special.begin(), special.begin() + 17),
               boost::test_tools::per_element());
    auto const albert = protlm::read_sentencepiece_model(fixtures / "albert/spiece.model");
    BOOST_TEST(albert.pieces.size() == 34u);
    BOOST_TEST(albert.unknown == 1);
}

BOOST_AUTO_TEST_CASE(fields_that_are_not_needed_are_passed_over) {
    std::string const others = field(2, "settings") + std::string("\x38\xFF\xFF\x03", 4) +
                               std::string("\x29"
                                           "12345678",
                                           9) +
                               std::string("\x35"
                                           "1234",
                                           5);
    auto const model = parse(others + piece("<unk>", 2) + others + piece("A") + field(1, field(1, "C")) + others);
    BOOST_TEST(model.pieces == (std::vector<std::string>{"<unk>", "A", "C"}), boost::test_tools::per_element());
    BOOST_TEST(model.unknown == 0);
}

BOOST_AUTO_TEST_CASE(every_truncation_of_a_model_is_an_error_or_has_fewer_pieces) {
    std::string const whole = protlm::test::read_file(fixtures / "albert/spiece.model");
    std::size_t before = 0;
    for (std::size_t size = 0; size < whole.size(); ++size)
        try {
            auto const count = parse(whole.substr(0, size)).pieces.size();
            BOOST_TEST((count >= before && count <= 34));
            before = count;
        } catch (protlm::Error const &error) {
            BOOST_TEST(std::string(error.what()).starts_with("x.model: "));
        }
    BOOST_TEST(before == 34u); // behind the pieces stand settings only
}

BOOST_AUTO_TEST_CASE(damaged_models_are_named_errors) {
    check_error([] { parse(""); }, "x.model: holds no pieces");
    check_error([] { parse(field(2, "settings")); }, "x.model: holds no pieces");
    check_error(
        [] {
            parse(std::string("\x0A\x05"
                              "ab",
                              4));
        },
        "byte 1: field 1 has 5 bytes, but only 2 are left: is the file truncated?");
    check_error([] { parse("\x0A"); }, "byte 1: ends inside a number");
    check_error([] { parse("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"); }, "are left");
    check_error([] { parse("\x38\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"); }, "more than 64 bits");
    check_error([] { parse("\x0B"); }, "byte 0: field 1 has wire type 3");
    check_error([] { parse(std::string(1, '\0')); }, "byte 0: field number 0");
    check_error([] { parse("\x08\x01"); }, "byte 1: field 1 has wire type 0, expected 2");
    check_error([] { parse("{\"version\": 1}"); }, "this is no SentencePiece model");
    check_error(
        [] {
            parse("\x25"
                  "12");
        },
        "field 4 has 4 bytes, but only 2 are left");
    check_error([] { parse(piece("")); }, "piece 0 is empty");
    check_error([] { parse(piece("A", 7)); }, "piece 0 has type 7, expected 1 to 6");
    check_error([] { parse(piece("C") + piece("A", 3)); }, "piece 1 is the residue A, but its type is 3");
    check_error([] { parse(piece("<unk>", 2) + piece("?", 2)); }, "pieces 0 and 1 are both the unknown one");
    // what a message inside says about places counts from the begin of the file
    check_error(
        [] {
            parse(piece("A") + field(1, std::string("\x0A\x09"
                                                    "ab",
                                                    4)));
        },
        "byte 15: field 1 has 9 bytes");
}

BOOST_AUTO_TEST_CASE(a_word_counts_before_a_letter_and_ids_are_in_messages) {
    std::string const word = "\xE2\x96\x81";
    auto const it = protlm::Vocabulary::from_pieces({"A", word + "A", word + "C", "C", "X"}, "m", {}, false);
    BOOST_TEST(int(it.residue_table['A']) == 1);
    BOOST_TEST(int(it.residue_table['c']) == 2);
    BOOST_TEST(int(it.residue_table['X']) == 4);
    check_error(
        [] {
            protlm::Vocabulary::from_pieces({"A", "C", "A"}, "m", {}, false);
        },
        "m: piece 2: piece \"A\" is already piece 0");
}

BOOST_AUTO_TEST_CASE(each_model_of_a_tokenizer_json) {
    auto const words = parse_json(R"({"model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab":
        {"C": 3, "[UNK]": 0, "A": 2}}, "added_tokens": [{"id": 1, "content": "[CLS]"}, {"id": 6, "content": "new"}]})");
    BOOST_TEST(words.pieces ==
                   (std::vector<std::string>{"[UNK]", "[CLS]", "A", "C", "<unused_4>", "<unused_5>", "new"}),
               boost::test_tools::per_element());
    BOOST_TEST(words.unknown == "[UNK]");
    BOOST_TEST(!words.frame);
    auto const unigram = parse_json(R"({"model": {"unk_id": 1, "vocab": [["A", -1.5], ["<unk>", 0]]}})");
    BOOST_TEST(unigram.pieces == (std::vector<std::string>{"A", "<unk>"}), boost::test_tools::per_element());
    BOOST_TEST(unigram.unknown == "<unk>");
    BOOST_TEST(parse_json(R"({"model": {"unk_token": null, "vocab": [["A", 0]]}})").unknown == "");
}

BOOST_AUTO_TEST_CASE(special_tokens_of_each_post_processor) {
    auto const frame = [](std::string const &processor) {
        auto const found =
            parse_json(R"({"model": {"vocab": {"A": 0, "c1": 1, "s1": 2}}, "post_processor": )" + processor + "}")
                .frame;
        std::string text;
        if (found) {
            for (auto const &piece : found->before)
                text += piece + ' ';
            text += "_";
            for (auto const &piece : found->after)
                text += ' ' + piece;
        }
        return text;
    };
    std::string const parts = R"("single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "S"}},
        {"SpecialToken": {"id": "c1"}}], "special_tokens": {"S": {"tokens": ["s1"]}})";
    BOOST_TEST(frame(R"({"type": "TemplateProcessing", )" + parts + "}") == "_ s1 c1");
    BOOST_TEST(frame(R"({"type": "BertProcessing", "sep": ["s1", 2], "cls": ["c1", 1]})") == "c1 _ s1");
    BOOST_TEST(frame(R"({"type": "RobertaProcessing", "sep": ["s1", 2], "cls": ["c1", 1]})") == "c1 _ s1");
    BOOST_TEST(frame(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", )" +
                     parts + "}]}") == "_ s1 c1");
    BOOST_TEST(frame(R"({"type": "ByteLevel"})") == "");
    BOOST_TEST(frame("null") == "");
    check_error([&] { frame(R"({"type": "Other"})"); }, "t.json: post_processor: type is \"Other\"");
    check_error([&] { frame(R"({"type": "TemplateProcessing", "single": []})"); }, "single has the text 0 times");
    check_error([&] { frame(R"({"type": "TemplateProcessing"})"); }, "single is null, expected an array");
    check_error([&] { frame(R"({"type": "TemplateProcessing", "single": [{}]})"); }, "neither SpecialToken nor");
    check_error([&] { frame(R"({"type": "BertProcessing", "sep": ["s1", 2]})"); }, "cls is no pair");
    check_error([&] { frame(R"({"type": "Sequence"})"); }, "processors is null");

    auto it = protlm::Vocabulary::from_pieces({"A", "c1", "s1"});
    it.frame_as(protlm::TokenFrame{{"c1"}, {"s1", "c1"}}, "t.json");
    BOOST_TEST((std::vector{it.begin, it.separator, it.end}) == (std::vector{1, 2, 1}));
    check_error([&] { it.frame_as(protlm::TokenFrame{{"c1", "s1"}, {}}, "t.json"); }, "t.json: puts 2 and 0 special");
    check_error([&] { it.frame_as(protlm::TokenFrame{{"x"}, {}}, "t.json"); }, "the special token \"x\" is not among");
}

BOOST_AUTO_TEST_CASE(damaged_tokenizers_are_named_errors) {
    auto const vocab = [](std::string const &text) { return parse_json(R"({"model": {"vocab": )" + text + "}}"); };
    check_error([] { parse_json("[]"); }, "t.json: is array, expected an object");
    check_error([] { parse_json("{}"); }, "t.json: model is null");
    check_error([&] { vocab("7"); }, "model: vocab is number");
    check_error([&] { vocab("{}"); }, "t.json: holds no pieces");
    check_error([&] { vocab(R"({"A": -1})"); }, "the id of \"A\" is number, expected an integer of at least 0");
    check_error([&] { vocab(R"({"A": 4000000000})"); }, "token \"A\" has the id 4000000000, expected below 262144");
    check_error([&] { vocab(R"({"A": 1, "C": 1})"); }, "two pieces have the id 1");
    check_error([&] { vocab(R"({"": 1})"); }, "an empty piece");
    check_error([&] { vocab(R"([["A"]])"); }, "piece 0 is no pair");
    check_error([&] { vocab(R"([["A", 0], [7, 0]])"); }, "a piece is number, expected text");
    check_error([] { parse_json(R"({"model": {"unk_id": 5, "vocab": {"A": 0}}})"); }, "unk_id is 5, but there are 1");
    check_error([] { parse_json(R"({"model": {"vocab": {"A": 0}}, "added_tokens": {}})"); }, "added_tokens is object");
    check_error([] { parse_json(R"({"model": {"vocab": {"A": 0}}, "added_tokens": [{"id": 0, "content": "B"}]})"); },
                "token \"B\" has the id 0, which is that of \"A\"");
}

BOOST_AUTO_TEST_SUITE_END()
