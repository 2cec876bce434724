#pragma once

#include <protlm/core/kokkos.hpp>

#include <Eigen/Core>

#include <cmath>

#if defined(__AVX__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

namespace protlm::inline v0::detail {

/// What host kernels work on at a time: fixed size, so that Eigen takes vector registers for every operation. A
/// formula is written once, for a number and for a pack.
template <class A>
using Pack = Eigen::Array<A, 16, 1>;

template <class V>
inline constexpr int pack_lanes = 1;
template <class A>
inline constexpr int pack_lanes<Pack<A>> = 16;

template <class V, class T>
KOKKOS_INLINE_FUNCTION V load_pack(T const *source) {
    if constexpr (pack_lanes<V> == 1)
        return static_cast<V>(*source);
    else
        return Eigen::Map<Pack<T> const>(source).template cast<typename V::Scalar>();
}

template <class V, class T>
KOKKOS_INLINE_FUNCTION void store_pack(T *destination, V const &value) {
    if constexpr (pack_lanes<V> == 1)
        *destination = static_cast<T>(value);
    else
        Eigen::Map<Pack<T>>{destination} = value.template cast<T>();
}

/// Correctly rounded roots; Eigen's are quick approximations.
inline void square_roots(float *values) {
#if defined(__AVX512F__) && !defined(__CUDACC__)
    _mm512_storeu_ps(values, _mm512_maskz_sqrt_ps(0xFFFF, _mm512_loadu_ps(values)));
#elif defined(__AVX__) && !defined(__CUDACC__)
    for (int i = 0; i < 16; i += 8)
        _mm256_storeu_ps(values + i, _mm256_sqrt_ps(_mm256_loadu_ps(values + i)));
#else
    for (int i = 0; i < 16; ++i)
        values[i] = std::sqrt(values[i]);
#endif
}
inline void square_roots(double *values) {
#if defined(__AVX__) && !defined(__CUDACC__)
    for (int i = 0; i < 16; i += 4)
        _mm256_storeu_pd(values + i, _mm256_sqrt_pd(_mm256_loadu_pd(values + i)));
#else
    for (int i = 0; i < 16; ++i)
        values[i] = std::sqrt(values[i]);
#endif
}

template <class V>
KOKKOS_INLINE_FUNCTION V square_root(V const &value) {
    if constexpr (pack_lanes<V> == 1) {
        using std::sqrt;
        return sqrt(value);
    } else {
        V root = value;
        square_roots(root.data());
        return root;
    }
}

/// A sum of squares in double, one a lane.
template <class V>
struct LaneSum {
    double lane[pack_lanes<V>] = {};
    KOKKOS_INLINE_FUNCTION void add_square(V const &value) {
        if constexpr (pack_lanes<V> == 1)
            lane[0] += static_cast<double>(value) * static_cast<double>(value);
        else
            for (int k = 0; k < pack_lanes<V>; ++k)
                lane[k] += static_cast<double>(value[k]) * static_cast<double>(value[k]);
    }
    KOKKOS_INLINE_FUNCTION double total() const {
        double sum = 0;
        for (double x : lane)
            sum += x;
        return sum;
    }
};

} // namespace protlm::inline v0::detail
