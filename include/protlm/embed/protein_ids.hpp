#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/io/sha256.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// What names a protein in the result.
enum class ProteinIds {
    header,       ///< the whole header line
    word,         ///< the header up to its first white space
    accession,    ///< of a word like sp|P12345|NAME_HUMAN the accession, P12345: see accession_of
    sequence_hash ///< what biotrainer names proteins by: see sequence_hash
};

/// The accession in the first word of a header: the second field of sp|P12345|NAME and of other words that begin with a
/// data base's tag, the fourth of gi|NUMBER|ref|NP_000001.1|, with its chain 1ABC_A of pdb|1ABC|A; any other word as it
/// is.
inline std::string accession_of(std::string_view word) {
    std::array<std::string_view, 5> fields;
    std::size_t count = 0;
    for (std::string_view rest = word; count < fields.size(); rest.remove_prefix(fields[count - 1].size() + 1)) {
        fields[count++] = rest.substr(0, rest.find('|'));
        if (fields[count - 1].size() == rest.size())
            break;
    }
    bool const gi = count >= 4 && fields[0] == "gi";
    std::size_t const tag = gi ? 2 : 0;
    bool known = gi;
    for (char const *other : {"sp", "tr", "ref", "gb", "emb", "dbj", "pir", "prf", "pdb", "lcl", "tpg", "tpe"})
        known = known || fields[tag] == other;
    if (!known || count < tag + 2 || fields[tag + 1].empty())
        return std::string(word);
    std::string accession(fields[tag + 1]);
    if (fields[tag] == "pdb" && count > tag + 2 && !fields[tag + 2].empty()) // chains are proteins of their own
        accession.append("_").append(fields[tag + 2]);
    return accession;
}

/// SHA-256, in hexadecimal, of "LETTERS_LENGTH": the residues as upper-case letters and their number.
inline std::string sequence_hash(std::string_view letters) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span(letters)));
    std::string const length = '_' + std::to_string(letters.size());
    hash.update(std::as_bytes(std::span(length)));
    return hash.hex();
}

namespace detail {

/// A vocabulary that reads the letters that `vocabulary` reads, each with its number in the alphabet as token, so that
/// those which the model takes for X keep their names.
/// @throws Error when the vocabulary tells upper from lower case
inline Vocabulary letter_vocabulary(Vocabulary const &vocabulary) {
    std::vector<std::string> pieces;
    for (char letter = 'A'; letter <= 'Z'; ++letter)
        pieces.emplace_back(1, letter);
    auto letters = Vocabulary::from_pieces(std::move(pieces));
    bool const unknown = vocabulary.unknown >= 0 && vocabulary.unknown < 128;
    bool const has_x = vocabulary.residue_table['X'] != Vocabulary::not_a_residue;
    letters.unknown = unknown || has_x ? 'X' - 'A' : -1; // what masked letters are read as
    for (unsigned char upper = 'A'; upper <= 'Z'; ++upper) {
        std::size_t const lower = upper + std::size_t('a' - 'A');
        auto const token = vocabulary.residue_table[upper];
        check(token == vocabulary.residue_table[lower],
              "hashes of sequences need a model that reads upper and lower case alike");
        bool const none = token == Vocabulary::not_a_residue || (token == vocabulary.unknown && unknown);
        auto const read = none ? Vocabulary::not_a_residue : static_cast<std::uint8_t>(upper - 'A');
        letters.residue_table[upper] = letters.residue_table[lower] = read;
    }
    return letters;
}

} // namespace detail

} // namespace protlm::inline v0
