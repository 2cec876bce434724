#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/utf8.hpp>
#include <protlm/data/detail/byte_source.hpp>
#include <protlm/data/detail/fasta_header.hpp>
#include <protlm/data/detail/text_cursor.hpp>
#include <protlm/data/detail/token_buffer.hpp>
#include <protlm/data/detail/translate.hpp>
#include <protlm/data/vocabulary.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What to do with a letter that the vocabulary does not have. Where it has no X, these are X, U, Z, O and B, too.
enum class InvalidLetters {
    error, ///< stop with file, line and column
    mask   ///< replace it by X ("hard masking"), or by the unknown token where the vocabulary has no X; it is counted
};

/// How FastaReader treats its input.
struct FastaOptions {
    InvalidLetters invalid = InvalidLetters::error;
};

/// One protein. The views stay valid until the reader's next call.
struct FastaRecord {
    std::string_view header;              ///< the line after '>' in UTF-8, without white space at its ends
    std::string_view id;                  ///< the header up to its first white space
    std::string_view description;         ///< the header after that white space
    std::span<std::uint8_t const> tokens; ///< (L) residues, no special tokens; empty for a record without sequence
};

/// What a FastaReader has met so far.
struct FastaCounts {
    std::uint64_t records = 0;
    std::uint64_t residues = 0;
    std::uint64_t mapped = 0;    ///< U, Z, O and B that became X
    std::uint64_t masked = 0;    ///< invalid letters that became X or the unknown token
    std::uint64_t stops = 0;     ///< '*' at the end of a sequence, dropped
    std::uint64_t gaps = 0;      ///< '-', dropped
    std::string masked_as = "X"; ///< what these are: the piece of the token
    std::uint64_t latin1 = 0;    ///< headers that were no UTF-8, and were converted from Latin-1
    std::string nucleotides;     ///< the first file of a thousand residues or more in which all are A, C, G, T, U or N
};

/// Reads proteins from FASTA, one after the other, in constant memory beside the longest record.
/// Takes plain files (memory-mapped), gzip, zstd, xz and bzip2 where protlm was built with what reads them, pipes and
/// standard input, told apart by their first bytes; LF and CRLF; wrapped and single-line sequences in either case.
/// Blank lines, lines that begin with ';', white space and '-' in sequences and '*' at their end are skipped. The last
/// line needs no line end. Headers are UTF-8 of at most 16 MiB without control characters; Latin-1 is converted, and
/// counted. A record has at most 2^27 residues.
///
///     FastaReader reader({"proteins.fasta.gz"}, Vocabulary::protbert());
///     while (auto const record = reader.next())
///         use(record->id, record->tokens);
class FastaReader {
  public:
    /// A record may have as many. The longest proteins known have 45,000; this keeps a hostile file from taking memory.
    static constexpr std::size_t most_residues = std::size_t(1) << 27;

    /// @param paths  read in this order; "-" is standard input
    /// @throws Error when a file does not exist or cannot be read: now, not after hours of reading the others
    FastaReader(std::vector<std::string> paths, Vocabulary const &vocabulary, FastaOptions options = {})
        : FastaReader(vocabulary, options) {
        paths_ = std::move(paths);
        for (std::string const &path : paths_) {
            std::error_code ignored; // a pipe has no size
            bool const readable = path == "-" || ::access(path.c_str(), R_OK) == 0;
            check(readable, path, ": cannot read: ", std::strerror(errno));
            check(path == "-" || !std::filesystem::is_directory(path, ignored), path, ": cannot read: Is a directory");
            std::uintmax_t const size = path == "-" ? 0 : std::filesystem::file_size(path, ignored);
            bytes_total_ += ignored ? 0 : size;
        }
        check(std::count(paths_.begin(), paths_.end(), "-") <= 1, "standard input (-) is given twice");
    }

    /// Reads plain FASTA text from memory, which must outlive the reader. @param name  for error messages
    static FastaReader from_memory(std::string_view text, Vocabulary const &vocabulary, FastaOptions options = {},
                                   std::string name = "memory") {
        FastaReader reader(vocabulary, options);
        reader.text_.open(detail::MappedSlices({reinterpret_cast<std::uint8_t const *>(text.data()), text.size()}),
                          std::move(name));
        reader.bytes_total_ = text.size();
        return reader;
    }

    /// The next protein, or nothing at the end of the last file.
    /// @throws Error "FILE:LINE:COLUMN: letter 'J' (record ID) is not in the alphabet" (unless invalid letters are
    ///         masked), for text before the first '>', a header or a record that is not as it must be, a file that
    ///         others change meanwhile, and for damaged or truncated compressed files
    std::optional<FastaRecord> next();

    FastaCounts const &counts() const { return counts_; }

    /// Bytes of the files (as stored, so compressed ones count compressed) read so far, and in all where that is known.
    std::uint64_t bytes_read() const { return bytes_before_ + text_.consumed(); }
    std::uint64_t bytes_total() const { return bytes_total_; }

  private:
    FastaReader(Vocabulary const &vocabulary, FastaOptions options);

    void end_source();
    bool find_record();
    void read_header();
    void mend_header(std::uint64_t line);
    void read_sequence();
    void look_for_nucleotides();
    bool take_special(std::uint8_t byte);
    void check_length();
    [[noreturn]] void misplaced(std::uint8_t byte);
    void append(std::uint8_t token);
    void settle_stops();
    void invalid_letter(std::uint8_t byte);

    detail::TranslationTable table_;
    std::array<std::uint8_t, 256> residue_table_;
    FastaOptions options_;
    std::uint8_t masked_token_;
    detail::Translate translate_ = detail::best_translate();

    std::vector<std::string> paths_;
    std::size_t next_path_ = 0;
    detail::TextCursor text_;
    std::uint64_t bytes_before_ = 0, bytes_total_ = 0;

    std::string header_, id_, comment_;
    detail::TokenBuffer tokens_;
    bool line_start_ = true, after_return_ = false, only_nucleotides_ = true; // the last of the source so far
    std::array<bool, 256> nucleotide_{};                                      // by token
    std::uint64_t source_residues_ = 0;
    std::uint64_t pending_stops_ = 0; // '*' met; whether the sequence ends there is not known yet
    detail::LineColumn first_stop_;
    FastaCounts counts_;
};

inline FastaReader::FastaReader(Vocabulary const &vocabulary, FastaOptions options)
    : table_(vocabulary), residue_table_(vocabulary.residue_table), options_(options),
      masked_token_(options.invalid == InvalidLetters::mask ? vocabulary.unknown_residue() : 0) {
    if (options.invalid == InvalidLetters::mask && vocabulary.is_special(masked_token_))
        counts_.masked_as = vocabulary.pieces[masked_token_];
    for (std::uint8_t &token : residue_table_) // no letter becomes the unknown token without a word
        if (token == vocabulary.unknown && vocabulary.is_special(token))
            token = Vocabulary::not_a_residue;
    for (char const letter : std::string_view("ACGTUN"))
        if (std::uint8_t const token = residue_table_[static_cast<unsigned char>(letter)];
            token != Vocabulary::not_a_residue)
            nucleotide_[token] = true;
}

inline std::optional<FastaRecord> FastaReader::next() {
    while (!text_.is_open() || !find_record()) {
        if (text_.is_open())
            end_source();
        if (next_path_ == paths_.size())
            return std::nullopt;
        std::string const &path = paths_[next_path_++];
        text_.open(detail::open_source(path), path == "-" ? "standard input" : path);
    }
    read_header();
    read_sequence();
    ++counts_.records;
    counts_.residues += tokens_.size();
    if (only_nucleotides_)
        look_for_nucleotides();
    std::string_view const header = header_;
    std::size_t const rest = std::min(header.find_first_not_of(" \t", id_.size()), header.size());
    return FastaRecord{header, id_, header.substr(rest), tokens_.span()};
}

/// Moves to the '>' of the next record; false at the end of the file.
inline bool FastaReader::find_record() {
    while (text_.more()) {
        std::uint8_t const byte = *text_.at;
        if (byte == '>' && line_start_)
            return true;
        if (byte == ';' && line_start_) {
            text_.read_line(comment_);
            line_start_ = true;
            continue;
        }
        if (byte != '\n' && byte != '\r' && byte != ' ' && byte != '\t')
            fail(text_.name(), ":", text_.line(), ": text before the first '>': is this a FASTA file?");
        line_start_ = byte == '\n';
        ++text_.at;
    }
    return false;
}

inline void FastaReader::end_source() {
    if (only_nucleotides_ && source_residues_ >= 1000 && counts_.nucleotides.empty())
        counts_.nucleotides = text_.name();
    bytes_before_ += text_.consumed();
    text_.close();
    line_start_ = only_nucleotides_ = true;
    source_residues_ = 0;
}

/// Whether all residues so far could be of DNA or RNA. Proteins answer with their first record, so this costs nothing.
inline void FastaReader::look_for_nucleotides() {
    auto const tokens = tokens_.span();
    source_residues_ += tokens.size();
    only_nucleotides_ =
        std::all_of(tokens.begin(), tokens.end(), [&](std::uint8_t token) { return nucleotide_[token]; });
}

/// @throws Error for a header that holds what no id may hold
inline void FastaReader::mend_header(std::uint64_t line) {
    std::string const fault = detail::header_fault(header_);
    check(fault.empty(), text_.name(), ":", line, ": the header holds ", fault);
    if (is_valid_utf8(header_))
        return;
    std::string converted = detail::utf8_of_latin1(header_);
    check(!converted.empty(), text_.name(), ":", line, ": the header is neither UTF-8 nor Latin-1; iconv converts it");
    header_ = std::move(converted);
    ++counts_.latin1;
}

inline void FastaReader::read_header() {
    ++text_.at; // the '>'
    bool const ended = text_.read_line(header_);
    line_start_ = true;
    header_.erase(0, std::min(header_.find_first_not_of(" \t"), header_.size()));
    if (!detail::is_plain_header(header_)) [[unlikely]]
        mend_header(text_.line() - ended);
    id_.assign(header_, 0, header_.find_first_of(" \t"));
}

inline void FastaReader::read_sequence() {
    tokens_.clear();
    pending_stops_ = 0;
    while (text_.more()) {
        std::span<std::uint8_t> const room = tokens_.room();
        std::size_t const left = text_.left();
        auto const [in, out] = translate_(table_, text_.at, text_.at + std::min(left, room.size()), room.data());
        std::size_t const count = static_cast<std::size_t>(out - room.data());
        if (count > 0 && pending_stops_ > 0) [[unlikely]] {
            settle_stops(); // moves the end of the buffer: translate this run again behind it
            continue;
        }
        bool const stopped = static_cast<std::size_t>(in - text_.at) < std::min(left, room.size());
        if (in != text_.at) {
            line_start_ = in[-1] == '\n';
            after_return_ = in[-1] == '\r';
        }
        tokens_.grow(count);
        text_.at = in;
        check_length();
        if (stopped && !take_special(*text_.at))
            break;
    }
    counts_.stops += pending_stops_;
}

/// Handles a byte that is no plain residue; false when it begins the next record.
inline bool FastaReader::take_special(std::uint8_t byte) {
    if (line_start_ && byte == '>')
        return false;
    if (line_start_ && byte == ';') {
        text_.read_line(comment_); // the line after it begins as this one did
        return true;
    }
    if (byte == '>' || (byte == ';' && after_return_))
        misplaced(byte);
    if (byte == '-' && residue_table_['-'] == Vocabulary::not_a_residue) {
        ++counts_.gaps;
    } else if (byte == '*') {
        if (pending_stops_++ == 0)
            first_stop_ = text_.place();
    } else if (residue_table_[byte] != Vocabulary::not_a_residue) {
        settle_stops();
        ++counts_.mapped;
        append(residue_table_[byte]);
    } else if (byte != '\n' && byte != '\r' && byte != ' ' && byte != '\t') {
        settle_stops();
        invalid_letter(byte);
    }
    line_start_ = byte == '\n';
    after_return_ = byte == '\r';
    ++text_.at;
    return true;
}

inline void FastaReader::check_length() {
    if (tokens_.size() > most_residues) [[unlikely]] // to find the line costs a pass over the text
        fail(text_.name(), ":", text_.line(), ": record ", id_, " has more than ", most_residues,
             " residues; is this a protein?");
}

/// A header that begins within a line: to mask it would make residues of its letters.
inline void FastaReader::misplaced(std::uint8_t byte) {
    detail::LineColumn const where = text_.place();
    fail(text_.name(), ":", where.line, ":", where.column, ": letter '", static_cast<char>(byte), "' (record ", id_,
         ") stands inside a line",
         after_return_ ? ", behind " + detail::header_fault("\r") : "; is a line end missing?");
}

inline void FastaReader::append(std::uint8_t token) {
    tokens_.room()[0] = token;
    tokens_.grow(1);
    check_length();
}

/// Residues follow the stops met so far: they are letters inside the sequence, so invalid.
inline void FastaReader::settle_stops() {
    if (pending_stops_ == 0)
        return;
    check(options_.invalid == InvalidLetters::mask, Setting{"invalid", "mask"}, text_.name(), ":", first_stop_.line,
          ":", first_stop_.column, ": letter '*' (record ", id_, ") stands inside the sequence");
    counts_.masked += pending_stops_;
    for (; pending_stops_ > 0; --pending_stops_)
        append(masked_token_);
}

inline void FastaReader::invalid_letter(std::uint8_t byte) {
    if (options_.invalid == InvalidLetters::error) {
        detail::LineColumn const where = text_.place();
        bool const printable = byte > 32 && byte < 127;
        std::string const letter =
            printable ? std::string{'\'', static_cast<char>(byte), '\''} : "with code " + std::to_string(byte);
        fail(Setting{"invalid", "mask"}, text_.name(), ":", where.line, ":", where.column, ": letter ", letter,
             " (record ", id_, ") is not in the alphabet");
    }
    ++counts_.masked;
    append(masked_token_);
}

} // namespace protlm::inline v0
