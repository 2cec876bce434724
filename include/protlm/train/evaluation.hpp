#pragma once

#include <protlm/data/packing.hpp>
#include <protlm/train/exchange.hpp>
#include <protlm/train/gradient_step.hpp>
#include <protlm/train/training_data.hpp>

#include <algorithm>
#include <optional>
#include <vector>

namespace protlm::inline v0 {

/// Loss and accuracy of held-out proteins, over all ranks.
struct Evaluation {
    double loss = 0;                ///< mean of -log p over labelled tokens; of a PairedLoss see LossSums::mean
    double accuracy = 0;            ///< share of labelled tokens that were predicted
    double token_loss = 0;          ///< mean of -log p of tokens: `loss`, or a PairedLoss's auxiliary one
    std::optional<double> majority; ///< of a PairedLoss: accuracy of one who always gives the commoner answer
    index_t labelled = 0;
    double perplexity() const { return std::exp(token_loss); }
};

/// The held-out proteins of a run in fixed micro-batches: the same proteins, crops and masks at every evaluation and on
/// any number of ranks, so that curves can be compared.
class HeldOut {
  public:
    /// Seed of order, crops and masks; drivers mask evaluation batches with it.
    static constexpr std::uint64_t seed = 0x68656c64;

    /// Takes proteins in a shuffled order until about `tokens` tokens are chosen, or all of them.
    /// @param options  of training; `micro_batch` replaces its budget
    HeldOut(TrainingData const &data, PackingOptions options, index_t micro_batch, index_t tokens) {
        if (data.store->held_out().count == 0)
            return;
        options.tokens = micro_batch;
        packer_.emplace(*data.store, data.store->held_out(), options, data.vocabulary);
        index_t chosen = 0;
        for (Cursor cursor{seed, 0, 0}; cursor.epoch == 0 && chosen < tokens; cursor = plans_.back().next) {
            plans_.push_back(packer_->plan(cursor));
            chosen += plans_.back().tokens();
        }
    }

    bool empty() const { return plans_.empty(); }

    /// Evaluates `loss(context, batch)`; ranks take micro-batches in turn. Collective.
    template <class Context, class LossFunction, Exchange X>
    Evaluation operator()(Context &context, LossFunction &&loss, X &exchange) const {
        static_assert(!Context::training, "HeldOut: needs an Inference context");
        LossSums sums;
        for (std::size_t i = static_cast<std::size_t>(exchange.rank()); i < plans_.size();
             i += static_cast<std::size_t>(exchange.size())) {
            auto const value = loss(context, packer_->build(plans_[i]));
            if (value.labelled == 0)
                continue;
            sums.add(context.exec(), value);
        }
        exchange.sum(sums.values);
        Evaluation result{.loss = sums.mean(),
                          .accuracy = sums.ratio(LossSums::correct, LossSums::labelled),
                          .token_loss = sums.mean(),
                          .majority = {},
                          .labelled = static_cast<index_t>(sums.values[LossSums::labelled])};
        if (sums.values[LossSums::auxiliary_labelled] > 0) {
            double const common = sums.ratio(LossSums::majority, LossSums::labelled);
            result.majority = std::max(common, 1 - common);
            result.token_loss = sums.ratio(LossSums::auxiliary, LossSums::auxiliary_labelled);
        }
        return result;
    }

  private:
    std::optional<Packer> packer_;
    std::vector<BatchPlan> plans_;
};

} // namespace protlm::inline v0
