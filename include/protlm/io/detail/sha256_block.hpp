#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace protlm::inline v0::detail {

/// FIPS 180-4, section 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64 primes.
alignas(16) inline constexpr std::uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using Sha256State = std::array<std::uint32_t, 8>;

/// Takes `blocks` blocks of 64 bytes into the state; FIPS 180-4, section 6.2.2.
inline void sha256_blocks_portable(Sha256State &state, std::byte const *data, std::size_t blocks) {
    for (; blocks--; data += 64) {
        std::uint32_t w[64];
        std::memcpy(w, data, 64);
        for (int t = 0; t < 16; ++t)
            w[t] = __builtin_bswap32(w[t]);
        for (int t = 16; t < 64; ++t) {
            std::uint32_t const x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3)) + w[t - 7] +
                   (std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10));
        }
        auto [a, b, c, d, e, f, g, h] = state;
        for (int t = 0; t < 64; ++t) {
            std::uint32_t const t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                                     ((e & f) ^ (~e & g)) + sha256_constants[t] + w[t];
            std::uint32_t const t2 =
                (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        std::uint32_t const sums[] = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < 8; ++i)
            state[static_cast<std::size_t>(i)] += sums[i];
    }
}

#if defined(__x86_64__)

/// True when this processor has the SHA instructions (and SSE4.1).
inline bool has_sha_instructions() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    bool const sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 19));
    return sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

/// As the portable function, five times as fast: a checkpoint of gigabytes is hashed at the speed of reading it.
__attribute__((target("sha,sse4.1"))) inline void sha256_blocks_x86(Sha256State &state, std::byte const *data,
                                                                    std::size_t blocks) {
    auto const word = [&state](int i) { return static_cast<int>(state[static_cast<std::size_t>(i)]); };
    __m128i abef = _mm_set_epi32(word(0), word(1), word(4), word(5));
    __m128i cdgh = _mm_set_epi32(word(2), word(3), word(6), word(7));
    __m128i const byte_order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (; blocks--; data += 64) {
        __m128i const abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; ++i)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<__m128i const *>(data) + i), byte_order);
        for (int i = 0; i < 16; ++i) { // four rounds each
            __m128i const constants = _mm_load_si128(reinterpret_cast<__m128i const *>(sha256_constants) + i);
            __m128i const sum = _mm_add_epi32(w[i % 4], constants);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            __m128i const shifted = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
            __m128i const next = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), shifted);
            w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    alignas(16) std::uint32_t x[4], y[4];
    _mm_store_si128(reinterpret_cast<__m128i *>(x), abef);
    _mm_store_si128(reinterpret_cast<__m128i *>(y), cdgh);
    state = {x[3], x[2], y[3], y[2], x[1], x[0], y[1], y[0]};
}

inline void sha256_blocks(Sha256State &state, std::byte const *data, std::size_t blocks) {
    static bool const fast = has_sha_instructions();
    fast ? sha256_blocks_x86(state, data, blocks) : sha256_blocks_portable(state, data, blocks);
}

#else

inline void sha256_blocks(Sha256State &state, std::byte const *data, std::size_t blocks) {
    sha256_blocks_portable(state, data, blocks);
}

#endif

} // namespace protlm::inline v0::detail
