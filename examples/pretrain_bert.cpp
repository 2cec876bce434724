// pretrain_bert: trains BERT on a token store by masked language modelling.

#include <protlm/data/store.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/train/trainer.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
#endif

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

namespace {

using Exec = Kokkos::DefaultExecutionSpace;

struct Options {
    std::string data, output, config, weights, resume = "auto";
    protlm::BertConfig model;
    protlm::MaskedLanguageModel objective;
    protlm::TrainingOptions training;
    bool quiet = false;
};

/// The config file comes first, so that the command line has the last word and --help shows the config's values.
void read_config(int argc, char **argv, Options &options) {
    CLI::App app;
    app.allow_extras()->set_help_flag();
    app.add_option("--config", options.config);
    app.parse(argc, argv);
    if (options.config.empty())
        return;
    auto const fields = protlm::read_fields(options.config);
    options.model = protlm::bert_config(fields);
    protlm::read_training_options(fields.object("training"), options.training);
}

void describe(CLI::App &app, Options &options) {
    app.description(
        "Trains a BERT on proteins by masked language modelling: 15 % of the residues are hidden, and the model "
        "learns\n"
        "to predict them from the rest.\n"
        "  prepare proteins.fasta.gz --output proteins.store --held-out 0.02\n"
        "  pretrain_bert --data proteins.store --output run --config examples/configs/bert_small.json --minutes 30\n"
        "  mpirun -n 4 pretrain_bert ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
        "run/step-XXXXXXXX/ are checkpoints that transformers and the other drivers load; run/log.jsonl has a line a "
        "step.\n"
        "Started again with the same output folder, it goes on where it was. SIGUSR1, SIGTERM or Ctrl-C: it finishes "
        "its\n"
        "step, writes a checkpoint and ends (Slurm: --signal=USR1@120; under mpirun send SIGUSR1 to mpirun).");
    app.add_option("--data", options.data, "token store made by prepare")->required()->check(CLI::ExistingFile);
    app.add_option("--output", options.output, "folder for checkpoints and log")->required();
    app.add_option(
        "--config", options.config,
        "JSON file: the model in the terms of Hugging Face's config.json, and the options below in a section "
        "\"training\"; without it a small model (256 wide, 6 layers)");
    app.add_option("--resume", options.resume,
                   "auto: from the newest checkpoint in the output folder, if any; never; or a checkpoint's folder")
        ->capture_default_str();
    app.add_option("--weights", options.weights,
                   "begin with the weights of this model folder instead of random ones, with data and schedule anew: "
                   "ProtBert's second phase on longer proteins, or more training of a released model")
        ->check(CLI::ExistingPath);
    app.add_option("--mask-rate", options.objective.rate, "share of residues to predict")->capture_default_str();
    app.add_flag("-q,--quiet", options.quiet, "no progress");
    protlm::add_training_options(app, options.training);
}

void report(protlm::TrainingOutcome const &done, std::string const &output) {
    if (done.interrupted)
        std::printf("stopped by a signal after step %lld; the same command goes on from %s\n", (long long)done.step,
                    done.checkpoint.c_str());
    if (done.held_out)
        std::printf("held-out perplexity %.3f, of a unigram model %.3f; %.1f %% of masked residues predicted\n",
                    done.held_out->perplexity(), done.unigram_perplexity, 100 * done.held_out->accuracy);
    std::printf("%lld steps, %s in %s; %s of activations a rank\ncheckpoint: %s\nlog: %s\n", (long long)done.step,
                protlm::format_amount(double(done.tokens), "tokens").c_str(),
                protlm::format_duration(done.seconds).c_str(),
                protlm::format_amount(double(done.peak_bytes), "B").c_str(), done.checkpoint.c_str(),
                (std::filesystem::path(output) / "log.jsonl").c_str());
}

template <class S, class MakeExchange>
void pretrain(Options const &options, MakeExchange make_exchange) {
    protlm::TokenStore const store(options.data);
    auto const &vocabulary = store.vocabulary();
    protlm::check(options.model.vocab_size == vocabulary.size(), "vocab_size is ", options.model.vocab_size, ", but ",
                  options.data, " has a vocabulary of ", vocabulary.size());
    protlm::check(options.training.max_length <= options.model.max_position_embeddings, "max_length is ",
                  options.training.max_length, ", but the model has max_position_embeddings ",
                  options.model.max_position_embeddings);
    options.objective.validate(vocabulary);

    protlm::Bert<S, Exec> model(options.model);
    model.initialise(options.training.seed);
    if (!options.weights.empty())
        protlm::load_weights(model.parameters(), protlm::CheckpointFolder(options.weights), "bert.");
    model.set_recompute(options.training.recompute);
    auto exchange = make_exchange(model.parameters());

    auto const loss = [&](auto &context, protlm::Batch const &batch, std::uint64_t mask_seed) {
        auto const masked = options.objective.apply(batch, vocabulary, mask_seed);
        if (masked.rows.empty())
            return protlm::Loss<protlm::accumulate_t<S>, Exec>();
        auto const packed = protlm::make_packed(context, {masked.tokens, batch.token_types, batch.offsets});
        return model.masked_loss(context, packed, context.template upload<protlm::index_t>(masked.rows),
                                 context.template upload<std::int32_t>(masked.labels));
    };
    protlm::Trainer trainer(options.training, store, options.output, model.parameters(), exchange, options.quiet);
    trainer.resume(options.resume);
    auto const done = trainer.run(
        loss, [&](protlm::CheckpointWriter &folder) { model.save((folder / "config.json").parent_path()); });
    if (exchange.rank() == 0)
        report(done, options.output);
}

template <class MakeExchange>
int run(int argc, char **argv, MakeExchange make_exchange) {
    CLI::App app;
    Options options;
    try {
        read_config(argc, argv, options);
        describe(app, options);
        app.parse(argc, argv);
    } catch (CLI::ParseError const &error) {
        return app.exit(error);
    }
    options.training.validate();
    Kokkos::ScopeGuard const kokkos(argc, argv);
    if (options.training.precision == "bfloat16")
        pretrain<protlm::bfloat16>(options, make_exchange);
    else
        pretrain<float>(options, make_exchange);
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    try {
#ifdef PROTLM_WITH_MPI
        protlm::MpiSession const mpi(argc, argv);
        return mpi.run_guarded("pretrain_bert", [&] {
            return run(argc, argv, [](auto &parameters) {
                return protlm::GradientExchange(protlm::Communicator::duplicate(MPI_COMM_WORLD), parameters);
            });
        });
#else
        return run(argc, argv, [](auto &) { return protlm::NoExchange(); });
#endif
    } catch (std::exception const &error) {
        std::fprintf(stderr, "pretrain_bert: %s\n", error.what());
        return 1;
    }
}
