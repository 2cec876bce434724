#pragma once

#include <protlm/data/fasta.hpp>
#include <protlm/embed/encoder_shape.hpp>
#include <protlm/embed/proteins.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What happens to a protein that is longer than the limit.
enum class LongProteins {
    error, ///< stop, naming it
    cut,   ///< embed its first residues only
    skip   ///< leave it out
};

/// What happens to a record without residues.
enum class EmptyRecords {
    skip, ///< leave it out
    keep, ///< a protein of no residues, whose vector is zeros
    error ///< stop, naming it
};

/// What happens when proteins have the same id.
enum class DuplicateIds {
    error, ///< stop, naming them
    keep   ///< all stay, in the order of the input
};

/// How proteins are read for embedding. What is left out or changed stands in a ReadReport.
struct ReadOptions {
    FastaOptions fasta{};
    index_t max_length = 0; ///< residues; 0: no limit
    LongProteins on_long = LongProteins::error;
    EmptyRecords on_empty = EmptyRecords::skip;
    DuplicateIds duplicates = DuplicateIds::error;
    bool whole_header = true; ///< ids are whole header lines as given; else up to their first white space
};

/// What did not go into the result as the files have it. Of the proteins in each group the first five are named.
struct ReadReport {
    index_t cut = 0, skipped = 0;            ///< long proteins
    index_t empty = 0;                       ///< records without residues
    bool empty_kept = false;                 ///< they are proteins of the result
    std::vector<std::string> long_proteins;  ///< "ID (LENGTH residues)"
    std::vector<std::string> empty_proteins; ///< ids
    FastaCounts counts;

    /// Adds a name to a group, if there is room for it.
    static void name(std::vector<std::string> &group, std::string const &text) {
        if (group.size() < 5)
            group.push_back(text);
    }
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

namespace detail {

/// How many residues of a protein go into the result; nothing when it is left out.
/// @throws Error when it is too long, or empty, and that is an error
inline std::optional<index_t> kept_length(std::string const &id, index_t length, ReadOptions const &options,
                                          ReadReport &report) {
    if (length == 0) {
        check(options.on_empty != EmptyRecords::error, "protein \"", id,
              "\" has no residues; empty records can be skipped or kept");
        ++report.empty;
        ReadReport::name(report.empty_proteins, id);
        return options.on_empty == EmptyRecords::keep ? std::optional<index_t>(0) : std::nullopt;
    }
    if (options.max_length == 0 || length <= options.max_length)
        return length;
    check(options.on_long != LongProteins::error, "protein ", id, " has ", length, " residues, but the limit is ",
          options.max_length, "; long proteins can be cut or skipped");
    ReadReport::name(report.long_proteins, id + " (" + std::to_string(length) + " residues)");
    bool const cut = options.on_long == LongProteins::cut;
    ++(cut ? report.cut : report.skipped);
    return cut ? std::optional(options.max_length) : std::nullopt;
}

/// "a, b, c, ..." of at most five names, of `count` in all.
inline std::string some_names(std::vector<std::string> const &names, std::uint64_t count) {
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < 5; ++i)
        text += (i ? ", " : "") + names[i];
    return count > std::min<std::size_t>(names.size(), 5) ? text + ", ..." : text;
}

} // namespace detail

/// Reads all proteins of FASTA files. @param report  what was changed or left out
/// @throws Error as FastaReader; for a long protein, naming it, its length and the limit, unless they are cut or
/// skipped; and for ids that several proteins of the result have, unless they are kept
inline Proteins read_proteins(std::vector<std::string> const &paths, Vocabulary const &vocabulary,
                              ReadOptions const &options, ReadReport &report) {
    FastaReader reader(paths, vocabulary, options.fasta);
    Proteins proteins;
    report.empty_kept = options.on_empty == EmptyRecords::keep;
    while (auto const record = reader.next()) {
        std::string id(options.whole_header ? record->header : record->id);
        check(id.find('\0') == id.npos, "record ", reader.counts().records, ": its header holds a zero byte");
        auto const length = static_cast<index_t>(record->tokens.size());
        if (auto const kept = detail::kept_length(id, length, options, report))
            proteins.add(std::move(id), record->tokens.first(static_cast<std::size_t>(*kept)));
    }
    report.counts = reader.counts();
    if (options.duplicates == DuplicateIds::error) {
        auto const repeated = proteins.repeated_ids();
        check(repeated.empty(), "ids that more than one protein has: ", repeated.size(), " (",
              detail::some_names(repeated, repeated.size()), "); duplicates can be kept");
    }
    return proteins;
}

/// Lines for people about all that is not as they may think; empty when there is nothing to say.
inline std::vector<std::string> warnings(ReadReport const &report, Proteins const &proteins, index_t max_length) {
    std::vector<std::string> lines;
    auto const say = [&](std::string const &what, std::uint64_t count, std::vector<std::string> const &names) {
        if (count == 0)
            return;
        lines.push_back(what + ": " + std::to_string(count) +
                        (names.empty() ? "" : " (" + detail::some_names(names, count) + ')'));
    };
    std::string const limit = "proteins longer than " + std::to_string(max_length) + " residues, ";
    auto const repeated = proteins.repeated_ids();
    say(limit + "cut", static_cast<std::uint64_t>(report.cut), report.long_proteins);
    say(limit + "left out", static_cast<std::uint64_t>(report.skipped), report.long_proteins);
    std::string const fate = report.empty_kept ? "whose vectors are zeros" : "left out";
    say("records without residues, " + fate, static_cast<std::uint64_t>(report.empty), report.empty_proteins);
    say("letters outside the alphabet, read as " + report.counts.masked_as, report.counts.masked, {});
    say("headers that are no UTF-8, taken for Latin-1", report.counts.latin1, {});
    if (!report.counts.nucleotides.empty())
        lines.push_back(report.counts.nucleotides + ": all residues are A, C, G, T, U or N: is it DNA or RNA?");
    say("ids that occur more than once, all kept in the order of the input", repeated.size(), repeated);
    return lines;
}

} // namespace protlm::inline v0
