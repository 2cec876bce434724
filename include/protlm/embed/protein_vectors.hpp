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
    index_t layer = -1;           ///< the hidden states they come from; -1 where unknown
    std::string pooling;          ///< "mean", ...: how they come from their residues'; empty where unknown
    std::string note;             ///< for people: what was done to make them, where that may surprise; else empty

    index_t size() const { return static_cast<index_t>(ids.size()); } ///< P
};

namespace detail {

/// The mean of rows (L, C); zeros for none.
inline std::vector<float> mean_row(std::vector<float> const &rows, index_t width) {
    auto const columns = static_cast<std::size_t>(width);
    std::vector<double> sums(columns);
    for (std::size_t i = 0; i < rows.size(); ++i)
        sums[i % columns] += rows[i];
    double const count = static_cast<double>(std::max<std::size_t>(rows.size() / columns, 1));
    std::vector<float> mean;
    for (double const sum : sums)
        mean.push_back(static_cast<float>(sum / count));
    return mean;
}

/// "bert, layer 4, mean"; of a file of another program its name, and what it says of the model.
inline std::string describe_vectors(EmbeddingInfo const &info, ProteinVectors const &vectors,
                                    std::filesystem::path const &path) {
    if (info.layout == EmbeddingLayout::flat)
        return path.filename().string() + (info.model.empty() ? "" : ", " + info.model) +
               (info.per_protein() ? "" : ", mean");
    return info.model + ", layer " + std::to_string(vectors.layer) + ", " + vectors.pooling;
}

} // namespace detail

/// The vectors of proteins in an embedding file of protlm or of another program (see EmbeddingReader); where it holds
/// residues only, their means.
/// @param layer  as the file counts it, or nothing for its last
/// @throws Error when the file is missing, incomplete, of another kind, without that layer, or has no proteins, or for
/// a value that is not finite, naming the protein
inline ProteinVectors read_protein_vectors(std::filesystem::path const &path, std::optional<index_t> layer = {}) {
    EmbeddingReader const reader(path);
    check(reader.size() > 0, path.string(), ": holds no proteins");
    auto const &info = reader.info();
    index_t const slot = layer ? reader.slot_of(*layer) : info.slots() - 1;
    bool const flat = info.layout == EmbeddingLayout::flat;
    ProteinVectors result;
    result.ids = reader.ids();
    result.width = info.width;
    result.weights = info.model_sha256;
    result.layer = flat ? -1 : info.layers[static_cast<std::size_t>(slot)];
    result.pooling = !info.per_protein() ? "mean" : flat ? "" : info.pooling;
    result.what = detail::describe_vectors(info, result, path);
    if (info.per_protein()) {
        result.values = reader.proteins(0, reader.size(), slot);
        return result;
    }
    result.note = path.string() + " holds residues only: a protein's vector is their mean";
    for (index_t i = 0; i < reader.size(); ++i) {
        auto const mean = detail::mean_row(reader.residues(i, slot), info.width);
        result.values.insert(result.values.end(), mean.begin(), mean.end());
    }
    return result;
}

/// Why distances between the vectors of `a` and of `b` may say nothing, as a sentence; empty where they are of one
/// kind.
/// @throws Error when their widths differ
inline std::string difference(ProteinVectors const &a, ProteinVectors const &b) {
    check(a.width == b.width, "vectors of ", a.width, " (", a.what, ") and of ", b.width, " (", b.what,
          ") come from different models");
    std::string const both = " (" + a.what + "; " + b.what + ")";
    if ((a.layer < 0) != (b.layer < 0))
        return "one of the two files does not say what its vectors are" + both +
               ": cosines say nothing unless they are of one model, layer and pooling";
    if (a.layer < 0 && a.what != b.what)
        return "the two files do not say what their vectors are" + both +
               ": cosines say nothing unless they are of one model, layer and pooling";
    if (a.weights != b.weights)
        return "the weights behind the two files differ" + both +
               ": cosines say nothing unless they are one model, saved twice";
    bool const known = !a.pooling.empty() && !b.pooling.empty();
    if (a.layer != b.layer || (known && a.pooling != b.pooling))
        return "the two files come from different layers or poolings" + both + ": cosines say nothing";
    return {};
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
