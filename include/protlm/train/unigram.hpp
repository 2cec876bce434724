#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace protlm::inline v0 {

/// How often each residue token of `vocabulary` occurs in a part of a store; of large parts, in evenly spaced proteins
/// of it. Letters that the vocabulary has no residue for are nothing to predict and do not count.
struct ResidueCounts {
    std::array<double, 256> count{};
    double total = 0;

    /// @param most  about so many residues are looked at (0.1 s for the default)
    ResidueCounts(TokenStore const &store, Vocabulary const &vocabulary, Subset subset,
                  std::uint64_t most = std::uint64_t(1) << 27) {
        std::uint64_t const stride = std::max<std::uint64_t>(1, store.residues() / std::max<std::uint64_t>(most, 1));
        std::array<std::array<std::uint64_t, 256>, 4> counts{}; // four, because repeated letters wait for each other
        for (std::uint64_t i = subset.first; i < subset.first + subset.count; i += stride) {
            auto const tokens = store.tokens(i);
            for (std::size_t t = 0; t < tokens.size(); ++t)
                ++counts[t % 4][tokens[t]];
        }
        auto const translation = token_translation(store.vocabulary(), vocabulary);
        for (std::size_t token = 0; token < 256; ++token) {
            if (vocabulary.is_special(translation[token]))
                continue;
            auto const times =
                static_cast<double>(counts[0][token] + counts[1][token] + counts[2][token] + counts[3][token]);
            count[translation[token]] += times;
            total += times;
        }
    }
};

/// Perplexity of held-out residues for a model that knows nothing but how frequent each residue is in the training
/// proteins: what a language model must be better than. Counts are raised by one, so that no residue is impossible.
/// @param vocabulary  of the model, which may be another than the store's
/// @throws Error when one of the parts has no residues
inline double unigram_perplexity(TokenStore const &store, Vocabulary const &vocabulary, Subset training,
                                 Subset held_out) {
    ResidueCounts const seen(store, vocabulary, training), unseen(store, vocabulary, held_out);
    check(seen.total > 0 && unseen.total > 0, store.name(), ": no ", seen.total > 0 ? "held-out" : "training",
          " residues to take frequencies of");
    double const kinds = static_cast<double>(vocabulary.residues.size());
    double loss = 0;
    for (std::size_t token = 0; token < 256; ++token)
        if (unseen.count[token] > 0)
            loss -= unseen.count[token] * std::log((seen.count[token] + 1) / (seen.total + kinds));
    return std::exp(loss / unseen.total);
}

} // namespace protlm::inline v0
