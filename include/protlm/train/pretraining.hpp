#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/train/one_process.hpp>
#include <protlm/train/run_config.hpp>
#include <protlm/train/trainer.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// What every pre-training program can be told, beside its model and objective.
struct PretrainingOptions {
    std::string data, output, config, weights, vocabulary, resume = "auto";
    std::vector<std::string> change;  ///< settings that may differ from those of the checkpoint or of the weights
    std::vector<std::string> ignored; ///< fields of `config` that nobody reads
    TrainingOptions training;
    nlohmann::json objective_options; ///< as they are in force, for the record in checkpoints
    bool quiet = false;               ///< no progress, no summary

    /// @throws Error when examples can be longer than a model with learned positions takes
    void require_positions(index_t max_position_embeddings) const {
        check(training.max_length <= max_position_embeddings, "max_length is ", training.max_length,
              ", but the model has max_position_embeddings ", max_position_embeddings);
    }
};

/// Prints how a run ended, for people.
/// @param predicts  what the objective's accuracy counts, for example "masked residues"
/// @param parameters  of the model, shared ones counted once
inline void report(TrainingOutcome const &done, std::string const &output, char const *predicts, index_t parameters) {
    if (done.interrupted && done.checkpoint.empty()) {
        std::printf("stopped by a signal before the first step; the same command starts over\n");
        return;
    }
    if (done.interrupted)
        std::printf("stopped by a signal after step %lld; the same command goes on from %s\n", (long long)done.step,
                    done.checkpoint.c_str());
    if (done.held_out)
        std::printf("held-out perplexity %.3f, of a unigram model %.3f; %.2f %% of %s%s\n", done.held_out->perplexity(),
                    done.unigram_perplexity, 100 * done.held_out->accuracy, predicts,
                    done.held_out->majority ? "" : " predicted");
    if (done.held_out && done.held_out->majority)
        std::printf("always giving the more frequent answer would be right for %.2f %%\n",
                    100 * *done.held_out->majority);
    if (done.skipped > 0)
        std::printf("%lld steps changed nothing, because loss or gradient were not finite\n", (long long)done.skipped);
    std::printf("%lld steps, %s in %s; %s, %s of activations per rank\ncheckpoint: %s\nlog: %s\n", (long long)done.step,
                format_amount(double(done.tokens), "tokens").c_str(), format_duration(done.seconds).c_str(),
                format_amount(double(parameters), "parameters").c_str(),
                format_amount(double(done.peak_bytes), "B").c_str(), done.checkpoint.c_str(),
                (std::filesystem::path(output) / "log.jsonl").c_str());
}

/// The loss of an objective for a model, as the trainer calls it. Held-out proteins are judged by
/// `objective.evaluation()` where the objective has that: by what a unigram model could predict, too.
template <class Objective, class Model>
struct ObjectiveLoss {
    Objective const &objective;
    Model const &model;
    Vocabulary const &vocabulary;

    template <class Context>
    auto operator()(Context &context, Batch const &batch, std::uint64_t seed) const {
        if constexpr (!Context::training && requires { objective.evaluation(); })
            return objective.evaluation().loss(context, model, batch, vocabulary, seed);
        else
            return objective.loss(context, model, batch, vocabulary, seed);
    }
    /// See CountingLoss.
    auto counts(Batch const &batch, std::uint64_t seed) const requires requires {
        objective.counts(batch, vocabulary, seed);
    }
    { return objective.counts(batch, vocabulary, seed); }
};

/// Trains `model` by `objective` as the options say: resumes, trains, writes checkpoints, reports. Collective.
/// @param model    with the weights to begin with  @param session  a OneProcess or an MpiSession
/// @throws Error   when options, data and vocabulary do not fit together, see Trainer
template <class Model, class Objective, class Session>
TrainingOutcome pretrain(PretrainingOptions const &options, TrainingData const &data, Model &model,
                         Objective const &objective, Session const &session) {
    objective.validate(data.vocabulary);
    model.set_recompute(options.training.recompute);
    auto exchange = session.exchange(model.parameters());
    Trainer trainer(options.training, data, options.output, model.parameters(), exchange, options.quiet);
    trainer.record("objective", options.objective_options);
    trainer.record("model", settings_of_model(model));
    trainer.resume(options.resume, options.change);
    ObjectiveLoss<Objective, Model> const loss{objective, model, data.vocabulary};
    auto const done =
        trainer.run(loss, [&](CheckpointWriter const &folder) { model.save((folder / "vocab.txt").parent_path()); });
    if (session.rank() == 0 && !options.quiet)
        report(done, options.output, Objective::predicts, model.parameters().table().parameter_count());
    return done;
}

} // namespace protlm::inline v0
