#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// Bytes that a header line may have. NCBI's nt and nr join the names of all equal sequences: headers of half a
/// megabyte were there in 2015, and they grow. The limit keeps a hostile file from taking memory.
inline constexpr std::size_t most_header_bytes = std::size_t(1) << 24;

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
