#pragma once

#include <protlm/data/fasta.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// A protein with residues left open, as an encoder reads it.
struct MaskedProtein {
    std::string id;
    std::vector<std::int32_t> tokens; // residues, sentinels where they are open
};

/// Reads proteins in which some letters stand for an open residue. Each open residue becomes `<extra_id_0>`, as ProtT5
/// was trained; with `spans` each run of them becomes one sentinel, `<extra_id_0>` first, as T5 was.
///
///     >P1        letters "?", ProtT5's vocabulary        M K <extra_id_0> <extra_id_0> A
///     MK??A      with `spans`                            M K <extra_id_0> A
///
/// @param paths FASTA files as for FastaReader @param letters stand for open residues even if they are residues, too;
/// none: all are read as they stand
/// @param options what to do with letters that the vocabulary lacks @param counts if given: receives what was read
/// @throws Error when the vocabulary has no sentinels or too few, or a letter is not in the alphabet
inline std::vector<MaskedProtein> read_masked_proteins(std::vector<std::string> paths, Vocabulary alphabet,
                                                       std::string_view letters, bool spans, FastaOptions options = {},
                                                       FastaCounts *counts = nullptr) {
    check(letters.empty() || !alphabet.sentinels.empty(),
          "read_masked_proteins: the vocabulary has no <extra_id_0> for masked residues");
    std::int32_t const open = letters.empty() ? -1 : alphabet.sentinels[0];
    for (char const letter : letters)
        alphabet.residue_table[static_cast<unsigned char>(letter)] = static_cast<std::uint8_t>(open);
    FastaReader reader(std::move(paths), alphabet, options);
    std::vector<MaskedProtein> proteins;
    while (auto const record = reader.next()) {
        MaskedProtein protein{std::string(record->id), {}};
        std::size_t runs = 0;
        bool in_run = false;
        for (std::int32_t const token : record->tokens) {
            bool const is_open = token == open;
            if (is_open && spans && in_run)
                continue;
            in_run = is_open;
            check(!is_open || !spans || runs < alphabet.sentinels.size(), "read_masked_proteins: ", protein.id,
                  " has more than ", alphabet.sentinels.size(), " masked spans, as many as there are sentinels");
            protein.tokens.push_back(is_open && spans ? alphabet.sentinels[runs++] : token);
        }
        proteins.push_back(std::move(protein));
    }
    if (counts)
        *counts = reader.counts();
    return proteins;
}

/// Proteins one after the other, `end` behind each: what PackedView looks at.
struct PackedProteins {
    std::vector<std::int32_t> tokens;
    std::vector<std::int64_t> offsets{0};

    PackedProteins(std::span<MaskedProtein const> proteins, std::int32_t end) {
        for (auto const &protein : proteins) {
            tokens.insert(tokens.end(), protein.tokens.begin(), protein.tokens.end());
            tokens.push_back(end);
            offsets.push_back(static_cast<std::int64_t>(tokens.size()));
        }
    }
};

/// Tokens that a generated protein may not have: special ones, those past the vocabulary, and some letters.
/// @param size of the model's vocabulary @param letters that are not wanted, though residues @param kept special
/// tokens that may be there
inline std::vector<std::int32_t> unwanted_tokens(Vocabulary const &vocabulary, std::int64_t size,
                                                 std::string_view letters, std::span<std::int32_t const> kept) {
    std::vector<std::int32_t> tokens;
    for (std::int32_t token = 0; token < size; ++token)
        if (vocabulary.is_special(token) ? std::find(kept.begin(), kept.end(), token) == kept.end()
                                         : letters.find(vocabulary.letter(token)) != letters.npos)
            tokens.push_back(token);
    return tokens;
}

} // namespace protlm::inline v0
