#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/layers/embedding_ids.hpp>
#include <protlm/layers/layer_norm.hpp>
#include <protlm/ops/dropout.hpp>
#include <protlm/ops/embedding.hpp>

namespace protlm::inline v0 {

/// dropout(norm(word + token type + position)): what BERT-like models begin with. arXiv 1810.04805, section 3.
template <Scalar S, class Exec>
struct TokenEmbedding {
    Weight<S, Exec> word, token_type, position; // (V, E), (types, E), (positions, E)
    LayerNorm<S, Exec> norm;

    TokenEmbedding(Parameters<S, Exec> const &parameters, EmbeddingIds const &ids, LayerNormIds norm_ids, double eps)
        : word(parameters.weight(ids.word)), token_type(parameters.weight(ids.token_type)),
          position(parameters.weight(ids.position)), norm(parameters, norm_ids, eps) {}

    /// (T, E) of a packed batch.
    template <class Context>
    auto operator()(Context &context, PackedTokens<Exec> const &batch, double dropout_rate) const {
        std::array<Lookup<S, Exec>, 3> const lookups{
            {{batch.tokens, word}, {batch.types, token_type}, {batch.positions, position}}};
        return dropout(context, norm(context, embedding<Context, S>(context, lookups)), dropout_rate);
    }
};

/// Checks tokens, types and lengths on the host, so that a bad protein is an error here and not on the device.
/// @param model begins the message @throws Error naming sequence, position and the limit
inline void check_tokens(std::string const &model, PackedView batch, EmbeddingExtents const &extents) {
    for (std::size_t t = 0; t < batch.tokens.size(); ++t)
        check(batch.tokens[t] >= 0 && batch.tokens[t] < extents.words, model, ": tokens[", t, "] is ", batch.tokens[t],
              ", expected at least 0 and below vocab_size ", extents.words);
    for (std::size_t t = 0; t < batch.token_types.size(); ++t)
        check(batch.token_types[t] >= 0 && batch.token_types[t] < extents.token_types, model, ": token_types[", t,
              "] is ", batch.token_types[t], ", expected at least 0 and below type_vocab_size ", extents.token_types);
    for (std::size_t b = 0; b + 1 < batch.offsets.size(); ++b)
        check(batch.offsets[b + 1] - batch.offsets[b] <= extents.positions, model, ": sequence ", b, " has ",
              batch.offsets[b + 1] - batch.offsets[b], " tokens, but max_position_embeddings is ", extents.positions);
}

} // namespace protlm::inline v0
