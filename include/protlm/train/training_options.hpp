#pragma once

#include <protlm/io/json.hpp>
#include <protlm/train/schedule.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

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
    double final_ratio = 0.0, weight_decay = 0.01, beta1 = 0.9, beta2 = 0.999, clip = 1.0;
    std::uint64_t seed = 1;
    std::string precision = "float32";
    bool recompute = false;
    index_t evaluate_every = 250, evaluate_tokens = 65536, checkpoint_every = 500, keep = 2;

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
        f("learning_rate", options.learning_rate,
          "highest learning rate; with adafactor, 0 means the rate that it finds by itself");
        f("warmup", options.warmup, "steps of rising learning rate; below 1: a share of all steps");
        f("schedule", options.schedule, "after the warm-up: constant, linear, cosine or inverse_square_root");
        f("final_ratio", options.final_ratio, "linear and cosine end at this share of the learning rate");
        f("weight_decay", options.weight_decay, "for weight matrices; biases and norms have none");
        f("beta1", options.beta1, "decay of the first moment (adamw, lamb; adafactor has none)");
        f("beta2", options.beta2, "decay of the second moment (adamw, lamb)");
        f("clip", options.clip, "most the norm of the gradient may be; 0: no limit");
        f("seed", options.seed, "another number gives other weights, order, crops and masks");
        f("precision", options.precision, "float32, or bfloat16 with float32 master weights");
        f("recompute", options.recompute, "compute activations twice instead of keeping them: less memory, slower");
        f("evaluate_every", options.evaluate_every,
          "steps between evaluations of held-out proteins; 0: at the end only");
        f("evaluate_tokens", options.evaluate_tokens, "tokens of held-out proteins that an evaluation takes");
        f("checkpoint_every", options.checkpoint_every, "steps between checkpoints; 0: at the end only");
        f("keep", options.keep, "checkpoints that are kept, the newest ones");
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
                .final_ratio = final_ratio};
    }
};

/// Takes what `fields` holds and leaves the rest. @throws Error naming file and field, also for unknown fields
inline void read_training_options(Fields const &fields, TrainingOptions &options) {
    TrainingOptions::for_each(
        options, [&]<class T>(char const *name, T &value, char const *) { value = fields.optional(name, value); });
    fields.refuse_unknown();
}

/// Offers every option on a command line, as --tokens-per-step for tokens_per_step; values so far are the defaults.
/// @param app  a CLI::App of CLI11, or what has its add_option and add_flag
template <class App>
void add_training_options(App &app, TrainingOptions &options) {
    TrainingOptions::for_each(options, [&]<class T>(std::string name, T &value, char const *help) {
        std::replace(name.begin(), name.end(), '_', '-');
        if constexpr (std::is_same_v<T, bool>)
            app.add_flag("--" + name + ",!--no-" + name, value, help);
        else
            app.add_option("--" + name, value, help)->capture_default_str();
    });
}

/// All options as JSON, as checkpoints keep them.
inline nlohmann::json to_json(TrainingOptions const &options) {
    nlohmann::json json;
    TrainingOptions::for_each(options, [&](char const *name, auto const &value, char const *) { json[name] = value; });
    return json;
}

} // namespace protlm::inline v0
