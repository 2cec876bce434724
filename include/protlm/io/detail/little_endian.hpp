#pragma once

#include <bit>
#include <cstddef>
#include <cstring>

namespace protlm::inline v0::detail {

static_assert(std::endian::native == std::endian::little, "protlm's files are little-endian and read without swapping");

/// The number at `address`, at any alignment.
template <class T>
T load_little(std::byte const *address) {
    T value;
    std::memcpy(&value, address, sizeof(T));
    return value;
}

} // namespace protlm::inline v0::detail
