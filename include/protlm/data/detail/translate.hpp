#pragma once

#include <protlm/data/vocabulary.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

namespace protlm::inline v0::detail {

/// Codes of the 128 ASCII bytes; the highest bit marks bytes that are no plain residues: white space, gaps, stops,
/// '>', letters that are mapped (they are counted) or invalid. Both cases of a letter have the same code.
struct TranslationTable {
    alignas(64) std::array<std::uint8_t, 128> code;

    explicit TranslationTable(Vocabulary const &vocabulary) {
        code.fill(Vocabulary::not_a_residue);
        for (unsigned char upper = 'A'; upper <= 'Z'; ++upper) {
            unsigned const lower = upper + ('a' - 'A');
            std::uint8_t const token = vocabulary.residue_table[upper];
            if (token < 128 && token == vocabulary.residue_table[lower] && token < vocabulary.size() &&
                vocabulary.letter(token) == static_cast<char>(upper))
                code[upper] = code[lower] = token;
        }
    }
};

/// How far a translation came: the next byte to read, and the end of the tokens written.
struct Translated {
    std::uint8_t const *in;
    std::uint8_t *out;
};

/// Translates [in, end) until the first byte that is neither a plain residue nor CR or LF; these two are skipped.
/// `out` must have room for `end - in` bytes; bytes behind the tokens written may be overwritten too.
using Translate = Translated (*)(TranslationTable const &, std::uint8_t const *in, std::uint8_t const *end,
                                 std::uint8_t *out);

inline bool is_line_end(std::uint8_t byte) { return byte == '\n' || byte == '\r'; }

inline Translated translate_portable(TranslationTable const &table, std::uint8_t const *in, std::uint8_t const *end,
                                     std::uint8_t *out) {
    auto const look_up = [&](std::uint8_t byte) {
        return static_cast<std::uint8_t>(table.code[byte & 127] | (byte & 128));
    };
    while (in < end) {
        if (end - in >= 8) {
            std::uint8_t any = 0;
            for (int i = 0; i < 8; ++i)
                any |= out[i] = look_up(in[i]);
            if (!(any & 128)) {
                in += 8;
                out += 8;
                continue;
            }
        }
        std::uint8_t const code = look_up(*in);
        if (!(code & 128)) {
            *out++ = code;
            ++in;
        } else if (is_line_end(*in)) {
            ++in;
        } else {
            break;
        }
    }
    return {in, out};
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
/// 64 bytes at a time: one two-register permutation looks up all 128 codes, and one compression closes the gaps where
/// lines ended, so that no step waits for where the line before it ended.
[[gnu::target("avx512f,avx512bw,avx512vbmi,avx512vbmi2,popcnt,bmi")]] inline Translated
translate_avx512(TranslationTable const &table, std::uint8_t const *in, std::uint8_t const *end, std::uint8_t *out) {
    __m512i const low = _mm512_load_si512(table.code.data()), high = _mm512_load_si512(table.code.data() + 64);
    __m512i const line_feed = _mm512_set1_epi8('\n'), carriage_return = _mm512_set1_epi8('\r');
    for (; end - in >= 64; in += 64) {
        __m512i const bytes = _mm512_loadu_si512(in);
        __m512i const codes = _mm512_permutex2var_epi8(low, bytes, high);
        std::uint64_t const special = _mm512_movepi8_mask(_mm512_or_si512(codes, bytes));
        if (special == 0) {
            _mm512_storeu_si512(out, codes);
            out += 64;
            continue;
        }
        std::uint64_t const stop =
            special & ~(_mm512_cmpeq_epi8_mask(bytes, line_feed) | _mm512_cmpeq_epi8_mask(bytes, carriage_return));
        std::uint64_t const keep = ~special & (stop ^ (stop - 1)); // all up to the first stop; everything without one
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(keep, codes));
        out += std::popcount(keep);
        if (stop != 0)
            return {in + std::countr_zero(stop), out};
    }
    return translate_portable(table, in, end, out);
}

/// 32 bytes at a time: letters differ in their low five bits, so two 16-entry shuffles and a blend look them up.
[[gnu::target("avx2")]] inline Translated translate_avx2(TranslationTable const &table, std::uint8_t const *in,
                                                         std::uint8_t const *end, std::uint8_t *out) {
    auto const *const halves = reinterpret_cast<__m128i const *>(table.code.data() + 64);
    __m256i const low = _mm256_broadcastsi128_si256(_mm_load_si128(halves));
    __m256i const high = _mm256_broadcastsi128_si256(_mm_load_si128(halves + 1));
    __m256i const letter_bit = _mm256_set1_epi8(0x40);
    while (end - in >= 32) {
        __m256i const bytes = _mm256_loadu_si256(reinterpret_cast<__m256i const *>(in));
        __m256i const bit4 = _mm256_slli_epi16(bytes, 3); // the blend looks at bit 7 only
        __m256i const codes =
            _mm256_blendv_epi8(_mm256_shuffle_epi8(low, bytes), _mm256_shuffle_epi8(high, bytes), bit4);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), codes);
        __m256i const outside = _mm256_xor_si256(bytes, letter_bit); // letters have 01 in their two highest bits
        __m256i const wrong = _mm256_or_si256(_mm256_or_si256(codes, outside), _mm256_slli_epi16(outside, 1));
        auto const stop = static_cast<std::uint32_t>(_mm256_movemask_epi8(wrong));
        if (stop == 0) { // a branch, so that the next block need not wait for the count
            in += 32;
            out += 32;
            continue;
        }
        int const plain = std::countr_zero(stop);
        in += plain;
        out += plain;
        if (!is_line_end(*in))
            return {in, out};
        ++in;
    }
    return translate_portable(table, in, end, out);
}
#endif

/// The fastest translator that this CPU has, found at run time so that a binary for old CPUs is fast on new ones.
inline Translate best_translate() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512bw"))
        return translate_avx512;
    if (__builtin_cpu_supports("avx2"))
        return translate_avx2;
#endif
    return translate_portable;
}

} // namespace protlm::inline v0::detail
