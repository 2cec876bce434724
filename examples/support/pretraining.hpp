// What all pretrain drivers do alike: options, config file, help.
#pragma once

#include <support/driver.hpp>
#include <support/notes.hpp>

#include <protlm/model/weights.hpp>
#include <protlm/train/pretraining.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
#endif

#include <string>

namespace examples {

#ifdef PROTLM_WITH_MPI
using Session = protlm::MpiSession;
#else
using Session = protlm::OneProcess;
#endif

/// Begins with the weights of a checkpoint; the first rank tells its notes. @param prefix of the family's names
template <class Model>
void begin_with(Model &model, protlm::CheckpointFolder const &checkpoint, char const *prefix, char const *program,
                Session const &session) {
    protlm::load_weights(model.parameters(), checkpoint, prefix);
    if (session.rank() == 0)
        print_notes(program, checkpoint.notes());
}

inline constexpr char const *pretraining_help =
    "\n  prepare proteins.fasta.gz --output proteins.store --held-out 0.02\n"
    "  PROGRAM --data proteins.store --output run --config examples/configs/NAME.json --minutes 30\n"
    "  mpirun -n 4 PROGRAM ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
    "run/step-XXXXXXXX/ are checkpoints that transformers and the other drivers load; run/log.jsonl has a line a "
    "step.\n"
    "Started again with the same output folder, it goes on where it was. SIGUSR1, SIGTERM or Ctrl-C: it finishes its\n"
    "step, writes a checkpoint and ends with exit status 75 (Slurm: --signal=USR1@120; under mpirun send SIGUSR1 to\n"
    "mpirun).";

/// The config file comes first, so that the command line has the last word and --help shows the config's values.
/// Without one, the model is that of the weights to begin with.
template <class Program>
void read_config(Arguments const &arguments, Program &program) {
    CLI::App app;
    app.allow_extras()->set_help_flag();
    std::string weights;
    app.add_option("--config", program.config);
    app.add_option("--weights", weights);
    try {
        app.parse(Arguments(arguments.rbegin(), arguments.rend()));
    } catch (CLI::ParseError const &) {
        return; // the whole command line has the same mistake
    }
    if (program.config.empty() && !weights.empty())
        program.read_model(protlm::read_model_config(protlm::find_weights(weights)));
    if (program.config.empty())
        return;
    auto const fields = protlm::read_fields(program.config);
    program.read_model(fields);
    program.ignored = protlm::ignored_fields(fields, protlm::settings_of_config(program.model));
    protlm::read_training_options(fields.object("training"), program.training);
    protlm::read_options(fields.object("objective"), [&](auto &&f) { program.for_each_of_objective(f); });
}

template <class Program>
void describe_pretraining(CLI::App &app, Program &program) {
    std::string help = Program::about + std::string(pretraining_help);
    for (std::size_t at; (at = help.find("PROGRAM")) != help.npos;)
        help.replace(at, 7, Program::name);
    app.description(help);
    app.add_option("--data", program.data, "token store made by prepare")->required();
    app.add_option("-o,--output", program.output, "folder for checkpoints and log")->required();
    app.add_option("--config", program.config,
                   "JSON file: the model in the terms of Hugging Face's config.json, and the options below in sections "
                   "\"training\" and \"objective\"; without it a small model");
    app.add_option("--resume", program.resume,
                   "auto: from the newest checkpoint in the output folder, if any; never; or a checkpoint's folder, or "
                   "a run's: "
                   "later checkpoints in the output folder are then set aside")
        ->capture_default_str();
    app.add_option("--weights", program.weights,
                   "begin with the weights of this model folder, or of the newest checkpoint of this run, instead of "
                   "random ones, with data and schedule anew: a second phase on longer proteins, or more training of a "
                   "released model; without --config, its config.json describes the model");
    app.add_option("--change", program.change,
                   "NAME,...: settings of the model, objective or optimizer that may differ from those of the "
                   "checkpoint, or of the --weights")
        ->delimiter(',')
        ->allow_extra_args(false);
    app.add_option("--vocabulary", program.vocabulary,
                   "vocab.txt, spiece.model or tokenizer.json of the model; without it that of the --weights, else the "
                   "store's where its size is vocab_size, else that of the ProtTrans model of this kind");
    app.add_flag("-q,--quiet", program.quiet, "no progress, no summary");
    protlm::offer_options(app, [&](auto &&f) { program.for_each_of_objective(f); });
    protlm::add_training_options(app, program.training);
    app.callback([&program] { program.training.validate(); });
}

/// `main` of a pre-training driver. `Program` is derived from protlm::PretrainingOptions and has
///
///     static constexpr char const *name, *about;         // of the program, for messages and --help
///     void read_model(Fields const &config);             // what a config file says of the model
///     template <class F> void for_each_of_objective(F f) // its objective's options, see protlm::read_options
///     template <class S> TrainingOutcome train(Session const &) const; // with weights of scalar S
template <class Program>
int run_pretraining(int argc, char **argv) {
    protlm::ScopedSignals const signals; // from the first moment: starting a large run takes minutes
    Program program;
    auto const describe = [&](CLI::App &app, Arguments const &arguments) {
        read_config(arguments, program);
        describe_pretraining(app, program);
    };
    auto const run = [&](Session const &session) {
        auto notes = protlm::settle_weights(program);
        for (auto const &field : program.ignored)
            notes.push_back(program.config + ": ignored: " + field);
        for (auto const &note : notes)
            if (session.rank() == 0)
                std::fprintf(stderr, "%s: warning: %s\n", Program::name, note.c_str());
        program.objective_options = protlm::options_json([&](auto &&f) { program.for_each_of_objective(f); });
        auto const outcome = program.training.precision == "bfloat16"
                                 ? program.template train<protlm::bfloat16>(session)
                                 : program.template train<float>(session);
        return outcome.interrupted ? interrupted : done;
    };
    return run_driver<Session>({Program::name}, argc, argv, describe, run);
}

} // namespace examples
