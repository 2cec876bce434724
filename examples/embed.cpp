// embed: turns the proteins of FASTA files into vectors, in one HDF5 file.

#include <models/encoder.hpp>
#include <protlm/embed/read_proteins.hpp>
#include <protlm/embed/report.hpp>
#include <protlm/hdf5.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
#endif

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <map>

namespace {

struct Options {
    std::vector<std::string> inputs;
    std::string model, output, precision = "float32", pooling = "mean", ids = "header", layout = "packed";
    protlm::ReadOptions read;
    examples::EncoderOptions encoder;
    int gzip = 0;
    double save_every = 2;
    bool force = false, quiet = false;
};

template <class Value>
CLI::Option *add_choice(CLI::App &app, std::string const &name, Value &value, std::map<std::string, Value> choices,
                        std::string const &text) {
    return app.add_option(name, value, text)->transform(CLI::CheckedTransformer(choices).description(""));
}

void describe_input(CLI::App &app, Options &options) {
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip or zstd; '-' is standard input")->required();
    app.add_option("-m,--model", options.model,
                   "folder with a model's config.json, weights and vocabulary, or a run's: its newest checkpoint")
        ->required();
    app.add_option("--compute", options.encoder.precision,
                   "weights in memory: float32, bfloat16 or float16; sums are float32 always")
        ->check(CLI::IsMember({"float32", "bfloat16", "float16"}))
        ->capture_default_str();
    app.add_option("--max-length", options.read.max_length, "longest protein in residues (what the model can take)");
    using Long = protlm::LongProteins;
    add_choice(app, "--on-long", options.read.on_long,
               {{"error", Long::error}, {"cut", Long::cut}, {"skip", Long::skip}},
               "longer proteins: error (default), cut to that length, or skip");
    using Empty = protlm::EmptyRecords;
    add_choice(app, "--empty", options.read.on_empty,
               {{"skip", Empty::skip}, {"keep", Empty::keep}, {"error", Empty::error}},
               "records without residues: skip (default), keep (zeros for a vector), or error");
    using Duplicates = protlm::DuplicateIds;
    add_choice(app, "--duplicates", options.read.duplicates, {{"error", Duplicates::error}, {"keep", Duplicates::keep}},
               "ids that come more than once: error (default), or keep all");
    using Invalid = protlm::InvalidLetters;
    add_choice(app, "--invalid", options.read.fasta.invalid, {{"error", Invalid::error}, {"mask", Invalid::mask}},
               "letters outside the alphabet: error at the first (default), or mask: read them as X");
    app.add_option("--ids", options.ids, "ids in the file: the whole header line, or its first word")
        ->check(CLI::IsMember({"header", "word"}))
        ->capture_default_str();
}

void describe_output(CLI::App &app, Options &options) {
    app.add_option("-o,--output", options.output, "HDF5 file to write")->required();
    app.add_option("--layout", options.layout, "packed: one dataset for all; per-id: one a protein")
        ->check(CLI::IsMember({"packed", "per-id"}))
        ->capture_default_str();
    app.add_flag("--per-residue,!--no-residues", options.encoder.embed.per_residue, "vectors of residues, too (yes)");
    app.add_option("--precision", options.precision, "numbers in the file: float32, float16 or bfloat16")
        ->check(CLI::IsMember({"float32", "float16", "bfloat16"}))
        ->capture_default_str();
    app.add_option("--pooling", options.pooling, "a protein's vector: mean or max over its residues, cls, or none")
        ->check(CLI::IsMember({"mean", "max", "cls", "none"}))
        ->capture_default_str();
    app.add_option("--layer", options.encoder.embed.layers,
                   "hidden states behind this many layers (the last), -1 the last; several with commas")
        ->delimiter(',');
    app.add_option("--gzip", options.gzip, "compress: 0 (not, fastest) to 9")->check(CLI::Range(0, 9));
    app.add_option("--token-budget", options.encoder.embed.token_budget,
                   "tokens computed at a time: what memory is needed for")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--save-every", options.save_every, "seconds of work that a kill can cost")->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace the output file, or start an unlike unfinished one anew");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

/// Embeds this rank's share; `wait` returns when all ranks have come to it.
template <class Wait>
void embed(Options options, protlm::EmbeddingShare share, Wait wait) {
    bool const first = share.rank == 0, talks = first && !options.quiet;
    for (auto const &input : options.inputs)
        protlm::check(share.ranks == 1 || input != "-", "standard input reaches one rank only: give a file instead");
    auto const folder = protlm::find_model(options.model);
    auto const sha256 = first ? protlm::model_sha256_later(folder) : std::shared_future<std::string>();
    options.encoder.embed.pooling = protlm::pooling_from_name(options.pooling);
    auto encoder = examples::open_encoder(folder, options.encoder);
    options.read.max_length = protlm::length_limit(encoder.shape(), encoder.special(), options.read.max_length);
    options.read.whole_header = options.ids == "header";
    protlm::ReadReport read;
    auto const proteins = protlm::read_proteins(options.inputs, encoder.vocabulary(), options.read, read);
    protlm::check(proteins.size() > 0, "no proteins to embed in ", read.counts.records, " records");
    if (first)
        protlm::print_warnings(read, proteins, options.read.max_length);
    auto info =
        protlm::embedding_info(encoder.options(), encoder.shape(), protlm::precision_from_name(options.precision),
                               protlm::layout_from_name(options.layout), options.gzip);
    info.model = options.model;
    protlm::EmbeddingJob job(options.output, info, proteins, encoder.precision());
    job.save_every(options.save_every);
    if (first)
        job.begin(sha256, options.force);
    wait();
    protlm::EmbeddingReport report(job, proteins, share, talks);
    if (!job.open())
        return report.complete();
    auto const mine = protlm::share_of(proteins, job.missing(), encoder.shape(), encoder.special(), share);
    report.start(encoder.forecast(proteins), mine);
    protlm::write_embeddings(encoder, proteins, mine, job, report);
    wait();
    if (first)
        job.finish();
    report.finish();
}

template <class Wait>
int run(int argc, char **argv, protlm::EmbeddingShare share, Wait wait) {
    CLI::App app("Embeds proteins: one vector a protein, and one a residue, by a model that has been trained.\n"
                 "  embed --model prot_bert --output proteins.h5 proteins.fasta.gz\n"
                 "  mpirun -n 4 embed ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
                 "The file holds the proteins in the order of the input; docs/formats.md says how to read it. It "
                 "appears when it is complete: after an interruption, the same command goes on.");
    Options options;
    describe_input(app, options);
    describe_output(app, options);
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
