#pragma once

#include <protlm/data/model_vocabulary.hpp>
#include <protlm/io/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {
namespace detail {

/// The upper-case letters that the tables of a vocabulary leave as they are.
inline constexpr std::string_view plain_letters = "ACDEFGHIJKLMNPQRSTVWXY";

/// True when residues are words of SentencePiece, U+2581 before the letter.
inline bool has_word_pieces(Vocabulary const &vocabulary) {
    for (auto const &piece : vocabulary.pieces)
        if (residue_of_piece(piece) != '\0' && piece.size() > 1)
            return true;
    return false;
}

/// Steps from a protein as text to one piece a residue: white space goes, U, Z, O and B become X, and a letter of
/// either case becomes its piece.
inline nlohmann::ordered_json residue_normaliser(Vocabulary const &vocabulary) {
    auto const replace = [](std::string const &pattern, std::string const &content) {
        return nlohmann::ordered_json{{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", content}};
    };
    auto steps = nlohmann::ordered_json::array({replace("\\s+", ""), replace("[UZOBuzob]", "X")});
    bool const words = has_word_pieces(vocabulary);
    for (char const letter : plain_letters) {
        std::string const lower(1, static_cast<char>(letter - 'A' + 'a')), upper(1, letter);
        std::string const word = "\xE2\x96\x81" + upper;
        bool const word_counts = words && (vocabulary.find(word) >= 0 || vocabulary.find(upper) < 0);
        steps.push_back(word_counts ? replace('[' + upper + lower + ']', word) : replace(lower, upper));
    }
    return {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

/// The special tokens around one protein and around two, as a TemplateProcessing.
inline nlohmann::ordered_json frame_template(Vocabulary const &v) {
    using json = nlohmann::ordered_json;
    auto special_tokens = json::object();
    auto const special = [&](json &parts, std::int32_t id, std::int32_t type) {
        if (id < 0)
            return;
        auto const &piece = v.pieces[static_cast<std::size_t>(id)];
        parts.push_back({{"SpecialToken", {{"id", piece}, {"type_id", type}}}});
        special_tokens[piece] = {{"id", piece}, {"ids", json::array({id})}, {"tokens", json::array({piece})}};
    };
    auto const protein = [](json &parts, char const *name, std::int32_t type) {
        parts.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    };
    json single = json::array(), pair = json::array();
    for (auto *const parts : {&single, &pair}) {
        special(*parts, v.begin, 0);
        protein(*parts, "A", 0);
        special(*parts, v.separator, 0);
        if (parts == &pair) {
            protein(pair, "B", v.second_type);
            special(pair, v.separator, v.second_type);
        }
        special(*parts, v.end, v.end_type);
    }
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(special_tokens)}};
}

/// True for pieces that are found in a text as they stand: [MASK], `<extra_id_0>` and the like.
inline bool is_added_piece(Vocabulary const &vocabulary, std::int32_t id) {
    auto const &piece = vocabulary.pieces[static_cast<std::size_t>(id)];
    bool const bracketed = piece.size() > 2 && ((piece.front() == '[' && piece.back() == ']') ||
                                                (piece.front() == '<' && piece.back() == '>'));
    bool const named = id == vocabulary.pad || id == vocabulary.unknown || id == vocabulary.cls ||
                       id == vocabulary.sep || id == vocabulary.mask;
    return vocabulary.is_special(id) && (bracketed || named);
}

} // namespace detail

/// A tokenizer.json of Hugging Face's tokenizers that gives a protein the ids that protlm gives it, with white space
/// between the residues or without, in either case.
inline nlohmann::ordered_json tokenizer_json(Vocabulary const &vocabulary) {
    using json = nlohmann::ordered_json;
    bool const words = detail::has_word_pieces(vocabulary);
    auto pieces = json::object();
    auto added = json::array();
    for (std::int32_t id = 0; id < vocabulary.size(); ++id) {
        auto const &piece = vocabulary.pieces[static_cast<std::size_t>(id)];
        pieces[piece] = id;
        if (detail::is_added_piece(vocabulary, id))
            added.push_back({{"id", id},
                             {"content", piece},
                             {"single_word", false},
                             {"lstrip", false},
                             {"rstrip", false},
                             {"normalized", false},
                             {"special", true}});
    }
    json model{{"type", "WordLevel"}, {"vocab", std::move(pieces)}};
    if (vocabulary.unknown >= 0)
        model["unk_token"] = vocabulary.pieces[static_cast<std::size_t>(vocabulary.unknown)];
    json decoder; // words stand apart, as ProtTrans' models write them
    if (words)
        decoder = {
            {"type", "Metaspace"}, {"replacement", "\xE2\x96\x81"}, {"prepend_scheme", "always"}, {"split", false}};
    return {{"version", "1.0"},
            {"truncation", nullptr},
            {"padding", nullptr},
            {"added_tokens", std::move(added)},
            {"normalizer", detail::residue_normaliser(vocabulary)},
            {"pre_tokenizer",
             {{"type", "Split"},
              {"pattern", {{"Regex", words ? "\xE2\x96\x81?." : "."}}},
              {"behavior", "Isolated"},
              {"invert", false}}},
            {"post_processor", detail::frame_template(vocabulary)},
            {"decoder", std::move(decoder)},
            {"model", std::move(model)}};
}

/// The tokenizer_config.json beside it: the class that transformers 4 and 5 open it with, and the special tokens.
/// @param family  as Vocabulary::of takes it
/// @param positions  tokens that the model can take; 0: no limit
inline nlohmann::ordered_json tokenizer_config(Vocabulary const &v, std::string_view family, std::int64_t positions) {
    nlohmann::ordered_json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
                                  {"do_lower_case", false},
                                  {"clean_up_tokenization_spaces", false}};
    auto const name = [&](char const *field, std::int32_t id) {
        if (id >= 0)
            config[field] = v.pieces[static_cast<std::size_t>(id)];
    };
    std::int32_t const eos = v.find("</s>");
    name("pad_token", v.pad);
    name("unk_token", v.unknown);
    name("cls_token", v.cls);
    name("sep_token", v.sep != eos ? v.sep : -1);
    name("mask_token", v.mask);
    name("bos_token", v.find("<s>"));
    name("eos_token", eos);
    bool const types = family == "bert" || family == "albert" || family == "electra"; // others take none
    config["model_input_names"] = types ? nlohmann::ordered_json{"input_ids", "token_type_ids", "attention_mask"}
                                        : nlohmann::ordered_json{"input_ids", "attention_mask"};
    config["padding_side"] = family == "xlnet" ? "left" : "right"; // as XLNet was trained
    if (positions > 0)
        config["model_max_length"] = positions;
    return config;
}

/// The files of tokens of a model's folder: vocab.txt for people and for programs that read nothing else,
/// tokenizer.json and tokenizer_config.json for transformers.
/// @param write  called with each file's name and content
/// @param config  the model's config.json
template <class Write>
void write_tokenizer(Vocabulary const &vocabulary, Fields const &config, Write &&write) {
    write("vocab.txt", vocabulary_text(vocabulary));
    write("tokenizer.json", tokenizer_json(vocabulary).dump(2) + '\n');
    auto const positions = config.optional<std::int64_t>("max_position_embeddings", 0);
    write("tokenizer_config.json",
          tokenizer_config(vocabulary, config.optional("model_type", ""), positions).dump(2) + '\n');
}

/// For a copy of a model's folder: tokenizer.json and tokenizer_config.json where the folder has a vocabulary and
/// neither of the two, as older checkpoints of runs.
/// @param write  called with each file's name and content
/// @returns why they cannot be made, for people; empty when they need not be, or are
template <class Write>
std::string complete_tokenizer(std::filesystem::path const &folder, Write &&write) {
    for (char const *name : {"tokenizer.json", "tokenizer_config.json"})
        if (detail::file_exists(folder / name))
            return {};
    if (!has_vocabulary(folder) || !detail::file_exists(folder / "config.json"))
        return {};
    try {
        auto const config = read_fields(folder / "config.json");
        auto const size = config.optional<index_t>("vocab_size", static_cast<index_t>(most_pieces));
        auto const vocabulary = read_model_vocabulary(folder, size, config.optional("model_type", ""));
        write_tokenizer(vocabulary, config, [&](std::string const &name, std::string const &text) {
            if (name != "vocab.txt")
                write(name, text);
        });
    } catch (Error const &error) { // a model for something else than proteins
        return error.what();
    }
    return {};
}

} // namespace protlm::inline v0
