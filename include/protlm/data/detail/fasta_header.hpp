#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// As many bytes as a header line may have; the longest ones of NCBI's nr, which join hundreds of names, have fewer.
inline constexpr std::size_t most_header_bytes = std::size_t(1) << 20;

/// Whether a header has only what nearly all have: printable ASCII, spaces and tabs.
inline bool is_plain_header(std::string_view text) {
    unsigned other = 0; // without a branch, so that many bytes are looked at in one step
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        other |= static_cast<unsigned>(byte - 32u >= 95u) & static_cast<unsigned>(byte != '\t');
    }
    return other == 0;
}

/// What is wrong with a header line, which must not have line ends at its end any more; empty: nothing.
/// Control-A is as it should be: NCBI puts it between the names of equal proteins.
inline std::string header_fault(std::string_view text) {
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte == '\r')
            return "a carriage return without a line feed, the line end of old Macs; \"tr '\\r' '\\n'\" turns them "
                   "into line feeds";
        if (byte == 0)
            return "a zero byte";
        if ((byte < 32 && byte != '\t' && byte != 1) || byte == 127)
            return "the control character with code " + std::to_string(byte);
    }
    return {};
}

/// Bytes of the UTF-8 character that `text` begins with; 0 where it begins with none.
inline std::size_t utf8_character(std::string_view text) {
    auto const at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    unsigned const first = at(0);
    if (first < 0x80)
        return 1;
    std::size_t const size = first >= 0xC2 && first < 0xE0 ? 2
                             : (first & 0xF0) == 0xE0      ? 3
                             : (first & 0xF8) == 0xF0      ? 4
                                                           : 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((at(i) & 0xC0) != 0x80)
            return 0;
    bool const overlong = (first == 0xE0 && at(1) < 0xA0) || (first == 0xF0 && at(1) < 0x90);
    bool const surrogate = first == 0xED && at(1) >= 0xA0;
    bool const too_large = first > 0xF4 || (first == 0xF4 && at(1) >= 0x90);
    return overlong || surrogate || too_large ? 0 : size;
}

inline bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        std::size_t const size = utf8_character(text);
        if (size == 0)
            return false;
        text.remove_prefix(size);
    }
    return true;
}

/// Latin-1 as UTF-8. Empty when there is a byte that Latin-1 has no character for: it is something else then.
inline std::string utf8_of_latin1(std::string_view text) {
    std::string result;
    for (char const c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte >= 0x80 && byte < 0xA0)
            return {};
        if (byte >= 0x80)
            result.push_back(static_cast<char>(0xC0 | (byte >> 6)));
        result.push_back(byte >= 0x80 ? static_cast<char>(0x80 | (byte & 0x3F)) : c);
    }
    return result;
}

} // namespace protlm::inline v0::detail
