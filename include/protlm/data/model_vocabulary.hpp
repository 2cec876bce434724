#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/sentencepiece_model.hpp>
#include <protlm/data/tokenizer_json.hpp>
#include <protlm/data/tokenizer_settings.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/io/json.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {
namespace detail {

/// True for a place that the file leaves empty.
inline bool unused_piece(std::string_view piece, std::size_t id) {
    return piece == "<unused_" + std::to_string(id) + ">";
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

/// Puts the special tokens of `from`, which has the same pieces, around proteins.
inline void copy_frame(Vocabulary &to, Vocabulary const &from) {
    to.begin = from.begin, to.separator = from.separator, to.end = from.end, to.second_type = from.second_type;
}

/// The vocabulary in one file: by its name a tokenizer.json, a spiece.model, or else a vocab.txt.
inline Vocabulary vocabulary_in(std::filesystem::path const &file, index_t vocab_size, std::string_view family,
                                TokenizerSettings settings) {
    if (file.extension() == ".json")
        return json_vocabulary(file, family, std::move(settings));
    if (file.extension() == ".model") {
        auto model = read_sentencepiece_model(file);
        if (settings.named.unknown.empty() && model.unknown >= 0)
            settings.named.unknown = model.pieces[static_cast<std::size_t>(model.unknown)];
        return listed_vocabulary(std::move(model.pieces), file, vocab_size, family, std::move(settings));
    }
    MappedFile const text(file);
    refuse_web_page(text.bytes(), file.string());
    auto pieces = vocabulary_lines({reinterpret_cast<char const *>(text.bytes().data()), text.size()});
    return listed_vocabulary(std::move(pieces), file, vocab_size, family, std::move(settings));
}

inline void require_rows(Vocabulary const &vocabulary, std::string const &file, index_t vocab_size) {
    check(vocabulary.size() <= vocab_size, file, ": has ", vocabulary.size(), " pieces, but the model's vocab_size is ",
          vocab_size);
}

/// The vocabulary that the ProtTrans model of a family has, for a folder without one of its own.
inline Vocabulary published_vocabulary(std::filesystem::path const &folder, index_t vocab_size,
                                       std::string_view family) {
    std::string const missing = folder.string() + ": holds neither vocab.txt nor spiece.model nor tokenizer.json";
    check(family != "albert" && family != "xlnet", missing, ", and the vocabulary of a released ", family,
          " is not built in");
    auto vocabulary = Vocabulary::of(family);
    check(vocab_size == vocabulary.size(), missing, ", and a model of ", vocab_size, " tokens does not have ",
          family == "bert" ? "ProtBert's" : "the family's", " vocabulary");
    return vocabulary;
}

} // namespace detail

/// Two sources of one vocabulary must say the same of every id that both have, and of every residue.
/// @throws Error naming the first piece that differs
inline void require_equal_pieces(Vocabulary const &one, std::string const &file, Vocabulary const &other,
                                 std::string const &other_file) {
    auto const most = static_cast<std::size_t>(std::max(one.size(), other.size()));
    auto const text = [](Vocabulary const &v, std::size_t id) {
        return id < v.pieces.size() ? '"' + v.pieces[id] + '"' : std::string("not there");
    };
    for (std::size_t id = 0; id < most; ++id) {
        bool const both = id < one.pieces.size() && id < other.pieces.size();
        auto const token = static_cast<std::int32_t>(id);
        bool const special = one.is_special(token) && other.is_special(token);
        bool const equal =
            both ? one.pieces[id] == other.pieces[id] || (special && (detail::unused_piece(one.pieces[id], id) ||
                                                                      detail::unused_piece(other.pieces[id], id)))
                 : special;
        check(equal, file, ": piece ", id, " is ", text(one, id), ", but in ", other_file, " it is ", text(other, id),
              "; remove the file that does not belong to the model");
    }
    check(one.unknown == other.unknown, file, ": the unknown token has the id ", one.unknown, ", but in ", other_file,
          " it has the id ", other.unknown);
}

/// The vocabulary in a file of a user's own: a vocab.txt, spiece.model (any .model) or tokenizer.json (any .json).
/// Beside a file of one of these three names, the files of settings count as in a model's folder.
/// @param vocab_size, family  as for read_model_vocabulary
/// @throws Error when the file is damaged or has more pieces than the model has tokens
inline Vocabulary read_vocabulary(std::filesystem::path const &file, index_t vocab_size, std::string_view family) {
    bool const standard = file.filename() == "vocab.txt" || file.filename() == "spiece.model";
    auto settings = standard || file.filename() == "tokenizer.json"
                        ? detail::read_tokenizer_settings(file.parent_path())
                        : detail::TokenizerSettings{};
    auto vocabulary = detail::vocabulary_in(file, vocab_size, family, std::move(settings));
    detail::require_rows(vocabulary, file.string(), vocab_size);
    return vocabulary;
}

/// True when a model's folder has a vocabulary of its own.
inline bool has_vocabulary(std::filesystem::path const &folder) {
    for (char const *name : {"vocab.txt", "spiece.model", "tokenizer.json"})
        if (!folder.empty() && detail::file_exists(folder / name))
            return true;
    return false;
}

/// The vocabulary in a model's folder:
///
/// 1. vocab.txt, which runs of this library write, and the released BERT and ELECTRA have
/// 2. spiece.model: the released ALBERT, T5 and XLNet. T5's `<extra_id_...>` follow its pieces
/// 3. tokenizer.json; its post-processor says which special tokens stand around a protein
/// 4. none: that of the family's ProtTrans model if the model has as many tokens. Those of ALBERT and XLNet are not
///    taken: their residues' numbers are not published, and a guess would give wrong embeddings without a sign of it
///
/// Where there are several, they must agree. tokenizer_config.json, special_tokens_map.json and added_tokens.json
/// beside the first two add tokens and name the special ones. Around a protein stand the special tokens that the
/// post-processor says, or else those that the family's original adds.
/// @param vocab_size  rows of the model's embedding table
/// @param family as Vocabulary::of takes it: config.json's model_type
/// @throws Error when there is none, one is damaged, two differ, or one has more pieces than the model has tokens
inline Vocabulary read_model_vocabulary(std::filesystem::path const &folder, index_t vocab_size,
                                        std::string_view family = "bert") {
    auto const settings = detail::read_tokenizer_settings(folder);
    std::optional<Vocabulary> first;
    std::string first_file;
    for (char const *name : {"vocab.txt", "spiece.model", "tokenizer.json"}) {
        auto const file = folder / name;
        if (!detail::file_exists(file))
            continue;
        auto vocabulary = detail::vocabulary_in(file, vocab_size, family, settings);
        detail::require_rows(vocabulary, file.string(), vocab_size);
        if (!first) {
            first = std::move(vocabulary);
            first_file = file.string();
            continue;
        }
        require_equal_pieces(*first, first_file, vocabulary, file.string());
        if (file.extension() == ".json") // whose frame is what transformers puts around a text
            detail::copy_frame(*first, vocabulary);
    }
    return first ? *first : detail::published_vocabulary(folder, vocab_size, family);
}

} // namespace protlm::inline v0
