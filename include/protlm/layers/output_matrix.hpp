#pragma once

#include <protlm/core/parameter_table.hpp>

#include <string>
#include <utility>

namespace protlm::inline v0 {

/// The matrix that makes logits of hidden states: the word embedding itself under a further name, or one of its own,
/// of the same shape and beginning.
inline ParameterId add_output_matrix(ParameterTable &table, std::string name, ParameterId word, bool tied) {
    if (!tied) {
        auto const like = table[word];
        return table.add(std::move(name), like.shape, like.initialiser);
    }
    table.alias(word, std::move(name));
    return word;
}

/// The bias (V) of BERT's and ALBERT's output. transformers has it twice, as PREFIXbias and PREFIXdecoder.bias: one
/// tensor in version 4, and in version 5 where the matrix is tied. Where it is not, version 5 computes with the latter
/// alone, so that one counts.
inline ParameterId add_output_bias(ParameterTable &table, std::string const &prefix, index_t words, bool tied) {
    std::string const plain = prefix + "bias", decoder = prefix + "decoder.bias";
    auto const id = table.add(tied ? plain : decoder, {words}, Initialiser::zeros());
    tied ? table.alias(id, decoder) : table.substitute(id, plain);
    return id;
}

} // namespace protlm::inline v0
