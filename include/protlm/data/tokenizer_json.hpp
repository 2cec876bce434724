#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/pieces.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What a tokenizer.json says about its pieces; how it splits text is of no use for proteins, whose residues are pieces
/// of their own.
struct TokenizerJson {
    std::vector<std::string> pieces; ///< in the order of the ids, added tokens among them
    std::string unknown;             ///< its piece for what it does not know; empty: none is named
    std::optional<TokenFrame> frame; ///< special tokens that its post-processor puts around a text, if it has one
};

namespace detail {

/// The member `key` of `object`, or null where there is none or `object` is none.
inline nlohmann::json const &json_member(nlohmann::json const &object, char const *key) {
    static nlohmann::json const null;
    if (!object.is_object())
        return null;
    auto const at = object.find(key);
    return at == object.end() ? null : *at;
}

inline std::string json_text(nlohmann::json const &value, std::string_view where, std::string_view what) {
    check(value.is_string() && !value.get_ref<std::string const &>().empty(), where, ": ", what, " is ",
          value.is_string() ? "empty" : value.type_name(), ", expected text");
    return value.get<std::string>();
}

inline std::uint64_t json_id(nlohmann::json const &value, std::string_view where, std::string_view what) {
    check(value.is_number_unsigned(), where, ": ", what, " is ", value.type_name(),
          ", expected an integer of at least 0");
    return value.get<std::uint64_t>();
}

/// `vocab` of WordPiece, WordLevel and BPE, {piece: id}, or of Unigram, [[piece, score], ...].
inline void read_vocab(nlohmann::json const &vocab, std::string_view where, std::vector<std::string> &pieces) {
    check(vocab.is_object() || vocab.is_array(), where, ": model: vocab is ", vocab.type_name(),
          ", expected an object or an array");
    if (vocab.is_object()) {
        for (auto const &[piece, id] : vocab.items()) {
            check(!piece.empty(), where, ": model: vocab: an empty piece");
            auto const place = json_id(id, where, "model: vocab: the id of \"" + piece + '"');
            check(place >= pieces.size() || pieces[static_cast<std::size_t>(place)].empty(), where,
                  ": model: vocab: two pieces have the id ", place);
            put_piece(pieces, place, piece, where);
        }
        return;
    }
    for (auto const &entry : vocab) {
        check(entry.is_array() && entry.size() == 2, where, ": model: vocab: piece ", pieces.size(),
              " is no pair [piece, score]");
        put_piece(pieces, pieces.size(), json_text(entry[0], where, "model: vocab: a piece"), where);
    }
}

/// The piece that a name in a template stands for.
inline std::string template_piece(nlohmann::json const &processor, std::string const &name, std::string_view where) {
    auto const &tokens = json_member(json_member(json_member(processor, "special_tokens"), name.c_str()), "tokens");
    if (tokens.is_null())
        return name;
    check(tokens.is_array() && tokens.size() == 1, where, ": post_processor: special token \"", name, "\" stands for ",
          tokens.size(), " tokens, expected one");
    return json_text(tokens[0], where, "post_processor: a token");
}

/// The special tokens of TemplateProcessing's `single`.
inline TokenFrame template_frame(nlohmann::json const &processor, std::string_view where) {
    auto const &single = json_member(processor, "single");
    check(single.is_array(), where, ": post_processor: single is ", single.type_name(), ", expected an array");
    TokenFrame frame;
    int sequences = 0;
    for (auto const &part : single) {
        auto const &special = json_member(part, "SpecialToken");
        if (special.is_null()) {
            check(!json_member(part, "Sequence").is_null(), where,
                  ": post_processor: single: a part is neither SpecialToken nor Sequence");
            ++sequences;
            continue;
        }
        auto const name = json_text(json_member(special, "id"), where, "post_processor: single: id");
        (sequences ? frame.after : frame.before).push_back(template_piece(processor, name, where));
    }
    check(sequences == 1, where, ": post_processor: single has the text ", sequences, " times, expected once");
    return frame;
}

/// The frame of one post-processor, or nothing where it is of a kind that adds no tokens.
inline std::optional<TokenFrame> processor_frame(nlohmann::json const &processor, std::string_view where) {
    if (processor.is_null())
        return std::nullopt;
    auto const type = json_text(json_member(processor, "type"), where, "post_processor: type");
    if (type == "TemplateProcessing")
        return template_frame(processor, where);
    if (type == "BertProcessing" || type == "RobertaProcessing") {
        auto const piece = [&](char const *key) {
            auto const &pair = json_member(processor, key);
            check(pair.is_array() && !pair.empty(), where, ": post_processor: ", key, " is no pair [piece, id]");
            return json_text(pair[0], where, "post_processor: a token");
        };
        return TokenFrame{{piece("cls")}, {piece("sep")}};
    }
    if (type == "Sequence") {
        auto const &all = json_member(processor, "processors");
        check(all.is_array(), where, ": post_processor: processors is ", all.type_name(), ", expected an array");
        for (auto const &part : all)
            if (json_member(part, "type") != "Sequence") // one level, which is what there is in use
                if (auto frame = processor_frame(part, where))
                    return frame;
        return std::nullopt;
    }
    check(type == "ByteLevel", where, ": post_processor: type is \"", type,
          "\", expected TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or Sequence");
    return std::nullopt;
}

} // namespace detail

/// The pieces and special tokens of a tokenizer.json of Hugging Face's tokenizers: the `vocab` of its model (WordPiece,
/// WordLevel, BPE or Unigram), `added_tokens`, and the post-processor.
/// @param document  the whole file  @param where  names it in error messages
/// @throws Error naming the field
inline TokenizerJson parse_tokenizer_json(nlohmann::json const &document, std::string_view where) {
    check(document.is_object(), where, ": is ", document.type_name(), ", expected an object {...}");
    auto const &model = detail::json_member(document, "model");
    check(model.is_object(), where, ": model is ", model.type_name(),
          ", expected an object: is this a tokenizer.json?");
    auto const &merges = detail::json_member(model, "merges");
    check(merges.is_null() || merges.empty(), where,
          ": model: merges: BPE joins residues to longer pieces; expected "
          "none, so that every residue is a token of its own");
    TokenizerJson result;
    detail::read_vocab(detail::json_member(model, "vocab"), where, result.pieces);
    auto const &added = detail::json_member(document, "added_tokens");
    check(added.is_array() || added.is_null(), where, ": added_tokens is ", added.type_name(), ", expected an array");
    for (auto const &token : added)
        put_piece(result.pieces, detail::json_id(detail::json_member(token, "id"), where, "added_tokens: id"),
                  detail::json_text(detail::json_member(token, "content"), where, "added_tokens: content"), where);
    check(!result.pieces.empty(), where, ": holds no pieces");
    fill_unused(result.pieces);
    if (auto const &unknown = detail::json_member(model, "unk_token"); !unknown.is_null())
        result.unknown = detail::json_text(unknown, where, "model: unk_token");
    if (auto const &unknown = detail::json_member(model, "unk_id"); !unknown.is_null()) {
        auto const id = detail::json_id(unknown, where, "model: unk_id");
        check(id < result.pieces.size(), where, ": model: unk_id is ", id, ", but there are ", result.pieces.size(),
              " pieces");
        result.unknown = result.pieces[static_cast<std::size_t>(id)];
    }
    result.frame = detail::processor_frame(detail::json_member(document, "post_processor"), where);
    return result;
}

} // namespace protlm::inline v0
