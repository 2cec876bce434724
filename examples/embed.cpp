// embed: turns the proteins of FASTA files into vectors, in one HDF5 file.

#include <protlm/bert.hpp>
#include <protlm/core/progress.hpp>
#include <protlm/embed/forecast.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/embed/read_proteins.hpp>
#include <protlm/embed/write_embeddings.hpp>
#include <protlm/hdf5.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
#endif

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <map>

namespace {

using Exec = Kokkos::DefaultExecutionSpace;
using Model = protlm::Bert<float, Exec>;

struct Options {
    std::vector<std::string> inputs;
    std::string model, output, precision = "float32", pooling = "mean", ids = "header";
    protlm::ReadOptions read;
    protlm::EmbedOptions embed;
    bool force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Embeds proteins: one vector a protein, and one a residue, by a model that has been trained.\n"
                    "  embed --model prot_bert --output proteins.h5 proteins.fasta.gz\n"
                    "  mpirun -n 4 embed ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
                    "The file holds the proteins in the order of the input; docs/formats.md says how to read it. It "
                    "appears when it is complete.");
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip or zstd; '-' is standard input")->required();
    app.add_option("-m,--model", options.model,
                   "folder with config.json, model.safetensors and vocab.txt, or a run's folder: its newest checkpoint")
        ->required();
    app.add_option("-o,--output", options.output, "HDF5 file to write")->required();
    app.add_flag("--per-residue,!--no-residues", options.embed.per_residue, "vectors of residues, too (yes)");
    app.add_option("--precision", options.precision, "numbers in the file: float32 or float16")
        ->check(CLI::IsMember({"float32", "float16"}))
        ->capture_default_str();
    app.add_option("--pooling", options.pooling, "a protein's vector: mean or max over its residues, or cls")
        ->check(CLI::IsMember({"mean", "max", "cls"}))
        ->capture_default_str();
    app.add_option("--layer", options.embed.layer, "hidden states behind this many layers (the last)")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--token-budget", options.embed.token_budget, "tokens computed at a time: what memory is needed for")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--max-length", options.read.max_length, "longest protein in residues (what the model can take)");
    using Long = protlm::LongProteins;
    std::map<std::string, Long> const choices{{"error", Long::error}, {"cut", Long::cut}, {"skip", Long::skip}};
    app.add_option("--on-long", options.read.on_long, "longer proteins: error (default), cut to that length, or skip")
        ->transform(CLI::CheckedTransformer(choices).description("error|cut|skip"));
    using Invalid = protlm::InvalidLetters;
    std::map<std::string, Invalid> const letters{{"error", Invalid::error}, {"mask", Invalid::mask}};
    app.add_option("--invalid", options.read.fasta.invalid,
                   "letters outside the alphabet: 'error' stops at the first (default), 'mask' reads them as X")
        ->transform(CLI::CheckedTransformer(letters).description("error|mask"));
    app.add_option("--ids", options.ids, "ids in the file: the whole header line, or its first word")
        ->check(CLI::IsMember({"header", "word"}))
        ->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace the output file if it exists");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

/// Says how much memory a process will take, and warns when that is more than the machine has left.
void show_forecast(protlm::MemoryForecast const &forecast, protlm::Proteins const &proteins) {
    std::fprintf(stderr, "%s, %s; memory of a process: %s\n",
                 protlm::format_amount(double(proteins.size()), "proteins").c_str(),
                 protlm::format_amount(double(proteins.residues()), "residues").c_str(), forecast.text().c_str());
    double const wanted = forecast.activations + forecast.results, left = protlm::available_memory();
    if (wanted > left)
        std::fprintf(stderr, "embed: warning: only %s are left here; a smaller --token-budget needs less memory\n",
                     protlm::format_amount(left, "B").c_str());
}

/// Embeds this rank's share; `wait` returns when all ranks have come to it.
template <class Wait>
void embed(Options options, protlm::EmbeddingShare share, Wait wait) {
    bool const first = share.rank == 0, talks = first && !options.quiet;
    protlm::check(options.force || !std::filesystem::exists(options.output), options.output,
                  ": exists; --force replaces it");
    for (auto const &input : options.inputs)
        protlm::check(share.ranks == 1 || input != "-", "standard input reaches one rank only: give a file instead");
    auto const folder = protlm::find_model(options.model);
    auto const model = Model::load(folder);
    options.embed.pooling = protlm::pooling_from_name(options.pooling);
    auto const vocabulary = protlm::read_model_vocabulary(folder, model.config().vocab_size);
    protlm::Embedder<Model> embedder(model, vocabulary, options.embed);
    options.read.max_length = protlm::length_limit(embedder.shape(), embedder.special(), options.read.max_length);
    options.read.whole_header = options.ids == "header";
    protlm::ReadReport read;
    auto const proteins = protlm::read_proteins(options.inputs, vocabulary, options.read, read);
    protlm::check(proteins.size() > 0, "no proteins to embed: ", read.counts.records, " records read");
    for (auto const &line : protlm::warnings(read, proteins, options.read.max_length))
        if (first)
            std::fprintf(stderr, "embed: warning: %s\n", line.c_str());
    if (talks)
        show_forecast(protlm::forecast_embedding(embedder, proteins, model.parameters().table().extent()), proteins);

    protlm::EmbeddingInfo info;
    info.model = options.model;
    info.model_sha256 = protlm::model_sha256(protlm::CheckpointFolder(folder));
    info.precision = options.precision == "float16" ? protlm::DataType::f16 : protlm::DataType::f32;
    auto const mine = embedder.share(proteins, share.rank, share.ranks);
    protlm::Progress progress(share.ranks > 1 ? "embed (first rank)" : "embed", "residues",
                              double(proteins.residues(mine)), !talks);
    auto const rate = [&](protlm::index_t done) {
        return protlm::format_amount(double(done) / progress.seconds(), "proteins/s");
    };
    protlm::write_embeddings(
        embedder, proteins, mine, options.output, info, share,
        [&](protlm::index_t done, protlm::index_t residues) { progress.update(double(residues), rate(done)); });
    progress.finish();
    wait();
    if (share.ranks > 1 && first)
        protlm::merge_embedding_parts(options.output, share.ranks);
    if (talks)
        std::printf("%s: %s, %s in %s, %s\n", options.output.c_str(),
                    protlm::format_amount(double(std::filesystem::file_size(options.output)), "B").c_str(),
                    protlm::format_amount(double(proteins.size()), "proteins").c_str(),
                    protlm::format_duration(progress.seconds()).c_str(), rate(proteins.size()).c_str());
}

template <class Wait>
int run(int argc, char **argv, protlm::EmbeddingShare share, Wait wait) {
    CLI::App app;
    Options options;
    describe(app, options);
    CLI11_PARSE(app, argc, argv);
    Kokkos::ScopeGuard const kokkos(argc, argv);
    embed(options, share, wait);
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    try {
#ifdef PROTLM_WITH_MPI
        protlm::MpiSession const mpi(argc, argv);
        return mpi.run_guarded("embed", [&] {
            auto const all = protlm::Communicator::duplicate(MPI_COMM_WORLD);
            return run(argc, argv, {mpi.rank(), mpi.size()}, [&] { all.barrier(); });
        });
#else
        return run(argc, argv, {}, [] {});
#endif
    } catch (std::exception const &error) {
        std::fprintf(stderr, "embed: %s\n", error.what());
        return 1;
    }
}
