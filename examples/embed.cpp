// embed: turns the proteins of FASTA files into vectors, in one HDF5 file.

#include <embedding/options.hpp>
#include <models/encoder.hpp>
#include <support/driver.hpp>
#include <support/notes.hpp>

#include <protlm/embed/agreement.hpp>
#include <protlm/embed/embedding_parts.hpp>
#include <protlm/embed/output_file.hpp>
#include <protlm/embed/report.hpp>
#include <protlm/hdf5.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
using Session = protlm::MpiSession;
#else
using Session = examples::Alone;
#endif

namespace {

using examples::Long;
using Options = examples::EmbedOptions;

/// What the file is, with what the model says.
protlm::EmbeddingInfo file_of(Options const &options, examples::Encoder const &encoder) {
    auto info = examples::wanted_file(options);
    info = protlm::embedding_info(encoder.options(), encoder.shape(), info.precision, info.layout, options.gzip);
    bool const run = !std::filesystem::exists(std::filesystem::path(options.model) / "config.json");
    info.model = run ? encoder.folder().string() : options.model; // of a run, which checkpoint
    info.on_long = protlm::long_proteins_name(options.read.on_long);
    info.window = encoder.windows().length;
    info.overlap = encoder.windows().overlap;
    return info;
}

protlm::Proteins read(Options &options, examples::Encoder const &encoder, bool talks) {
    bool const cut = encoder.windows().length > 0;
    options.read.on_long = options.on_long.value_or(cut ? Long::windows : Long::error);
    options.read.max_length = protlm::length_limit(encoder.shape(), encoder.special(), options.read.max_length);
    protlm::ReadReport report;
    auto proteins = protlm::read_proteins(options.inputs, encoder.vocabulary(), options.read, report);
    protlm::check(proteins.size() > 0, "no proteins to embed in ", report.counts.records, " records");
    if (talks)
        protlm::print_warnings(report, proteins, options.read.max_length);
    return proteins;
}

void check_options(Options const &options, protlm::EmbeddingShare share) {
    for (auto const &input : options.inputs)
        protlm::check(share.ranks == 1 || input != "-", "standard input reaches one rank only: give a file instead");
    examples::check_parts(options);
}

/// What the first rank writes, checked before any work.
struct Outputs {
    protlm::EmbeddingLock lock; // of the embedding file
    protlm::EmbeddingParts parts;
};

Outputs check_outputs(Options const &options) {
    std::vector<std::filesystem::path> sources(options.inputs.begin(), options.inputs.end());
    sources.emplace_back(options.model);
    auto const wanted = examples::wanted_file(options);
    protlm::check_embedding_output(options.output, sources, options.force, wanted);
    protlm::EmbeddingLock lock(options.output);
    protlm::EmbeddingParts parts(options.output, sources, wanted, options.force);
    parts.add_proteins(options.proteins);
    parts.add_residues(options.residues);
    return {std::move(lock), std::move(parts)};
}

void begin(protlm::EmbeddingJob &job, std::shared_future<std::string> const &sha256, Options const &options,
           Outputs &outputs) {
    if (outputs.parts.may_disagree()) { // else nothing waits for the hash
        auto description = job.description();
        description.set_model(sha256.get());
        outputs.parts.check_job(description.fingerprint());
    }
    job.begin(sha256, options.force, std::move(outputs.lock));
}

/// Writes what was asked for beside the embedding file, which is complete.
void write_parts(Outputs const &outputs, bool quiet) {
    for (auto const &path : outputs.parts.write())
        if (!quiet)
            std::printf("%s: written\n", path.c_str());
}

/// Computes and writes this rank's share of what is missing.
void fill(protlm::EmbeddingJob &job, examples::Encoder &encoder, protlm::Proteins const &proteins,
          protlm::EmbeddingTeam const &team, protlm::EmbeddingReport &report) {
    auto const mine =
        protlm::share_of(proteins, job.missing(), encoder.shape(), encoder.special(), team.share(), encoder.windows());
    report.start(encoder.forecast(proteins), mine);
    protlm::write_embeddings(encoder, proteins, mine, job, report);
    team.wait();
    if (team.first())
        job.finish();
    report.finish();
}

/// Embeds this rank's share.
void embed(Options options, protlm::EmbeddingTeam const &team) {
    bool const first = team.first();
    check_options(options, team.share());
    examples::settle_windows(options);
    auto outputs = first ? std::optional(check_outputs(options)) : std::nullopt;
    options.encoder.embed.pooling = protlm::pooling_from_name(options.pooling);
    std::shared_future<std::string> sha256;
    auto encoder = team.open_model(options.model, [&](std::filesystem::path const &folder) {
        if (first)
            sha256 = protlm::model_sha256_later(folder);
        return examples::open_encoder(folder, options.encoder);
    });
    if (first)
        examples::print_notes("embed", encoder.notes());
    auto const proteins = read(options, encoder, first);
    protlm::EmbeddingJob job(options.output, file_of(options, encoder), proteins, encoder.job_model());
    job.save_every(options.save_every);
    protlm::require_agreement(team, job.description());
    if (first)
        begin(job, sha256, options, *outputs);
    team.wait();
    protlm::EmbeddingReport report(job, proteins, encoder.windows(), team.share(), team.on_this_machine(),
                                   first && !options.quiet);
    if (protlm::open_together(team, job))
        fill(job, encoder, proteins, team, report);
    else
        report.complete();
    if (first)
        write_parts(*outputs, options.quiet);
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver<Session>(
        {"embed"}, argc, argv, [&](CLI::App &app) { examples::describe(app, options); },
        [&]([[maybe_unused]] Session const &session) {
#ifdef PROTLM_WITH_MPI
            auto const all = protlm::Communicator::duplicate(MPI_COMM_WORLD);
            embed(options,
                  {{session.rank(), session.size()}, [&](auto const &text) { return all.gather_texts(text); }});
#else
            embed(options, {});
#endif
        });
}
