#pragma once

#include <protlm/core/check.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// The pieces that a tokenizer's files name as its special tokens; empty: they name none, and the usual one counts.
struct SpecialTokens {
    std::string pad, unknown, cls, sep, eos, mask;

    bool operator==(SpecialTokens const &) const = default;
};

/// Special pieces around one protein, in their order.
struct TokenFrame {
    std::vector<std::string> before, after;
};

/// As many pieces as a vocabulary read from a file may have; the largest published ones have no more.
inline constexpr std::size_t most_pieces = std::size_t(1) << 18;

/// The letter of a piece that stands for a residue, which is an upper-case letter, alone or after SentencePiece's
/// U+2581; '\0' for any other piece.
inline char residue_of_piece(std::string_view piece) {
    if (piece.starts_with("\xE2\x96\x81"))
        piece.remove_prefix(3);
    return piece.size() == 1 && piece[0] >= 'A' && piece[0] <= 'Z' ? piece[0] : '\0';
}

/// Puts `piece` at place `id`; places in between stay empty. A special piece that is there already is renamed, as
/// `transformers` does; a residue never is.
/// @throws Error for an id of 2^18 or more, or where a residue would change
inline void put_piece(std::vector<std::string> &pieces, std::uint64_t id, std::string piece, std::string_view where) {
    check(id < most_pieces, where, ": token \"", piece, "\" has the id ", id, ", expected below ", most_pieces);
    auto const at = static_cast<std::size_t>(id);
    if (at >= pieces.size())
        pieces.resize(at + 1);
    bool const residue = residue_of_piece(pieces[at]) != '\0' || residue_of_piece(piece) != '\0';
    check(pieces[at].empty() || pieces[at] == piece || !residue, where, ": token \"", piece, "\" has the id ", id,
          ", which is that of \"", pieces[at], '"');
    pieces[at] = std::move(piece);
}

/// The ids of `<extra_id_0>`, `<extra_id_1>` ... as far as there are any without a gap.
inline std::vector<std::int32_t> sentinel_ids(std::vector<std::string> const &pieces) {
    constexpr std::string_view begin = "<extra_id_";
    std::vector<std::int32_t> ids(pieces.size(), -1);
    for (std::size_t id = 0; id < pieces.size(); ++id) {
        std::size_t number = pieces.size();
        if (pieces[id].starts_with(begin))
            std::from_chars(pieces[id].data() + begin.size(), pieces[id].data() + pieces[id].size(), number);
        if (number < pieces.size() && pieces[id] == std::string(begin) + std::to_string(number) + '>')
            ids[number] = static_cast<std::int32_t>(id);
    }
    ids.erase(std::find(ids.begin(), ids.end(), -1), ids.end());
    return ids;
}

/// @throws Error where letters of the two cases have different meanings, as in ProstT5's vocabulary
inline void refuse_second_alphabet(std::vector<std::string> const &pieces, std::string_view where) {
    for (std::string_view const whole : pieces) {
        auto piece = whole;
        if (piece.starts_with("\xE2\x96\x81"))
            piece.remove_prefix(3);
        bool const lower = piece.size() == 1 && piece[0] >= 'a' && piece[0] <= 'z';
        check(!lower && piece != "<AA2fold>" && piece != "<fold2AA>", where, ": has the piece \"", whole,
              "\": in ProstT5 and models like it lower-case letters are states of the structure (3Di), and a token for "
              "the direction stands before each text. Here a letter of either case is a residue, so these models are "
              "not supported");
    }
}

/// Names places that have no piece `<unused_ID>`.
inline void fill_unused(std::vector<std::string> &pieces) {
    for (std::size_t id = 0; id < pieces.size(); ++id)
        if (pieces[id].empty())
            pieces[id] = "<unused_" + std::to_string(id) + ">";
}

} // namespace protlm::inline v0
