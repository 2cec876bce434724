#pragma once

#include <protlm/core/check.hpp>
#include <protlm/data/detail/byte_source.hpp>
#include <protlm/data/detail/fasta_header.hpp>
#include <protlm/data/detail/text_position.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace protlm::inline v0::detail {

/// A place in the text of one source after the other, which knows its line. `at` to `end` are the bytes at hand.
class TextCursor {
  public:
    std::uint8_t const *at = nullptr, *end = nullptr;

    /// @param name  of the source, for messages
    /// @throws Error when it certainly is something else than text
    void open(ByteSource source, std::string name) {
        bool const packed =
            !std::holds_alternative<MappedSlices>(source) && !std::holds_alternative<PlainStream>(source);
        source_.emplace(std::move(source));
        name_ = std::move(name);
        at = end = nullptr;
        position_ = {};
        if (!refill())
            return;
        std::string_view const other = other_kind({at, left()}, packed);
        check(other.empty(), name_, ": is no FASTA file, but ", other);
        if (left() >= 3 && std::memcmp(at, "\xEF\xBB\xBF", 3) == 0)
            at += 3; // the byte-order mark that some editors put first
    }
    void close() { source_.reset(); }
    bool is_open() const { return source_.has_value(); }
    std::string const &name() const { return name_; }

    /// True while there are bytes at hand, or more can be had.
    bool more() { return at != end || refill(); }
    std::size_t left() const { return static_cast<std::size_t>(end - at); }
    /// Of the byte at `at`.
    LineColumn place() { return position_.of(at); }
    std::uint64_t line() { return place().line; }
    /// Bytes of the source as it is stored, so compressed ones count compressed.
    std::uint64_t consumed() const {
        return source_ ? std::visit([](auto const &source) { return source.consumed(); }, *source_) : 0;
    }

    /// Reads what is left of the line, without its end and white space before that; `at` is behind it then.
    /// @returns false where the source ends before the line does
    /// @throws Error with the line for one that is too long, or has a carriage return inside
    bool read_line(std::string &text) {
        text.clear();
        bool ended = false;
        while (!ended && more()) {
            auto const *const stop = static_cast<std::uint8_t const *>(std::memchr(at, '\n', left()));
            ended = stop != nullptr;
            auto const size = static_cast<std::size_t>((ended ? stop : end) - at);
            if (size > most_header_bytes - text.size()) // to find the line costs a pass over the text
                fail(name_, ":", line(), ": a header or comment of more than ", most_header_bytes, " bytes");
            text.append(reinterpret_cast<char const *>(at), size);
            at = ended ? stop + 1 : end;
        }
        text.erase(text.find_last_not_of(" \t\r") + 1);
        if (text.find('\r') != text.npos)
            fail(name_, ":", line() - ended, ": the line holds ", header_fault("\r"));
        return ended;
    }

  private:
    bool refill() {
        // Slices of a mapped file adjoin and stay: their lines are counted only when an error needs them.
        bool const stays = std::holds_alternative<MappedSlices>(*source_), first = end == nullptr;
        if (!stays && !first)
            position_.finish(end);
        Bytes const bytes = std::visit([](auto &source) { return source.read(); }, *source_);
        if (bytes.empty())
            return false;
        if (!stays || first)
            position_.begin(bytes.data());
        at = bytes.data();
        end = at + bytes.size();
        return true;
    }
    std::optional<ByteSource> source_;
    std::string name_;
    TextPosition position_;
};

} // namespace protlm::inline v0::detail
