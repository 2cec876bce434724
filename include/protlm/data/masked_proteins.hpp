#pragma once

#include <protlm/data/fasta.hpp>

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
/// @param paths FASTA files as for FastaReader @param letters stand for open residues even if they are residues, too
/// @throws Error when the vocabulary has no sentinels or too few, or a letter is not in the alphabet
inline std::vector<MaskedProtein> read_masked_proteins(std::vector<std::string> paths, Vocabulary alphabet,
                                                       std::string_view letters, bool spans) {
    check(!alphabet.sentinels.empty(), "read_masked_proteins: the vocabulary has no <extra_id_0> for masked residues");
    std::int32_t const open = alphabet.sentinels[0];
    for (char const letter : letters)
        alphabet.residue_table[static_cast<unsigned char>(letter)] = static_cast<std::uint8_t>(open);
    FastaReader reader(std::move(paths), alphabet);
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
    return proteins;
}

} // namespace protlm::inline v0
