#pragma once

#include <protlm/core/parameters.hpp>

#include <cstdint>
#include <cstring>

namespace protlm::inline v0 {

/// A checksum of all weights, bit for bit, as they lie in memory: the same wherever they are, and on any number of
/// threads. By it processes tell whether they loaded the same model (not whether somebody meant to deceive them).
template <Scalar S, ExecutionSpace Exec>
std::uint64_t weights_checksum(Parameters<S, Exec> const &parameters) {
    S const *const values = parameters.values().data();
    std::uint64_t sum = 0; // of numbers that depend on value and place, so that their order does not matter
    Kokkos::parallel_reduce(
        "protlm::weights_checksum", range(Exec(), 0, static_cast<index_t>(parameters.values().extent(0))),
        KOKKOS_LAMBDA(index_t i, std::uint64_t & partial) {
            std::uint64_t bits = 0;
            memcpy(&bits, values + i, sizeof(S));
            bits += static_cast<std::uint64_t>(i + 1) * 0x9e3779b97f4a7c15; // Steele et al., OOPSLA 2014: splitmix64
            bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
            bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
            partial += bits ^ (bits >> 31);
        },
        sum);
    return sum;
}

} // namespace protlm::inline v0
