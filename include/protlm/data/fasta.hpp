#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/detail/byte_source.hpp>
#include <protlm/data/detail/text_position.hpp>
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

/// What to do with a letter that is not in the alphabet.
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
    std::string_view header;              ///< the line after '>', as given, without white space at its ends
    std::string_view id;                  ///< the header up to its first white space
    std::string_view description;         ///< the header after that white space
    std::span<std::uint8_t const> tokens; ///< (L) residues, no special tokens; empty for a record without sequence
};

/// What a FastaReader has met so far.
struct FastaCounts {
    std::uint64_t records = 0;
    std::uint64_t residues = 0;
    std::uint64_t mapped = 0; ///< U, Z, O and B that became X
    std::uint64_t masked = 0; ///< invalid letters that became X
    std::uint64_t stops = 0;  ///< '*' at the end of a sequence, dropped
    std::uint64_t gaps = 0;   ///< '-', dropped
};

/// Reads proteins from FASTA, one after the other, in constant memory beside the longest record.
/// Takes plain files (memory-mapped), gzip, zstd, pipes and standard input, told apart by their first bytes; LF and
/// CRLF; wrapped and single-line sequences in either case. Blank lines, lines that begin with ';', white space and '-'
/// in sequences and '*' at their end are skipped. The last line needs no line end.
///
///     FastaReader reader({"proteins.fasta.gz"}, Vocabulary::protbert());
///     while (auto const record = reader.next())
///         use(record->id, record->tokens);
class FastaReader {
  public:
    /// @param paths  read in this order; "-" is standard input
    /// @throws Error when a file does not exist or cannot be read: now, not after hours of reading the others
    FastaReader(std::vector<std::string> paths, Vocabulary const &vocabulary, FastaOptions options = {})
        : FastaReader(vocabulary, options) {
        paths_ = std::move(paths);
        for (std::string const &path : paths_) {
            bool const readable = path == "-" || ::access(path.c_str(), R_OK) == 0;
            check(readable, path, ": cannot read: ", std::strerror(errno));
            std::error_code not_regular; // a pipe has no size
            std::uintmax_t const size = path == "-" ? 0 : std::filesystem::file_size(path, not_regular);
            bytes_total_ += not_regular ? 0 : size;
        }
    }

    /// Reads plain FASTA text from memory, which must outlive the reader. @param name  for error messages
    static FastaReader from_memory(std::string_view text, Vocabulary const &vocabulary, FastaOptions options = {},
                                   std::string name = "memory") {
        FastaReader reader(vocabulary, options);
        reader.begin_source(detail::MappedSlices({reinterpret_cast<std::uint8_t const *>(text.data()), text.size()}),
                            std::move(name));
        reader.bytes_total_ = text.size();
        return reader;
    }

    /// The next protein, or nothing at the end of the last file.
    /// @throws Error "FILE:LINE:COLUMN: letter 'J' (record ID) is not in the alphabet" (unless invalid letters are
    ///         masked), for text before the first '>', and for damaged or truncated compressed files
    std::optional<FastaRecord> next();

    FastaCounts const &counts() const { return counts_; }

    /// Bytes of the files (as stored, so compressed ones count compressed) read so far, and in all where that is known.
    std::uint64_t bytes_read() const { return bytes_before_ + consumed(); }
    std::uint64_t bytes_total() const { return bytes_total_; }

  private:
    FastaReader(Vocabulary const &vocabulary, FastaOptions options)
        : table_(vocabulary), residue_table_(vocabulary.residue_table), options_(options),
          masked_token_(options.invalid == InvalidLetters::mask ? vocabulary.unknown_residue() : 0) {}

    void begin_source(detail::ByteSource source, std::string name);
    bool find_record();
    bool refill();
    void read_header();
    void read_sequence();
    bool take_special(std::uint8_t byte);
    void append(std::uint8_t token);
    void settle_stops();
    void invalid_letter(std::uint8_t byte);
    void skip_line();
    std::uint64_t consumed() const {
        return source_ ? std::visit([](auto const &source) { return source.consumed(); }, *source_) : 0;
    }

    detail::TranslationTable table_;
    std::array<std::uint8_t, 256> residue_table_;
    FastaOptions options_;
    std::uint8_t masked_token_;
    detail::Translate translate_ = detail::best_translate();

    std::vector<std::string> paths_;
    std::size_t next_path_ = 0;
    std::optional<detail::ByteSource> source_;
    std::string name_;                                         // of the source, in messages
    std::uint8_t const *at_ = nullptr, *window_end_ = nullptr; // what is left of the source's current bytes
    detail::TextPosition position_;
    std::uint64_t bytes_before_ = 0, bytes_total_ = 0;

    std::string header_, id_;
    detail::TokenBuffer tokens_;
    bool line_start_ = true;
    std::uint64_t pending_stops_ = 0; // '*' met; whether the sequence ends there is not known yet
    detail::LineColumn first_stop_;
    FastaCounts counts_;
};

inline void FastaReader::begin_source(detail::ByteSource source, std::string name) {
    source_.emplace(std::move(source));
    name_ = std::move(name);
    at_ = window_end_ = nullptr;
    position_ = {};
    if (refill() && window_end_ - at_ >= 3 && std::memcmp(at_, "\xEF\xBB\xBF", 3) == 0)
        at_ += 3; // the byte-order mark that some editors put first
    line_start_ = true;
}

inline bool FastaReader::refill() {
    // Slices of a mapped file adjoin and stay: their lines are counted only when an error needs them.
    bool const stays = std::holds_alternative<detail::MappedSlices>(*source_);
    bool const first = window_end_ == nullptr;
    if (!stays && !first)
        position_.finish(window_end_);
    detail::Bytes const bytes = std::visit([](auto &source) { return source.read(); }, *source_);
    if (bytes.empty())
        return false;
    if (!stays || first)
        position_.begin(bytes.data());
    at_ = bytes.data();
    window_end_ = at_ + bytes.size();
    return true;
}

inline std::optional<FastaRecord> FastaReader::next() {
    while (!source_ || !find_record()) {
        bytes_before_ += consumed();
        source_.reset();
        if (next_path_ == paths_.size())
            return std::nullopt;
        std::string const &path = paths_[next_path_++];
        begin_source(detail::open_source(path), path == "-" ? "standard input" : path);
    }
    read_header();
    read_sequence();
    ++counts_.records;
    counts_.residues += tokens_.size();
    std::string_view const header = header_;
    std::size_t const rest = std::min(header.find_first_not_of(" \t", id_.size()), header.size());
    return FastaRecord{header, id_, header.substr(rest), tokens_.span()};
}

/// Moves to the '>' of the next record; false at the end of the file.
inline bool FastaReader::find_record() {
    while (at_ != window_end_ || refill()) {
        std::uint8_t const byte = *at_;
        if (byte == '>' && line_start_)
            return true;
        if (byte == ';' && line_start_) {
            skip_line();
            continue;
        }
        check(byte == '\n' || byte == '\r' || byte == ' ' || byte == '\t', name_, ":", position_.of(at_).line,
              ": text before the first '>': is this a FASTA file?");
        line_start_ = byte == '\n';
        ++at_;
    }
    return false;
}

inline void FastaReader::skip_line() {
    while (at_ != window_end_ || refill()) {
        auto const *const end =
            static_cast<std::uint8_t const *>(std::memchr(at_, '\n', static_cast<std::size_t>(window_end_ - at_)));
        at_ = end ? end + 1 : window_end_;
        if (end)
            break;
    }
    line_start_ = true;
}

inline void FastaReader::read_header() {
    header_.clear();
    ++at_; // the '>'
    while (at_ != window_end_ || refill()) {
        auto const *const end =
            static_cast<std::uint8_t const *>(std::memchr(at_, '\n', static_cast<std::size_t>(window_end_ - at_)));
        header_.append(reinterpret_cast<char const *>(at_), reinterpret_cast<char const *>(end ? end : window_end_));
        at_ = end ? end + 1 : window_end_;
        if (end)
            break;
    }
    line_start_ = true;
    header_.erase(header_.find_last_not_of(" \t\r") + 1);
    header_.erase(0, std::min(header_.find_first_not_of(" \t"), header_.size()));
    id_.assign(header_, 0, header_.find_first_of(" \t"));
}

inline void FastaReader::read_sequence() {
    tokens_.clear();
    pending_stops_ = 0;
    while (at_ != window_end_ || refill()) {
        std::span<std::uint8_t> const room = tokens_.room();
        std::size_t const left = static_cast<std::size_t>(window_end_ - at_);
        auto const [in, out] = translate_(table_, at_, at_ + std::min(left, room.size()), room.data());
        std::size_t const count = static_cast<std::size_t>(out - room.data());
        if (count > 0 && pending_stops_ > 0) [[unlikely]] {
            settle_stops(); // moves the end of the buffer: translate this run again behind it
            continue;
        }
        bool const stopped = static_cast<std::size_t>(in - at_) < std::min(left, room.size());
        if (in != at_)
            line_start_ = in[-1] == '\n';
        tokens_.grow(count);
        at_ = in;
        if (stopped && !take_special(*at_))
            break;
    }
    counts_.stops += pending_stops_;
}

/// Handles a byte that is no plain residue; false when it begins the next record.
inline bool FastaReader::take_special(std::uint8_t byte) {
    if (line_start_ && byte == '>')
        return false;
    if (line_start_ && byte == ';') {
        skip_line();
        return true;
    }
    if (byte == '-' && residue_table_['-'] == Vocabulary::not_a_residue) {
        ++counts_.gaps;
    } else if (byte == '*') {
        if (pending_stops_++ == 0)
            first_stop_ = position_.of(at_);
    } else if (residue_table_[byte] != Vocabulary::not_a_residue) {
        settle_stops();
        ++counts_.mapped;
        append(residue_table_[byte]);
    } else if (byte != '\n' && byte != '\r' && byte != ' ' && byte != '\t') {
        settle_stops();
        invalid_letter(byte);
    }
    line_start_ = byte == '\n';
    ++at_;
    return true;
}

inline void FastaReader::append(std::uint8_t token) {
    tokens_.room()[0] = token;
    tokens_.grow(1);
}

/// Residues follow the stops met so far: they are letters inside the sequence, so invalid.
inline void FastaReader::settle_stops() {
    if (pending_stops_ == 0)
        return;
    check(options_.invalid == InvalidLetters::mask, name_, ":", first_stop_.line, ":", first_stop_.column,
          ": letter '*' (record ", id_, ") stands inside the sequence");
    counts_.masked += pending_stops_;
    for (; pending_stops_ > 0; --pending_stops_)
        append(masked_token_);
}

inline void FastaReader::invalid_letter(std::uint8_t byte) {
    if (options_.invalid == InvalidLetters::error) {
        detail::LineColumn const where = position_.of(at_);
        bool const printable = byte > 32 && byte < 127;
        std::string const letter =
            printable ? std::string{'\'', static_cast<char>(byte), '\''} : "with code " + std::to_string(byte);
        fail(name_, ":", where.line, ":", where.column, ": letter ", letter, " (record ", id_,
             ") is not in the alphabet");
    }
    ++counts_.masked;
    append(masked_token_);
}

} // namespace protlm::inline v0
