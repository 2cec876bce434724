#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/embed/embedder.hpp>
#include <protlm/io/embedding_file.hpp>
#include <protlm/io/embedding_parts.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// One of several processes that write one file together; {0, 1}: alone.
struct EmbeddingShare {
    index_t rank = 0, ranks = 1;
};

/// Embeds the proteins `mine` into `path`, or with several processes into this one's part file of it, which
/// merge_embedding_parts joins when all have returned. Proteins of a file stand in the order of the input.
/// @param mine  this process's share of `proteins`, ascending: see Embedder::share
/// @param info  model's name and hash, and precision; the rest is filled in from the embedder
/// @param progress  called as progress(proteins so far, residues so far)
/// @throws Error for a protein that is too long, a value that is not finite or does not fit, a full disk
template <class Model, class Progress>
void write_embeddings(Embedder<Model> &embedder, Proteins const &proteins, std::vector<index_t> const &mine,
                      std::filesystem::path const &path, EmbeddingInfo info, EmbeddingShare share,
                      Progress &&progress) {
    static_assert(std::same_as<typename Embedder<Model>::value_type, float>,
                  "write_embeddings: the model must compute in float, files hold nothing longer");
    info.layer = embedder.options().layer;
    info.pooling = pooling_name(embedder.options().pooling);
    info.per_residue = embedder.options().per_residue;
    info.width = embedder.shape().width;
    bool const alone = share.ranks == 1;
    check(!alone || static_cast<index_t>(mine.size()) == proteins.size(), "write_embeddings: ", mine.size(), " of ",
          proteins.size(), " proteins for a single process");
    std::vector<std::string> ids;
    std::vector<index_t> lengths, place(static_cast<std::size_t>(proteins.size()), -1);
    for (index_t const i : mine) {
        place[static_cast<std::size_t>(i)] = static_cast<index_t>(ids.size());
        ids.push_back(proteins.id(i));
        lengths.push_back(proteins.length(i));
    }
    EmbeddingWriter writer(alone ? path : embedding_part_path(path, share.rank, share.ranks), info, ids, lengths,
                           alone ? std::span<index_t const>() : std::span<index_t const>(mine));
    index_t done = 0, residues = 0;
    embedder(proteins, mine, [&](ProteinEmbedding<float> const &result) {
        writer.write(place[static_cast<std::size_t>(result.protein)], result.residues.data(), result.vector.data());
        residues += proteins.length(result.protein);
        progress(++done, residues);
    });
    writer.close();
}

} // namespace protlm::inline v0
