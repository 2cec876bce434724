#pragma once

#include <protlm/train/option_list.hpp>
#include <protlm/train/schedule.hpp>

#include <cstdint>
#include <string>

namespace protlm::inline v0 {

/// Everything that a pre-training run can be told, for every model: what the "training" section of a config may hold
/// and what the drivers' command lines offer. `for_each` lists all of it with its help, so each is said once.
struct TrainingOptions {
    index_t steps = 0;
    double minutes = 0;
    index_t tokens_per_step = 16384, micro_batch = 4096, max_length = 512;
    int proteins_per_example = 1;
    std::string optimizer = "adamw";
    double learning_rate = 1e-3, warmup = 0.06;
    std::string schedule = "linear";
    bool hold_warmup = false;
    double final_ratio = 0.0, weight_decay = 0.01, beta1 = -1, beta2 = 0.999, epsilon = -1, clip = 1.0;
    bool adafactor_relative_step = false, adafactor_warmup_init = false, adafactor_scale_parameter = true;
    double adafactor_clip_threshold = 1.0, adafactor_decay_rate = -0.8;
    double adafactor_epsilon1 = 1e-30, adafactor_epsilon2 = 1e-3;
    std::uint64_t seed = 1;
    std::string precision = "float32";
    bool recompute = false;
    index_t evaluate_every = 250, evaluate_tokens = 65536, checkpoint_every = 500, keep = 2, skip_non_finite = 0;

    /// Calls `f(name, field, help)` for every option; `options` may be constant.
    template <class Options, class F>
    static void for_each(Options &options, F &&f) {
        f("steps", options.steps, "optimizer steps of the whole run; 0: as many as --minutes allows");
        f("minutes", options.minutes,
          "end after this time, resumed parts included; the schedule follows the measured speed; 0: no limit");
        f("tokens_per_step", options.tokens_per_step, "tokens of one optimizer step, over all ranks");
        f("micro_batch", options.micro_batch, "tokens that one rank computes at a time: what memory is needed for");
        f("max_length", options.max_length,
          "tokens of one example, special tokens included; longer proteins are cropped at random");
        f("proteins_per_example", options.proteins_per_example,
          "1: [CLS] A [SEP]; 2: [CLS] A [SEP] B [SEP], as ProtBert was trained");
        f("optimizer", options.optimizer, "adamw, lamb or adafactor");
        f("learning_rate", options.learning_rate, "highest learning rate");
        f("warmup", options.warmup, "steps of rising learning rate; below 1: a share of all steps");
        f("schedule", options.schedule, "after the warm-up: constant, linear, cosine or inverse_square_root");
        f("hold_warmup", options.hold_warmup,
          "the highest learning rate from the first step on, until the warm-up ends: T5's inverse square root");
        f("final_ratio", options.final_ratio, "linear and cosine end at this share of the learning rate");
        f("weight_decay", options.weight_decay, "for weight matrices; biases and norms have none");
        f("beta1", options.beta1, "decay of the first moment; -1: 0.9 for adamw and lamb, 0 (none) for adafactor");
        f("beta2", options.beta2, "decay of the second moment (adamw, lamb)");
        f("epsilon", options.epsilon,
          "added to the root of the second moment (adamw, lamb); -1: 1e-8 for adamw, 1e-6 for lamb");
        f("clip", options.clip, "most the norm of the gradient may be; 0: no limit");
        for_each_of_adafactor(options, f);
        f("seed", options.seed, "another number gives other weights, order, crops and masks");
        f("precision", options.precision, "float32, or bfloat16 with float32 master weights");
        f("recompute", options.recompute, "compute activations twice instead of keeping them: less memory, slower");
        f("evaluate_every", options.evaluate_every,
          "steps between evaluations of held-out proteins; 0: at the end only");
        f("evaluate_tokens", options.evaluate_tokens, "tokens of held-out proteins that an evaluation takes");
        f("checkpoint_every", options.checkpoint_every, "steps between checkpoints; 0: at the end only");
        f("keep", options.keep, "checkpoints that are kept, the newest ones");
        f("skip_non_finite", options.skip_non_finite,
          "steps in a row that may be passed over because loss or gradient is not finite; one more ends the run");
    }

    /// What only Adafactor has.
    template <class Options, class F>
    static void for_each_of_adafactor(Options &options, F &&f) {
        f("adafactor_relative_step", options.adafactor_relative_step,
          "Adafactor finds its rate by itself: at most 0.01, later 1 over the root of the step; learning_rate and "
          "schedule do not count");
        f("adafactor_warmup_init", options.adafactor_warmup_init,
          "with the relative step: at first one millionth of the number of the step");
        f("adafactor_scale_parameter", options.adafactor_scale_parameter,
          "multiply a tensor's rate by the root mean square of its weights");
        f("adafactor_clip_threshold", options.adafactor_clip_threshold,
          "most the root mean square of a tensor's update may be");
        f("adafactor_decay_rate", options.adafactor_decay_rate,
          "running means of squares keep 1 - step^decay_rate; below 0");
        f("adafactor_epsilon1", options.adafactor_epsilon1, "added to squared gradients");
        f("adafactor_epsilon2", options.adafactor_epsilon2,
          "least root mean square of weights that scales a tensor's rate");
    }

    /// @throws Error naming the option
    void validate() const {
        auto const least = [](char const *name, auto value, auto bound) {
            check(value >= bound, name, " is ", value, ", expected at least ", bound);
        };
        least("steps", steps, 0);
        least("minutes", minutes, 0.0);
        check(steps > 0 || minutes > 0,
              "steps and minutes are both 0: say how long to train, for example --steps 1000");
        least("tokens_per_step", tokens_per_step, 1);
        least("micro_batch", micro_batch, 1);
        least("warmup", warmup, 0.0);
        least("clip", clip, 0.0);
        least("evaluate_every", evaluate_every, 0);
        least("evaluate_tokens", evaluate_tokens, 1);
        least("checkpoint_every", checkpoint_every, 0);
        least("keep", keep, 1);
        least("skip_non_finite", skip_non_finite, 0);
        check(precision == "float32" || precision == "bfloat16", "precision is \"", precision,
              "\", expected float32 or bfloat16");
        check(optimizer == "adamw" || optimizer == "lamb" || optimizer == "adafactor", "optimizer is \"", optimizer,
              "\", expected adamw, lamb or adafactor");
        make_schedule(1).validate();
    }

    /// The schedule of a run of `total_steps`; 0: not known yet, the warm-up is as if there were a thousand.
    Schedule make_schedule(index_t total_steps) const {
        double const total = total_steps > 0 ? static_cast<double>(total_steps) : 1000.0;
        return {.kind = parse_schedule(schedule),
                .peak = learning_rate,
                .warmup_steps = static_cast<index_t>(warmup < 1 ? warmup * total : warmup),
                .total_steps = total_steps,
                .final_ratio = final_ratio,
                .hold_warmup = hold_warmup};
    }
};

/// Takes what `fields` holds and leaves the rest. @throws Error naming file and field, also for unknown fields
inline void read_training_options(Fields const &fields, TrainingOptions &options) {
    read_options(fields, [&](auto &&f) { TrainingOptions::for_each(options, f); });
}

/// Offers every option on a command line; values so far are the defaults. @param app  see offer_options
template <class App>
void add_training_options(App &app, TrainingOptions &options) {
    offer_options(app, [&](auto &&f) { TrainingOptions::for_each(options, f); });
}

/// All options as JSON, as checkpoints keep them.
inline nlohmann::json to_json(TrainingOptions const &options) {
    return options_json([&](auto &&f) { TrainingOptions::for_each(options, f); });
}

} // namespace protlm::inline v0
