#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/floating_point.hpp>
#include <protlm/train/clipping.hpp>
#include <protlm/train/exchange.hpp>
#include <protlm/train/loss_sums.hpp>
#include <protlm/train/optimizer.hpp>

#include <algorithm>
#include <array>
#include <string>

namespace protlm::inline v0 {

/// What ranks tell each other at every step, beside gradients.
struct RankNews {
    bool signal = false; ///< summed up: some rank heard a signal
    double elapsed = 0;  ///< seconds of the run; the first rank's clock counts
};

/// What one step did, over all ranks.
struct StepResult {
    double loss = 0;          ///< mean over labelled tokens; of a PairedLoss, see LossSums::mean
    double accuracy = 0;      ///< share of labelled tokens that were predicted
    double gradient_norm = 0; ///< of the mean loss, before clipping
    index_t labelled = 0;
    index_t tokens = 0;
    std::string not_finite; ///< what was not, for example "the gradient of x"; then the weights stand as they were
    RankNews news;
};

/// What a step does where loss or gradient are not finite.
enum class NotFinite {
    refuse, ///< an error
    skip    ///< no update; the result says what was not finite
};

/// One optimizer step from any number of micro-batches on any number of ranks: the gradient of the loss averaged over
/// all labelled tokens of all ranks, whatever their distribution over ranks and micro-batches. A PairedLoss has two
/// such averages; how many tokens each is over is summed up before the first backward.
template <Scalar S, ExecutionSpace Exec>
class GradientStep {
  public:
    /// @param clip_norm  most the gradient's norm may be; 0: no clipping
    GradientStep(Parameters<S, Exec> &parameters, double clip_norm)
        : parameters_(&parameters), norm_(parameters.table()), clip_norm_(clip_norm) {
        check(clip_norm >= 0, "GradientStep: clip_norm is ", clip_norm, ", expected at least 0");
        parameters.enable_gradients();
    }

    /// @param micro_batches  this rank's; each has `size()` tokens and may be empty
    /// @param loss           `loss(context, micro_batch)`, see LossValue; for a PairedLoss, see CountingLoss, too
    /// @param news           `news()` gives this rank's RankNews; called when its gradients are complete
    /// @throws Error naming `step` and a tensor when loss or gradient are not finite and that is refused, or when
    /// the weights are not finite; weights and moments are unchanged then
    template <class Context, class MicroBatches, class LossFunction, Optimizer<S, Exec> O, Exchange X, class News>
    StepResult operator()(Context &context, MicroBatches const &micro_batches, LossFunction &&loss, O &optimizer,
                          X &exchange, index_t step, double learning_rate, News &&news,
                          NotFinite on_not_finite = NotFinite::refuse) {
        static_assert(Context::training, "GradientStep: needs a Training context");
        parameters_->zero_gradients(context.exec());
        auto const counts = count(micro_batches, loss, exchange);
        Sums mine = accumulate(context, micro_batches, loss, exchange, counts);
        mine.news = news();
        StepResult result = reduce(exchange, mine, counts);
        bool const finite = is_finite(result.loss);
        if (finite && result.labelled == 0) // nothing to learn from, the same on all ranks
            return result;
        double const scale = 1.0 / static_cast<double>(std::max<index_t>(result.labelled, 1));
        ParameterId const bad = norm_.first_bad_gradient(context.exec(), *parameters_);
        if (!finite || bad >= 0) {
            result.not_finite = bad >= 0 ? "the gradient of " + parameters_->table()[bad].name : "the loss";
            require_finite_weights(context.exec(), step);
            check(on_not_finite == NotFinite::skip, Setting{"skip_non_finite", "N passes over N such steps in a row"},
                  "step ", step, ": ", result.not_finite, " is not finite");
            ++skipped_;
            return result;
        }
        result.gradient_norm = norm_.norm() * scale;
        optimizer.step(context.exec(), *parameters_, learning_rate,
                       scale * clip_factor(result.gradient_norm, clip_norm_));
        return result;
    }

    /// @throws Error naming the tensor when a weight is not finite: nothing to save, nothing to go on with
    void require_finite_weights(Exec const &exec, index_t step) {
        ParameterId const bad = norm_.first_bad_weight(exec, *parameters_);
        check(bad < 0, "step ", step, ": the weights of ", bad < 0 ? "" : parameters_->table()[bad].name,
              " are not finite");
    }

  private:
    /// Labelled tokens of a PairedLoss's two parts over all ranks; not known for others.
    using Counts = std::array<double, 2>;
    struct Sums {
        LossSums losses;
        double tokens = 0;
        RankNews news;
    };

    template <class MicroBatches, class LossFunction, class X>
    static Counts count(MicroBatches const &micro_batches, LossFunction const &loss, X &exchange) {
        Counts counts{};
        if constexpr (CountingLoss<LossFunction, typename MicroBatches::value_type>) {
            for (auto const &micro_batch : micro_batches) {
                auto const some = loss.counts(micro_batch);
                counts[0] += static_cast<double>(some[0]);
                counts[1] += static_cast<double>(some[1]);
            }
            exchange.sum(counts);
        }
        return counts;
    }

    template <class Context, class MicroBatches, class LossFunction, class X>
    Sums accumulate(Context &context, MicroBatches const &micro_batches, LossFunction &loss, X &exchange,
                    Counts const &counts) {
        Sums mine;
        std::size_t left = micro_batches.size();
        for (auto const &micro_batch : micro_batches) {
            bool const last = --left == 0;
            if (micro_batch.size() == 0)
                continue;
            mine.tokens += static_cast<double>(micro_batch.size());
            auto const value = loss(context, micro_batch);
            static_assert(LossValue<decltype(value)>, "GradientStep: loss must return sum, labelled and correct");
            static_assert(!PairedLoss<decltype(value)> || CountingLoss<LossFunction, typename MicroBatches::value_type>,
                          "GradientStep: a loss with two means must have counts(micro_batch)");
            if (value.labelled == 0) {
                context.tape().clear();
                continue;
            }
            double const seed = seed_gradients(context, value, counts);
            if (last) { // gradients that this rank touches no more may go already
                exchange.begin(context.tape().parameters());
                context.backward(value.sum, seed, [&](ParameterId id) { exchange.ready(id); });
                started_ = true;
            } else {
                context.backward(value.sum, seed);
            }
            mine.losses.add(context.exec(), value);
        }
        if (!std::exchange(started_, false))
            exchange.begin({}); // the last micro-batch had nothing to learn
        exchange.finish();
        return mine;
    }

    /// The gradient of the first sum, and that of the auxiliary one put into its tensor: so that dividing all by the
    /// first count divides each by its own.
    template <class Context, class L>
    static double seed_gradients(Context &context, L const &value, Counts const &counts) {
        if constexpr (PairedLoss<L>) {
            if (value.auxiliary.labelled > 0) {
                auto const &sum = value.auxiliary.sum;
                sum.accumulate();
                auto const seed = static_cast<accumulate_t<S>>(counts[0] / std::max(counts[1], 1.0));
                copy_from_host(context.exec(), sum.gradient_view(), &seed);
            }
            return value.weight;
        } else {
            return 1.0;
        }
    }

    template <class X>
    StepResult reduce(X &exchange, Sums const &mine, Counts const &counts) {
        constexpr std::size_t n = LossSums::fields;
        std::array<double, n + 4> sums{};
        std::copy(mine.losses.values.begin(), mine.losses.values.end(), sums.begin());
        sums[n] = mine.tokens;
        sums[n + 1] = mine.news.signal ? 1.0 : 0.0;
        sums[n + 2] = exchange.rank() == 0 ? mine.news.elapsed : 0.0;
        sums[n + 3] = skipped_;
        exchange.sum(sums);
        check(sums[n + 3] == skipped_ * exchange.size(), "GradientStep: ranks have skipped different steps");
        LossSums all;
        std::copy_n(sums.begin(), n, all.values.begin());
        double const labelled = all.values[LossSums::labelled], auxiliary = all.values[LossSums::auxiliary_labelled];
        check(counts == Counts{} || counts == Counts{labelled, auxiliary}, "GradientStep: the loss has ", labelled,
              " and ", auxiliary, " labelled tokens, but said ", counts[0], " and ", counts[1], " beforehand");
        return {.loss = all.mean(),
                .accuracy = all.ratio(LossSums::correct, LossSums::labelled),
                .gradient_norm = 0,
                .labelled = static_cast<index_t>(labelled),
                .tokens = static_cast<index_t>(sums[n]),
                .not_finite = {},
                .news = {sums[n + 1] > 0, sums[n + 2]}};
    }

    Parameters<S, Exec> *parameters_;
    GradientNorm<Exec> norm_;
    double clip_norm_;
    double skipped_ = 0; // steps that were not finite
    bool started_ = false;
};

} // namespace protlm::inline v0
