#pragma once

#include <string>

namespace protlm::inline v0 {

/// One sentence when this program was compiled in a way that makes it slow without need on this machine, for programs
/// to print; empty when all is well. The flags that count are those of the source that calls it.
inline std::string build_advice() {
#if !defined(__OPTIMIZE__)
    return "compiled without optimisation, some fifty times slower than with it: CMAKE_BUILD_TYPE=Release, or -O3";
#elif defined(__x86_64__) && !defined(__AVX__)
    if (__builtin_cpu_supports("avx512f"))
        return "compiled for vectors of 128 bits, a third of the speed of this processor's 512: -march=native, or "
               "-march=x86-64-v4";
    if (__builtin_cpu_supports("avx2"))
        return "compiled for vectors of 128 bits, half the speed of this processor's 256: -march=native, or "
               "-march=x86-64-v3";
    return {};
#else
    return {};
#endif
}

} // namespace protlm::inline v0
