#pragma once

#include <cstddef>
#include <string_view>

namespace protlm::inline v0 {

/// Whether `text` is well-formed UTF-8: the shortest form of every letter, no surrogates, nothing above U+10FFFF
/// (RFC 3629).
inline bool is_valid_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        auto const lead = static_cast<unsigned char>(text[i++]);
        int const more = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
        if (more < 0)
            return false;
        for (int k = 0; k < more; ++k, ++i) {
            auto const next = i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
            int const least = k > 0 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
            int const most = k > 0 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
            if (next < least || next > most)
                return false;
        }
    }
    return true;
}

} // namespace protlm::inline v0
