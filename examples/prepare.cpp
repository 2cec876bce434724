// prepare: makes a token store of FASTA files, for pre-training.

#include <support/driver.hpp>

#include <protlm/core/progress.hpp>
#include <protlm/data/fasta.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace {

struct Options {
    std::vector<std::string> inputs;
    std::string output, vocabulary, held_out_fasta;
    protlm::FastaOptions fasta;
    protlm::StoreOptions store;
    std::size_t min_length = 1;
    bool check = false, quiet = false;
};

void describe(CLI::App &app, Options &options) {
    app.description("Makes a token store of protein sequences in FASTA files: what the pretrain drivers read.\n"
                    "Example: prepare uniref50.fasta.gz --output uniref50.store --held-out 0.01 --deduplicate\n"
                    "An interrupted run leaves no store behind; an older store of the same name stays until the new "
                    "one is complete.");
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip or zstd; '-' is standard input")->required();
    app.add_option("-o,--output", options.output, "store to write; in an existing folder it is named proteins.store")
        ->required();
    app.add_option("--held-out", options.store.held_out,
                   "fraction of the proteins kept for evaluation, chosen by a hash of the sequence (0)")
        ->check(examples::between(0, 1));
    app.add_option("--write-held-out", options.held_out_fasta, "also write the held-out proteins into this FASTA file");
    app.add_option("--split-seed", options.store.split_seed, "another number holds out other proteins (0)");
    app.add_flag("--deduplicate", options.store.deduplicate, "keep one of proteins with the same sequence");
    app.add_option("--min-length", options.min_length, "leave out proteins with fewer residues (1)");
    using Invalid = protlm::InvalidLetters;
    examples::add_choice(app, "--invalid", options.fasta.invalid, {{"error", Invalid::error}, {"mask", Invalid::mask}},
                         "letters outside the alphabet: 'error' stops at the first, 'mask' reads them as X");
    app.add_option("--vocabulary", options.vocabulary,
                   "vocab.txt of a model (ProtBert's 30 tokens); every driver reads a store of any vocabulary");
    app.add_flag("--check", options.check, "read the store back and compare all checksums");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

void summarise(protlm::StoreCounts const &counts, protlm::FastaCounts const &read, std::string const &output) {
    auto const row = [](char const *what, std::uint64_t value, char const *note = "") {
        std::printf("  %-24s %15llu%s\n", what, static_cast<unsigned long long>(value), note);
    };
    auto const size = static_cast<double>(std::filesystem::file_size(output));
    std::printf("%s (%s)\n", output.c_str(), protlm::format_amount(size, "B").c_str());
    row("records read", read.records);
    row("proteins stored", counts.sequences);
    row("  training", counts.sequences - counts.held_out);
    row("  held out", counts.held_out);
    row("residues stored", counts.residues);
    row("  held out", counts.held_out_residues);
    row("duplicates left out", counts.duplicates);
    row("empty or short, left out", counts.skipped);
    row("U, Z, O, B read as X", counts.mapped);
    row("invalid read as X", counts.masked);
    row("stops and gaps dropped", read.stops + read.gaps);
}

/// The held-out proteins as the store has them, 60 letters a line; the file appears when it is complete.
void write_held_out(protlm::TokenStore const &store, std::string const &path) {
    protlm::AtomicFile file(path);
    auto const part = store.held_out();
    for (auto i = part.first; i < part.first + part.count; ++i) {
        auto const sequence = protlm::decode(store.vocabulary(), store.tokens(i));
        file.write('>' + std::string(store.id(i)) + '\n');
        for (std::size_t at = 0; at < sequence.size(); at += 60)
            file.write(sequence.substr(at, 60) + '\n');
    }
    file.commit();
}

void prepare(Options options) {
    namespace fs = std::filesystem;
    if (fs::is_directory(options.output))
        options.output = (fs::path(options.output) / "proteins.store").string();
    auto const vocabulary =
        options.vocabulary.empty() ? protlm::Vocabulary::protbert() : protlm::read_vocabulary_text(options.vocabulary);
    protlm::FastaReader reader(options.inputs, vocabulary, options.fasta);
    protlm::StoreWriter writer(options.output, vocabulary, options.store);
    protlm::Progress progress("prepare", "B", static_cast<double>(reader.bytes_total()), options.quiet);
    std::uint64_t skipped = 0;
    while (auto const record = reader.next()) {
        if (record->tokens.size() < std::max<std::size_t>(options.min_length, 1))
            ++skipped;
        else
            writer.add(record->id, record->tokens);
        if (reader.counts().records % 1024 == 0)
            progress.update(static_cast<double>(reader.bytes_read()),
                            protlm::format_amount(static_cast<double>(reader.counts().records), "proteins"));
    }
    protlm::check(writer.counts().sequences > 0, "no proteins to store: ", reader.counts().records, " records, ",
                  skipped, " of them empty or too short");
    writer.note(skipped, reader.counts().mapped, reader.counts().masked);
    protlm::StoreCounts const counts = writer.commit();
    progress.update(static_cast<double>(reader.bytes_read()));
    progress.finish();
    if (options.check)
        protlm::TokenStore(options.output, protlm::StoreCheck::full);
    if (!options.held_out_fasta.empty())
        write_held_out(protlm::TokenStore(options.output, protlm::StoreCheck::quick), options.held_out_fasta);
    if (!options.quiet)
        summarise(counts, reader.counts(), options.output);
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    return examples::run_driver(
        {"prepare", false}, argc, argv, [&](CLI::App &app) { describe(app, options); }, [&] { prepare(options); });
}
