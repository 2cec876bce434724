#pragma once

// What protlm needs of the compiler's floating-point arithmetic, and what holds whatever the flags.

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace protlm::inline v0 {

// Softmax masks with infinities, runs stop at values that are not finite, and a protein has the same bits in any batch:
// a compiler that may ignore all that would give wrong numbers without a sign.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
inline constexpr bool has_standard_arithmetic = false;
#else
inline constexpr bool has_standard_arithmetic = true;
#endif
static_assert(has_standard_arithmetic,
              "protlm: -ffast-math, -Ofast, -ffinite-math-only and -fp-model=fast make its results wrong; add "
              "-fno-fast-math (Intel: -fp-model=precise) for the sources that include it");
static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559,
              "protlm: float and double must be those of IEC 60559");

/// True for numbers, false for infinities and NaN. Looks at the bits, so that no compiler flag can remove it.
template <class S>
    requires std::is_same_v<S, float> || std::is_same_v<S, double>
constexpr bool is_finite(S value) {
    if constexpr (sizeof(S) == 4)
        return (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
    else
        return (std::bit_cast<std::uint64_t>(value) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

} // namespace protlm::inline v0
