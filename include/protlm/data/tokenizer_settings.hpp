#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/data/pieces.hpp>
#include <protlm/data/tokenizer_json.hpp>
#include <protlm/io/json.hpp>

#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

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

} // namespace detail
} // namespace protlm::inline v0
