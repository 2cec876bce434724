// Vocabularies of model folders against what the originals' own tokenizers gave: tests/fixtures/tokenizers holds what
// BertTokenizer, AlbertTokenizer, T5Tokenizer and XLNetTokenizer of transformers 4.35.2 saved (NAME_json: their fast
// twins), and expected.json the ids that they gave for proteins with spaces between residues and X for U, Z, O and B.

#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/data/batch.hpp>
#include <protlm/data/model_vocabulary.hpp>
#include <protlm/data/tokenizer_writer.hpp>

#include <algorithm>
#include <map>

namespace {

using namespace protlm;
using namespace protlm::test;

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "tokenizers";
std::map<std::string, index_t> const sizes{{"bert", 30}, {"electra", 30}, {"albert", 34}, {"t5", 128}, {"xlnet", 37}};

std::vector<int> embedded_tokens(Vocabulary const &vocabulary, std::string const &protein) {
    Batch batch;
    append_sequence(batch, vocabulary, encode(vocabulary, protein), std::nullopt, 0);
    return {batch.tokens.begin(), batch.tokens.end()};
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

std::string repeated(char letter, std::size_t count) { return std::string(count, letter); }

bool contains(std::string const &text, std::string const &part) { return text.find(part) != text.npos; }

BOOST_AUTO_TEST_SUITE(vocabularies)

BOOST_AUTO_TEST_CASE(tokens_are_those_of_the_original_tokenizers) {
    auto const expected = read_json(fixtures / "expected.json");
    auto const sequences = expected["sequences"].get<std::vector<std::string>>();
    BOOST_REQUIRE(sequences.size() == 16u);
    for (auto const &[family, size] : sizes) {
        std::string const name = family == "electra" ? "bert" : family;
        auto const listed = read_model_vocabulary(fixtures / name, size, family);
        auto const json = read_model_vocabulary(fixtures / (name + "_json"), size, family);
        BOOST_TEST((listed == json), family << ": both forms of one vocabulary");
        BOOST_TEST(listed.size() == size);
        auto const ids = expected["ids"][family].get<std::vector<std::vector<int>>>();
        BOOST_REQUIRE(ids.size() == sequences.size());
        for (std::size_t i = 0; i < ids.size(); ++i)
            BOOST_TEST_CONTEXT(family << ": " << sequences[i]) {
                BOOST_TEST(embedded_tokens(listed, sequences[i]) == ids[i], boost::test_tools::per_element());
                BOOST_TEST(embedded_tokens(listed, lower(sequences[i])) == ids[i], boost::test_tools::per_element());
                auto const special = static_cast<std::size_t>(special_tokens(listed, 1));
                BOOST_TEST(ids[i].size() == sequences[i].size() + special);
            }
    }
}

BOOST_AUTO_TEST_CASE(one_residue_is_one_token_in_any_run) {
    for (auto const &[family, size] : sizes) {
        auto const it = read_model_vocabulary(fixtures / (family == "electra" ? "bert" : family), size, family);
        for (char const letter : {'X', 'x', 'U', 'z', 'O', 'b', 'A'}) {
            auto const tokens = encode(it, "M" + repeated(letter, 40) + "K");
            BOOST_REQUIRE(tokens.size() == 42u);
            int const one = it.residue_table[static_cast<unsigned char>(letter == 'A' ? 'A' : 'X')];
            BOOST_TEST(std::count(tokens.begin(), tokens.end(), one) == 40, family << ' ' << letter);
        }
        // SentencePiece makes one <unk> of a run of them, which is why XLNet's rows once did not equal its residues.
        BOOST_TEST((it.residue_table['X'] == it.unknown) == (family == "xlnet"));
    }
}

BOOST_AUTO_TEST_CASE(pieces_are_those_of_the_release) {
    BOOST_TEST((read_model_vocabulary(fixtures / "bert", 30).pieces == Vocabulary::protbert().pieces));
    auto const t5 = read_model_vocabulary(fixtures / "t5", 128, "t5");
    BOOST_TEST((t5 == Vocabulary::prott5()));
    BOOST_TEST(t5.pieces[28] == "<extra_id_99>");
    BOOST_TEST(t5.pieces[127] == "<extra_id_0>");
    BOOST_TEST((read_model_vocabulary(fixtures / "t5_json", 128, "t5").sentinels == t5.sentinels));
}

BOOST_AUTO_TEST_CASE(any_of_the_files_is_enough_and_two_must_agree) {
    TemporaryFolder const folder;
    std::filesystem::copy_file(fixtures / "xlnet_json/tokenizer.json", folder / "tokenizer.json");
    auto const xlnet = read_model_vocabulary(fixtures / "xlnet", 37, "xlnet");
    BOOST_TEST((read_model_vocabulary(folder.path(), 37, "xlnet") == xlnet));
    std::filesystem::copy_file(fixtures / "xlnet/spiece.model", folder / "spiece.model");
    BOOST_TEST((read_model_vocabulary(folder.path(), 37, "xlnet") == xlnet));
    folder.write("vocab.txt", vocabulary_text(xlnet));
    BOOST_TEST((read_model_vocabulary(folder.path(), 37, "xlnet") == xlnet));
    auto const message = [&](std::string const &pieces) {
        folder.write("vocab.txt", pieces);
        return message_of([&] { read_model_vocabulary(folder.path(), 37, "xlnet"); });
    };
    auto swapped = xlnet.pieces;
    std::swap(swapped[20], swapped[21]);
    auto const text = message(vocabulary_text(Vocabulary::from_pieces(swapped)));
    BOOST_TEST(contains(text, "vocab.txt: piece 20 is \"" + swapped[20] + "\", but in " +
                                  (folder / "spiece.model").string() + " it is \"" + swapped[21] + '"'));
    auto shorter = xlnet.pieces; // a residue that one of them does not know
    shorter.pop_back();
    BOOST_TEST(contains(message(vocabulary_text(Vocabulary::from_pieces(shorter))), "piece 36 is not there, but in"));
    folder.write("vocab.txt", "[PAD]\n[CLS]\n[SEP]\nA\nC\nX\n");
    BOOST_TEST(contains(message_of([&] { read_model_vocabulary(folder.path(), 5, "albert"); }),
                        "vocab.txt: has 6 pieces, but the model's vocab_size is 5"));
}

BOOST_AUTO_TEST_CASE(what_transformers_reads_is_what_was_checked) {
    // written/NAME: checked once by hand in transformers 4.57 and 5.24, id by id, with the runs they are from
    for (auto const &[family, size] : sizes) {
        auto const name = family == "electra" ? "bert" : family;
        auto const vocabulary = Vocabulary::of(family);
        auto const folder = fixtures / "written" / name;
        auto const positions = family == "t5" || family == "xlnet" ? 0 : 64;
        BOOST_TEST((nlohmann::json(tokenizer_json(vocabulary)) == read_json(folder / "tokenizer.json")), family);
        auto const config = nlohmann::json(tokenizer_config(vocabulary, family, positions));
        BOOST_TEST((config == read_json(folder / "tokenizer_config.json")), family << ": " << config.dump());
        BOOST_TEST((read_model_vocabulary(folder, size, family) == vocabulary), family);
    }
}

BOOST_AUTO_TEST_CASE(written_files_hold_the_whole_vocabulary) {
    // a T5 with ProtBert's pieces, and other special tokens than the usual ones: any of the files by itself is enough
    auto odd = Vocabulary::from_pieces({"<pad>", "<?>", "<begin>", "<end>", "A", "C"}, "odd",
                                       {.pad = "<pad>", .unknown = "<?>", .cls = "<begin>", .sep = "<end>"});
    odd.begin = odd.cls, odd.second_type = 1;
    for (auto const &vocabulary : {Vocabulary::protbert(), Vocabulary::prott5(), odd})
        for (std::string const family : {"bert", "t5", "xlnet", "transfo-xl"})
            for (bool const text : {true, false}) {
                TemporaryFolder const folder;
                Fields const config({{"model_type", family}}, "config.json");
                write_tokenizer(vocabulary, config, [&](std::string const &name, std::string const &content) {
                    if (text || name != "vocab.txt")
                        folder.write(name, content);
                });
                BOOST_TEST((read_model_vocabulary(folder.path(), 128, family) == vocabulary), family << ' ' << text);
            }
}

BOOST_AUTO_TEST_CASE(a_file_of_a_users_own_may_be_of_any_kind) {
    auto const albert = read_model_vocabulary(fixtures / "albert", 34, "albert");
    BOOST_TEST((read_vocabulary(fixtures / "albert/spiece.model", 34, "albert") == albert));
    BOOST_TEST((read_vocabulary(fixtures / "albert_json/tokenizer.json", 34, "albert") == albert));
    BOOST_TEST((read_vocabulary(fixtures / "bert/vocab.txt", 30, "bert").pieces == Vocabulary::protbert().pieces));
    BOOST_TEST((read_vocabulary(fixtures / "t5/spiece.model", 128, "t5") == Vocabulary::prott5()));
    BOOST_TEST(contains(message_of([&] { read_vocabulary(fixtures / "albert/spiece.model", 33, "albert"); }),
                        "has 34 pieces, but the model's vocab_size is 33"));
}

BOOST_AUTO_TEST_CASE(other_alphabets_are_refused) {
    auto const message = [&](std::string const &text, char const *file = "vocab.txt") {
        TemporaryFolder const empty;
        empty.write(file, text);
        return message_of([&] { read_model_vocabulary(empty.path(), 200, "t5"); });
    };
    std::string const word = "\xE2\x96\x81";
    BOOST_TEST(contains(message("<pad>\n</s>\n<unk>\n" + word + "A\n" + word + "a\n"), "ProstT5"));
    BOOST_TEST(contains(message("<pad>\n</s>\n<unk>\nA\nv\n"), "has the piece \"v\""));
    BOOST_TEST(contains(message("<pad>\n</s>\n<unk>\nA\n<AA2fold>\n"), "has the piece \"<AA2fold>\""));
    auto const bpe = [](char const *merges) {
        return R"({"model": {"type": "BPE", "vocab": {"A": 0, "C": 1, "AC": 2}, "merges": )" + std::string(merges) +
               "}}";
    };
    BOOST_TEST(contains(message(bpe(R"(["A C"])"), "tokenizer.json"), "tokenizer.json: model: merges: BPE joins"));
    BOOST_TEST(contains(message(bpe(R"([["A", "C"]])"), "tokenizer.json"), "model: merges"));
}

BOOST_AUTO_TEST_CASE(extra_ids_follow_as_far_as_the_model_has_them) {
    TemporaryFolder const folder;
    std::filesystem::copy_file(fixtures / "t5/spiece.model", folder / "spiece.model");
    BOOST_TEST((read_model_vocabulary(folder.path(), 128, "t5") == Vocabulary::prott5()));
    BOOST_TEST(read_model_vocabulary(folder.path(), 144, "t5").size() == 128); // rows beyond the tokens stay unused
    BOOST_TEST(read_model_vocabulary(folder.path(), 28, "t5").size() == 28);
    folder.write("tokenizer_config.json", R"({"extra_ids": 3})");
    auto const three = read_model_vocabulary(folder.path(), 128, "t5");
    BOOST_TEST(three.sentinels == (std::vector<std::int32_t>{30, 29, 28}), boost::test_tools::per_element());
    BOOST_TEST(contains(message_of([&] { read_model_vocabulary(folder.path(), 30, "t5"); }), "has 31 pieces"));
    folder.write("tokenizer_config.json", R"({"extra_ids": -1})");
    BOOST_TEST(contains(message_of([&] { read_model_vocabulary(folder.path(), 128, "t5"); }), "extra_ids: is -1"));
    // as transformers saves them since 4.34: by number, in added_tokens.json
    folder.write("tokenizer_config.json", "{}");
    folder.write("added_tokens.json", R"({"<extra_id_0>": 29, "<extra_id_1>": 28})");
    BOOST_TEST(read_model_vocabulary(folder.path(), 128, "t5").sentinels == (std::vector<std::int32_t>{29, 28}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(settings_name_special_tokens_and_add_others) {
    TemporaryFolder const folder;
    folder.write("vocab.txt", "<pad>\n<begin>\n<end>\nA\nC\n?\n");
    BOOST_TEST(embedded_tokens(read_model_vocabulary(folder.path(), 9), "AC") == (std::vector<int>{3, 4}),
               boost::test_tools::per_element());
    folder.write("tokenizer_config.json", R"({"cls_token": {"content": "<begin>"}, "sep_token": "no", "pad_token": null,
        "added_tokens_decoder": {"7": {"content": "<new>"}, "90": {"content": "<beyond the model>"}}})");
    folder.write("special_tokens_map.json", R"({"sep_token": "<end>", "unk_token": "?"})");
    auto const it = read_model_vocabulary(folder.path(), 9);
    BOOST_TEST(embedded_tokens(it, "ACX") == (std::vector<int>{1, 3, 4, 5, 2}), boost::test_tools::per_element());
    BOOST_TEST(it.pad == 0);
    BOOST_TEST(it.pieces[6] == "<unused_6>");
    BOOST_TEST(it.pieces[7] == "<new>");
    BOOST_TEST(it.size() == 8);
    auto const message = [&](char const *file, char const *text) {
        folder.write(file, text);
        return message_of([&] { read_model_vocabulary(folder.path(), 9); });
    };
    BOOST_TEST(contains(message("special_tokens_map.json", R"({"sep_token": "<nowhere>"})"),
                        "vocab.txt: the special token \"<nowhere>\" is not among the 8 pieces"));
    BOOST_TEST(contains(message("special_tokens_map.json", R"({"sep_token": 7})"),
                        "special_tokens_map.json: sep_token is number, expected text"));
    BOOST_TEST(contains(message("special_tokens_map.json", "{"), "special_tokens_map.json: line 1"));
    folder.write("special_tokens_map.json", "{}");
    BOOST_TEST(contains(message("added_tokens.json", R"({"<new residue>": 3})"),
                        "vocab.txt: token \"<new residue>\" has the id 3, which is that of \"A\""));
    BOOST_TEST(contains(message("added_tokens.json", R"({"<new>": "x"})"), "the id of \"<new>\" is string"));
    folder.write("added_tokens.json", "{}");
    BOOST_TEST(contains(message("tokenizer_config.json", R"({"added_tokens_decoder": {"one": {"content": "x"}}})"),
                        "added_tokens_decoder: \"one\" is no token id"));
}

BOOST_AUTO_TEST_CASE(a_damaged_file_is_an_error_and_not_passed_over) {
    TemporaryFolder const folder;
    auto const message = [&](char const *file, std::string const &content) {
        folder.write(file, content);
        return message_of([&] { read_model_vocabulary(folder.path(), 30); });
    };
    BOOST_TEST(contains(message("tokenizer.json", "{}"), "tokenizer.json: model is null"));
    BOOST_TEST(contains(message("tokenizer.json", ""), "tokenizer.json: is empty"));
    BOOST_TEST(contains(message("tokenizer_config.json", "["), "tokenizer_config.json: line 1"));
    folder.write("tokenizer_config.json", "{}");
    BOOST_TEST(contains(message("spiece.model", ""), "spiece.model: holds no pieces"));
    BOOST_TEST(contains(message("vocab.txt", ""), "vocab.txt: 0 pieces, none of them a residue"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
