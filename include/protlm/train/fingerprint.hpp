#pragma once

#include <protlm/core/parameters.hpp>
#include <protlm/io/sha256.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// The first 64 bits of the SHA-256 of some bytes: what ranks compare.
inline std::uint64_t fingerprint(std::span<std::byte const> bytes) {
    return std::stoull(sha256(bytes).substr(0, 16), nullptr, 16);
}
inline std::uint64_t fingerprint(std::string_view text) { return fingerprint(std::as_bytes(std::span(text))); }

/// Of names, shapes and places of all tensors.
inline std::uint64_t fingerprint(ParameterTable const &table) {
    std::string text;
    for (auto const &entry : table.entries()) {
        text += entry.name + ' ' + std::to_string(entry.offset);
        for (index_t extent : entry.shape)
            text += ' ' + std::to_string(extent);
        text += '\n';
    }
    return fingerprint(std::string_view(text));
}

/// Of all values, bit for bit; copies them to the host where they are elsewhere.
template <Scalar S, class Exec>
std::uint64_t fingerprint(Parameters<S, Exec> const &parameters) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), parameters.values());
    return fingerprint(std::as_bytes(std::span(host.data(), host.extent(0))));
}

} // namespace protlm::inline v0
