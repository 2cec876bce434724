// embed: turns the proteins of FASTA files into vectors, in one HDF5 file.

#include <models/encoder.hpp>
#include <support/driver.hpp>
#include <support/notes.hpp>

#include <protlm/embed/read_proteins.hpp>
#include <protlm/embed/report.hpp>
#include <protlm/hdf5.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
using Session = protlm::MpiSession;
#else
using Session = examples::Alone;
#endif

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

void describe_input(CLI::App &app, Options &options) {
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip or zstd; '-' is standard input")->required();
    app.add_option("-m,--model", options.model,
                   "folder with a model's config.json, weights and vocabulary, or a run's: its newest checkpoint")
        ->required();
    examples::add_choice(app, "--compute", options.encoder.precision, {"float32", "bfloat16", "float16"},
                         "weights in memory; sums are float32 always");
    app.add_option("--max-length", options.read.max_length, "longest protein in residues (what the model can take)");
    using Long = protlm::LongProteins;
    examples::add_choice(app, "--on-long", options.read.on_long,
                         {{"error", Long::error}, {"cut", Long::cut}, {"skip", Long::skip}},
                         "longer proteins: error (default), cut to that length, or skip");
    using Empty = protlm::EmptyRecords;
    examples::add_choice(app, "--empty", options.read.on_empty,
                         {{"skip", Empty::skip}, {"keep", Empty::keep}, {"error", Empty::error}},
                         "records without residues: skip (default), keep (zeros for a vector), or error");
    using Duplicates = protlm::DuplicateIds;
    examples::add_choice(app, "--duplicates", options.read.duplicates,
                         {{"error", Duplicates::error}, {"keep", Duplicates::keep}},
                         "ids that come more than once: error (default), or keep all");
    using Invalid = protlm::InvalidLetters;
    examples::add_choice(app, "--invalid", options.read.fasta.invalid,
                         {{"error", Invalid::error}, {"mask", Invalid::mask}},
                         "letters outside the alphabet: error at the first (default), or mask: read them as X");
    examples::add_choice(app, "--ids", options.ids, {"header", "word"},
                         "ids in the file: the whole header line, or its first word");
}

void describe_output(CLI::App &app, Options &options) {
    app.add_option("-o,--output", options.output, "HDF5 file to write")->required();
    examples::add_choice(app, "--layout", options.layout, {"packed", "per-id"},
                         "packed: one dataset for all; per-id: one a protein");
    app.add_flag("--per-residue,!--no-residues", options.encoder.embed.per_residue, "vectors of residues, too (yes)");
    examples::add_choice(app, "--precision", options.precision, {"float32", "float16", "bfloat16"},
                         "numbers in the file");
    examples::add_choice(app, "--pooling", options.pooling, {"mean", "max", "cls", "none"},
                         "a protein's vector: mean or max over its residues, cls, or none");
    app.add_option("--layer", options.encoder.embed.layers,
                   "hidden states behind this many layers (the last), -1 the last; several with commas")
        ->delimiter(',');
    app.add_option("--gzip", options.gzip, "compress: 0 (not, fastest) to 9")->check(examples::between(0, 9));
    app.add_option("--token-budget", options.encoder.embed.token_budget,
                   "tokens computed at a time: what memory is needed for")
        ->check(examples::at_least(1))
        ->capture_default_str();
    app.add_option("--save-every", options.save_every, "seconds of work that a kill can cost")
        ->check(examples::at_least(0))
        ->capture_default_str();
    app.add_flag("-f,--force", options.force, "replace the output file, or start an unlike unfinished one anew");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

void describe(CLI::App &app, Options &options) {
    app.description("Embeds proteins: one vector a protein, and one a residue, by a model that has been trained.\n"
                    "  embed --model prot_bert --output proteins.h5 proteins.fasta.gz\n"
                    "  mpirun -n 4 embed ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
                    "The file holds the proteins in the order of the input; docs/formats.md says how to read it. It "
                    "appears when it is complete: after an interruption, the same command goes on.");
    describe_input(app, options);
    describe_output(app, options);
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
    if (first)
        examples::print_notes("embed", encoder.notes());
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

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver<Session>(
        {"embed"}, argc, argv, [&](CLI::App &app) { describe(app, options); },
        [&](Session const &session) {
#ifdef PROTLM_WITH_MPI
            auto const all = protlm::Communicator::duplicate(MPI_COMM_WORLD);
            embed(options, {session.rank(), session.size()}, [&] { all.barrier(); });
#else
            embed(options, {session.rank(), session.size()}, [] {});
#endif
        });
}
