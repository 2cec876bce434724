#pragma once

#include <protlm/embed/embedder.hpp>

#include <string>
#include <vector>

namespace protlm::inline v0 {

/// One protein's embedding in host memory of its own.
template <class A = float>
struct Embedding {
    std::vector<A> vector;   ///< (C)
    std::vector<A> residues; ///< (L, C) row-major, without special tokens
    index_t length = 0;      ///< L
    index_t width = 0;       ///< C

    /// The vector (C) of residue `i`, from 0. @throws Error when the protein has no such residue
    std::span<A const> residue(index_t i) const {
        check(i >= 0 && i < length && !residues.empty(), "Embedding: residue ", i, " of ",
              residues.empty() ? 0 : length);
        return std::span<A const>(residues).subspan(static_cast<std::size_t>(i * width),
                                                    static_cast<std::size_t>(width));
    }
};

/// Embeds proteins given as text: letters in either case, white space ignored.
///
///     auto const model = protlm::Bert<>::load("prot_bert");
///     auto const proteins = protlm::embed(model, {"MKTAYIAKQR", "SKTZP"});
///     // proteins[0].vector: one vector a protein; proteins[0].residue(3): one a residue
///
/// @param vocabulary  the model's own; ProtBert's 30 letters unless given
/// @returns embeddings in the order of `sequences`
/// @throws Error naming sequence and position of a letter that is no residue, or a sequence longer than the model's
/// positions and both lengths
template <EmbeddingModel Model>
auto embed(Model const &model, std::vector<std::string> const &sequences, EmbedOptions options = {},
           Vocabulary const &vocabulary = Vocabulary::protbert()) {
    using A = typename Embedder<Model>::value_type;
    Proteins proteins;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        std::string const name = "number " + std::to_string(i + 1);
        try {
            proteins.add(name, encode(vocabulary, sequences[i]));
        } catch (Error const &error) {
            fail("embed: protein ", name, ": ", error.what());
        }
    }
    std::vector<Embedding<A>> embeddings(sequences.size());
    Embedder<Model> embedder(model, vocabulary, options);
    embedder(proteins, [&](ProteinEmbedding<A> const &result) {
        auto &target = embeddings[static_cast<std::size_t>(result.protein)];
        target.vector.assign(result.vector.begin(), result.vector.end());
        target.residues.assign(result.residues.begin(), result.residues.end());
        target.length = proteins.length(result.protein);
        target.width = static_cast<index_t>(result.vector.size());
    });
    return embeddings;
}

} // namespace protlm::inline v0
