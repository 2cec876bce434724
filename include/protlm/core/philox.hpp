#pragma once

#include <protlm/core/kokkos.hpp>

namespace protlm::inline v0 {

/// Four 32-bit words: a counter, or what the generator makes of it.
struct PhiloxWords {
    std::uint32_t word[4];
    KOKKOS_FUNCTION constexpr std::uint32_t operator[](int i) const { return word[i]; }
};

/// Philox 4x32 with 10 rounds: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
/// Follows Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11, and its known-answer vectors.
KOKKOS_INLINE_FUNCTION constexpr PhiloxWords philox(PhiloxWords counter, std::uint64_t key) {
    std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        std::uint64_t const a = 0xD2511F53ull * counter.word[0], b = 0xCD9E8D57ull * counter.word[2];
        counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ k0, static_cast<std::uint32_t>(b),
                    static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ k1, static_cast<std::uint32_t>(a)}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return counter;
}

/// What a random number is for; two purposes never share one.
enum class Purpose : std::uint32_t {
    initialise = 1,
    dropout,
    mask,
    shuffle,
    crop,
    pair,
    sample,
    split,
    span,
    replace,
    generate,
    attention_dropout
};

/// Random numbers keyed by (seed, purpose, epoch, sample, position): the same on any number of ranks and threads.
struct CounterRandom {
    std::uint64_t seed = 0;
    Purpose purpose = Purpose::sample;
    std::uint32_t epoch = 0; // below 2^24

    /// 128 random bits for `position` of `sample`.
    KOKKOS_FUNCTION constexpr PhiloxWords operator()(std::uint64_t sample, std::uint32_t position) const {
        return philox({{position, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32),
                        (epoch & 0xFFFFFFu) | (static_cast<std::uint32_t>(purpose) << 24)}},
                      seed);
    }
};

/// Uniform in [0, 1) from 32 random bits; exact in float (24 bits are used).
KOKKOS_INLINE_FUNCTION constexpr float uniform_float(std::uint32_t bits) {
    return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

/// Uniform in [0, 1) from 64 random bits (53 are used).
KOKKOS_INLINE_FUNCTION constexpr double uniform_double(std::uint32_t high, std::uint32_t low) {
    return static_cast<double>(((static_cast<std::uint64_t>(high) << 32) | low) >> 11) * (1.0 / 9007199254740992.0);
}

/// Uniform integer in [0, n) from 32 random bits; bias below n / 2^32.
KOKKOS_INLINE_FUNCTION constexpr std::uint32_t uniform_below(std::uint32_t bits, std::uint32_t n) {
    return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits) * n) >> 32);
}

} // namespace protlm::inline v0
