#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace protlm::inline v0::detail {

/// Place in a text, both counted from 1; the column is in bytes.
struct LineColumn {
    std::uint64_t line = 1, column = 1;
};

/// Finds line and column of a byte when they are asked for, so that reading itself does not count lines.
/// Asked in ascending order, all answers together cost one pass over the text.
class TextPosition {
  public:
    /// The text goes on at `next`, wherever its part before was.
    void begin(std::uint8_t const *next) { mark_ = next; }
    /// Counts up to `end`, before the memory that holds this part of the text is used for the next.
    void finish(std::uint8_t const *end) { advance(end); }
    /// Line and column of the byte at `at`, which is not before any byte asked for earlier.
    LineColumn of(std::uint8_t const *at) {
        advance(at);
        return {line_, column_};
    }

  private:
    void advance(std::uint8_t const *to) {
        line_ += static_cast<std::uint64_t>(std::count(mark_, to, std::uint8_t('\n')));
        std::uint8_t const *begin = to;
        while (begin != mark_ && begin[-1] != '\n')
            --begin;
        column_ = static_cast<std::uint64_t>(to - begin) + (begin != mark_ ? 1 : column_);
        mark_ = to;
    }
    std::uint8_t const *mark_ = nullptr;
    std::uint64_t line_ = 1, column_ = 1;
};

} // namespace protlm::inline v0::detail
