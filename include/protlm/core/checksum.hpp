#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace protlm::inline v0 {

/// A checksum against torn or lost writes (not against intent) of `bytes`, going on from `seed`: four lanes of eight
/// bytes, each mixed by a multiplication with an odd number and a shift, which can both be undone, so that no change
/// of a single word is lost.
inline std::uint64_t checksum64(std::span<std::byte const> bytes, std::uint64_t seed = 0) {
    constexpr std::uint64_t odd = 0xd6e8feb86659fd93;
    std::array<std::uint64_t, 4> lanes{seed ^ 1, seed ^ 2, seed ^ 3, seed ^ 4};
    std::size_t at = 0;
    std::array<std::uint64_t, 4> words{};
    for (; at + sizeof(words) <= bytes.size(); at += sizeof(words)) {
        std::memcpy(words.data(), bytes.data() + at, sizeof(words));
        for (std::size_t i = 0; i < 4; ++i) {
            lanes[i] = (lanes[i] ^ words[i]) * odd;
            lanes[i] ^= lanes[i] >> 32;
        }
    }
    std::uint64_t sum = seed + bytes.size();
    for (; at < bytes.size(); ++at)
        sum = (std::rotl(sum, 9) ^ static_cast<std::uint64_t>(bytes[at])) * odd;
    for (std::uint64_t const lane : lanes)
        sum = (std::rotl(sum, 27) ^ lane) * odd;
    return sum ^ (sum >> 29);
}

} // namespace protlm::inline v0
