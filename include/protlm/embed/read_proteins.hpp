#pragma once

#include <protlm/data/fasta.hpp>
#include <protlm/embed/protein_ids.hpp>
#include <protlm/embed/proteins.hpp>
#include <protlm/embed/windows.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What happens to a protein that is longer than the limit.
enum class LongProteins {
    error,  ///< stop, naming it
    cut,    ///< embed its first residues only
    skip,   ///< leave it out
    windows ///< embed it in overlapping windows of the limit: see Windows
};

/// "error", "cut", "skip" or "windows".
inline std::string long_proteins_name(LongProteins what) {
    return what == LongProteins::error  ? "error"
           : what == LongProteins::cut  ? "cut"
           : what == LongProteins::skip ? "skip"
                                        : "windows";
}

/// What happens to a record without residues.
enum class EmptyRecords {
    skip, ///< leave it out
    keep, ///< a protein of no residues, whose vector is zeros
    error ///< stop, naming it
};

/// What happens when proteins have the same id.
enum class DuplicateIds {
    error, ///< stop, naming them
    keep,  ///< all stay, in the order of the input
    first  ///< of each id, the first protein stays
};

/// How proteins are read for embedding. What is left out or changed stands in a ReadReport.
struct ReadOptions {
    FastaOptions fasta{};
    index_t max_length = 0; ///< residues; 0: no limit
    LongProteins on_long = LongProteins::error;
    EmptyRecords on_empty = EmptyRecords::skip;
    DuplicateIds duplicates = DuplicateIds::error;
    ProteinIds ids = ProteinIds::header;
};

/// What did not go into the result as the files have it. Of the proteins in each group the first five are named.
struct ReadReport {
    index_t cut = 0, skipped = 0;            ///< long proteins
    index_t windowed = 0;                    ///< long proteins that are whole in the result
    index_t empty = 0;                       ///< records without residues
    bool empty_kept = false;                 ///< they are proteins of the result
    index_t nameless = 0;                    ///< proteins whose ids are empty
    index_t repeated = 0;                    ///< proteins left out because their ids came before
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
    index_t const most = residue_limit(shape, special);
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
        check(options.on_empty != EmptyRecords::error, Setting{"empty", "skip or keep"}, "protein \"", id,
              "\" has no residues");
        ++report.empty;
        ReadReport::name(report.empty_proteins, id);
        return options.on_empty == EmptyRecords::keep ? std::optional<index_t>(0) : std::nullopt;
    }
    if (options.max_length == 0 || length <= options.max_length)
        return length;
    check(options.on_long != LongProteins::error, Setting{"on_long", "windows, cut or skip"}, "protein ", id, " has ",
          length, " residues, but the limit is ", options.max_length);
    ReadReport::name(report.long_proteins, id + " (" + std::to_string(length) + " residues)");
    bool const cut = options.on_long == LongProteins::cut, windows = options.on_long == LongProteins::windows;
    ++(cut ? report.cut : windows ? report.windowed : report.skipped);
    return cut ? std::optional(options.max_length) : windows ? std::optional(length) : std::nullopt;
}

/// "a, b, c, ..." of at most five names, of `count` in all.
inline std::string some_names(std::vector<std::string> const &names, std::uint64_t count) {
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < 5; ++i)
        text += (i ? ", " : "") + (names[i].empty() ? "no name" : names[i]);
    return count > std::min<std::size_t>(names.size(), 5) ? text + ", ..." : text;
}

/// Reads the tokens of residues, and letters where ids come from them.
class ResidueReader {
  public:
    ResidueReader(Vocabulary const &vocabulary, ProteinIds ids) : vocabulary_(&vocabulary) {
        if (ids == ProteinIds::sequence_hash)
            letters_ = letter_vocabulary(vocabulary);
    }
    /// What FASTA is read with.
    Vocabulary const &vocabulary() const { return letters_ ? *letters_ : *vocabulary_; }
    /// The model's tokens of a record's, valid until the next call.
    std::span<std::uint8_t const> operator()(std::span<std::uint8_t const> record) {
        if (!letters_)
            return record;
        letters_text_.clear();
        tokens_.clear();
        for (std::uint8_t const number : record) {
            letters_text_ += static_cast<char>('A' + number);
            auto const token = vocabulary_->residue_table[std::size_t('A') + number];
            tokens_.push_back(token == Vocabulary::not_a_residue ? vocabulary_->unknown_residue() : token);
        }
        return tokens_;
    }
    /// Letters of the last record.
    std::string const &letters() const { return letters_text_; }

  private:
    Vocabulary const *vocabulary_;
    std::optional<Vocabulary> letters_;
    std::vector<std::uint8_t> tokens_;
    std::string letters_text_;
};

/// What names a record.
inline std::string protein_id(FastaRecord const &record, ProteinIds ids, std::string const &letters) {
    return ids == ProteinIds::header      ? std::string(record.header)
           : ids == ProteinIds::word      ? std::string(record.id)
           : ids == ProteinIds::accession ? accession_of(record.id)
                                          : sequence_hash(letters);
}

/// Refuses ids that more than one protein has, or leaves out all but the first of each.
inline Proteins settle_duplicates(Proteins proteins, ReadOptions const &options, ReadReport &report) {
    if (options.duplicates == DuplicateIds::keep)
        return proteins;
    auto const repeated = proteins.repeated_ids();
    if (repeated.empty())
        return proteins;
    auto const names = some_names(repeated, repeated.size());
    bool const shortened = options.ids == ProteinIds::word || options.ids == ProteinIds::accession;
    check(options.duplicates == DuplicateIds::first, Setting{"duplicates", "keep or first"},
          "ids that more than one protein has", shortened ? " (parts of their headers): " : ": ", repeated.size(), " (",
          names, ')');
    Proteins firsts;
    std::unordered_set<std::string_view> met;
    for (index_t i = 0; i < proteins.size(); ++i)
        if (met.insert(proteins.id(i)).second)
            firsts.add(proteins.id(i), proteins.tokens(i));
    report.repeated = proteins.size() - firsts.size();
    return firsts;
}

} // namespace detail

/// Reads all proteins of FASTA files. @param report  what was changed or left out
/// @throws Error as FastaReader; for a long protein, naming it, its length and the limit, unless something else is to
/// become of it; and for ids that several proteins of the result have, unless they are kept or left out
inline Proteins read_proteins(std::vector<std::string> const &paths, Vocabulary const &vocabulary,
                              ReadOptions const &options, ReadReport &report) {
    detail::ResidueReader residues(vocabulary, options.ids);
    FastaReader reader(paths, residues.vocabulary(), options.fasta);
    Proteins proteins;
    report.empty_kept = options.on_empty == EmptyRecords::keep;
    while (auto const record = reader.next()) {
        auto const tokens = residues(record->tokens);
        auto id = detail::protein_id(*record, options.ids, residues.letters());
        auto const kept = detail::kept_length(id, static_cast<index_t>(tokens.size()), options, report);
        if (!kept)
            continue;
        report.nameless += id.empty();
        proteins.add(std::move(id), tokens.first(static_cast<std::size_t>(*kept)));
    }
    report.counts = reader.counts();
    if (report.counts.masked > 0) // hashes are read with letters for tokens
        report.counts.masked_as = vocabulary.pieces[vocabulary.unknown_residue()];
    return detail::settle_duplicates(std::move(proteins), options, report);
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
    say(limit + "embedded in overlapping windows", static_cast<std::uint64_t>(report.windowed), report.long_proteins);
    say(limit + "cut", static_cast<std::uint64_t>(report.cut), report.long_proteins);
    say(limit + "left out", static_cast<std::uint64_t>(report.skipped), report.long_proteins);
    std::string const fate = report.empty_kept ? "whose vectors are zeros" : "left out";
    say("records without residues, " + fate, static_cast<std::uint64_t>(report.empty), report.empty_proteins);
    say("letters outside the alphabet, read as " + report.counts.masked_as, report.counts.masked, {});
    say("headers that are no UTF-8, taken for Latin-1", report.counts.latin1, {});
    if (!report.counts.nucleotides.empty())
        lines.push_back(report.counts.nucleotides + ": all residues are A, C, G, T, U or N: is it DNA or RNA?");
    say("proteins without a name", static_cast<std::uint64_t>(report.nameless), {});
    say("proteins whose ids came before, left out", static_cast<std::uint64_t>(report.repeated), {});
    say("ids that occur more than once, all kept in the order of the input", repeated.size(), repeated);
    return lines;
}

} // namespace protlm::inline v0
