#pragma once

#include <protlm/core/parameter_table.hpp>

#include <string>

namespace protlm::inline v0 {

/// Where the embedding tables of a BERT-like model lie: words, positions, token types.
struct EmbeddingIds {
    ParameterId word = -1, position = -1, token_type = -1;
};

/// Extents of the three tables.
struct EmbeddingExtents {
    index_t words = 0, positions = 0, token_types = 0, width = 0;
};

/// Adds `name`.{word,position,token_type}_embeddings.weight, or uses those of another model in the same table.
/// @param shared tables to use instead; -1 in it: none
inline EmbeddingIds add_embeddings(ParameterTable &table, std::string const &name, EmbeddingExtents extents,
                                   double deviation, EmbeddingIds const &shared = {}) {
    if (shared.word >= 0)
        return shared;
    auto const normal = Initialiser::truncated_normal(deviation);
    EmbeddingIds ids;
    ids.word = table.add(name + ".word_embeddings.weight", {extents.words, extents.width}, normal);
    ids.position = table.add(name + ".position_embeddings.weight", {extents.positions, extents.width}, normal);
    ids.token_type = table.add(name + ".token_type_embeddings.weight", {extents.token_types, extents.width}, normal);
    return ids;
}

} // namespace protlm::inline v0
