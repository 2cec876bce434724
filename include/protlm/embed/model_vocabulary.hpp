#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/sentencepiece_model.hpp>
#include <protlm/data/tokenizer_json.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/io/json.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {
namespace detail {

/// What the files beside a tokenizer's own say: special_tokens_map.json, tokenizer_config.json, added_tokens.json.
struct TokenizerSettings {
    SpecialTokens named;
    std::map<std::uint64_t, std::string> added; // id -> piece
    std::optional<index_t> extra_ids;           // of T5
};

inline bool file_exists(std::filesystem::path const &path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

/// A special token in a tokenizer's settings, text or {"content": text}; empty where there is none.
inline std::string token_text(nlohmann::json const &settings, char const *key, std::string const &where) {
    auto const &value = json_member(settings, key);
    if (value.is_null())
        return {};
    return json_text(value.is_object() ? json_member(value, "content") : value, where, key);
}

inline void read_special_tokens(std::filesystem::path const &path, TokenizerSettings &settings) {
    if (!file_exists(path))
        return;
    auto const fields = read_fields(path);
    auto &named = settings.named;
    for (auto const &[key, token] : {std::pair<char const *, std::string *>{"pad_token", &named.pad},
                                     {"unk_token", &named.unknown},
                                     {"cls_token", &named.cls},
                                     {"sep_token", &named.sep},
                                     {"eos_token", &named.eos},
                                     {"mask_token", &named.mask}})
        if (auto text = token_text(fields.json(), key, path.string()); !text.empty())
            *token = std::move(text);
    if (auto const extra = fields.maybe<index_t>("extra_ids", between<index_t>(0, most_pieces)))
        settings.extra_ids = extra;
    auto const decoder = fields.object("added_tokens_decoder"); // {"0": {"content": "<pad>", ...}, ...}
    for (auto const &[key, token] : decoder.json().items()) {
        std::uint64_t id = 0;
        auto const [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        check(error == std::errc() && end == key.data() + key.size(), decoder.name(), ": \"", excerpt(key),
              "\" is no token id");
        settings.added[id] = json_text(json_member(token, "content"), decoder.name(), "content");
    }
}

/// All that the files beside a tokenizer's own say; those that are not there say nothing.
inline TokenizerSettings read_tokenizer_settings(std::filesystem::path const &folder) {
    TokenizerSettings settings;
    read_special_tokens(folder / "tokenizer_config.json", settings);
    read_special_tokens(folder / "special_tokens_map.json", settings);
    if (auto const path = folder / "added_tokens.json"; file_exists(path)) {
        auto const fields = read_fields(path); // {"<extra_id_0>": 127, ...}
        for (auto const &[piece, id] : fields.json().items()) {
            check(!piece.empty(), path.string(), ": an empty token");
            settings.added[json_id(id, path.string(), "the id of \"" + excerpt(piece) + '"')] = piece;
        }
    }
    return settings;
}

/// T5's `<extra_id_99>` ... `<extra_id_0>` behind the pieces of its spiece.model, which does not hold them: as many as
/// the settings say, or 100, T5Tokenizer's default, where the model has that many more tokens.
inline void add_extra_ids(std::vector<std::string> &pieces, TokenizerSettings const &settings, index_t vocab_size) {
    bool const there = std::find(pieces.begin(), pieces.end(), "<extra_id_0>") != pieces.end();
    auto const size = static_cast<index_t>(pieces.size());
    index_t const extra = settings.extra_ids.value_or(size + 100 <= vocab_size ? 100 : 0);
    for (index_t i = there ? 0 : extra; i > 0; --i)
        pieces.push_back("<extra_id_" + std::to_string(i - 1) + ">");
}

/// A vocabulary of pieces in the order of the ids, from vocab.txt or spiece.model.
inline Vocabulary listed_vocabulary(std::vector<std::string> pieces, std::filesystem::path const &file,
                                    index_t vocab_size, std::string_view family, TokenizerSettings settings) {
    bool const lines = file.extension() == ".txt";
    for (auto const &[id, piece] : settings.added)
        if (id < static_cast<std::uint64_t>(vocab_size)) // the model has no row for others, and no protein needs them
            put_piece(pieces, id, piece, file.string());
    fill_unused(pieces);
    if (family == "t5" && !lines)
        add_extra_ids(pieces, settings, vocab_size);
    auto vocabulary = Vocabulary::from_pieces(std::move(pieces), file.string(), settings.named, lines);
    // A vocab.txt without settings is of a training run, whose special tokens follow from the pieces.
    if (!lines || settings.named != SpecialTokens{})
        vocabulary.frame_as(family, settings.named, file.string());
    return vocabulary;
}

inline Vocabulary json_vocabulary(std::filesystem::path const &file, std::string_view family,
                                  TokenizerSettings settings) {
    auto content = parse_tokenizer_json(read_json(file), file.string());
    if (settings.named.unknown.empty())
        settings.named.unknown = content.unknown;
    auto vocabulary = Vocabulary::from_pieces(std::move(content.pieces), file.string(), settings.named, false);
    vocabulary.frame_as(family, settings.named, file.string());
    if (content.frame)
        vocabulary.frame_as(*content.frame, file.string());
    return vocabulary;
}

} // namespace detail

/// The vocabulary in a model's folder, from the first of these that is there:
///
/// 1. vocab.txt, which runs of this library write, and the released BERT and ELECTRA have
/// 2. spiece.model: the released ALBERT, T5 and XLNet. T5's `<extra_id_...>` follow its pieces
/// 3. tokenizer.json; its post-processor says which special tokens stand around a protein
/// 4. none: that of the family's ProtTrans model if the model has as many tokens. Those of ALBERT and XLNet are not
///    taken: their residues' numbers are not published, and a guess would give wrong embeddings without a sign of it
///
/// tokenizer_config.json, special_tokens_map.json and added_tokens.json beside the first two add tokens and name the
/// special ones. Around a protein stand the special tokens that the family's original adds.
/// @param vocab_size  rows of the model's embedding table
/// @param family as Vocabulary::of takes it: config.json's model_type
/// @throws Error when there is none, one is damaged, or it has more pieces than the model has tokens
inline Vocabulary read_model_vocabulary(std::filesystem::path const &folder, index_t vocab_size,
                                        std::string_view family = "bert") {
    auto const settings = detail::read_tokenizer_settings(folder);
    Vocabulary vocabulary;
    auto file = folder / "vocab.txt";
    if (detail::file_exists(file)) {
        MappedFile const text(file);
        refuse_web_page(text.bytes(), file.string());
        auto pieces = vocabulary_lines({reinterpret_cast<char const *>(text.bytes().data()), text.size()});
        vocabulary = detail::listed_vocabulary(std::move(pieces), file, vocab_size, family, settings);
    } else if (detail::file_exists(file = folder / "spiece.model")) {
        auto model = read_sentencepiece_model(file);
        auto named = settings;
        if (named.named.unknown.empty() && model.unknown >= 0)
            named.named.unknown = model.pieces[static_cast<std::size_t>(model.unknown)];
        vocabulary = detail::listed_vocabulary(std::move(model.pieces), file, vocab_size, family, std::move(named));
    } else if (detail::file_exists(file = folder / "tokenizer.json")) {
        vocabulary = detail::json_vocabulary(file, family, settings);
    } else {
        std::string const missing = folder.string() + ": holds neither vocab.txt nor spiece.model nor tokenizer.json";
        check(family != "albert" && family != "xlnet", missing, ", and the vocabulary of a released ", family,
              " is not built in");
        vocabulary = Vocabulary::of(family);
        check(vocab_size == vocabulary.size(), missing, ", and a model of ", vocab_size, " tokens does not have ",
              family == "bert" ? "ProtBert's" : "the family's", " vocabulary");
    }
    check(vocabulary.size() <= vocab_size, file.string(), ": has ", vocabulary.size(),
          " pieces, but the model's vocab_size is ", vocab_size);
    return vocabulary;
}

} // namespace protlm::inline v0
