#pragma once

#include <protlm/layers/recurrent_memory.hpp>
#include <protlm/model/generation.hpp>

#include <span>
#include <vector>

namespace protlm::inline v0 {

/// A causal model with memory as a StepDecoder: each token is a segment of its own, and the memory is what a text's
/// next token sees of it, the last mem_len tokens. For TransformerXl. The model must outlive it.
template <class Model>
class RecurrentDecoder {
  public:
    using Exec = typename Model::execution_space;
    using A = typename Model::A;

    /// @param texts number of texts, all empty
    RecurrentDecoder(Model const &model, index_t texts) : model_(&model), rows_(texts) {}

    /// Number of texts.
    index_t rows() const { return rows_; }

    /// Appends a token to each text; the logits (R, V) of the next ones.
    /// @param tokens (R) @throws Error when their number or one of them is wrong
    template <class Context>
    auto step(Context &context, std::span<std::int32_t const> tokens) {
        static_assert(!Context::training, "RecurrentDecoder: decoding token by token needs an inference context");
        check_extent("RecurrentDecoder", "tokens", "entries", tokens.size(), rows_);
        std::vector<std::int64_t> offsets;
        for (index_t b = 0; b <= rows_; ++b)
            offsets.push_back(b);
        PackedView const batch{tokens, {}, offsets, {}};
        model_->validate(batch);
        auto const hidden = model_->encode(context, make_packed(context, batch), memory_);
        return model_->logits(context, hidden);
    }

    /// Text i goes on from what is now text rows[i]. @throws Error when there is no such text
    template <class Context>
    void reorder(Context &context, std::span<index_t const> rows) {
        for (index_t const row : rows)
            check(row >= 0 && row < rows_, "RecurrentDecoder: reorder: row ", row, " is not one of ", rows_);
        memory_ = memory_.select(context, rows);
        rows_ = static_cast<index_t>(rows.size());
    }

  private:
    Model const *model_;
    index_t rows_ = 0;
    RecurrentMemory<A, Exec> memory_;
};

} // namespace protlm::inline v0
