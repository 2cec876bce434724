#pragma once

#include <protlm/data/model_vocabulary.hpp>
#include <protlm/embed/embedder.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// One protein's embedding in host memory of its own; layers lie one after the other, in the order asked for.
template <class A = float>
struct Embedding {
    std::vector<A> vector;   ///< (K, C) row-major, K layers, one unless more were asked for; none with Pooling::none
    std::vector<A> residues; ///< (K, L, C) row-major, without special tokens
    index_t length = 0;      ///< L
    index_t width = 0;       ///< C
    index_t windows = 1;     ///< that the protein was cut into, see Windows; 1: embedded as a whole

    /// The vector (C) of residue `i`, from 0, of the layer in `slot`.
    /// @throws Error when the protein has no such residue, or there is no such layer
    std::span<A const> residue(index_t i, index_t slot = 0) const {
        check(i >= 0 && i < length && !residues.empty(), "Embedding: residue ", i, " of ",
              residues.empty() ? 0 : length);
        return row(residues, "layer", slot * length + i, slot);
    }
    /// The vector (C) of the protein of the layer in `slot`. @throws Error when there is no such layer
    std::span<A const> protein(index_t slot = 0) const { return row(vector, "layer", slot, slot); }

  private:
    std::span<A const> row(std::vector<A> const &values, char const *what, index_t i, index_t slot) const {
        check(slot >= 0 && (i + 1) * width <= static_cast<index_t>(values.size()), "Embedding: ", what, ' ', slot,
              " was not asked for");
        return std::span<A const>(values).subspan(static_cast<std::size_t>(i * width), static_cast<std::size_t>(width));
    }
};

/// Embeddings of several proteins in the memory of `Exec`.
template <class A, class Exec>
struct DeviceEmbeddings {
    using View = Kokkos::View<A **, Kokkos::LayoutRight, typename Exec::memory_space>;
    std::vector<View> vectors;    ///< [layer] (P, C); none with Pooling::none
    std::vector<View> residues;   ///< [layer] (R, C), without special tokens; none unless asked for
    std::vector<index_t> offsets; ///< (P+1), host: protein p has the rows offsets[p] ... offsets[p+1] of `residues`
};

namespace detail {

/// Proteins named by their numbers, from 1. @throws Error naming sequence and position of a letter that is no residue
inline Proteins numbered_proteins(std::vector<std::string> const &sequences, Vocabulary const &vocabulary) {
    Proteins proteins;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        std::string const name = "number " + std::to_string(i + 1);
        try {
            proteins.add(name, encode(vocabulary, sequences[i]));
        } catch (Error const &error) {
            fail("embed: protein ", name, ": ", error.what());
        }
    }
    return proteins;
}

} // namespace detail

/// The vocabulary in the folder that a model was loaded from: see read_model_vocabulary.
/// @throws Error when it was not loaded from a folder, or there is no vocabulary in it
template <class Model>
Vocabulary vocabulary_of(Model const &model) {
    static_assert(LoadedModel<Model>,
                  "embed: the model must say where its vocabulary is, by origin() and a function model_type(config); "
                  "else give the vocabulary");
    std::filesystem::path const folder = model.origin();
    check(!folder.empty(), "embed: the model was not loaded from a folder, so its vocabulary is not known; give it");
    return read_model_vocabulary(folder, model.config().vocab_size, model_type(model.config()));
}

/// Embeds proteins given as text: letters in either case, white space ignored. A protein that is longer than the
/// model's positions is embedded in overlapping windows, unless `options.windows` says that it is an error.
///
///     auto const model = protlm::Bert<>::load("prot_bert");
///     auto const proteins = protlm::embed(model, {"MKTAYIAKQR", "SKTZP"});
///     // proteins[0].vector: one vector a protein; proteins[0].residue(3): one a residue
///
/// @param vocabulary  the model's own: see read_model_vocabulary
/// @returns embeddings in the order of `sequences`
/// @throws Error naming sequence and position of a letter that is no residue, or, without windows, a sequence longer
/// than the model's positions and both lengths
template <EmbeddingModel Model>
auto embed(Model const &model, std::vector<std::string> const &sequences, EmbedOptions options,
           Vocabulary const &vocabulary) {
    using A = typename Embedder<Model>::value_type;
    auto const proteins = detail::numbered_proteins(sequences, vocabulary);
    std::vector<Embedding<A>> embeddings(sequences.size());
    Embedder<Model> embedder(model, vocabulary, std::move(options));
    embedder(proteins, [&](ProteinEmbedding<A> const &result) {
        auto &target = embeddings[static_cast<std::size_t>(result.protein)];
        target.length = result.length;
        target.width = result.width;
        target.windows = result.windows;
        for (index_t slot = 0; slot < result.slots(); ++slot) {
            auto const vector = result.vector(slot), residues = result.residues(slot);
            target.vector.insert(target.vector.end(), vector.begin(), vector.end());
            target.residues.insert(target.residues.end(), residues.begin(), residues.end());
        }
    });
    return embeddings;
}
/// The same with the vocabulary of the folder that the model was loaded from. @throws Error also as vocabulary_of
template <EmbeddingModel Model>
auto embed(Model const &model, std::vector<std::string> const &sequences, EmbedOptions options = {}) {
    return embed(model, sequences, std::move(options), vocabulary_of(model));
}

/// Embeds proteins given as text and leaves the results where the model runs; when it returns, they are complete.
/// @returns views in the order of `sequences` @throws Error as `embed`
template <EmbeddingModel Model>
auto embed_on_device(Model const &model, std::vector<std::string> const &sequences, EmbedOptions options,
                     Vocabulary const &vocabulary) {
    using Exec = typename Model::execution_space;
    using Space = typename Exec::memory_space;
    using A = typename Embedder<Model>::value_type;
    auto const proteins = detail::numbered_proteins(sequences, vocabulary);
    Embedder<Model> embedder(model, vocabulary, std::move(options));
    DeviceEmbeddings<A, Exec> result;
    result.offsets.assign(1, 0);
    for (index_t const length : proteins.lengths())
        result.offsets.push_back(result.offsets.back() + length);
    auto const width = static_cast<std::size_t>(embedder.shape().width);
    for (std::size_t slot = 0; slot < embedder.options().layers.size(); ++slot) {
        if (embedder.options().pooling != Pooling::none)
            result.vectors.emplace_back("protlm::vectors", static_cast<std::size_t>(proteins.size()), width);
        if (embedder.options().per_residue)
            result.residues.emplace_back("protlm::residues", static_cast<std::size_t>(proteins.residues()), width);
    }
    auto const copy = [&](auto const &to, index_t to_row, auto const &from, index_t from_row, index_t rows) {
        auto const row = static_cast<index_t>(width);
        copy_values<Space, Space>(embedder.context().exec(), to.data() + to_row * row,
                                  static_cast<A const *>(from.view().data() + from_row * row), rows * row);
    };
    embedder.batches(proteins, proteins.all(), [&](EmbeddedBatch<A, Exec> const &batch) {
        for (std::size_t b = 0; b < batch.members.size(); ++b)
            for (std::size_t slot = 0; slot < batch.vectors.size(); ++slot) {
                auto const p = batch.members[b];
                if (!result.vectors.empty())
                    copy(result.vectors[slot], p, batch.vectors[slot], static_cast<index_t>(b), 1);
                if (!result.residues.empty())
                    copy(result.residues[slot], result.offsets[static_cast<std::size_t>(p)], batch.states[slot],
                         batch.first_residue(b), batch.residues(b));
            }
    });
    embedder.context().exec().fence();
    return result;
}
/// The same with the vocabulary of the folder that the model was loaded from. @throws Error also as vocabulary_of
template <EmbeddingModel Model>
auto embed_on_device(Model const &model, std::vector<std::string> const &sequences, EmbedOptions options = {}) {
    return embed_on_device(model, sequences, std::move(options), vocabulary_of(model));
}

} // namespace protlm::inline v0
