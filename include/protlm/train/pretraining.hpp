#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/train/one_process.hpp>
#include <protlm/train/trainer.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

namespace protlm::inline v0 {

/// What every pre-training program can be told, beside its model and objective.
struct PretrainingOptions {
    std::string data, output, config, weights, vocabulary, resume = "auto";
    TrainingOptions training;
    nlohmann::json objective_options; ///< as they are in force, for the record in checkpoints
    bool quiet = false;

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
    if (done.interrupted)
        std::printf("stopped by a signal after step %lld; the same command goes on from %s\n", (long long)done.step,
                    done.checkpoint.c_str());
    if (done.held_out)
        std::printf("held-out perplexity %.3f, of a unigram model %.3f; %.2f %% of %s%s\n", done.held_out->perplexity(),
                    done.unigram_perplexity, 100 * done.held_out->accuracy, predicts,
                    done.held_out->majority ? "" : " predicted");
    if (done.held_out && done.held_out->majority)
        std::printf("%.2f %% would be right for the commoner answer throughout\n", 100 * *done.held_out->majority);
    std::printf("%lld steps, %s in %s; %s, %s of activations a rank\ncheckpoint: %s\nlog: %s\n", (long long)done.step,
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
    trainer.resume(options.resume);
    ObjectiveLoss<Objective, Model> const loss{objective, model, data.vocabulary};
    auto const done =
        trainer.run(loss, [&](CheckpointWriter const &folder) { model.save((folder / "vocab.txt").parent_path()); });
    if (session.rank() == 0)
        report(done, options.output, Objective::predicts, model.parameters().table().parameter_count());
    return done;
}

namespace detail {

inline constexpr char const *pretraining_help =
    "\n  prepare proteins.fasta.gz --output proteins.store --held-out 0.02\n"
    "  PROGRAM --data proteins.store --output run --config examples/configs/NAME.json --minutes 30\n"
    "  mpirun -n 4 PROGRAM ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
    "run/step-XXXXXXXX/ are checkpoints that transformers and the other drivers load; run/log.jsonl has a line a "
    "step.\n"
    "Started again with the same output folder, it goes on where it was. SIGUSR1, SIGTERM or Ctrl-C: it finishes its\n"
    "step, writes a checkpoint and ends (Slurm: --signal=USR1@120; under mpirun send SIGUSR1 to mpirun).";

/// The config file comes first, so that the command line has the last word and --help shows the config's values.
template <class App, class Program>
void read_config(int argc, char **argv, Program &program) {
    App app;
    app.allow_extras()->set_help_flag();
    app.add_option("--config", program.config);
    app.parse(argc, argv);
    if (program.config.empty())
        return;
    auto const fields = read_fields(program.config);
    program.read_model(fields);
    read_training_options(fields.object("training"), program.training);
    read_options(fields.object("objective"), [&](auto &&f) { program.for_each_of_objective(f); });
}

template <class App, class Program>
void offer_all(App &app, Program &program) {
    std::string help = Program::about + std::string(pretraining_help);
    for (std::size_t at; (at = help.find("PROGRAM")) != help.npos;)
        help.replace(at, 7, Program::name);
    app.description(help);
    app.add_option("--data", program.data, "token store made by prepare")->required();
    app.add_option("--output", program.output, "folder for checkpoints and log")->required();
    app.add_option("--config", program.config,
                   "JSON file: the model in the terms of Hugging Face's config.json, and the options below in sections "
                   "\"training\" and \"objective\"; without it a small model");
    app.add_option("--resume", program.resume,
                   "auto: from the newest checkpoint in the output folder, if any; never; or a checkpoint's folder")
        ->capture_default_str();
    app.add_option("--weights", program.weights,
                   "begin with the weights of this model folder instead of random ones, with data and schedule anew: "
                   "a second phase on longer proteins, or more training of a released model");
    app.add_option("--vocabulary", program.vocabulary,
                   "vocab.txt of the model; without it the store's where its size is vocab_size, else that of the "
                   "ProtTrans model of this kind");
    app.add_flag("-q,--quiet", program.quiet, "no progress");
    offer_options(app, [&](auto &&f) { program.for_each_of_objective(f); });
    add_training_options(app, program.training);
}

} // namespace detail

/// `main` of a pre-training program. `Program` is derived from PretrainingOptions and has
///
///     static constexpr char const *name, *about;         // of the program, for messages and --help
///     void read_model(Fields const &config);             // what a config file says of the model
///     template <class F> void for_each_of_objective(F f) // its objective's options, see read_options
///     template <class S, class Session> void train(Session const &) const; // with weights of scalar S
///
/// @tparam App, ParseError  CLI::App and CLI::ParseError of CLI11  @tparam Session  OneProcess or MpiSession
/// @returns the exit status: 0, CLI11's for a wrong command line, 1 for any other error, with a message
template <class Program, class App, class ParseError, class Session>
int pretraining_main(int argc, char **argv) {
    try {
        Session const session(argc, argv);
        return session.run_guarded(Program::name, [&] {
            App app;
            Program program;
            try {
                detail::read_config<App>(argc, argv, program);
                detail::offer_all(app, program);
                app.parse(argc, argv);
            } catch (ParseError const &error) {
                return app.exit(error);
            }
            program.training.validate();
            program.objective_options = options_json([&](auto &&f) { program.for_each_of_objective(f); });
            Kokkos::ScopeGuard const kokkos(argc, argv);
            if (program.training.precision == "bfloat16")
                program.template train<bfloat16>(session);
            else
                program.template train<float>(session);
            return 0;
        });
    } catch (std::exception const &error) { // of the session itself
        std::fprintf(stderr, "%s: %s\n", Program::name, error.what());
        return 1;
    }
}

} // namespace protlm::inline v0
