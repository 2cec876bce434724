#pragma once

// The host's vector registers as a type, by the vector extension of GCC and Clang. Every row-wise host kernel works
// on these, a row's tail included, so that an element has the same bits wherever it stands.

#include <protlm/core/kokkos.hpp>

#include <cmath>
#include <cstring>
#include <utility>

namespace protlm::inline v0::detail {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

/// Lanes of one register for scalar S.
template <class S>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(S));

/// One by one, since nvcc does not take a vector whose element is a template parameter.
template <class S>
struct VectorOf;
template <>
struct VectorOf<float> {
    typedef float type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
    typedef double type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<std::int32_t> {
    typedef std::int32_t type __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<std::int64_t> {
    typedef std::int64_t type __attribute__((vector_size(vector_bytes)));
};
template <class S>
using Vec = typename VectorOf<S>::type;
/// Comparison results and bit patterns: integers of the same width.
template <class S>
using Int = std::conditional_t<sizeof(S) == 8, std::int64_t, std::int32_t>;
template <class S>
using VecInt = typename VectorOf<Int<S>>::type;

template <class S>
inline Vec<S> load(S const *p) {
    Vec<S> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class S>
inline void store(S *p, Vec<S> v) {
    std::memcpy(p, &v, sizeof v);
}
/// The first n lanes from memory, the others zero.
template <class S>
inline Vec<S> load_part(S const *p, index_t n) {
    Vec<S> v{};
    std::memcpy(&v, p, sizeof(S) * static_cast<std::size_t>(n));
    return v;
}
template <class S>
inline void store_part(S *p, Vec<S> v, index_t n) {
    std::memcpy(p, &v, sizeof(S) * static_cast<std::size_t>(n));
}
template <class S>
inline Vec<S> broadcast(S s) {
    return Vec<S>{} + s;
}

/// Lanes combined by halves: the same order everywhere. `f` takes two halves of a register.
template <class S, int count, class F>
[[gnu::always_inline]] inline S fold_lanes(S const *lane, F const &f) {
    if constexpr (count == 1) {
        return *lane;
    } else {
#if defined(__CUDACC__) // its front end takes no vector of dependent size; same order, one by one
        S rest[count / 2];
        for (int i = 0; i < count / 2; ++i)
            rest[i] = f(lane[i], lane[i + count / 2]);
#else
        typedef S Half __attribute__((vector_size(sizeof(S) * count / 2)));
        Half low, high;
        std::memcpy(&low, lane, sizeof low);
        std::memcpy(&high, lane + count / 2, sizeof high);
        low = f(low, high);
        S rest[count / 2];
        std::memcpy(rest, &low, sizeof low);
#endif
        return fold_lanes<S, count / 2>(rest, f);
    }
}
template <class S>
inline S sum_lanes(Vec<S> v) {
    S lane[lanes<S>];
    std::memcpy(lane, &v, sizeof v);
    return fold_lanes<S, lanes<S>>(lane, [](auto a, auto b) { return a + b; });
}
template <class S>
inline S max_lanes(Vec<S> v) {
    S lane[lanes<S>];
    std::memcpy(lane, &v, sizeof v);
    return fold_lanes<S, lanes<S>>(lane, [](auto a, auto b) { return a > b ? a : b; });
}
template <class S>
inline Vec<S> max(Vec<S> a, Vec<S> b) {
    return a > b ? a : b;
}

/// `v`, whose origin the compiler no longer knows: (x + c) - c stays a rounding where flags allow to reorder sums.
template <class V>
[[gnu::always_inline]] inline V opaque(V v) {
#if defined(__CUDA_ARCH__)
#elif defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#else
    asm("" : "+m"(v));
#endif
    return v;
}

/// exp(x) = 2^n exp(x - n log 2), from -87.3 to 88; `rest` gives the second factor of x and n, NaN for NaN.
template <class F>
[[gnu::always_inline]] inline Vec<float> exp_by_parts(Vec<float> x, F const &rest) {
    auto const low = broadcast(-87.33654f);
    x = x < low ? low : x;
    auto const magic = broadcast(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer
    auto const t = opaque(x * 1.44269504089f + magic);
    auto const factor = rest(x, t - magic);
    VecInt<float> bits, power;
    std::memcpy(&bits, &t, sizeof t);
    power = (bits + (127 - 0x4B400000)) << 23;
    Vec<float> scale;
    std::memcpy(&scale, &power, sizeof power);
    return factor * scale;
}
/// exp of what is at most 88, within 2 units in the last place for float; 1e-38 below -87.3. NaN stays NaN.
inline Vec<float> exp_bounded(Vec<float> x) {
    return exp_by_parts(x, [](Vec<float> y, Vec<float> n) {
        auto r = opaque(y - n * 0.693359375f);
        r = r + n * 2.12194440e-4f;
        auto p = broadcast(1.9875691500e-4f);
        p = p * r + 1.3981999507e-3f;
        p = p * r + 8.3334519073e-3f;
        p = p * r + 4.1665795894e-2f;
        p = p * r + 1.6666665459e-1f;
        p = p * r + 5.0000001201e-1f;
        return p * (r * r) + r + 1.0f;
    });
}
/// exp_bounded within 1.3e-4 of itself, for results that are rounded to bfloat16.
inline Vec<float> exp_rough(Vec<float> x) {
    return exp_by_parts(x, [](Vec<float> y, Vec<float> n) {
        auto const r = y - n * 0.693147181f;
        return (r * 0.16661754f + 0.50392869f) * (r * r) + r + 1.0f;
    });
}
/// exp; 0 below -87.3, so that masked scores vanish.
inline Vec<float> exp(Vec<float> x) {
    auto const high = broadcast(88.0f);
    auto const y = exp_bounded(x > high ? high : x);
    return x < -87.33654f ? Vec<float>{} : y;
}
inline Vec<double> exp(Vec<double> x) {
    double lane[lanes<double>];
    std::memcpy(lane, &x, sizeof x);
    for (double &v : lane)
        v = std::exp(v);
    return load(lane);
}

inline Vec<double> exp_bounded(Vec<double> x) { return exp(x); }

/// Phi(x), the normal distribution function, and its density. float: Abramowitz and Stegun 7.1.26, absolute error
/// below 2e-7; double: the library's erfc.
template <class S>
struct Normal {
    Vec<S> distribution, density;
};
inline Normal<float> normal(Vec<float> x) {
    auto const gauss = exp(x * x * -0.5f);
    auto const z = (x < 0.0f ? -x : x) * 0.70710678f;
    auto const t = 1.0f / (1.0f + 0.3275911f * z);
    auto p = broadcast(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    auto const tail = 0.5f * p * t * gauss; // Phi(-|x|)
    return {x < 0.0f ? tail : 1.0f - tail, gauss * 0.39894228f};
}
inline Normal<double> normal(Vec<double> x) {
    double lane[lanes<double>], density[lanes<double>];
    std::memcpy(lane, &x, sizeof x);
    for (int i = 0; i < lanes<double>; ++i) {
        density[i] = 0.3989422804014327 * std::exp(-0.5 * lane[i] * lane[i]);
        lane[i] = 0.5 * std::erfc(-lane[i] * 0.70710678118654752);
    }
    return {load(lane), load(density)};
}

#if !defined(__CUDACC__)
/// Lanes picked from a and b: numbers below lanes<S> name lanes of a, the others of b.
template <class S, int... lane>
[[gnu::always_inline]] inline Vec<S> shuffle(Vec<S> a, Vec<S> b) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, lane...);
#else // GCC's older spelling
    return __builtin_shuffle(a, b, VecInt<S>{lane...});
#endif
}
/// One of the two results of exchanging blocks of `step` lanes between a and b.
template <class S, int step, bool odd, int... lane>
[[gnu::always_inline]] inline Vec<S> exchange_blocks(Vec<S> a, Vec<S> b, std::integer_sequence<int, lane...>) {
    constexpr int n = lanes<S>;
    if constexpr (odd)
        return shuffle<S, ((lane & step) ? n + lane : lane + step)...>(a, b);
    else
        return shuffle<S, ((lane & step) ? n + lane - step : lane)...>(a, b);
}
template <class S, int step>
[[gnu::always_inline]] inline void transpose_stage(Vec<S> (&rows)[lanes<S>]) {
    if constexpr (step < lanes<S>) {
        using All = std::make_integer_sequence<int, lanes<S>>;
#pragma GCC unroll 16
        for (int i = 0; i < lanes<S>; ++i)
            if (!(i & step)) {
                auto const a = rows[i], b = rows[i + step];
                rows[i] = exchange_blocks<S, step, false>(a, b, All());
                rows[i + step] = exchange_blocks<S, step, true>(a, b, All());
            }
        transpose_stage<S, 2 * step>(rows);
    }
}
/// Transposes a square tile of lanes rows and columns.
template <class S>
inline void transpose_square(S const *from, index_t from_stride, S *to, index_t to_stride) {
    Vec<S> rows[lanes<S>];
#pragma GCC unroll 16
    for (int i = 0; i < lanes<S>; ++i)
        rows[i] = load(from + i * from_stride);
    transpose_stage<S, 1>(rows);
#pragma GCC unroll 16
    for (int i = 0; i < lanes<S>; ++i)
        store(to + i * to_stride, rows[i]);
}
#else
template <class S>
inline void transpose_square(S const *from, index_t from_stride, S *to, index_t to_stride) {
    for (int i = 0; i < lanes<S>; ++i)
        for (int j = 0; j < lanes<S>; ++j)
            to[j * to_stride + i] = from[i * from_stride + j];
}
#endif
/// to (cols, rows) = the transposed of from (rows, cols): whole squares in registers, the rest by elements.
template <class S>
inline void transpose(S const *from, index_t from_stride, index_t rows, index_t cols, S *to, index_t to_stride) {
    constexpr index_t n = lanes<S>;
    index_t const whole_rows = rows / n * n, whole_cols = cols / n * n;
    for (index_t i = 0; i < whole_rows; i += n)
        for (index_t j = 0; j < whole_cols; j += n)
            transpose_square(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
    for (index_t i = 0; i < rows; ++i)
        for (index_t j = i < whole_rows ? whole_cols : 0; j < cols; ++j)
            to[j * to_stride + i] = from[i * from_stride + j];
}

template <class S>
inline Vec<S> tanh(Vec<S> x) {
    return S(1) - S(2) / (exp(x * S(2)) + S(1));
}

} // namespace protlm::inline v0::detail
