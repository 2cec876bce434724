#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/model_concepts.hpp>
#include <protlm/ops/binary_cross_entropy.hpp>
#include <protlm/ops/gather.hpp>
#include <protlm/ops/sample_tokens.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

/// Loss of a discriminator, with that of its generator beside it. Over any number of batches the loss is
/// weight * (mean of the discriminator's over all its labelled tokens) + (mean of the generator's over all masked
/// ones).
template <class A, class Exec>
struct ReplacedLoss {
    Tensor<A, Exec> sum;     // (1, 1) of the discriminator: sum over labelled tokens of -log p
    index_t labelled = 0;    // residues
    index_t correct = 0;     // told right
    double weight = 50;      // of the discriminator's mean
    index_t majority = 0;    // residues that were not replaced: right answers of one who always says so
    Loss<A, Exec> auxiliary; // of the generator, over masked residues
};

// clang-format off
/// A model of two parts that replaced token detection can train: GeneratorDiscriminator.
template <class Model, class Context>
concept DetectingPair = requires(Model const &model, Context &context,
                                 PackedTokens<typename Model::execution_space> const &packed) {
    model.generator().logits(context, model.generator().encode(context, packed));
    model.discriminator().detection_logits(context, model.discriminator().encode(context, packed));
};
// clang-format on

/// Replaced token detection (Clark et al., "ELECTRA", arXiv 2003.10555, section 3.1): every residue is chosen with
/// probability `rate`; all chosen ones become [MASK], as the paper says (the original code leaves 15 % of them as they
/// are). The generator predicts them, and a token drawn from each of its predictions takes their places; no gradient
/// flows through the draw. The discriminator tells for every residue whether it was replaced. A token that was drawn
/// right counts as original; special tokens are neither masked nor judged.
/// Choice and draw depend on (seed, epoch, sample, position) and the generator only, never on the batch or the rank.
///
/// Example, with seed 298, epoch 0, sample 7, ProtBert's vocabulary, and a generator that draws A, L, R and G:
///
///     tokens     [CLS] M K T A      Y I A K Q R Q I S      F V K S H F S R      Q      [SEP]
///     masked     [CLS] M K T [MASK] Y I A K Q R Q I [MASK] F V K S H F S [MASK] [MASK] [SEP]
///     drawn      [CLS] M K T A      Y I A K Q R Q I L      F V K S H F S R      G      [SEP]
///     replaced         0 0 0 0      0 0 0 0 0 0 0 0 1      0 0 0 0 0 0 0 0      1
struct ReplacedTokenDetection {
    static constexpr char const *predicts = "residues rightly told replaced or original";

    double rate = 0.15;
    double weight = 50; ///< of the discriminator's mean loss; the generator's has 1

    /// @throws Error when the rate is not in [0, 1], the weight is negative, or there is no mask token
    void validate(Vocabulary const &vocabulary) const {
        check(rate > 0 && rate <= 1, "ReplacedTokenDetection: rate is ", rate, ", expected above 0 and at most 1");
        check(weight >= 0, "ReplacedTokenDetection: weight is ", weight, ", expected at least 0");
        check(vocabulary.mask >= 0, "ReplacedTokenDetection: the vocabulary has no mask token");
    }

    /// What the generator sees and is asked. @param seed  of the run @throws Error see validate
    MaskedBatch apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        validate(vocabulary);
        return MaskedLanguageModel{.rate = rate, .mask = 1, .random = 0}.apply(batch, vocabulary, seed);
    }

    /// How many labelled tokens discriminator and generator will have: what each mean is taken over, known before the
    /// model runs.
    std::array<index_t, 2> counts(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        return {static_cast<index_t>(residue_rows(batch, vocabulary).size()),
                static_cast<index_t>(apply(batch, vocabulary, seed).rows.size())};
    }

    /// The losses of both parts. @returns a ReplacedLoss; a default one for a batch without residues
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(DetectingPair<Model, Context>,
                      "ReplacedTokenDetection: the model must have a generator with logits and a discriminator with "
                      "detection_logits: GeneratorDiscriminator");
        using A = accumulate_t<typename Model::scalar_type>;
        using Exec = typename Context::execution_space;
        ReplacedLoss<A, Exec> result;
        result.weight = weight;
        auto const residues = residue_rows(batch, vocabulary);
        if (residues.empty())
            return result;
        auto const masked = apply(batch, vocabulary, seed);
        std::vector<std::int32_t> tokens = batch.tokens;
        if (!masked.rows.empty())
            result.auxiliary = generate(context, model.generator(), batch, masked, seed, tokens);
        std::vector<std::int32_t> replaced;
        for (index_t const row : residues)
            replaced.push_back(tokens[static_cast<std::size_t>(row)] != batch.tokens[static_cast<std::size_t>(row)]);
        auto const packed = detail::checked_packed(context, model.discriminator(),
                                                   {tokens, batch.token_types, batch.offsets, batch.samples});
        auto const hidden = gather_rows(context, model.discriminator().encode(context, packed),
                                        context.template upload<index_t>(residues));
        auto const judged = binary_cross_entropy(context, model.discriminator().detection_logits(context, hidden),
                                                 context.template upload<std::int32_t>(replaced));
        result.sum = judged.sum;
        result.labelled = judged.labelled;
        result.correct = judged.correct;
        result.majority = std::count(replaced.begin(), replaced.end(), 0);
        return result;
    }

  private:
    static std::vector<index_t> residue_rows(Batch const &batch, Vocabulary const &vocabulary) {
        std::vector<index_t> rows;
        for (index_t row = 0; row < batch.size(); ++row)
            if (!vocabulary.is_special(batch.tokens[static_cast<std::size_t>(row)]))
                rows.push_back(row);
        return rows;
    }

    /// Samples and positions of rows, ascending: what their draws are keyed by.
    template <class Context>
    static auto sample_keys(Context &context, Batch const &batch, std::vector<index_t> const &rows,
                            std::uint64_t seed) {
        std::vector<std::uint64_t> samples;
        std::vector<std::int32_t> positions;
        std::size_t b = 0;
        for (index_t const row : rows) {
            while (row >= batch.offsets[b + 1])
                ++b;
            samples.push_back(batch.samples[b]);
            positions.push_back(static_cast<std::int32_t>(row - batch.offsets[b]));
        }
        return SampleKeys<typename Context::execution_space>{seed, static_cast<std::uint32_t>(batch.epoch),
                                                             context.template upload<std::uint64_t>(samples),
                                                             context.template upload<std::int32_t>(positions)};
    }

    /// The generator's loss; puts what it draws into the masked rows of `tokens`.
    template <class Context, class Generator>
    static auto generate(Context &context, Generator const &generator, Batch const &batch, MaskedBatch const &masked,
                         std::uint64_t seed, std::vector<std::int32_t> &tokens) {
        auto const packed = detail::checked_packed(context, generator,
                                                   {masked.tokens, batch.token_types, batch.offsets, batch.samples});
        auto const rows = context.template upload<index_t>(masked.rows);
        auto const logits = generator.logits(context, gather_rows(context, generator.encode(context, packed), rows));
        auto const drawn = sample_tokens(context, logits, sample_keys(context, batch, masked.rows, seed));
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), drawn.view());
        for (std::size_t i = 0; i < masked.rows.size(); ++i)
            tokens[static_cast<std::size_t>(masked.rows[i])] = host(i);
        return cross_entropy(context, logits, context.template upload<std::int32_t>(masked.labels));
    }
};

} // namespace protlm::inline v0
