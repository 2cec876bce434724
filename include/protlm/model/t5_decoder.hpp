#pragma once

#include <protlm/layers/key_value_cache.hpp>
#include <protlm/model/generation.hpp>
#include <protlm/model/t5.hpp>

#include <span>
#include <vector>

namespace protlm::inline v0 {

/// T5's decoder token by token, for generation: the keys and values of what was written are kept, those of the
/// encoder's output are computed once and serve all texts of a protein. Holds one text for each protein at first.
/// The model must outlive it.
template <Scalar S, ExecutionSpace Exec>
class T5Decoder {
  public:
    using A = accumulate_t<S>;
    using Activations = Tensor<A, Exec>;

    /// Runs the encoder. @throws Error when the model has no decoder or a token is none of its vocabulary
    template <class Context>
    T5Decoder(Context &context, T5<S, Exec> const &model, PackedView proteins)
        : model_(&model), score_(checked(model).decoder_score(context)),
          cache_(model.config().num_decoder_layers, 2 * model.config().num_heads * model.config().d_kv) {
        static_assert(!Context::training, "T5Decoder: decoding token by token needs an inference context");
        model.validate(proteins);
        auto const packed = make_packed(context, proteins);
        auto const encoded = model.encode(context, packed);
        sources_ = packed.segments;
        for (index_t n = 0; n < model.config().num_decoder_layers; ++n) {
            blocks_.push_back(model.decoder_block(n));
            past_.push_back(blocks_.back().cross_attention.keys_and_values(context, encoded));
        }
        for (index_t b = 0; b < sources_.count(); ++b)
            source_of_row_.push_back(b);
        cache_.start(rows());
        group_rows(context);
    }

    /// Number of texts.
    index_t rows() const { return static_cast<index_t>(source_of_row_.size()); }

    /// Appends a token to each text; the logits (R, V) of the next ones.
    /// @param tokens (R) @throws Error when their number or one of them is wrong
    template <class Context>
    Activations step(Context &context, std::span<std::int32_t const> tokens) {
        check_extent("T5Decoder", "tokens", "entries", tokens.size(), rows());
        model_->validate({tokens, {}, {}, {}});
        cache_.extend(context);
        auto x = model_->embed(context, context.template upload<std::int32_t>(tokens));
        for (std::size_t n = 0; n < blocks_.size(); ++n) {
            auto const own = blocks_[n].self_attention.step(context, x, cache_, static_cast<index_t>(n), score_);
            auto const both = blocks_[n].cross_attention(context, own, past_[n], queries_, sources_, 0.0);
            x = blocks_[n].feed_forward(context, both, 0.0);
        }
        return model_->logits(context, model_->decoder_norm()(context, x));
    }

    /// Text i goes on from what is now text rows[i]; texts of one protein stay together.
    /// @throws Error when there is no such text or the proteins' order would change
    template <class Context>
    void reorder(Context &context, std::span<index_t const> rows) {
        std::vector<index_t> next;
        for (index_t const row : rows) {
            check(row >= 0 && row < this->rows(), "T5Decoder: reorder: row ", row, " is not one of ", this->rows());
            next.push_back(source_of_row_[static_cast<std::size_t>(row)]);
            check(next.size() < 2 || next.back() >= next[next.size() - 2], "T5Decoder: reorder: row ", row,
                  " breaks the order of the proteins");
        }
        cache_.reorder(context, rows);
        source_of_row_ = std::move(next);
        group_rows(context);
    }

  private:
    static T5<S, Exec> const &checked(T5<S, Exec> const &model) {
        check(model.heads().decoder, "T5Decoder: the model has no decoder");
        return model;
    }

    /// Texts of one protein are the queries of one segment over its keys: nothing of the encoder is copied.
    template <class Context>
    void group_rows(Context &context) {
        std::vector<std::int64_t> offsets(static_cast<std::size_t>(sources_.count()) + 1, 0);
        for (index_t const source : source_of_row_)
            ++offsets[static_cast<std::size_t>(source) + 1];
        for (std::size_t b = 1; b < offsets.size(); ++b)
            offsets[b] += offsets[b - 1];
        queries_ = make_segments(context, offsets);
    }

    T5<S, Exec> const *model_;
    BucketBias<S, Exec> score_;
    KeyValueCache<A, Exec> cache_;
    std::vector<T5DecoderBlock<S, Exec>> blocks_;
    std::vector<Activations> past_; // (Ts, 2 H D) of each block
    Segments<Exec> sources_, queries_;
    std::vector<index_t> source_of_row_;
};

} // namespace protlm::inline v0
