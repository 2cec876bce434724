#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace protlm::inline v0::detail {

/// Reads an unsigned little-endian number from anywhere in memory.
template <class T>
T read_as(void const *from) {
    static_assert(std::endian::native == std::endian::little, "load: protlm's files need a little-endian machine");
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

/// XXH64 as its specification (xxHash, document version 0.2.0) describes it: 64-bit checksums at memory speed, which
/// `xxhsum -H1` and many languages can recompute. Takes its input in parts of any size.
class Xxh64 {
  public:
    explicit Xxh64(std::uint64_t seed = 0) : seed_(seed), lane_{seed + p1 + p2, seed + p2, seed, seed - p1} {}

    void update(void const *data, std::size_t size) {
        if (size == 0)
            return;
        auto const *from = static_cast<unsigned char const *>(data);
        total_ += size;
        if (held_ > 0) {
            std::size_t const part = std::min(size, stripe - held_);
            std::memcpy(hold_.data() + held_, from, part);
            held_ += part;
            from += part;
            size -= part;
            if (held_ < stripe)
                return;
            consume(hold_.data());
            held_ = 0;
        }
        for (; size >= stripe; from += stripe, size -= stripe)
            consume(from);
        if (size > 0)
            std::memcpy(hold_.data(), from, size);
        held_ = size;
    }

    std::uint64_t digest() const {
        std::uint64_t hash = seed_ + p5;
        if (total_ >= stripe) {
            hash = std::rotl(lane_[0], 1) + std::rotl(lane_[1], 7) + std::rotl(lane_[2], 12) + std::rotl(lane_[3], 18);
            for (std::uint64_t const lane : lane_)
                hash = (hash ^ round(0, lane)) * p1 + p4;
        }
        hash += total_;
        unsigned char const *from = hold_.data(), *const end = from + held_;
        for (; end - from >= 8; from += 8)
            hash = std::rotl(hash ^ round(0, read_as<std::uint64_t>(from)), 27) * p1 + p4;
        for (; end - from >= 4; from += 4)
            hash = std::rotl(hash ^ (read_as<std::uint32_t>(from) * p1), 23) * p2 + p3;
        for (; from < end; ++from)
            hash = std::rotl(hash ^ (*from * p5), 11) * p1;
        hash = (hash ^ (hash >> 33)) * p2;
        hash = (hash ^ (hash >> 29)) * p3;
        return hash ^ (hash >> 32);
    }

  private:
    static constexpr std::size_t stripe = 32;
    static constexpr std::uint64_t p1 = 0x9E3779B185EBCA87ull, p2 = 0xC2B2AE3D27D4EB4Full, p3 = 0x165667B19E3779F9ull,
                                   p4 = 0x85EBCA77C2B2AE63ull, p5 = 0x27D4EB2F165667C5ull;

    static std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
        return std::rotl(lane + input * p2, 31) * p1;
    }
    void consume(unsigned char const *from) {
        for (std::size_t i = 0; i < 4; ++i)
            lane_[i] = round(lane_[i], read_as<std::uint64_t>(from + 8 * i));
    }
    std::uint64_t seed_;
    std::array<std::uint64_t, 4> lane_;
    std::array<unsigned char, stripe> hold_{};
    std::size_t held_ = 0;
    std::uint64_t total_ = 0;
};

/// XXH64 of one piece of memory.
inline std::uint64_t xxh64(void const *data, std::size_t size, std::uint64_t seed = 0) {
    Xxh64 hash(seed);
    hash.update(data, size);
    return hash.digest();
}

} // namespace protlm::inline v0::detail
