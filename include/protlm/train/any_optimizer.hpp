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
        auto const or_else = [](double value, double standard) { return value < 0 ? standard : value; };
        if (options.optimizer == "adamw")
            return AdamW<S, Exec>(parameters, {.beta1 = or_else(options.beta1, 0.9),
                                               .beta2 = options.beta2,
                                               .epsilon = or_else(options.epsilon, 1e-8),
                                               .weight_decay = options.weight_decay});
        if (options.optimizer == "lamb")
            return Lamb<S, Exec>(parameters, {.beta1 = or_else(options.beta1, 0.9),
                                              .beta2 = options.beta2,
                                              .epsilon = or_else(options.epsilon, 1e-6),
                                              .weight_decay = options.weight_decay});
        check(options.optimizer == "adafactor", "optimizer is \"", options.optimizer,
              "\", expected adamw, lamb or adafactor");
        return Adafactor<S, Exec>(parameters, {.epsilon1 = options.adafactor_epsilon1,
                                               .epsilon2 = options.adafactor_epsilon2,
                                               .clip_threshold = options.adafactor_clip_threshold,
                                               .decay_rate = options.adafactor_decay_rate,
                                               .beta1 = or_else(options.beta1, 0.0),
                                               .weight_decay = options.weight_decay,
                                               .relative_step = options.adafactor_relative_step,
                                               .warmup_init = options.adafactor_warmup_init,
                                               .scale_parameter = options.adafactor_scale_parameter});
    }
    Variant optimizer_;
};

} // namespace protlm::inline v0
