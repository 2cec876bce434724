#pragma once

// The processor's instruction for sums of products of bfloat16 pairs (AVX512_BF16), looked for when the program runs:
// the functions here are compiled for it whatever the rest is compiled for.

#include <protlm/core/scalar.hpp>
#include <protlm/ops/detail/micro_kernel.hpp>

#include <algorithm>

#if defined(__x86_64__) && !defined(__CUDACC__) // nvcc's front end does not know the registers
#include <immintrin.h>
#endif

namespace protlm::inline v0::detail {

/// Two neighbours of a row of bfloat16, the first in the low half.
using BfloatPair = std::uint32_t;

/// Columns of a panel of pairs, and the rows that its kernel computes at once: 24 of 32 registers hold sums.
inline constexpr index_t pair_cols = 32;
inline constexpr int pair_rows = 12;

inline BfloatPair bfloat_pair(bfloat16 first, bfloat16 second) {
    return static_cast<BfloatPair>(first.value) | static_cast<BfloatPair>(second.value) << 16;
}

#if defined(__x86_64__) && !defined(__CUDACC__)

/// True when this processor multiplies pairs of bfloat16 and the system lets it.
inline bool has_bfloat16_unit() {
    static bool const has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl");
    return has;
}

/// A row of floats (n) rounded to the nearest bfloat16, even ones from halfway, as pairs; an odd one's partner is zero.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512bf16")]] inline void round_row(float const *from, index_t n,
                                                                              BfloatPair *to) {
    index_t j = 0;
    for (; j + 16 <= n; j += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + j / 2),
                            reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from + j))));
    if (j < n) {
        auto const read = static_cast<__mmask16>((1u << (n - j)) - 1);
        auto const write = static_cast<__mmask8>((1u << ((n - j + 1) / 2)) - 1);
        __m512 const values = _mm512_maskz_loadu_ps(read, from + j);
        _mm256_mask_storeu_epi32(to + j / 2, write, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(values)));
    }
}

/// Two rows of floats (n, a multiple of 16) rounded, as pairs of what stands in one column; no second row: zero.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512bf16")]] inline void
round_rows_together(float const *first, float const *second, index_t n, BfloatPair *to) {
    constexpr __mmask16 all = 0xFFFF; // GCC 12 takes what the forms without a mask leave open for uninitialised
    for (index_t j = 0; j < n; j += 16) {
        auto const upper = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(first + j)));
        __m512i pairs = _mm512_maskz_cvtepu16_epi32(all, upper);
        if (second) {
            auto const lower = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(second + j)));
            pairs = _mm512_or_si512(pairs, _mm512_maskz_slli_epi32(all, _mm512_maskz_cvtepu16_epi32(all, lower), 16));
        }
        _mm512_storeu_si512(to + j, pairs);
    }
}

/// c (R, 16 NV) = `from` + a (R, pairs) b (pairs, 16 NV), each pair's two products added one after the other.
/// @param b row p at b + p * b_row
template <int R, int NV>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512bf16"), gnu::always_inline]] inline void
pair_kernel(BfloatPair const *a, index_t a_row, BfloatPair const *b, index_t b_row, SumsFrom<float> from, float *c,
            index_t c_row, index_t pairs) {
    __m512 sum[R][NV];
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < NV; ++v)
            sum[i][v] = from.data ? _mm512_loadu_ps(from.data + i * from.stride + 16 * v) : _mm512_setzero_ps();
    for (index_t p = 0; p < pairs; ++p) {
        __m512bh column[NV];
        for (int v = 0; v < NV; ++v)
            column[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + p * b_row + 16 * v));
        for (int i = 0; i < R; ++i) {
            auto const row = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[i * a_row + p])));
            for (int v = 0; v < NV; ++v)
                sum[i][v] = _mm512_dpbf16_ps(sum[i][v], row, column[v]);
        }
    }
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < NV; ++v)
            _mm512_storeu_ps(c + i * c_row + 16 * v, sum[i][v]);
}

/// The same for any number of rows.
template <int NV>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512bf16")]] inline void
pair_rows_product(BfloatPair const *a, index_t a_row, BfloatPair const *b, index_t b_row, SumsFrom<float> from,
                  float *c, index_t c_row, index_t rows, index_t pairs) {
    index_t i = 0;
    for (; i + pair_rows <= rows; i += pair_rows)
        pair_kernel<pair_rows, NV>(a + i * a_row, a_row, b, b_row, from.at(i, 0), c + i * c_row, c_row, pairs);
    if (i + pair_rows / 2 <= rows) {
        pair_kernel<pair_rows / 2, NV>(a + i * a_row, a_row, b, b_row, from.at(i, 0), c + i * c_row, c_row, pairs);
        i += pair_rows / 2;
    }
    for (; i + 2 <= rows; i += 2)
        pair_kernel<2, NV>(a + i * a_row, a_row, b, b_row, from.at(i, 0), c + i * c_row, c_row, pairs);
    for (; i < rows; ++i)
        pair_kernel<1, NV>(a + i * a_row, a_row, b, b_row, from.at(i, 0), c + i * c_row, c_row, pairs);
}

/// c (rows, 32) = [c +] a (rows, pairs) b of one panel.
inline void pair_product(BfloatPair const *a, index_t a_row, BfloatPair const *b, float *c, index_t c_row, index_t rows,
                         index_t pairs, bool add) {
    pair_rows_product<2>(a, a_row, b, pair_cols, add ? SumsFrom<float>{c, c_row} : SumsFrom<float>{}, c, c_row, rows,
                         pairs);
}

/// c (rows, cols) = `from` + a (rows, pairs) b (pairs, cols) for tiles in scratch; `cols` is a multiple of 16.
inline void pair_tile_product(BfloatPair const *a, index_t a_row, BfloatPair const *b, index_t b_row,
                              SumsFrom<float> from, float *c, index_t c_row, index_t rows, index_t cols,
                              index_t pairs) {
    index_t j = 0;
    for (; j + pair_cols <= cols; j += pair_cols)
        pair_rows_product<2>(a, a_row, b + j, b_row, from.at(0, j), c + j, c_row, rows, pairs);
    if (j < cols)
        pair_rows_product<1>(a, a_row, b + j, b_row, from.at(0, j), c + j, c_row, rows, pairs);
}

#endif

} // namespace protlm::inline v0::detail
