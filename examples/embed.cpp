// embed: turns the proteins of FASTA files into vectors, in one HDF5 file.

#include <embedding/options.hpp>
#include <models/encoder.hpp>
#include <support/driver.hpp>
#include <support/notes.hpp>

#include <protlm/embed/agreement.hpp>
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

/// Embeds this rank's share.
void embed(Options options, protlm::EmbeddingTeam const &team) {
    bool const first = team.first();
    for (auto const &input : options.inputs)
        protlm::check(team.share().ranks == 1 || input != "-",
                      "standard input reaches one rank only: give a file instead");
    examples::settle_windows(options);
    std::vector<std::filesystem::path> sources(options.inputs.begin(), options.inputs.end());
    sources.emplace_back(options.model);
    if (first)
        protlm::check_embedding_output(options.output, sources, options.force, examples::wanted_file(options));
    auto lock = first ? protlm::EmbeddingLock(options.output) : protlm::EmbeddingLock();
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
        job.begin(sha256, options.force, std::move(lock));
    team.wait();
    protlm::EmbeddingReport report(job, proteins, encoder.windows(), team.share(), team.on_this_machine(),
                                   first && !options.quiet);
    if (!protlm::open_together(team, job))
        return report.complete();
    auto const mine =
        protlm::share_of(proteins, job.missing(), encoder.shape(), encoder.special(), team.share(), encoder.windows());
    report.start(encoder.forecast(proteins), mine);
    protlm::write_embeddings(encoder, proteins, mine, job, report);
    team.wait();
    if (first)
        job.finish();
    report.finish();
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
