#pragma once

#include <protlm/train/adafactor.hpp>
#include <protlm/train/lamb.hpp>
#include <protlm/train/training_options.hpp>

#include <variant>

namespace protlm::inline v0 {

/// The optimizer that a config or command line names; code that takes it is compiled once for all of them.
template <Scalar S, ExecutionSpace Exec>
class AnyOptimizer {
  public:
    /// @throws Error when there is no such optimizer or an option makes no sense
    AnyOptimizer(Parameters<S, Exec> const &parameters, TrainingOptions const &options)
        : optimizer_(make(parameters, options)) {}

    void step(Exec const &exec, Parameters<S, Exec> &parameters, double learning_rate, double gradient_scale) {
        std::visit([&](auto &o) { o.step(exec, parameters, learning_rate, gradient_scale); }, optimizer_);
    }
    std::vector<StateArray<accumulate_t<S>, Exec>> state() const {
        return std::visit([](auto const &o) { return o.state(); }, optimizer_);
    }
    index_t steps() const {
        return std::visit([](auto const &o) { return o.steps(); }, optimizer_);
    }
    void set_steps(index_t steps) {
        std::visit([&](auto &o) { o.set_steps(steps); }, optimizer_);
    }
    double effective_rate(double scheduled) const {
        return std::visit([&](auto const &o) { return o.effective_rate(scheduled); }, optimizer_);
    }

  private:
    using Variant = std::variant<AdamW<S, Exec>, Lamb<S, Exec>, Adafactor<S, Exec>>;

    static Variant make(Parameters<S, Exec> const &parameters, TrainingOptions const &options) {
        if (options.optimizer == "adamw")
            return AdamW<S, Exec>(
                parameters, {.beta1 = options.beta1, .beta2 = options.beta2, .weight_decay = options.weight_decay});
        if (options.optimizer == "lamb")
            return Lamb<S, Exec>(
                parameters, {.beta1 = options.beta1, .beta2 = options.beta2, .weight_decay = options.weight_decay});
        check(options.optimizer == "adafactor", "optimizer is \"", options.optimizer,
              "\", expected adamw, lamb or adafactor");
        return Adafactor<S, Exec>(parameters,
                                  {.weight_decay = options.weight_decay, .relative_step = options.learning_rate == 0});
    }
    Variant optimizer_;
};

} // namespace protlm::inline v0
