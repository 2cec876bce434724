#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/core/philox.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/objective/model_concepts.hpp>

#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

/// What a masked language model is trained on: corrupted tokens, and what the chosen rows were.
struct MaskedBatch {
    std::vector<std::int32_t> tokens; ///< (T) as the batch's, but for the corrupted rows
    std::vector<index_t> rows;        ///< (M) rows of the batch that have a label, ascending
    std::vector<std::int32_t> labels; ///< (M) the true tokens of these rows
};

/// Masked language modelling (Devlin et al., "BERT", 2019, section 3.1): every residue is chosen with probability
/// `rate`; a chosen one becomes [MASK] with probability `mask`, a residue drawn at random with probability `random`
/// (which may be the same again), and else stays. Special tokens are never chosen.
/// Whether and how a residue is corrupted depends on (seed, epoch, sample, position in its sequence) and its vocabulary
/// only, never on the batch or the rank.
///
/// Example, with seed 298, epoch 0, sample 7 and ProtBert's vocabulary:
///
///     tokens     [CLS] M K T A      Y I A K Q R Q I S      F V K S H F S R Q [SEP]
///     corrupted  [CLS] M K T [MASK] Y I A K Q R Q I [MASK] F V K S H F S G Q [SEP]
///     rows       4 13 21 22, labels A S R Q (row 21 is a random residue, row 22 was chosen and stays)
struct MaskedLanguageModel {
    double rate = 0.15;
    double mask = 0.8;
    double random = 0.1;
    static constexpr char const *predicts = "masked residues";

    /// @throws Error when a probability is not in [0, 1], the rate is 0, `mask + random` exceeds 1, or there is no mask
    /// token
    void validate(Vocabulary const &vocabulary) const {
        check(rate > 0 && rate <= 1, "MaskedLanguageModel: rate is ", rate, ", expected above 0 and at most 1");
        check(mask >= 0 && random >= 0 && mask + random <= 1 + 1e-9, "MaskedLanguageModel: mask is ", mask,
              " and random ", random, ", expected at least 0 each and at most 1 together");
        check(vocabulary.mask >= 0, "MaskedLanguageModel: the vocabulary has no mask token");
    }

    /// What held-out proteins are judged by: every chosen residue is hidden, comparable with a unigram model. One that
    /// stays, or becomes another, can be seen.
    MaskedLanguageModel evaluation() const { return {rate, 1, 0}; }

    /// Corrupts a batch. A batch without any chosen residue is possible and has no labels.
    /// @param seed  of the run; the epoch and sample numbers come from the batch
    /// @throws Error see validate
    MaskedBatch apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        validate(vocabulary);
        MaskedBatch result;
        result.tokens = batch.tokens;
        CounterRandom const generator{seed, Purpose::mask, static_cast<std::uint32_t>(batch.epoch)};
        for (index_t b = 0; b < batch.sequences(); ++b) {
            auto const begin = batch.offsets[static_cast<std::size_t>(b)];
            for (index_t position = 0; position < batch.length(b); ++position) {
                std::int32_t &token = result.tokens[static_cast<std::size_t>(begin + position)];
                if (vocabulary.is_special(token))
                    continue;
                PhiloxWords const bits =
                    generator(batch.samples[static_cast<std::size_t>(b)], static_cast<std::uint32_t>(position));
                if (uniform_float(bits[0]) >= static_cast<float>(rate))
                    continue;
                result.rows.push_back(begin + position);
                result.labels.push_back(token);
                token = corrupt(token, vocabulary, bits);
            }
        }
        return result;
    }

    /// Loss of a model for the residues that `apply` chooses; a default Loss where it chooses none.
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(TokenEncoder<Model, Context>,
                      "MaskedLanguageModel: the model must offer encode(context, packed) and "
                      "token_loss(context, hidden, labels), and have no decoder");
        MaskedBatch const masked = apply(batch, vocabulary, seed);
        if (masked.rows.empty())
            return Loss<typename Model::A, typename Model::execution_space>();
        auto const packed =
            detail::checked_packed(context, model, {masked.tokens, batch.token_types, batch.offsets, batch.samples});
        return detail::rows_loss(context, model, detail::encode_all(context, model, packed), masked.rows,
                                 masked.labels);
    }

  private:
    std::int32_t corrupt(std::int32_t token, Vocabulary const &vocabulary, PhiloxWords const &bits) const {
        auto const kind = static_cast<double>(uniform_float(bits[1]));
        if (kind < mask)
            return vocabulary.mask;
        if (kind >= mask + random)
            return token;
        auto const &residues = vocabulary.residues;
        return residues[uniform_below(bits[2], static_cast<std::uint32_t>(residues.size()))];
    }
};

} // namespace protlm::inline v0
