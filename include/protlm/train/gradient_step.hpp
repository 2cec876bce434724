#pragma once

#include <protlm/core/context.hpp>
#include <protlm/train/clipping.hpp>
#include <protlm/train/exchange.hpp>
#include <protlm/train/optimizer.hpp>

#include <array>
#include <cmath>
#include <concepts>

namespace protlm::inline v0 {

/// What a loss function returns for one micro-batch.
template <class L>
concept LossValue = requires(L loss) {
    { loss.sum.rows() } -> std::convertible_to<index_t>; // Tensor (1, 1): sum of -log p over labelled tokens
    { loss.labelled } -> std::convertible_to<index_t>;   // number of labelled tokens
    { loss.correct } -> std::convertible_to<index_t>;    // of them, those whose best token is the label
};

/// What ranks tell each other at every step, beside gradients.
struct RankNews {
    bool signal = false; ///< summed up: some rank heard a signal
    double elapsed = 0;  ///< seconds of the run; the first rank's clock counts
};

/// What one step did, over all ranks.
struct StepResult {
    double loss = 0;          ///< mean over labelled tokens
    double accuracy = 0;      ///< share of labelled tokens that were predicted
    double gradient_norm = 0; ///< of the mean loss, before clipping
    index_t labelled = 0;
    index_t tokens = 0;
    RankNews news;
};

/// The number in a (1, 1) tensor. The host waits for it.
template <class T, class Exec>
double to_host(Exec const &exec, Tensor<T, Exec> const &scalar) {
    T value{};
    Kokkos::View<T **, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>> host(&value, 1,
                                                                                                             1);
    Kokkos::deep_copy(exec, host, scalar.view());
    exec.fence();
    return static_cast<double>(value);
}

/// One optimizer step from any number of micro-batches on any number of ranks: the gradient of the loss averaged over
/// all labelled tokens of all ranks, whatever their distribution over ranks and micro-batches.
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
    /// @param loss           `loss(context, micro_batch)`, see LossValue
    /// @param news           `news()` gives this rank's RankNews; called when its gradients are complete
    /// @throws Error naming `step` and a tensor when loss or gradient are not finite; the weights are unchanged then
    template <class Context, class MicroBatches, class LossFunction, Optimizer<S, Exec> O, Exchange X, class News>
    StepResult operator()(Context &context, MicroBatches const &micro_batches, LossFunction &&loss, O &optimizer,
                          X &exchange, index_t step, double learning_rate, News &&news) {
        static_assert(Context::training, "GradientStep: needs a Training context");
        parameters_->zero_gradients(context.exec());
        StepResult mine = accumulate(context, micro_batches, loss, exchange);
        mine.news = news();
        StepResult result = reduce(exchange, mine);
        if (!std::isfinite(result.loss))
            blame(context.exec(), step, result.loss);
        if (result.labelled == 0) // nothing to learn from, the same on all ranks
            return result;
        double const scale = 1.0 / static_cast<double>(result.labelled);
        result.gradient_norm = norm_(context.exec(), *parameters_, scale, step);
        optimizer.step(context.exec(), *parameters_, learning_rate,
                       scale * clip_factor(result.gradient_norm, clip_norm_));
        return result;
    }

    /// @throws Error naming the tensor when a weight is not finite: nothing to save
    void require_finite_weights(Exec const &exec, index_t step) {
        ParameterId const bad = norm_.first_bad_weight(exec, *parameters_);
        check(bad < 0, "step ", step, ": the weights of ", bad < 0 ? "" : parameters_->table()[bad].name,
              " are not finite");
    }

  private:
    template <class Context, class MicroBatches, class LossFunction, class X>
    StepResult accumulate(Context &context, MicroBatches const &micro_batches, LossFunction &loss, X &exchange) {
        StepResult mine; // sums until reduce() divides
        std::size_t left = micro_batches.size();
        for (auto const &micro_batch : micro_batches) {
            bool const last = --left == 0;
            if (micro_batch.size() == 0)
                continue;
            mine.tokens += micro_batch.size();
            auto const value = loss(context, micro_batch);
            static_assert(LossValue<decltype(value)>, "GradientStep: loss must return sum, labelled and correct");
            if (value.labelled == 0) {
                context.tape().clear();
                continue;
            }
            if (last) { // gradients that this rank touches no more may go already
                exchange.begin(context.tape().parameters());
                context.backward(value.sum, 1.0, [&](ParameterId id) { exchange.ready(id); });
                started_ = true;
            } else {
                context.backward(value.sum);
            }
            mine.loss += to_host(context.exec(), value.sum);
            mine.labelled += value.labelled;
            mine.accuracy += static_cast<double>(value.correct);
        }
        if (!std::exchange(started_, false))
            exchange.begin({}); // the last micro-batch had nothing to learn
        exchange.finish();
        return mine;
    }

    template <class X>
    StepResult reduce(X &exchange, StepResult const &mine) {
        std::array<double, 6> sums{mine.loss,
                                   mine.accuracy,
                                   static_cast<double>(mine.labelled),
                                   static_cast<double>(mine.tokens),
                                   mine.news.signal ? 1.0 : 0.0,
                                   exchange.rank() == 0 ? mine.news.elapsed : 0.0};
        exchange.sum(sums);
        double const labelled = sums[2] > 0 ? sums[2] : 1.0;
        return {.loss = sums[0] / labelled,
                .accuracy = sums[1] / labelled,
                .gradient_norm = 0,
                .labelled = static_cast<index_t>(sums[2]),
                .tokens = static_cast<index_t>(sums[3]),
                .news = {sums[4] > 0, sums[5]}};
    }

    [[noreturn]] void blame(Exec const &exec, index_t step, double loss) {
        require_finite_weights(exec, step);
        norm_(exec, *parameters_, 1.0, step); // names the gradient
        fail("step ", step, ": the loss is ", loss, ", although all weights and gradients are finite");
    }

    Parameters<S, Exec> *parameters_;
    GradientNorm<Exec> norm_;
    double clip_norm_;
    bool started_ = false;
};

} // namespace protlm::inline v0
