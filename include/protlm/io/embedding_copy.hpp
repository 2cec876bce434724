#pragma once

#include <protlm/io/embedding_reader.hpp>
#include <protlm/io/embedding_writer.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// Writes what `from` holds, or its proteins or residues alone, into another file, in the layout, precision and
/// compression of `info`.
/// @param path  the new file; one that exists is replaced
/// @param info  what to write: of the layers of `from`, with its width; pooling "none" leaves the proteins out
/// @throws Error when `from` does not hold what is to be written, or a value does not fit the precision
inline void copy_embeddings(EmbeddingReader const &from, std::filesystem::path const &path, EmbeddingInfo const &info) {
    auto const &held = from.info();
    check(!info.per_residue || held.per_residue, from.name(), ": holds no residues for ", path.string());
    check(!info.per_protein() || info.pooling == held.pooling, from.name(), ": holds proteins by pooling ",
          held.pooling, ", not by ", info.pooling);
    check(info.width == held.width, from.name(), ": has vectors of ", held.width, ", not of ", info.width);
    std::vector<index_t> slots;
    for (index_t const layer : info.layers)
        slots.push_back(from.slot_of(layer));
    EmbeddingWriter writer(path, info, from.ids(), from.lengths());
    for (index_t i = 0; i < from.size(); ++i)
        for (index_t slot = 0; slot < info.slots(); ++slot) {
            index_t const source = slots[static_cast<std::size_t>(slot)];
            auto const residues = info.per_residue ? from.residues(i, source) : std::vector<float>();
            auto const vector = info.per_protein() ? from.protein(i, source) : std::vector<float>();
            writer.write(i, residues.data(), vector.data(), slot);
        }
    writer.close();
}

} // namespace protlm::inline v0
