#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/objective/model_concepts.hpp>

#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

/// What an encoder-decoder is trained on: an encoder and a decoder sequence for each protein, and the decoder rows
/// that have a label. The decoder's input is its target, one place later, behind the start token.
struct SequencePairs {
    std::vector<std::int32_t> tokens;             ///< (T) of the encoder
    std::vector<std::int64_t> offsets{0};         ///< (B+1)
    std::vector<std::int32_t> decoder_tokens;     ///< (Td)
    std::vector<std::int64_t> decoder_offsets{0}; ///< (B+1)
    std::vector<std::uint64_t> samples;           ///< (B)
    std::vector<index_t> rows;                    ///< (R) labelled rows of the decoder, ascending
    std::vector<std::int32_t> labels;             ///< (R)
};

namespace detail {

/// Ends the encoder's sequence and adds the decoder's, which is to write `target`, after the start token.
inline void append_target(SequencePairs &pairs, std::vector<std::int32_t> const &target, std::int32_t start,
                          std::uint64_t sample) {
    pairs.offsets.push_back(static_cast<std::int64_t>(pairs.tokens.size()));
    for (std::size_t i = 0; i < target.size(); ++i)
        pairs.decoder_tokens.push_back(i == 0 ? start : target[i - 1]);
    pairs.decoder_offsets.push_back(static_cast<std::int64_t>(pairs.decoder_tokens.size()));
    pairs.samples.push_back(sample);
}

/// @throws Error when the vocabulary lacks a token that encoder-decoder objectives need
inline void validate_pairs(char const *objective, Vocabulary const &vocabulary) {
    check(!vocabulary.sentinels.empty(), objective, ": the vocabulary has no sentinel <extra_id_0>");
    check(vocabulary.pad >= 0, objective, ": the vocabulary has no padding token, with which decoders start");
    check(vocabulary.sep >= 0, objective, ": the vocabulary has no </s>, with which targets end");
}

/// Forward of encoder and decoder, and the loss of the labelled rows.
template <class Context, class Model>
auto pairs_loss(Context &context, Model const &model, SequencePairs const &pairs) {
    if (pairs.rows.empty())
        return Loss<typename Model::A, typename Model::execution_space>();
    auto const source = checked_packed(context, model, {pairs.tokens, {}, pairs.offsets, pairs.samples});
    auto const target =
        checked_packed(context, model, {pairs.decoder_tokens, {}, pairs.decoder_offsets, pairs.samples});
    auto const encoded = model.encode(context, source);
    return rows_loss(context, model, model.decode(context, target, encoded, source.segments), pairs.rows, pairs.labels);
}

} // namespace detail

} // namespace protlm::inline v0
