#include <protlm/data/vocabulary.hpp>

#include "support.hpp"
#include "support/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

using protlm::Vocabulary;
using protlm::test::check_error;

BOOST_AUTO_TEST_SUITE(vocabulary)

BOOST_AUTO_TEST_CASE(protbert_has_its_published_order) {
    Vocabulary const it = Vocabulary::protbert();
    std::vector<std::string> const expected{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "L", "A", "G", "V", "E",
                                            "S",     "I",     "K",     "R",     "D",      "T", "P", "N", "Q", "F",
                                            "Y",     "M",     "H",     "C",     "W",      "X", "U", "B", "Z", "O"};
    BOOST_TEST(it.pieces == expected, boost::test_tools::per_element());
    BOOST_TEST(it.pad == 0);
    BOOST_TEST(it.unknown == 1);
    BOOST_TEST(it.cls == 2);
    BOOST_TEST(it.sep == 3);
    BOOST_TEST(it.mask == 4);
    BOOST_TEST(int(it.unknown_residue()) == 25);
}

BOOST_AUTO_TEST_CASE(letters_map_in_both_cases_and_rare_ones_to_x) {
    Vocabulary const it = Vocabulary::protbert();
    std::set<int> tokens;
    for (char upper = 'A'; upper <= 'Z'; ++upper) {
        auto const token = it.residue_table[static_cast<unsigned char>(upper)];
        BOOST_TEST(int(token) == int(it.residue_table[static_cast<unsigned char>(upper - 'A' + 'a')]));
        if (upper == 'J') {
            BOOST_TEST(int(token) == int(Vocabulary::not_a_residue));
            continue;
        }
        bool const rare = std::string("UZOB").find(upper) != std::string::npos;
        BOOST_TEST(it.letter(token) == (rare ? 'X' : upper));
        tokens.insert(token);
    }
    BOOST_TEST(tokens.size() == 21u);
    BOOST_TEST((std::set<int>(it.residues.begin(), it.residues.end()) == tokens));
    BOOST_TEST((std::is_sorted(it.residues.begin(), it.residues.end())));
    int others = 0;
    for (int byte = 0; byte < 256; ++byte)
        others += !std::isalpha(byte) && it.residue_table[static_cast<std::size_t>(byte)] != Vocabulary::not_a_residue;
    BOOST_TEST(others == 0);
}

BOOST_AUTO_TEST_CASE(special_is_what_is_no_letter) {
    Vocabulary const it = Vocabulary::protbert();
    for (int id = 0; id < 30; ++id)
        BOOST_TEST(it.is_special(id) == (id < 5));
    BOOST_TEST(it.is_special(-1));
    BOOST_TEST(it.is_special(30));
}

BOOST_AUTO_TEST_CASE(sentencepiece_vocabularies_work) {
    auto const it = Vocabulary::from_pieces({"<pad>", "</s>", "<unk>",
                                             "\xE2\x96\x81"
                                             "A",
                                             "\xE2\x96\x81"
                                             "X",
                                             "\xE2\x96\x81"
                                             "U",
                                             "<extra_id_0>"});
    BOOST_TEST(it.pad == 0);
    BOOST_TEST(it.sep == 1);
    BOOST_TEST(it.unknown == 2);
    BOOST_TEST(it.cls == -1);
    BOOST_TEST(it.mask == -1);
    BOOST_TEST(int(it.residue_table['a']) == 3);
    BOOST_TEST(int(it.residue_table['U']) == 4);
    BOOST_TEST(int(it.residue_table['L']) == int(Vocabulary::not_a_residue));
    BOOST_TEST(it.is_special(6));
}

BOOST_AUTO_TEST_CASE(prott5_has_its_published_order) {
    Vocabulary const it = Vocabulary::prott5();
    BOOST_TEST(it.size() == 128);
    std::map<std::string, int> const expected{
        {"A", 3},  {"L", 4},  {"G", 5},  {"V", 6},  {"S", 7},  {"R", 8},  {"E", 9},  {"D", 10}, {"T", 11},
        {"I", 12}, {"P", 13}, {"K", 14}, {"F", 15}, {"Q", 16}, {"N", 17}, {"Y", 18}, {"M", 19}, {"H", 20},
        {"W", 21}, {"C", 22}, {"X", 23}, {"B", 24}, {"O", 25}, {"U", 26}, {"Z", 27}};
    for (auto const &[letter, id] : expected)
        BOOST_TEST(it.find("\xE2\x96\x81" + letter) == id);
    BOOST_TEST(it.pad == 0);
    BOOST_TEST(it.sep == 1);
    BOOST_TEST(it.unknown == 2);
    BOOST_TEST(it.mask == -1);
    BOOST_TEST(it.find("<extra_id_99>") == 28);
    BOOST_TEST(it.find("<extra_id_0>") == 127);
    BOOST_TEST(it.sentinels.size() == 100u);
    for (std::size_t i = 0; i < it.sentinels.size(); ++i)
        BOOST_TEST(it.sentinels[i] == 127 - static_cast<int>(i));
    BOOST_TEST(protlm::encode(it, "AUZOBX") == (std::vector<std::uint8_t>{3, 23, 23, 23, 23, 23}));
    BOOST_TEST(int(it.residues.back()) == 23);
}

BOOST_AUTO_TEST_CASE(protalbert_and_protxlnet_have_as_many_pieces_as_their_releases) {
    Vocabulary const albert = Vocabulary::protalbert(), xlnet = Vocabulary::protxlnet();
    BOOST_TEST(albert.size() == 34);
    BOOST_TEST(albert.residues.size() == 21u);
    BOOST_TEST((std::vector{albert.pad, albert.unknown, albert.cls, albert.sep, albert.mask}) ==
               (std::vector{0, 1, 2, 3, 4}));
    BOOST_TEST(xlnet.size() == 37);
    BOOST_TEST(xlnet.residues.size() == 20u);
    std::vector<std::string> const special{"<unk>", "<s>",    "</s>",  "<cls>", "<sep>",
                                           "<pad>", "<mask>", "<eod>", "<eop>"};
    BOOST_TEST(std::vector(xlnet.pieces.begin(), xlnet.pieces.begin() + 9) == special,
               boost::test_tools::per_element());
    BOOST_TEST((std::vector{xlnet.unknown, xlnet.cls, xlnet.sep, xlnet.pad, xlnet.mask}) ==
               (std::vector{0, 3, 4, 5, 6}));
    // no X: it and the ambiguous letters are unknown, and the unknown token is no residue
    auto const tokens = protlm::encode(xlnet, "AXUzobL");
    BOOST_TEST(std::vector(tokens.begin() + 1, tokens.end() - 1) == (std::vector<std::uint8_t>{0, 0, 0, 0, 0}));
    BOOST_TEST(protlm::decode(xlnet, tokens) == "AXXXXXL");
    BOOST_TEST(xlnet.is_special(0));
    BOOST_TEST(int(xlnet.unknown_residue()) == 0);
}

BOOST_AUTO_TEST_CASE(each_family_puts_special_tokens_where_its_original_does) {
    auto const form = [](std::string_view family) {
        Vocabulary const it = Vocabulary::of(family);
        auto const piece = [&](std::int32_t id) {
            return id < 0 ? std::string("-") : it.pieces[static_cast<std::size_t>(id)];
        };
        return piece(it.begin) + ' ' + piece(it.separator) + ' ' + piece(it.end) + ' ' +
               std::to_string(it.second_type) + std::to_string(it.end_type);
    };
    for (char const *family : {"bert", "electra", "albert", "transfo-xl"})
        BOOST_TEST(form(family) == "[CLS] [SEP] - 10");
    BOOST_TEST(form("t5") == "- </s> - 00");
    BOOST_TEST(form("xlnet") == "- <sep> <cls> 00");
    check_error([] { (void)Vocabulary::of("gpt2"); }, "no family \"gpt2\"");
}

BOOST_AUTO_TEST_CASE(tokens_are_translated_by_their_letters) {
    std::string const protein = "LAGVESIKRDTPNQFYMHCWX";
    for (char const *from : {"bert", "albert", "t5", "xlnet"})
        for (char const *to : {"bert", "albert", "t5", "xlnet"}) {
            Vocabulary const a = Vocabulary::of(from), b = Vocabulary::of(to);
            auto const table = protlm::token_translation(a, b);
            auto tokens = protlm::encode(a, protein);
            for (std::uint8_t &token : tokens)
                token = table[token];
            BOOST_TEST(tokens == protlm::encode(b, protein), boost::test_tools::per_element());
            BOOST_TEST(int(table[static_cast<std::size_t>(a.unknown)]) == int(b.unknown_residue()));
            BOOST_TEST(int(table[static_cast<std::size_t>(a.pad)]) == int(Vocabulary::not_a_residue));
            BOOST_TEST(int(table[200]) == int(Vocabulary::not_a_residue));
        }
    // where nothing stands for the unknown, a letter too many has no translation
    auto const narrow = protlm::token_translation(Vocabulary::protbert(), Vocabulary::from_pieces({"A", "L"}));
    BOOST_TEST(int(narrow[5]) == 1);
    BOOST_TEST(int(narrow[7]) == int(Vocabulary::not_a_residue));
}

BOOST_AUTO_TEST_CASE(text_round_trip) {
    protlm::test::TemporaryFolder const folder;
    Vocabulary const it = Vocabulary::protbert();
    protlm::write_vocabulary_text(it, folder / "vocab.txt");
    BOOST_TEST(protlm::test::read_file(folder / "vocab.txt").substr(0, 20) == "[PAD]\n[UNK]\n[CLS]\n[S");
    BOOST_CHECK(protlm::read_vocabulary_text(folder / "vocab.txt") == it);
    BOOST_CHECK(protlm::parse_vocabulary("[PAD]\r\nA\r\nX\r\n\r\n", "x").pieces ==
                (std::vector<std::string>{"[PAD]", "A", "X"}));
    BOOST_CHECK(protlm::parse_vocabulary("A\nX", "x").size() == 2);
}

BOOST_AUTO_TEST_CASE(errors_name_origin_and_line) {
    check_error([] { protlm::parse_vocabulary("A\n\nX\n", "vocab.txt"); }, "vocab.txt: line 2: empty piece");
    check_error([] { protlm::parse_vocabulary("A\nX\nA\n", "vocab.txt"); }, "line 3: piece \"A\" is already on line 1");
    check_error([] { protlm::parse_vocabulary("", "vocab.txt"); }, "none of them a residue");
    check_error([] { protlm::parse_vocabulary("[PAD]\n", "vocab.txt"); }, "none of them a residue");
    check_error([] { protlm::read_vocabulary_text("no/such/vocab.txt"); }, "no/such/vocab.txt");
    std::vector<std::string> many;
    for (int i = 0; i < 128; ++i)
        many.push_back("<extra_id_" + std::to_string(i) + ">");
    many.push_back("A");
    check_error([&] { Vocabulary::from_pieces(many); }, "residue A has token 128");
    check_error([] { (void)Vocabulary::from_pieces({"A", "L"}).unknown_residue(); }, "neither X nor an unknown token");
}

BOOST_AUTO_TEST_CASE(encode_and_decode) {
    Vocabulary const it = Vocabulary::protbert();
    std::vector<std::uint8_t> const expected{21, 12, 15, 25, 5};
    BOOST_TEST(protlm::encode(it, "mK t\nUL") == expected, boost::test_tools::per_element());
    BOOST_TEST(protlm::decode(it, expected) == "MKTXL");
    BOOST_TEST(protlm::decode(it, std::vector<std::uint8_t>{2, 6}) == "?A");
    check_error([&] { protlm::encode(it, "MKJ"); }, "letter 'J' at position 3");
}

BOOST_AUTO_TEST_SUITE_END()
