#pragma once

#include <protlm/data/fasta.hpp>
#include <protlm/io/embedding_reader.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// One vector a protein: what maps and searches work on.
struct ProteinVectors {
    std::vector<std::string> ids; ///< (P)
    std::vector<float> values;    ///< (P, C) row-major
    index_t width = 0;            ///< C
    std::string what;             ///< for people: which model, layer and pooling they come from
    std::string weights;          ///< SHA-256 of the model's weights; empty where unknown

    index_t size() const { return static_cast<index_t>(ids.size()); } ///< P
};

/// The vectors of proteins in an embedding file; where it holds residues only, their means.
/// @param layer  as the file counts it, or nothing for its last
/// @throws Error when the file is missing, incomplete, of another kind, without that layer, or has no proteins
inline ProteinVectors read_protein_vectors(std::filesystem::path const &path, std::optional<index_t> layer = {}) {
    EmbeddingReader const reader(path);
    check(reader.size() > 0, path.string(), ": holds no proteins");
    auto const &info = reader.info();
    index_t const slot = layer ? reader.slot_of(*layer) : info.slots() - 1;
    ProteinVectors result;
    result.ids = reader.ids();
    result.width = info.width;
    result.weights = info.model_sha256;
    result.what = info.model + ", layer " + std::to_string(info.layers[static_cast<std::size_t>(slot)]) + ", " +
                  (info.per_protein() ? info.pooling : "mean");
    if (info.per_protein()) {
        result.values = reader.proteins(0, reader.size(), slot);
        return result;
    }
    for (index_t i = 0; i < reader.size(); ++i) {
        auto const residues = reader.residues(i, slot);
        auto const rows = static_cast<index_t>(residues.size()) / info.width;
        for (index_t j = 0; j < info.width; ++j) {
            double sum = 0;
            for (index_t row = 0; row < rows; ++row)
                sum += residues[static_cast<std::size_t>(row * info.width + j)];
            result.values.push_back(static_cast<float>(sum / static_cast<double>(std::max<index_t>(rows, 1))));
        }
    }
    return result;
}

/// Compositions of the proteins in FASTA files: each vector is the mean of its residues' one-hot vectors, which is what
/// a model that has learned nothing knows of a protein. 20 amino acids in the order ACDEFGHIKLMNPQRSTVWY and, last, all
/// other letters. Ids are whole header lines; records without residues are left out.
/// @param paths  as FastaReader takes them
/// @throws Error for files that cannot be read or hold no proteins
inline ProteinVectors composition_vectors(std::vector<std::string> const &paths) {
    std::string const letters = "ACDEFGHIKLMNPQRSTVWY";
    auto const vocabulary = Vocabulary::protbert();
    FastaReader reader(paths, vocabulary, {.invalid = InvalidLetters::mask});
    ProteinVectors result;
    result.width = static_cast<index_t>(letters.size()) + 1;
    result.what = "composition";
    while (auto const record = reader.next()) {
        if (record->tokens.empty())
            continue;
        std::vector<index_t> counts(letters.size() + 1);
        for (std::uint8_t const token : record->tokens)
            ++counts[std::min(letters.find(vocabulary.letter(token)), letters.size())];
        for (index_t const count : counts)
            result.values.push_back(static_cast<float>(double(count) / double(record->tokens.size())));
        result.ids.emplace_back(record->header);
    }
    check(result.size() > 0, paths.empty() ? "" : paths.front(), ": no proteins");
    return result;
}

} // namespace protlm::inline v0
