#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/data/pieces.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// The pieces of a model's vocabulary and how the letters of a protein map to them.
/// A piece that is one upper-case letter (after SentencePiece's U+2581, if it has that) is a residue; every other
/// piece is special. U, Z, O and B become X, as in ProtTrans, also where the vocabulary has pieces for them; where it
/// has no X, all five become the unknown token, which is special: never masked, and no random residue.
///
/// How special tokens stand around proteins follows from the pieces, as each model's original has it:
///
///     [CLS] and [SEP]   [CLS] A [SEP], [CLS] A [SEP] B [SEP]    BERT, ELECTRA, ALBERT, Transformer-XL
///     </s>              A </s>, A </s> B </s>                   T5
///     <sep> and <cls>   A <sep> <cls>, A <sep> B <sep> <cls>    XLNet
struct Vocabulary {
    /// In `residue_table`: this byte is no residue.
    static constexpr std::uint8_t not_a_residue = 0xFF;

    std::vector<std::string> pieces;             ///< one a token, in the order of the ids
    std::array<std::uint8_t, 256> residue_table; ///< byte of a sequence, either case -> token, or not_a_residue
    std::vector<std::uint8_t> residues;          ///< the distinct tokens of `residue_table`, ascending
    std::int32_t pad = -1, unknown = -1, cls = -1, sep = -1, mask = -1; ///< -1: the vocabulary has no such token
    std::vector<std::int32_t> sentinels; ///< `<extra_id_0>`, `<extra_id_1>` ... as far as there are any

    /// Special tokens before the first protein, behind each protein, and behind the last; -1: none. See
    /// append_sequence.
    std::int32_t begin = -1, separator = -1, end = -1;
    /// Token types: the first protein's is 0, this is the second's, and that of `end`. XLNet was trained with 1 and 2,
    /// but its users give none, so both are 0 until somebody sets them.
    std::int32_t second_type = 0, end_type = 0;

    /// Takes the pieces in the order of their ids. Of two pieces for a letter the one with U+2581 counts, which is what
    /// SentencePiece makes of a letter between spaces.
    /// @param where  names the origin in error messages, for example a path
    /// @param named  special tokens as the tokenizer's files name them
    /// @param lines  messages count lines from 1, as in a vocab.txt; else ids from 0
    /// @throws Error for an empty or repeated piece (with its line or id), no residue at all, a residue whose id is
    ///         above 127 (a store keeps a residue in one byte, and the reader uses its highest bit), or lower-case
    ///         letters with tokens of their own (ProstT5)
    static Vocabulary from_pieces(std::vector<std::string> pieces, std::string_view where = "vocabulary",
                                  SpecialTokens const &named = {}, bool lines = true);

    /// The 30 pieces of ProtBert (and ProtElectra), in its order.
    static Vocabulary protbert();
    /// The 128 pieces of ProtT5, in its order.
    static Vocabulary prott5();
    /// The 34 pieces of ProtAlbert: ALBERT's five special tokens and eight punctuation marks, 20 residues and X. The
    /// order of its residues is not published; here it is ProtBert's. Take the one of a released tokenizer's vocab.txt.
    static Vocabulary protalbert();
    /// The 37 pieces of ProtXLNet: XLNet's nine special tokens and eight punctuation marks, and 20 residues, no X. The
    /// order of its residues is not published; here it is ProtBert's.
    static Vocabulary protxlnet();
    /// The vocabulary that the ProtTrans model of a family has, by the family's name in Hugging Face's `model_type`:
    /// "bert", "electra", "albert", "t5", "xlnet", or "transfo-xl", which has ProtBert's.
    /// @throws Error for another name
    static Vocabulary of(std::string_view family);

    /// Puts special tokens around proteins as the original of a family does, whatever other special tokens there are;
    /// a family without a rule leaves them as the pieces say. @param family as Vocabulary::of takes it
    /// @throws Error for a special token that stands there, is named, and is none of the pieces
    void frame_as(std::string_view family, SpecialTokens const &named, std::string_view where);

    /// Puts special tokens around proteins as a tokenizer says.
    /// @throws Error for more than one before and two behind a protein, or a piece that is not there
    void frame_as(TokenFrame const &frame, std::string_view where);

    std::int32_t size() const { return static_cast<std::int32_t>(pieces.size()); }

    /// True for every token that is no residue letter: [PAD], [CLS], `<extra_id_0>` and the like, and ids out of range.
    bool is_special(std::int32_t id) const { return id < 0 || id >= size() || letter(id) == '\0'; }

    /// The residue letter of a token; '\0' for a special token.
    char letter(std::int32_t id) const { return residue_of_piece(pieces[static_cast<std::size_t>(id)]); }

    /// The id of a piece, or -1.
    std::int32_t find(std::string_view piece) const {
        auto const at = std::find(pieces.begin(), pieces.end(), piece);
        return at == pieces.end() ? -1 : static_cast<std::int32_t>(at - pieces.begin());
    }

    /// The token that stands for a residue nobody knows: X, or the unknown token where there is no X.
    /// @throws Error when the vocabulary has neither below id 128
    std::uint8_t unknown_residue() const {
        std::uint8_t const x = residue_table['X'];
        check(x != not_a_residue || (unknown >= 0 && unknown < 128),
              "vocabulary: neither X nor an unknown token to stand for an invalid letter");
        return x != not_a_residue ? x : static_cast<std::uint8_t>(unknown);
    }

    bool operator==(Vocabulary const &) const = default;

  private:
    std::int32_t first_of(std::initializer_list<std::string_view> names) const {
        for (std::string_view const name : names)
            if (std::int32_t const id = find(name); id >= 0)
                return id;
        return -1;
    }
    std::int32_t required(std::string const &piece, std::string_view where) const {
        std::int32_t const id = find(piece);
        check(id >= 0, where, ": the special token \"", piece, "\" is not among the ", pieces.size(), " pieces");
        return id;
    }
    void name_special_tokens(SpecialTokens const &named);
    void fill_table(std::string_view where, bool lines);
};

inline Vocabulary Vocabulary::from_pieces(std::vector<std::string> pieces, std::string_view where,
                                          SpecialTokens const &named, bool lines) {
    std::string_view const unit = lines ? "line " : "piece ";
    std::unordered_map<std::string_view, std::size_t> first;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        check(!pieces[i].empty(), where, ": ", unit, i + lines, ": empty piece");
        check(pieces[i].find_first_of(std::string_view("\n\r\0", 3)) == std::string::npos, where, ": ", unit, i + lines,
              ": a piece holds a line end or a zero byte");
        auto const [at, fresh] = first.emplace(pieces[i], i);
        check(fresh, where, ": ", unit, i + lines, ": piece \"", pieces[i], "\" is already ", lines ? "on " : "", unit,
              at->second + lines);
    }
    Vocabulary vocabulary;
    vocabulary.pieces = std::move(pieces);
    vocabulary.name_special_tokens(named);
    vocabulary.fill_table(where, lines);
    return vocabulary;
}

inline void Vocabulary::name_special_tokens(SpecialTokens const &named) {
    auto const choose = [&](std::string const &name, std::initializer_list<std::string_view> usual) {
        return name.empty() ? first_of(usual) : find(name);
    };
    pad = choose(named.pad, {"[PAD]", "<pad>"});
    unknown = choose(named.unknown, {"[UNK]", "<unk>"});
    cls = choose(named.cls, {"[CLS]", "<cls>"});
    sep = choose(named.sep, {"[SEP]", "<sep>", named.eos, "</s>"});
    mask = choose(named.mask, {"[MASK]", "<mask>"});
    begin = find("[CLS]");
    separator = sep;
    end = begin < 0 ? find("<cls>") : -1;
    second_type = begin >= 0 ? 1 : 0;
    sentinels = sentinel_ids(pieces);
}

inline void Vocabulary::frame_as(std::string_view family, SpecialTokens const &named, std::string_view where) {
    auto const place = [&](std::int32_t id, std::string const &name) {
        return id < 0 && !name.empty() ? required(name, where) : id;
    };
    if (family == "bert" || family == "electra" || family == "albert") {
        begin = place(cls, named.cls), separator = place(sep, named.sep), end = -1, second_type = 1;
    } else if (family == "t5") {
        separator = place(first_of({named.eos, "</s>"}), named.eos);
        sep = separator >= 0 ? separator : sep;
        begin = end = -1, second_type = 0;
    } else if (family == "xlnet") {
        begin = -1, separator = place(sep, named.sep), end = place(cls, named.cls), second_type = 0;
    }
}

inline void Vocabulary::frame_as(TokenFrame const &frame, std::string_view where) {
    check(frame.before.size() <= 1 && frame.after.size() <= 2, where, ": puts ", frame.before.size(), " and ",
          frame.after.size(), " special tokens around a text, expected at most 1 and 2");
    begin = frame.before.empty() ? -1 : required(frame.before[0], where);
    separator = frame.after.empty() ? -1 : required(frame.after[0], where);
    end = frame.after.size() < 2 ? -1 : required(frame.after[1], where);
    second_type = begin >= 0 ? 1 : 0;
}

inline void Vocabulary::fill_table(std::string_view where, bool lines) {
    residue_table.fill(not_a_residue);
    for (char upper = 'A'; upper <= 'Z'; ++upper) {
        std::int32_t const id = first_of({"\xE2\x96\x81" + std::string(1, upper), std::string_view(&upper, 1)});
        check(id < 128, where, ": ", lines ? "line " : "piece ", id + lines, ": residue ", upper, " has token ", id,
              ", expected below 128");
        if (id >= 0)
            residue_table[static_cast<unsigned char>(upper)] = static_cast<std::uint8_t>(id);
    }
    bool const has_x = residue_table['X'] != not_a_residue;
    if (!has_x && unknown >= 0 && unknown < 128)
        residue_table['X'] = static_cast<std::uint8_t>(unknown);
    for (unsigned char const ambiguous : {'U', 'Z', 'O', 'B'})
        residue_table[ambiguous] = residue_table['X'];
    for (unsigned char upper = 'A'; upper <= 'Z'; ++upper) {
        std::uint8_t const token = residue_table[upper];
        residue_table[upper + ('a' - 'A')] = token;
        if (token != not_a_residue && (has_x || token != residue_table['X']))
            residues.push_back(token);
    }
    std::sort(residues.begin(), residues.end());
    residues.erase(std::unique(residues.begin(), residues.end()), residues.end());
    check(!residues.empty(), where, ": ", pieces.size(), " pieces, none of them a residue letter");
    refuse_second_alphabet(pieces, where);
}

inline Vocabulary Vocabulary::protbert() {
    std::vector<std::string> pieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (char const residue : std::string_view("LAGVESIKRDTPNQFYMHCWXUBZO"))
        pieces.emplace_back(1, residue);
    return from_pieces(std::move(pieces), "Vocabulary::protbert");
}

namespace detail {

/// Special pieces, then a SentencePiece word for each residue.
inline std::vector<std::string> word_pieces(std::initializer_list<char const *> special, std::string_view residues) {
    std::vector<std::string> pieces(special.begin(), special.end());
    for (char const residue : residues)
        pieces.push_back(std::string("\xE2\x96\x81") + residue);
    return pieces;
}

} // namespace detail

inline Vocabulary Vocabulary::prott5() {
    auto pieces = detail::word_pieces({"<pad>", "</s>", "<unk>"}, "ALGVSREDTIPKFQNYMHWCXBOUZ");
    for (int i = 99; i >= 0; --i)
        pieces.push_back("<extra_id_" + std::to_string(i) + ">");
    return from_pieces(std::move(pieces), "Vocabulary::prott5");
}

inline Vocabulary Vocabulary::protalbert() {
    return from_pieces(detail::word_pieces({"<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "(", ")", "\"", "-", ".",
                                            "\xE2\x80\x93", "\xC2\xA3", "\xE2\x82\xAC"},
                                           "LAGVESIKRDTPNQFYMHCWX"),
                       "Vocabulary::protalbert");
}

inline Vocabulary Vocabulary::protxlnet() {
    return from_pieces(
        detail::word_pieces({"<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>", ".", "(",
                             ")", "\"", "-", "\xE2\x80\x93", "\xC2\xA3", "\xE2\x82\xAC"},
                            "LAGVESIKRDTPNQFYMHCW"),
        "Vocabulary::protxlnet");
}

inline Vocabulary Vocabulary::of(std::string_view family) {
    if (family == "bert" || family == "electra" || family == "transfo-xl")
        return protbert();
    if (family == "albert")
        return protalbert();
    if (family == "t5")
        return prott5();
    check(family == "xlnet", "Vocabulary: no family \"", family,
          "\", expected \"bert\", \"electra\", \"albert\", \"t5\", \"xlnet\" or \"transfo-xl\"");
    return protxlnet();
}

/// The lines of a vocab.txt (LF or CRLF), which are its pieces; blank lines at the end are none.
inline std::vector<std::string> vocabulary_lines(std::string_view text) {
    std::vector<std::string> pieces;
    while (!text.empty()) {
        std::size_t const end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        pieces.emplace_back(line);
    }
    while (!pieces.empty() && pieces.back().empty())
        pieces.pop_back();
    return pieces;
}

/// Reads the text of a vocab.txt. @param where  names the origin in error messages
/// @throws Error as Vocabulary::from_pieces
inline Vocabulary parse_vocabulary(std::string_view text, std::string_view where) {
    return Vocabulary::from_pieces(vocabulary_lines(text), where);
}

/// One piece a line: what `read_vocabulary_text` reads and Hugging Face's BertTokenizer loads.
inline std::string vocabulary_text(Vocabulary const &vocabulary) {
    std::string text;
    for (std::string const &piece : vocabulary.pieces)
        text.append(piece).push_back('\n');
    return text;
}

/// Reads a vocab.txt. @throws Error naming file and line
inline Vocabulary read_vocabulary_text(std::filesystem::path const &path) {
    MappedFile const file(path);
    refuse_web_page(file.bytes(), path.string());
    return parse_vocabulary({reinterpret_cast<char const *>(file.bytes().data()), file.size()}, path.string());
}

/// Writes a vocab.txt that appears only when it is complete. @throws Error
inline void write_vocabulary_text(Vocabulary const &vocabulary, std::filesystem::path const &path) {
    AtomicFile file(path);
    file.write(vocabulary_text(vocabulary));
    file.commit();
}

/// Tokens of a sequence given as text, either case, white space ignored, without special tokens.
/// @throws Error with the position of a letter that is no residue
inline std::vector<std::uint8_t> encode(Vocabulary const &vocabulary, std::string_view sequence) {
    std::vector<std::uint8_t> tokens;
    tokens.reserve(sequence.size());
    for (std::size_t i = 0; i < sequence.size(); ++i) {
        if (std::string_view(" \t\r\n").find(sequence[i]) != std::string_view::npos)
            continue;
        std::uint8_t const token = vocabulary.residue_table[static_cast<unsigned char>(sequence[i])];
        check(token != Vocabulary::not_a_residue, "encode: letter '", sequence[i], "' at position ", i + 1,
              " is not in the alphabet");
        tokens.push_back(token);
    }
    return tokens;
}

/// Residue tokens of one vocabulary in terms of another, by their letters. A letter that `to` does not have becomes its
/// X or unknown token, as does the unknown token of `from`; other special tokens become Vocabulary::not_a_residue.
inline std::array<std::uint8_t, 256> token_translation(Vocabulary const &from, Vocabulary const &to) {
    std::array<std::uint8_t, 256> table;
    table.fill(Vocabulary::not_a_residue);
    for (std::int32_t id = 0; id < std::min(from.size(), 128); ++id) {
        auto const letter = static_cast<unsigned char>(from.letter(id));
        std::uint8_t &token = table[static_cast<std::size_t>(id)];
        if (letter != 0)
            token = to.residue_table[letter];
        if (token == Vocabulary::not_a_residue && (letter != 0 || id == from.unknown))
            token = to.residue_table['X'];
    }
    return table;
}

/// The letters of residue tokens; the unknown token is written as X, any other special token as '?'.
inline std::string decode(Vocabulary const &vocabulary, std::span<std::uint8_t const> tokens) {
    std::string sequence;
    sequence.reserve(tokens.size());
    for (std::uint8_t const token : tokens)
        sequence.push_back(!vocabulary.is_special(token) ? vocabulary.letter(token)
                           : token == vocabulary.unknown ? 'X'
                                                         : '?');
    return sequence;
}

} // namespace protlm::inline v0
