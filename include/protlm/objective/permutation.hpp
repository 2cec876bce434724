#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/objective/detail/residue_runs.hpp>
#include <protlm/objective/detail/sample_random.hpp>
#include <protlm/objective/model_concepts.hpp>
#include <protlm/ops/permutation_mask.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace protlm::inline v0 {

// clang-format off
/// A model with two streams of hidden states: one that knows the tokens, and one, for target rows only, that knows
/// their places and not the tokens themselves. See TwoStreamOrder.
template <class Model, class Context>
concept TwoStreamEncoder = TokenPredictor<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed,
             TwoStreamOrder<typename Model::execution_space> const &order) {
        { model.two_stream(context, packed, order).query } -> std::convertible_to<typename Model::Activations>;
    };
// clang-format on

/// Which tokens are predicted, in which order, and from what: token i sees token j where
/// rank[j] < rank[i] + (is_target[i] ? 0 : 1).
struct PermutationBatch {
    std::vector<std::int32_t> rank;      ///< (T) -1 for context, which all see; else the place in the protein's order
    std::vector<std::int32_t> is_target; ///< (T) 1 for a token to predict
    std::vector<index_t> rows;           ///< (R) the targets' rows, ascending
    std::vector<std::int32_t> labels;    ///< (R) their tokens
};

/// Permutation language modelling with partial prediction (Yang et al., "XLNet", 2019, sections 2.2 to 2.4 and its
/// data code): `share` of the residues are targets, predicted one after the other in a random order, each from the
/// context and the targets before it in that order. Special tokens take places in the order too, but are no targets.
///
/// Targets lie in spans of 1 to `longest_span` residues; a span of n is drawn with a chance proportional to 1 / n and
/// lies at a random place in a part of about n / share residues of its own, so that spans do not touch; the whole is
/// turned by a random number of residues, so that all are as often targets. The number of targets of a protein is its
/// length times `share`, rounded up or down at random so that the mean is right.
/// Everything depends on (seed, epoch, sample) and the protein only, never on the batch or the rank.
///
/// Example, with seed 2, epoch 0, sample 7 and ProtXLNet's vocabulary:
///
///     row     0         5   7         12  14        19    22    23
///     token   M K T A Y I A K Q R Q I S F V K S H F S R Q <sep> <cls>
///     rank              1 5               4 2             3     0      (elsewhere -1)
///     rows 5 6 14 15, labels I A V K
///
/// I of row 5 is predicted from the context and row 23, K of row 15 from these and row 5, V of row 14 from these, row 15
/// and row 22, and A of row 6 from all others.
struct PermutationLanguageModel {
    double share = 1.0 / 6;
    int longest_span = 5;
    static constexpr char const *predicts = "target residues";

    /// @throws Error when an option makes no sense
    void validate(Vocabulary const &) const {
        check(share > 0 && share <= 0.5, "PermutationLanguageModel: share is ", share,
              ", expected above 0 and at most 0.5");
        check(longest_span >= 1, "PermutationLanguageModel: longest_span is ", longest_span, ", expected at least 1");
    }

    /// Chooses targets and orders. A batch without any target is possible and has no labels.
    /// @param seed  of the run; the epoch and sample numbers come from the batch
    /// @throws Error see validate
    PermutationBatch apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        validate(vocabulary);
        PermutationBatch result;
        result.rank.assign(batch.tokens.size(), -1);
        result.is_target.assign(batch.tokens.size(), 0);
        for (index_t b = 0; b < batch.sequences(); ++b) {
            detail::SampleRandom random(seed, Purpose::span, batch.epoch, batch.samples[static_cast<std::size_t>(b)]);
            for (auto const &run : detail::residue_runs(batch, vocabulary, b))
                choose_targets(std::span(result.is_target)
                                   .subspan(static_cast<std::size_t>(run.begin), static_cast<std::size_t>(run.length)),
                               random);
            draw_order(result, batch, vocabulary, b, random);
        }
        return result;
    }

    /// Loss of a model for the residues that `apply` chooses; a default Loss where it chooses none.
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(TwoStreamEncoder<Model, Context>,
                      "PermutationLanguageModel: the model must offer two_stream(context, packed, order) with a member "
                      "query, and token_loss(context, hidden, labels)");
        PermutationBatch const chosen = apply(batch, vocabulary, seed);
        if (chosen.rows.empty())
            return Loss<typename Model::A, typename Model::execution_space>();
        auto const packed =
            detail::checked_packed(context, model, {batch.tokens, batch.token_types, batch.offsets, batch.samples});
        auto const order = make_two_stream_order(context, chosen.rank, chosen.is_target, batch.offsets);
        return model.token_loss(context, model.two_stream(context, packed, order).query,
                                context.template upload<std::int32_t>(chosen.labels));
    }

  private:
    /// Marks the targets of one run of residues.
    void choose_targets(std::span<std::int32_t> is_target, detail::SampleRandom &random) const {
        std::size_t const length = is_target.size();
        auto const wanted =
            static_cast<std::size_t>(std::floor(static_cast<double>(length) * share + random.uniform()));
        for (std::size_t done = 0; done < wanted;) {
            std::size_t const span = std::min(draw_span(random), wanted - done);
            std::size_t const begin = length * done / wanted, end = length * (done + span) / wanted; // the span's part
            std::size_t const room = end - begin - span;
            std::size_t const first = begin + random.below(std::max<std::size_t>(room, 1)); // a gap stays behind it
            std::fill_n(is_target.begin() + static_cast<std::ptrdiff_t>(first), span, 1);
            done += span;
        }
        if (wanted > 0) // without it, the last residue would never be a target
            std::rotate(is_target.begin(), is_target.begin() + random.below(length), is_target.end());
    }

    /// 1 to longest_span, n with a chance proportional to 1 / n.
    std::size_t draw_span(detail::SampleRandom &random) const {
        double total = 0;
        for (int n = 1; n <= longest_span; ++n)
            total += 1.0 / n;
        double place = random.uniform() * total;
        int n = 1;
        while (n < longest_span && (place -= 1.0 / n) >= 0)
            ++n;
        return static_cast<std::size_t>(n);
    }

    /// Ranks of one sequence: context tokens keep -1, targets and special tokens are shuffled.
    static void draw_order(PermutationBatch &result, Batch const &batch, Vocabulary const &vocabulary, index_t b,
                           detail::SampleRandom &random) {
        std::vector<index_t> ordered;
        for (index_t t = batch.offsets[static_cast<std::size_t>(b)]; t < batch.offsets[static_cast<std::size_t>(b) + 1];
             ++t) {
            auto const row = static_cast<std::size_t>(t);
            std::int32_t const token = batch.tokens[row];
            if (result.is_target[row]) {
                result.rows.push_back(t);
                result.labels.push_back(token);
            }
            if (result.is_target[row] || (vocabulary.is_special(token) && token != vocabulary.unknown))
                ordered.push_back(t);
        }
        random.shuffle(std::span(ordered));
        for (std::size_t place = 0; place < ordered.size(); ++place)
            result.rank[static_cast<std::size_t>(ordered[place])] = static_cast<std::int32_t>(place);
    }
};

} // namespace protlm::inline v0
