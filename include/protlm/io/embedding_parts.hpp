#pragma once

#include <protlm/io/embedding_file.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

// Several processes write one embedding file: each writes a part file of its own with an EmbeddingWriter that knows its
// proteins' places, then one process merges the parts. No process waits for another while it computes, no parallel
// HDF5 is needed, and a job that dies leaves no file under the final name.

namespace protlm::inline v0 {

/// "OUT.h5.part-0003-of-0016": what process 3 of 16 writes.
inline std::filesystem::path embedding_part_path(std::filesystem::path const &path, index_t part, index_t parts) {
    check(part >= 0 && part < parts, "embedding_part_path: part ", part, " of ", parts);
    auto const number = [](index_t value) {
        std::string const digits = std::to_string(value);
        return std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
    };
    return path.string() + ".part-" + number(part) + "-of-" + number(parts);
}

namespace detail {

/// The proteins of all parts in the order of the whole.
struct EmbeddingIndex {
    std::vector<std::pair<std::size_t, index_t>> sources; ///< part, and protein in it
    std::vector<std::string> ids;
    std::vector<index_t> lengths;
};

inline EmbeddingIndex index_embedding_parts(std::vector<EmbeddingReader> const &parts) {
    std::size_t total = 0;
    for (auto const &part : parts)
        total += part.ids().size();
    constexpr std::size_t nobody = ~std::size_t(0);
    EmbeddingIndex index{{total, {nobody, 0}}, std::vector<std::string>(total), std::vector<index_t>(total)};
    for (std::size_t p = 0; p < parts.size(); ++p) {
        auto const &places = parts[p].places();
        for (std::size_t i = 0; i < places.size(); ++i) {
            auto const place = static_cast<std::size_t>(places[i]);
            check(places[i] >= 0 && place < total, parts[p].name(), ": place ", places[i], ", but all parts have ",
                  total, " proteins");
            check(index.sources[place].first == nobody, parts[p].name(), ": place ", place, " is taken twice");
            index.sources[place] = {p, static_cast<index_t>(i)};
            index.ids[place] = parts[p].ids()[i];
            index.lengths[place] = parts[p].lengths()[i];
        }
    }
    return index; // as many places as proteins and none twice: none is missing
}

} // namespace detail

/// Merges the part files of `path` into `path`, proteins in the order of their places, and removes the parts. Call it
/// in one process after all parts are closed; the parts must lie on a file system that this process sees.
/// @param gzip  0, or 1 (fast) to 9 (small), for the merged file
/// @throws Error when a part is missing, incomplete or of another model, or a place is missing or taken twice; the
/// parts then stay
inline void merge_embedding_parts(std::filesystem::path const &path, index_t parts, int gzip = 0) {
    check(parts >= 1, "merge_embedding_parts: ", parts, " parts, expected at least 1");
    std::vector<EmbeddingReader> readers;
    for (index_t part = 0; part < parts; ++part) {
        auto const &reader = readers.emplace_back(embedding_part_path(path, part, parts));
        check(reader.info() == readers.front().info(), reader.name(),
              ": model, layer, width, pooling or precision differ from those of ", readers.front().name());
        check(static_cast<index_t>(reader.places().size()) == reader.size(), reader.name(), ": is not a part file");
    }
    auto const index = detail::index_embedding_parts(readers);
    EmbeddingInfo info = readers.front().info();
    info.gzip = gzip;
    EmbeddingWriter writer(path, info, index.ids, index.lengths);
    for (index_t place = 0; place < writer.size(); ++place) {
        auto const &[part, protein] = index.sources[static_cast<std::size_t>(place)];
        auto const residues = info.per_residue ? readers[part].residues(protein) : std::vector<float>();
        writer.write(place, residues.data(), readers[part].protein(protein).data());
    }
    writer.close();
    readers.clear();
    std::error_code ignored; // the merged file is complete; a part that cannot be removed harms nobody
    for (index_t part = 0; part < parts; ++part)
        std::filesystem::remove(embedding_part_path(path, part, parts), ignored);
}

} // namespace protlm::inline v0
