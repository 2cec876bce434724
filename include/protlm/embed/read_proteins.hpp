#pragma once

#include <protlm/data/fasta.hpp>
#include <protlm/embed/encoder_shape.hpp>
#include <protlm/embed/proteins.hpp>

#include <string>
#include <vector>

namespace protlm::inline v0 {

/// What happens to a protein that is longer than the limit.
enum class LongProteins {
    error, ///< stop, naming it
    cut,   ///< embed its first residues only
    skip   ///< leave it out
};

/// How proteins are read for embedding.
struct ReadOptions {
    FastaOptions fasta{};
    index_t max_length = 0; ///< residues; 0: no limit
    LongProteins on_long = LongProteins::error;
    bool whole_header = true; ///< ids are whole header lines as given; else up to their first white space
};

/// What did not go into the result as the files have it.
struct ReadReport {
    index_t cut = 0, skipped = 0;           ///< long proteins
    index_t empty = 0;                      ///< records without residues; they are kept
    std::vector<std::string> long_proteins; ///< the first five of them, "ID (LENGTH residues)"
    FastaCounts counts;
};

/// The longest protein in residues that a model can take, or `wanted` when that is given and shorter; 0: no limit.
/// @param special  tokens around a protein  @throws Error when `wanted` is more than the model can take
inline index_t length_limit(EncoderShape const &shape, index_t special, index_t wanted) {
    index_t const most = shape.positions == 0 ? 0 : shape.positions - special;
    check(wanted >= 0, "max-length is ", wanted, ", expected at least 0");
    check(most == 0 || wanted <= most, "max-length is ", wanted, " residues, but the model has ", shape.positions,
          " positions, which is ", most, " residues and ", special, " special tokens");
    return wanted > 0 ? wanted : most;
}

/// Reads all proteins of FASTA files. @param report  what was changed or left out
/// @throws Error as FastaReader; and for a long protein, naming it, its length and the limit, unless they are cut or
/// skipped
inline Proteins read_proteins(std::vector<std::string> const &paths, Vocabulary const &vocabulary,
                              ReadOptions const &options, ReadReport &report) {
    FastaReader reader(paths, vocabulary, options.fasta);
    Proteins proteins;
    while (auto const record = reader.next()) {
        auto const length = static_cast<index_t>(record->tokens.size());
        auto tokens = record->tokens;
        std::string id(options.whole_header ? record->header : record->id);
        check(id.find('\0') == id.npos, "record ", reader.counts().records, ": its header holds a zero byte");
        report.empty += length == 0;
        if (options.max_length > 0 && length > options.max_length) {
            check(options.on_long != LongProteins::error, "protein ", id, " has ", length,
                  " residues, but the limit is ", options.max_length, "; long proteins can be cut or skipped");
            if (report.long_proteins.size() < 5)
                report.long_proteins.push_back(id + " (" + std::to_string(length) + " residues)");
            if (options.on_long == LongProteins::skip) {
                ++report.skipped;
                continue;
            }
            ++report.cut;
            tokens = tokens.first(static_cast<std::size_t>(options.max_length));
        }
        proteins.add(std::move(id), tokens);
    }
    report.counts = reader.counts();
    return proteins;
}

/// Lines for people about all that is not as they may think; empty when there is nothing to say.
inline std::vector<std::string> warnings(ReadReport const &report, Proteins const &proteins, index_t max_length) {
    std::vector<std::string> lines;
    auto const say = [&](std::string const &what, std::uint64_t count, std::vector<std::string> const &names) {
        if (count == 0)
            return;
        std::string line = what + ": " + std::to_string(count);
        for (std::size_t i = 0; i < names.size() && i < 5; ++i)
            line += (i ? ", " : " (") + names[i];
        lines.push_back(line + (names.empty() ? "" : count > 5 ? ", ...)" : ")"));
    };
    std::string const limit = "proteins longer than " + std::to_string(max_length) + " residues, ";
    auto const repeated = proteins.repeated_ids();
    say(limit + "cut", static_cast<std::uint64_t>(report.cut), report.long_proteins);
    say(limit + "left out", static_cast<std::uint64_t>(report.skipped), report.long_proteins);
    say("records without residues, whose vectors are zeros", static_cast<std::uint64_t>(report.empty), {});
    say("letters outside the alphabet, read as X", report.counts.masked, {});
    say("ids that occur more than once, all kept in the order of the input", repeated.size(), repeated);
    return lines;
}

} // namespace protlm::inline v0
