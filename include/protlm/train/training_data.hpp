#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/data/model_vocabulary.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/vocabulary.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// What a run is trained on: a store, which must outlive this, and the model's vocabulary, which may be another.
struct TrainingData {
    TokenStore const *store;
    Vocabulary vocabulary;

    /// A model with the store's own vocabulary.
    TrainingData(TokenStore const &tokens) : TrainingData(tokens, tokens.vocabulary()) {}
    /// Residues are translated by their letters. @throws Error naming a letter that the model has no token for
    TrainingData(TokenStore const &tokens, Vocabulary pieces) : store(&tokens), vocabulary(std::move(pieces)) {
        for (std::uint8_t const token : tokens.vocabulary().residues) {
            char const letter = tokens.vocabulary().letter(token);
            bool const known =
                vocabulary.residue_table[static_cast<unsigned char>(letter)] != Vocabulary::not_a_residue;
            check(known || letter == 'X', tokens.name(), ": has the residue ", letter,
                  ", for which the model's vocabulary of ", vocabulary.size(), " pieces has no token");
        }
    }
};

/// The vocabulary of a model to be trained: that of `file` if it names one, else that of the folder whose weights it
/// begins with, else the store's where it has `vocab_size` pieces, else that of ProtTrans' model of the family.
/// @param file     vocab.txt, spiece.model or tokenizer.json, or nothing
/// @param weights  folder of the model whose weights are taken, or nothing: see read_model_vocabulary
/// @param family   as Hugging Face's `model_type` names it, see Vocabulary::of
/// @throws Error when none has `vocab_size` pieces, though a file may have fewer; or when the file's pieces are not
/// those of the weights
inline Vocabulary choose_vocabulary(std::filesystem::path const &file, std::filesystem::path const &weights,
                                    TokenStore const &store, std::string_view family, index_t vocab_size) {
    // a file of weights by itself: what lies beside it
    auto const folder =
        std::filesystem::is_regular_file(weights) ? std::filesystem::absolute(weights).parent_path() : weights;
    if (!file.empty()) {
        auto vocabulary = read_vocabulary(file, vocab_size, family);
        if (has_vocabulary(folder))
            require_equal_pieces(vocabulary, file.string(), read_model_vocabulary(folder, vocab_size, family),
                                 folder.string());
        return vocabulary;
    }
    if (!folder.empty())
        return read_model_vocabulary(folder, vocab_size, family);
    if (store.vocabulary().size() == vocab_size)
        return store.vocabulary();
    auto vocabulary = Vocabulary::of(family);
    check(vocabulary.size() == vocab_size, "vocab_size is ", vocab_size, ", but ", store.name(),
          " has a vocabulary of ", store.vocabulary().size(), " and ", family, " has ", vocabulary.size(),
          "; name a vocab.txt with --vocabulary");
    return vocabulary;
}

} // namespace protlm::inline v0
