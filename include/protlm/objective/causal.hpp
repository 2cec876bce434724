#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/objective/model_concepts.hpp>
#include <protlm/ops/add.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace protlm::inline v0 {

// clang-format off
/// A model that remembers: it attends to what it saw of each sequence before, and replaces that by what it sees now.
/// A default-made `Model::Memory` is empty; `select` keeps the memory of some sequences.
template <class Model, class Context>
concept RecurrentEncoder = TokenPredictor<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed,
             typename Model::Memory memory, std::vector<index_t> const &sequences) {
        { model.encode(context, packed, memory) } -> std::same_as<typename Model::Activations>;
        { memory.select(context, sequences) } -> std::same_as<typename Model::Memory>;
    };

/// A recurrent model that takes a mask too; one that does not must be causal by itself.
template <class Model, class Context>
concept MaskableRecurrentEncoder = RecurrentEncoder<Model, Context> &&
    requires(Model const &model, Context &context, PackedTokens<typename Model::execution_space> const &packed,
             typename Model::Memory memory, std::vector<typename Model::Activations> *states) {
        { model.encode(context, packed, memory, states, CausalMask{}) } -> std::same_as<typename Model::Activations>;
    };
// clang-format on

/// One piece of each protein that is long enough to have it, and the token behind each token.
struct CausalSegment {
    std::vector<std::int32_t> tokens, token_types; ///< (T)
    std::vector<std::int64_t> offsets{0};          ///< (B+1)
    std::vector<std::uint64_t> samples;            ///< (B)
    std::vector<std::int32_t> labels;              ///< (T) what follows each token
    std::vector<index_t> before; ///< (B) which sequence of the segment before each continues; of the batch in the first
};

/// Causal language modelling: each token is predicted from those before it (Dai et al., "Transformer-XL", 2019,
/// section 3). A protein is cut into segments of `segment_length` tokens; a recurrent model sees them one after the
/// other and remembers the ones before, without gradient, with an empty memory at the protein's start. Without
/// segments, and for models without a memory, a protein is one piece, and a causal mask hides what follows.
/// Every token but a protein's first has a loss, special tokens at its end too. Nothing is random.
///
/// Example, with segments of 4 tokens and ProtBert's vocabulary:
///
///     tokens     [CLS] M K T A Y I [SEP]
///     segment 0  [CLS] M K T        labels M K T A
///     segment 1  A Y I              labels Y I [SEP], sees [CLS] M K T in its memory
struct CausalLanguageModel {
    index_t segment_length = 0; ///< tokens; 0: no segments
    bool residues_only = false; ///< a loss for residues only, not for the special tokens at a protein's end
    static constexpr char const *predicts = "next tokens";

    /// @throws Error for a negative length
    void validate(Vocabulary const &) const {
        check(segment_length >= 0, "CausalLanguageModel: segment_length is ", segment_length, ", expected at least 0");
    }

    /// What held-out proteins are judged by: residues only, comparable with a unigram model.
    CausalLanguageModel evaluation() const { return {segment_length, true}; }

    /// Cuts a batch into segments; at least one, which is empty where no protein has two tokens.
    /// @throws Error see validate
    std::vector<CausalSegment> apply(Batch const &batch, Vocabulary const &vocabulary, std::uint64_t = 0) const {
        validate(vocabulary);
        std::vector<CausalSegment> segments;
        std::vector<index_t> running(static_cast<std::size_t>(batch.sequences())); // they reach this segment
        std::iota(running.begin(), running.end(), index_t(0));
        for (index_t begin = 0; segments.empty() || !running.empty(); begin += segment_length) {
            CausalSegment segment;
            std::vector<index_t> reached;
            for (std::size_t i = 0; i < running.size(); ++i) {
                if (batch.length(running[i]) < begin + 2)
                    continue; // nothing left to predict
                append_piece(segment, batch, running[i], begin);
                segment.before.push_back(segments.empty() ? running[i] : static_cast<index_t>(i));
                reached.push_back(running[i]);
            }
            running = segment_length > 0 ? std::move(reached) : std::vector<index_t>();
            if (segments.empty() || !segment.samples.empty())
                segments.push_back(std::move(segment));
        }
        return segments;
    }

    /// Loss of a model for every token but the first of each protein; a default Loss where there is none.
    /// @throws Error when there are segments, but the model has no memory
    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t seed) const {
        static_assert(
            RecurrentEncoder<Model, Context> || MaskableEncoder<Model, Context>,
            "CausalLanguageModel: the model must offer encode(context, packed, memory) with a Model::Memory, "
            "or encode(context, packed, states, mask) that takes a CausalMask; and token_loss, and no decoder");
        Loss<typename Model::A, typename Model::execution_space> total;
        auto const segments = apply(batch, vocabulary, seed);
        if (segments.front().tokens.empty())
            return total;
        if constexpr (RecurrentEncoder<Model, Context>) {
            if (segment_length > 0 || !MaskableRecurrentEncoder<Model, Context>)
                return recurrent_loss(context, model, segments, vocabulary);
        }
        if constexpr (MaskableEncoder<Model, Context>) {
            check(segment_length == 0, "CausalLanguageModel: segment_length is ", segment_length,
                  ", but the model has no memory to carry from segment to segment");
            CausalSegment const &all = segments.front();
            auto const packed = detail::checked_packed(context, model, view(all));
            total = part_loss(context, model, model.encode(context, packed, nullptr, CausalMask{}), all, vocabulary);
        }
        return total;
    }

  private:
    static PackedView view(CausalSegment const &segment) {
        return {segment.tokens, segment.token_types, segment.offsets, segment.samples};
    }

    void append_piece(CausalSegment &segment, Batch const &batch, index_t b, index_t begin) const {
        index_t const first = batch.offsets[static_cast<std::size_t>(b)] + begin;
        index_t const left = batch.length(b) - begin - 1; // the last token predicts nothing
        index_t const end = first + (segment_length > 0 ? std::min(segment_length, left) : left);
        auto const append = [](auto &to, auto const &from, index_t from_row, index_t to_row) {
            to.insert(to.end(), from.begin() + from_row, from.begin() + to_row);
        };
        append(segment.tokens, batch.tokens, first, end);
        append(segment.token_types, batch.token_types, first, end);
        append(segment.labels, batch.tokens, first + 1, end + 1);
        segment.offsets.push_back(static_cast<std::int64_t>(segment.tokens.size()));
        segment.samples.push_back(batch.samples[static_cast<std::size_t>(b)]);
    }

    template <class Context, class Model, class Packed>
    static auto remembering(Context &context, Model const &model, Packed const &packed,
                            typename Model::Memory &memory) {
        if constexpr (MaskableRecurrentEncoder<Model, Context>)
            return model.encode(context, packed, memory, nullptr, CausalMask{});
        else
            return model.encode(context, packed, memory);
    }

    /// Loss of the labels of a segment that count.
    template <class Context, class Model>
    auto part_loss(Context &context, Model const &model, typename Model::Activations const &hidden,
                   CausalSegment const &segment, Vocabulary const &vocabulary) const {
        std::vector<index_t> rows;
        std::vector<std::int32_t> labels;
        for (std::size_t t = 0; t < segment.labels.size(); ++t)
            if (!residues_only || !vocabulary.is_special(segment.labels[t])) {
                rows.push_back(static_cast<index_t>(t));
                labels.push_back(segment.labels[t]);
            }
        if (rows.empty())
            return Loss<typename Model::A, typename Model::execution_space>();
        return detail::rows_loss(context, model, hidden, rows, labels);
    }

    template <class Context, class Model>
    auto recurrent_loss(Context &context, Model const &model, std::vector<CausalSegment> const &segments,
                        Vocabulary const &vocabulary) const {
        Loss<typename Model::A, typename Model::execution_space> total;
        typename Model::Memory memory;
        for (CausalSegment const &segment : segments) {
            if (&segment != &segments.front())
                memory = memory.select(context, segment.before);
            auto const packed = detail::checked_packed(context, model, view(segment));
            auto const hidden = remembering(context, model, packed, memory);
            auto const part = part_loss(context, model, hidden, segment, vocabulary);
            if (part.labelled == 0)
                continue;
            total.sum = total.sum ? add(context, total.sum, part.sum) : part.sum;
            total.labelled += part.labelled;
            total.correct += part.correct;
        }
        return total;
    }
};

} // namespace protlm::inline v0
