#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/vocabulary.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace protlm::inline v0 {

/// Packed sequences of tokens, without padding: sequence b is rows offsets[b] ... offsets[b+1]-1.
struct Batch {
    std::vector<std::int32_t> tokens;      ///< (T)
    std::vector<std::int32_t> token_types; ///< (T) 0; of a second protein and its separator Vocabulary::second_type
    std::vector<std::int64_t> offsets{0};  ///< (B+1)
    std::vector<std::uint64_t> samples;    ///< (B) number of the sequence in the epoch's order, unique in the epoch
    std::uint64_t epoch = 0;               ///< of every sequence: a batch never spans two epochs

    /// Number of packed tokens T.
    index_t size() const { return static_cast<index_t>(tokens.size()); }
    /// Number of sequences B.
    index_t sequences() const { return static_cast<index_t>(offsets.size()) - 1; }
    /// Length of sequence `b` in tokens, special tokens included.
    index_t length(index_t b) const {
        return offsets[static_cast<std::size_t>(b) + 1] - offsets[static_cast<std::size_t>(b)];
    }
    bool operator==(Batch const &) const = default;
};

/// How many special tokens `append_sequence` puts around `proteins` (1 or 2) proteins.
inline index_t special_tokens(Vocabulary const &vocabulary, int proteins) {
    return (vocabulary.begin >= 0) + (vocabulary.separator >= 0) * proteins + (vocabulary.end >= 0);
}

/// How many special tokens stand before the first residue.
inline index_t leading_tokens(Vocabulary const &vocabulary) { return vocabulary.begin >= 0; }

/// Appends one or two proteins with their special tokens to a batch: for BERT `[CLS] first [SEP]` or
/// `[CLS] first [SEP] second [SEP]`; Vocabulary says what other families have, and which token types.
/// @param first, second  residue tokens
/// @param sample         see Batch::samples
/// @throws Error when a token is none of the vocabulary's
inline void append_sequence(Batch &batch, Vocabulary const &vocabulary, std::span<std::uint8_t const> first,
                            std::optional<std::span<std::uint8_t const>> second, std::uint64_t sample) {
    auto const special = [&](std::int32_t token) {
        if (token >= 0)
            batch.tokens.push_back(token);
    };
    auto const residues = [&](std::span<std::uint8_t const> tokens) {
        std::uint8_t largest = 0;
        for (std::uint8_t const token : tokens)
            largest = std::max(largest, token);
        check(largest < vocabulary.size(), "append_sequence: token ", int(largest), " in a vocabulary of ",
              vocabulary.size());
        batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
    };
    special(vocabulary.begin);
    residues(first);
    special(vocabulary.separator);
    batch.token_types.resize(batch.tokens.size(), 0);
    if (second) {
        residues(*second);
        special(vocabulary.separator);
        batch.token_types.resize(batch.tokens.size(), vocabulary.second_type);
    }
    special(vocabulary.end);
    batch.token_types.resize(batch.tokens.size(), vocabulary.end_type);
    batch.offsets.push_back(batch.size());
    batch.samples.push_back(sample);
}

} // namespace protlm::inline v0
