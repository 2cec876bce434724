// The options of embed.
#pragma once

#include <models/encoder.hpp>
#include <support/command_line.hpp>
#include <support/fasta_input.hpp>

#include <protlm/embed/read_proteins.hpp>
#include <protlm/io/embedding_info.hpp>

#include <optional>
#include <string>
#include <vector>

namespace examples {

using Long = protlm::LongProteins;

struct EmbedOptions {
    std::vector<std::string> inputs;
    std::string model, output, proteins, residues, precision = "float32", pooling = "mean", layout = "packed";
    protlm::ReadOptions read;
    std::optional<Long> on_long; // none: windows where the model has a limit and no length is given
    protlm::WindowOptions windows;
    EncoderOptions encoder;
    int gzip = 0;
    double save_every = 2;
    bool force = false, quiet = false;
};

inline void describe_input(CLI::App &app, EmbedOptions &options) {
    app.add_option("fasta", options.inputs, "FASTA files, plain, gzip, zstd, xz or bzip2; '-' is standard input")
        ->required();
    app.add_option("-m,--model", options.model,
                   "folder with a model's config.json, weights and vocabulary, or a run's: its newest checkpoint")
        ->required();
    add_choice(app, "--compute", options.encoder.precision, {"float32", "bfloat16", "float16"},
               "weights in memory; sums are float32 always");
    app.add_option("--max-length", options.read.max_length, "longest protein in residues (what the model can take)")
        ->check(at_least(1));
    add_choice(app, "--on-long", options.on_long,
               {{"windows", Long::windows}, {"cut", Long::cut}, {"skip", Long::skip}, {"error", Long::error}},
               "longer proteins: overlapping windows of that length, whose residues are averaged (default, "
               "without --max-length), cut, skip, or error (default with it)");
    app.add_option("--window-overlap", options.windows.overlap,
                   "residues that neighbouring windows share at least (half a window)")
        ->check(at_least(0));
    using Empty = protlm::EmptyRecords;
    add_choice(app, "--empty", options.read.on_empty,
               {{"skip", Empty::skip}, {"keep", Empty::keep}, {"error", Empty::error}},
               "records without residues: skip (default), keep (zeros for a vector), or error");
    using Duplicates = protlm::DuplicateIds;
    add_choice(app, "--duplicates", options.read.duplicates,
               {{"error", Duplicates::error}, {"keep", Duplicates::keep}, {"first", Duplicates::first}},
               "ids that come more than once: error (default), keep all, or only the first of each");
    add_invalid_option(app, options.read.fasta);
    using Ids = protlm::ProteinIds;
    add_choice(app, "--ids", options.read.ids,
               {{"header", Ids::header},
                {"word", Ids::word},
                {"accession", Ids::accession},
                {"sequence-hash", Ids::sequence_hash}},
               "ids in the file: the whole header line, its first word, the accession in it (P12345 of "
               "sp|P12345|NAME), or a SHA-256 of the sequence, as biotrainer has it");
}

inline void describe_output(CLI::App &app, EmbedOptions &options) {
    app.add_option("-o,--output", options.output, "HDF5 file to write")->required();
    app.add_option("--proteins", options.proteins,
                   "also write the vectors of proteins alone into this file, one dataset an id, for other programs");
    app.add_option("--residues", options.residues, "the same of residues");
    add_choice(app, "--layout", options.layout, {"packed", "per-id"},
               "packed: one dataset for all; per-id: one a protein");
    app.add_flag("--per-residue,!--no-residues", options.encoder.embed.per_residue, "vectors of residues, too (yes)");
    add_choice(app, "--precision", options.precision, {"float32", "float16", "bfloat16"}, "numbers in the file");
    add_choice(app, "--pooling", options.pooling, {"mean", "max", "cls", "none"},
               "a protein's vector: mean or max over its residues, cls, or none");
    app.add_option("--layer", options.encoder.embed.layers,
                   "hidden states behind this many layers (the last), -1 the last; several with commas")
        ->delimiter(',');
    app.add_option("--gzip", options.gzip, "compress: 0 (not, fastest) to 9")->check(between(0, 9));
    app.add_option("--token-budget", options.encoder.embed.token_budget,
                   "tokens computed at a time: what memory is needed for")
        ->check(at_least(1))
        ->capture_default_str();
    app.add_option("--save-every", options.save_every, "seconds of work that a kill can cost")
        ->check(at_least(0))
        ->capture_default_str();
    app.add_flag("-f,--force", options.force,
                 "replace the output file, or begin anew where an unfinished job computed something else");
    app.add_flag("-q,--quiet", options.quiet, "no progress, no summary");
}

inline void describe(CLI::App &app, EmbedOptions &options) {
    app.description("Embeds proteins: one vector a protein, and one a residue, by a model that has been trained.\n"
                    "  embed --model prot_bert --output proteins.h5 proteins.fasta.gz\n"
                    "  mpirun -n 4 embed ...     the same on four ranks; set OMP_NUM_THREADS to cores per rank\n"
                    "The file holds the proteins in the order of the input; docs/formats.md says how to read it. It "
                    "appears when it is complete: after an interruption, the same command goes on.");
    describe_input(app, options);
    describe_output(app, options);
}

/// What the file will be, as far as the options say it.
inline protlm::EmbeddingInfo wanted_file(EmbedOptions const &options) {
    protlm::EmbeddingInfo info;
    info.pooling = options.pooling;
    info.per_residue = options.encoder.embed.per_residue;
    info.precision = protlm::precision_from_name(options.precision);
    info.layout = protlm::layout_from_name(options.layout);
    info.gzip = options.gzip;
    return info;
}

/// Refuses files of vectors that are not computed.
inline void check_parts(EmbedOptions const &options) {
    if (!options.residues.empty() && !options.encoder.embed.per_residue)
        throw WrongUsage("--residues needs vectors of residues, which --no-residues leaves out");
    if (!options.proteins.empty() && options.pooling == "none")
        throw WrongUsage("--proteins needs vectors of proteins, which --pooling none leaves out");
}

/// Settles what becomes of long proteins, as far as it can be told before the model is known.
inline void settle_windows(EmbedOptions &options) {
    bool const windows = options.on_long ? *options.on_long == Long::windows : options.read.max_length == 0;
    if (!windows && options.windows.overlap != -1)
        throw WrongUsage("--window-overlap goes with --on-long windows");
    options.windows.length = options.read.max_length;
    options.encoder.embed.windows = windows ? std::optional(options.windows) : std::nullopt;
}

} // namespace examples
