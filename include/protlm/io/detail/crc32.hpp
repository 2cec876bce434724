#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace protlm::inline v0::detail {

/// CRC-32 as zip files have it.
inline std::uint32_t crc32_of(std::span<std::byte const> bytes) {
    uLong sum = ::crc32(0, nullptr, 0);
    while (!bytes.empty()) { // zlib counts in 32 bits
        auto const part = bytes.first(std::min<std::size_t>(bytes.size(), std::size_t(1) << 30));
        sum = ::crc32(sum, reinterpret_cast<Bytef const *>(part.data()), static_cast<uInt>(part.size()));
        bytes = bytes.subspan(part.size());
    }
    return static_cast<std::uint32_t>(sum);
}

/// CRC-32 of two stretches of bytes behind each other, from their own and the size of the second.
inline std::uint32_t crc32_joined(std::uint32_t first, std::uint32_t second, std::size_t second_size) {
    return static_cast<std::uint32_t>(::crc32_combine(first, second, static_cast<z_off_t>(second_size)));
}

} // namespace protlm::inline v0::detail
