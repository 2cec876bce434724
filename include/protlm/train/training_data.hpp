#pragma once

#include <protlm/core/kokkos.hpp>
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
    TrainingData(TokenStore const &tokens, Vocabulary pieces) : store(&tokens), vocabulary(std::move(pieces)) {}
};

/// The vocabulary of a model to be trained: that of `file` if it names one, else the store's where it has `vocab_size`
/// pieces, else that of ProtTrans' model of the family.
/// @param file    vocab.txt, or nothing
/// @param family  as Hugging Face's `model_type` names it, see Vocabulary::of
/// @throws Error when none has `vocab_size` pieces; a file may have fewer
inline Vocabulary choose_vocabulary(std::filesystem::path const &file, TokenStore const &store, std::string_view family,
                                    index_t vocab_size) {
    if (!file.empty()) {
        auto vocabulary = read_vocabulary_text(file);
        check(vocabulary.size() <= vocab_size, file.string(), ": has ", vocabulary.size(),
              " pieces, but the model's vocab_size is ", vocab_size);
        return vocabulary;
    }
    if (store.vocabulary().size() == vocab_size)
        return store.vocabulary();
    auto vocabulary = Vocabulary::of(family);
    check(vocabulary.size() == vocab_size, "vocab_size is ", vocab_size, ", but ", store.name(),
          " has a vocabulary of ", store.vocabulary().size(), " and ", family, " has ", vocabulary.size(),
          "; name a vocab.txt with --vocabulary");
    return vocabulary;
}

} // namespace protlm::inline v0
