// prepare: makes a token store of FASTA files, for pre-training.

#include <support/driver.hpp>
#include <support/fasta_input.hpp>
#include <support/outputs.hpp>

#include <protlm/core/file_lock.hpp>
#include <protlm/core/progress.hpp>
#include <protlm/data/fasta_writer.hpp>
#include <protlm/data/model_vocabulary.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace {

struct Options {
    std::vector<std::string> inputs;
    std::string output, vocabulary, held_out_fasta;
    protlm::FastaOptions fasta;
    protlm::StoreOptions store;
    std::size_t min_length = 1;
    bool check = false, force = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Makes a token store of protein sequences in FASTA files: what the pretrain drivers read.\n"
                    "Example: prepare uniref50.fasta.gz --output uniref50.store --held-out 0.01 --deduplicate\n"
                    "An interrupted run leaves no store behind and begins anew; an older store of the same name stays "
                    "until the new one is complete. While it works, index and ids are on the disk twice.");
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip, zstd, xz or bzip2; '-' is standard input")
        ->required();
    app.add_option("-o,--output", options.output,
                   "store to write, which replaces an older store; in an existing folder it is named proteins.store")
        ->required();
    app.add_flag("-f,--force", options.force, "replace output files whatever they are");
    app.add_option("--held-out", options.store.held_out,
                   "fraction of the proteins kept for evaluation, chosen by a hash of the sequence (0)")
        ->check(examples::between(0, 1));
    app.add_option("--write-held-out", options.held_out_fasta, "also write the held-out proteins into this FASTA file");
    app.add_option("--split-seed", options.store.split_seed, "another number holds out other proteins (0)");
    app.add_flag("--deduplicate", options.store.deduplicate, "keep one of proteins with the same sequence");
    app.add_option("--min-length", options.min_length, "leave out proteins with fewer residues (1)");
    examples::add_invalid_option(app, options.fasta);
    app.add_option(
        "--vocabulary", options.vocabulary,
        "vocab.txt, spiece.model or tokenizer.json of a model (ProtBert's 30 tokens); every driver reads a store of "
        "any vocabulary");
    app.add_flag("--check", options.check, "read the store back and compare all checksums");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

void summarise(protlm::StoreCounts const &counts, protlm::FastaCounts const &read, std::string const &output) {
    auto const row = [](std::string const &what, std::uint64_t value) {
        std::printf("  %-24s %15llu\n", what.c_str(), static_cast<unsigned long long>(value));
    };
    auto const size = static_cast<double>(std::filesystem::file_size(output));
    std::printf("%s (%s)\n", output.c_str(), protlm::format_amount(size, "B").c_str());
    row("records read", read.records); // the sum of those stored and left out
    row("proteins stored", counts.sequences);
    row("  training", counts.sequences - counts.held_out);
    row("  held out", counts.held_out);
    row("duplicates left out", counts.duplicates);
    row("empty or short, left out", counts.skipped);
    row("residues read", read.residues);
    row("residues stored", counts.residues);
    row("  training", counts.residues - counts.held_out_residues);
    row("  held out", counts.held_out_residues);
    row("U, Z, O, B read as X", counts.mapped);
    row("invalid read as " + read.masked_as, counts.masked);
    row("stops and gaps dropped", read.stops + read.gaps);
}

/// What is not as users may think, also with --quiet.
void warn_of(protlm::StoreCounts const &counts, protlm::FastaCounts const &read, double held_out) {
    examples::warn_of("prepare", read);
    if (counts.held_out == counts.sequences)
        examples::warn("prepare", "all proteins are held out, none is left to train on");
    else if (held_out > 0 && counts.held_out == 0)
        examples::warn("prepare", "no protein is held out: they are too few for the fraction asked for");
}

/// Refuses outputs that would be a mistake.
void check_outputs(Options const &options) {
    std::vector<std::filesystem::path> inputs(options.inputs.begin(), options.inputs.end());
    inputs.emplace_back(options.vocabulary);
    protlm::check_output(options.output, inputs, options.force, protlm::TokenStore::recognise);
    examples::check_ending(options.output, {".fasta", ".fa", ".gz", ".zst", ".h5"}, "a token store", "NAME.store");
    if (options.held_out_fasta.empty())
        return;
    examples::check_ending(options.held_out_fasta, {".gz", ".zst", ".xz", ".store"}, "plain FASTA", "NAME.fasta");
    protlm::check_output(options.held_out_fasta, inputs, options.force);
    protlm::check_different_outputs(options.output, options.held_out_fasta);
}

/// Gives the proteins to the writer. @returns how many records were too short
std::uint64_t read_all(Options const &options, protlm::FastaReader &reader, protlm::StoreWriter &writer) {
    auto const total = static_cast<double>(reader.bytes_total());
    protlm::Progress progress("prepare", "B", total, options.quiet);
    double next_look = std::min(total / 16, 67e6);
    std::uint64_t skipped = 0;
    while (auto const record = reader.next()) {
        if (record->tokens.size() < std::max<std::size_t>(options.min_length, 1))
            ++skipped;
        else
            writer.add(record->id, record->tokens);
        auto const read = static_cast<double>(reader.bytes_read());
        if (reader.counts().records % 1024 == 0)
            progress.update(read, protlm::format_amount(static_cast<double>(reader.counts().records), "proteins"));
        if (total > 0 && read > next_look && read <= total) {
            writer.check_room(read / total);
            next_look = 2 * read;
        }
    }
    progress.update(static_cast<double>(reader.bytes_read()));
    progress.finish();
    return skipped;
}

void prepare(Options options) {
    namespace fs = std::filesystem;
    if (fs::is_directory(options.output))
        options.output = (fs::path(options.output) / "proteins.store").string();
    check_outputs(options);
    auto const vocabulary = options.vocabulary.empty()
                                ? protlm::Vocabulary::protbert()
                                : protlm::read_vocabulary(options.vocabulary, protlm::index_t(protlm::most_pieces), "");
    protlm::FastaReader reader(options.inputs, vocabulary, options.fasta);
    protlm::FileLock const lock(options.output + ".lock.partial", options.output);
    protlm::StoreWriter writer(options.output, vocabulary, options.store);
    std::uint64_t const skipped = read_all(options, reader, writer);
    protlm::check(writer.counts().sequences > 0, "no proteins to store: ", reader.counts().records, " records, ",
                  skipped, " of them empty or too short");
    writer.note(skipped, reader.counts().mapped, reader.counts().masked);
    protlm::StoreCounts const counts = writer.commit();
    if (options.check)
        protlm::TokenStore(options.output, protlm::StoreCheck::full);
    if (!options.held_out_fasta.empty()) {
        protlm::TokenStore const store(options.output, protlm::StoreCheck::quick);
        protlm::write_fasta(options.held_out_fasta, store, store.held_out());
    }
    warn_of(counts, reader.counts(), options.store.held_out);
    if (!options.quiet)
        summarise(counts, reader.counts(), options.output);
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"prepare", false}, argc, argv, [&](CLI::App &app) { describe(app, options); }, [&] { prepare(options); });
}
