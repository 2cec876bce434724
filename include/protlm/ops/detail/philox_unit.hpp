#pragma once

// The generator on hosts, a register of counters at a time.

#include <protlm/core/philox.hpp>
#include <protlm/ops/detail/vector_unit.hpp>

#if defined(__x86_64__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

namespace protlm::inline v0::detail {

/// Counters of one tile of decisions, and how many decisions of 16 bits they make.
inline constexpr index_t tile_counters = 16, tile_decisions = 8 * tile_counters;

#if !defined(__CUDACC__)

/// Words of counters, each in the low half of a lane; the high half may be anything.
typedef std::uint64_t CounterLanes __attribute__((vector_size(vector_bytes)));

/// Products of the low halves of the lanes.
[[gnu::always_inline]] inline CounterLanes low_products(CounterLanes a, CounterLanes b) {
#if defined(__x86_64__) && defined(__AVX512F__)
    return (CounterLanes)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__x86_64__) && defined(__AVX2__)
    return (CounterLanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__) && !defined(__AVX__)
    return (CounterLanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

/// bits (tile_decisions): those of counters `counter` to `counter` + 15 in its last word. First words 0 and 1 of each,
/// then words 2 and 3; the low half of a word before its high half.
inline void philox_tile(PhiloxWords counter, std::uint64_t key, std::uint16_t *bits) {
    constexpr index_t n = vector_bytes / index_t(sizeof(std::uint64_t));
    CounterLanes const a = CounterLanes{} + 0xD2511F53ull, b = CounterLanes{} + 0xCD9E8D57ull;
    CounterLanes number;
    for (index_t i = 0; i < n; ++i)
        number[i] = static_cast<std::uint64_t>(i);
    for (index_t first = 0; first < tile_counters; first += n) {
        CounterLanes c0 = CounterLanes{} + counter[0], c1 = CounterLanes{} + counter[1],
                     c2 = CounterLanes{} + counter[2], c3 = number + (counter[3] + static_cast<std::uint64_t>(first));
        CounterLanes k0 = CounterLanes{} + (key & 0xFFFFFFFFu), k1 = CounterLanes{} + (key >> 32);
        for (int round = 0; round < 10; ++round) {
            CounterLanes const x = low_products(a, c0), y = low_products(b, c2);
            c0 = (y >> 32) ^ c1 ^ k0;
            c1 = y;
            c2 = (x >> 32) ^ c3 ^ k1;
            c3 = x;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        CounterLanes const low = (c0 & 0xFFFFFFFFu) | (c1 << 32), high = (c2 & 0xFFFFFFFFu) | (c3 << 32);
        std::memcpy(bits + 4 * first, &low, sizeof low);
        std::memcpy(bits + tile_decisions / 2 + 4 * first, &high, sizeof high);
    }
}

/// Numbers of 16 bits as integers of the width of A.
template <class A>
[[gnu::always_inline]] inline VecInt<A> lanes_of_16_bits(std::uint16_t const *bits) {
    typedef std::uint16_t Halves __attribute__((vector_size(sizeof(std::uint16_t) * lanes<A>)));
    Halves halves;
    std::memcpy(&halves, bits, sizeof halves);
    return __builtin_convertvector(halves, VecInt<A>);
}

#else

inline void philox_tile(PhiloxWords counter, std::uint64_t key, std::uint16_t *bits) {
    for (std::uint32_t c = 0; c < tile_counters; ++c) {
        PhiloxWords const words = philox({{counter[0], counter[1], counter[2], counter[3] + c}}, key);
        for (int i = 0; i < 8; ++i)
            bits[tile_decisions / 2 * (i / 4) + 4 * c + i % 4] =
                static_cast<std::uint16_t>(words[i / 2] >> (16 * (i % 2)));
    }
}
template <class A>
inline VecInt<A> lanes_of_16_bits(std::uint16_t const *bits) {
    VecInt<A> result{};
    for (int i = 0; i < lanes<A>; ++i)
        result[i] = bits[i];
    return result;
}

#endif

} // namespace protlm::inline v0::detail
