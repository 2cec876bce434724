#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/objective/detail/residue_runs.hpp>
#include <protlm/objective/detail/sample_random.hpp>
#include <protlm/objective/sequence_pairs.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace protlm::inline v0 {

/// Span corruption as T5 was trained (Raffel et al., arXiv 1910.10683, section 3.1.4 and T5's data code): about
/// `density` of the residues, in spans of `mean_span` on average, are hidden. Each span becomes one sentinel,
/// `<extra_id_0>` first, and the decoder writes every sentinel and what it hides.
///
/// A protein of L residues has round(L density) hidden ones, at least 1 and at most L - 1, in round(hidden / mean_span)
/// spans, at least 1; how residues divide among spans, and the others among the gaps, is uniform over all ways. The
/// pattern begins with a gap and ends with a span, and `roll` (`random_roll` of T5's code) turns it by a random number
/// of residues: without it the last residue of every protein is hidden, and short proteins always lose the same ones.
/// Where the vocabulary has too few sentinels, spans are longer. Everything depends on (seed, epoch, sample) and the
/// protein only.
///
/// Example, with seed 7, epoch 0, sample 7 and ProtT5's vocabulary (sentinels written <0> and <1>):
///
///     protein  M K T A Y I A K Q R Q I S F V K S H F S R Q L E E R L G L I E V Q A P I </s>
///     encoder  M K T A Y I A K Q R <0> I S F <1> F S R Q L E E R L G L I E V Q A P I </s>
///     decoder  <pad> <0> Q <1> V K S H, to write <0> Q <1> V K S H </s>
struct SpanCorruption {
    double density = 0.15;
    double mean_span = 3;
    bool roll = true;
    bool residues_only = false; ///< a loss for hidden residues only, not for sentinels and the end token
    static constexpr char const *predicts = "tokens of hidden spans";

    /// @throws Error when an option makes no sense, or the vocabulary lacks a token that is needed
    void validate(Vocabulary const &vocabulary) const {
        check(density > 0 && density < 1, "SpanCorruption: density is ", density, ", expected between 0 and 1");
        check(mean_span >= 1, "SpanCorruption: mean_span is ", mean_span, ", expected at least 1");
        detail::validate_pairs("SpanCorruption", vocabulary);
    }

    /// What held-out proteins are judged by: residues only, comparable with a unigram model.
    SpanCorruption evaluation() const { return {density, mean_span, roll, true}; }

    /// Corrupts a batch. @param seed  of the run; the epoch and sample numbers come from the batch
    /// @throws Error see validate
    SequencePairs apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        validate(vocabulary);
        SequencePairs pairs;
        for (index_t b = 0; b < batch.sequences(); ++b)
            append(pairs, batch, vocabulary, b, hidden(batch, vocabulary, b, seed));
        return pairs;
    }

    /// Loss of a model for what the spans hide.
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(EncoderDecoder<Model, Context>,
                      "SpanCorruption: the model must offer encode(context, packed), decode(context, packed, encoded, "
                      "sources) and token_loss(context, hidden, labels)");
        return detail::pairs_loss(context, model, apply(batch, vocabulary, seed));
    }

  private:
    /// Divides `items` into `parts`, none empty, every way equally likely. @param parts at most `items`
    static std::vector<std::size_t> divide(std::size_t items, std::size_t parts, detail::SampleRandom &random) {
        std::vector<std::size_t> sizes{1};
        for (std::size_t i = 1; i < items; ++i) { // draws parts - 1 of the items - 1 places to cut at
            std::size_t const cuts_left = parts - sizes.size();
            if (random.below(items - i) < cuts_left)
                sizes.push_back(0);
            ++sizes.back();
        }
        return sizes;
    }

    /// Marks the hidden residues of one run.
    void hide(std::span<char> hidden, std::size_t most_spans, detail::SampleRandom &random) const {
        std::size_t const length = hidden.size();
        if (length < 2)
            return;
        auto const rounded = [](double value) { return static_cast<std::size_t>(std::lround(value)); };
        std::size_t const hide = std::clamp<std::size_t>(rounded(static_cast<double>(length) * density), 1, length - 1);
        std::size_t const spans = std::clamp<std::size_t>(rounded(static_cast<double>(hide) / mean_span), 1,
                                                          std::min({hide, length - hide, most_spans}));
        auto const sizes = divide(hide, spans, random), gaps = divide(length - hide, spans, random);
        std::size_t at = 0;
        for (std::size_t i = 0; i < spans; ++i) {
            at += gaps[i];
            std::fill_n(hidden.begin() + static_cast<std::ptrdiff_t>(at), sizes[i], char(1));
            at += sizes[i];
        }
        if (roll)
            std::rotate(hidden.begin(), hidden.begin() + static_cast<std::ptrdiff_t>(random.below(length)),
                        hidden.end());
    }

    /// 1 for each token of sequence `b` that is hidden.
    std::vector<char> hidden(Batch const &batch, Vocabulary const &vocabulary, index_t b, std::uint64_t seed) const {
        auto const begin = batch.offsets[static_cast<std::size_t>(b)];
        std::vector<char> marks(static_cast<std::size_t>(batch.length(b)), 0);
        detail::SampleRandom random(seed, Purpose::span, batch.epoch, batch.samples[static_cast<std::size_t>(b)]);
        auto const runs = detail::residue_runs(batch, vocabulary, b);
        for (std::size_t i = 0; i < runs.size(); ++i) { // rolled, a run may have a span more
            std::size_t const share = vocabulary.sentinels.size() / runs.size();
            std::size_t const most = std::max<std::size_t>(share, 1 + roll) - roll;
            hide(std::span(marks).subspan(static_cast<std::size_t>(runs[i].begin - begin),
                                          static_cast<std::size_t>(runs[i].length)),
                 most, random);
        }
        return marks;
    }

    void append(SequencePairs &pairs, Batch const &batch, Vocabulary const &vocabulary, index_t b,
                std::vector<char> const &hidden) const {
        auto const begin = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)]);
        std::vector<std::int32_t> target;
        std::size_t spans = 0;
        for (std::size_t i = 0; i < hidden.size(); ++i) {
            std::int32_t const token = batch.tokens[begin + i];
            if (!hidden[i]) {
                pairs.tokens.push_back(token);
                continue;
            }
            if (i == 0 || !hidden[i - 1]) {
                check(spans < vocabulary.sentinels.size(), "SpanCorruption: sample ",
                      batch.samples[static_cast<std::size_t>(b)], " needs more sentinels than the vocabulary's ",
                      vocabulary.sentinels.size());
                pairs.tokens.push_back(vocabulary.sentinels[spans]);
                target.push_back(vocabulary.sentinels[spans++]);
            }
            target.push_back(token);
        }
        target.push_back(vocabulary.sep);
        for (std::size_t i = 0; i < target.size(); ++i)
            if (!residues_only || !vocabulary.is_special(target[i])) {
                pairs.rows.push_back(static_cast<index_t>(pairs.decoder_tokens.size() + i));
                pairs.labels.push_back(target[i]);
            }
        detail::append_target(pairs, target, vocabulary.pad, batch.samples[static_cast<std::size_t>(b)]);
    }
};

/// The protein that span corruption began with: every sentinel of `corrupted` replaced by what `target` writes behind
/// the same sentinel. Also puts what a model generates into its place.
/// @param corrupted (L) of the encoder @param target (Lt) sentinels and residues, up to the first `</s>`
/// @throws Error for a sentinel that the target does not have
inline std::vector<std::int32_t> fill_spans(Vocabulary const &vocabulary, std::span<std::int32_t const> corrupted,
                                            std::span<std::int32_t const> target) {
    auto const is_sentinel = [&](std::int32_t token) {
        return std::find(vocabulary.sentinels.begin(), vocabulary.sentinels.end(), token) != vocabulary.sentinels.end();
    };
    auto const end = std::find(target.begin(), target.end(), vocabulary.sep);
    std::vector<std::int32_t> whole;
    for (std::int32_t const token : corrupted) {
        if (!is_sentinel(token)) {
            whole.push_back(token);
            continue;
        }
        auto at = std::find(target.begin(), end, token);
        check(at != end, "fill_spans: the target has no ", vocabulary.pieces[static_cast<std::size_t>(token)]);
        while (++at != end && !is_sentinel(*at))
            whole.push_back(*at);
    }
    return whole;
}

/// Denoising as ProtT5 was trained (Elnaggar et al., arXiv 2007.06225): every residue is chosen with probability
/// `rate`; a chosen one becomes `<extra_id_0>` with probability `mask`, whichever residue it is, and a residue drawn at
/// random otherwise (which may be the same again). The decoder writes the whole protein. Whether and how a residue is
/// corrupted depends on (seed, epoch, sample, position in its sequence) and the vocabulary only.
///
/// Example, with seed 6, epoch 0, sample 7 and ProtT5's vocabulary (`<extra_id_0>` written <0>):
///
///     protein  M K   T A Y I A K Q   R Q I S   F V K S H F S R Q </s>
///     encoder  M <0> T A Y I A K <0> R Q I <0> F V K P H F S R Q </s>   (P is a random residue)
///     decoder  <pad> M K T A Y I A K Q R Q I S F V K S H F S R Q, to write M K T ... R Q </s>
///     labels   of all 23 rows; with chosen_only of rows 1 8 12 16, K Q S S
struct ProteinDenoising {
    double rate = 0.15;
    double mask = 0.9;
    bool chosen_only = false; ///< a loss for chosen residues only, not for all of the protein and its end token
    static constexpr char const *predicts = "tokens of the proteins";

    /// @throws Error when a probability is not in [0, 1], the rate is 0, or the vocabulary lacks a token that is needed
    void validate(Vocabulary const &vocabulary) const {
        check(rate > 0 && rate <= 1, "ProteinDenoising: rate is ", rate, ", expected above 0 and at most 1");
        check(mask >= 0 && mask <= 1, "ProteinDenoising: mask is ", mask, ", expected 0 to 1");
        detail::validate_pairs("ProteinDenoising", vocabulary);
    }

    /// What held-out proteins are judged by: chosen residues only, comparable with a unigram model. The others are
    /// there to be copied.
    ProteinDenoising evaluation() const { return {rate, mask, true}; }

    /// Corrupts a batch. @param seed  of the run; the epoch and sample numbers come from the batch
    /// @throws Error see validate
    SequencePairs apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t seed) const {
        validate(vocabulary);
        SequencePairs pairs;
        CounterRandom const random{seed, Purpose::mask, static_cast<std::uint32_t>(batch.epoch)};
        for (index_t b = 0; b < batch.sequences(); ++b) {
            auto const sample = batch.samples[static_cast<std::size_t>(b)];
            std::vector<std::int32_t> target;
            for (index_t position = 0; position < batch.length(b); ++position) {
                auto const row = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(b)] + position);
                std::int32_t const token = batch.tokens[row];
                PhiloxWords const bits = random(sample, static_cast<std::uint32_t>(position));
                bool const chosen = !vocabulary.is_special(token) && uniform_float(bits[0]) < static_cast<float>(rate);
                pairs.tokens.push_back(chosen ? corrupted(vocabulary, bits) : token);
                target.push_back(token);
                if (chosen || !chosen_only) {
                    pairs.rows.push_back(static_cast<index_t>(row)); // the decoder has as many rows as the encoder
                    pairs.labels.push_back(token);
                }
            }
            detail::append_target(pairs, target, vocabulary.pad, sample);
        }
        return pairs;
    }

    /// Loss of a model for the whole protein, or for the chosen residues.
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(
            EncoderDecoder<Model, Context>,
            "ProteinDenoising: the model must offer encode(context, packed), decode(context, packed, encoded, "
            "sources) and token_loss(context, hidden, labels)");
        return detail::pairs_loss(context, model, apply(batch, vocabulary, seed));
    }

  private:
    std::int32_t corrupted(Vocabulary const &vocabulary, PhiloxWords const &bits) const {
        if (uniform_float(bits[1]) < static_cast<float>(mask))
            return vocabulary.sentinels.front();
        auto const &residues = vocabulary.residues;
        return residues[uniform_below(bits[2], static_cast<std::uint32_t>(residues.size()))];
    }
};

} // namespace protlm::inline v0
