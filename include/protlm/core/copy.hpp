#pragma once

// Copies and zeros of contiguous values, as bytes and words: Kokkos::deep_copy is compiled anew for every type of view
// on either side, at half a second each.

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <type_traits>

namespace protlm::inline v0 {

namespace detail {

template <class T, class Space>
using Unmanaged = Kokkos::View<T *, Kokkos::LayoutRight, Space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

template <class Exec>
void zero_words(Exec const &exec, std::uint32_t *words, index_t count) {
    Kokkos::parallel_for(
        "protlm::zero", range(exec, 0, count), KOKKOS_LAMBDA(index_t i) { words[i] = 0; });
}

} // namespace detail

/// Copies `count` values from one memory space to another, or within one; asynchronous where `exec` is.
template <class ToSpace, class FromSpace, class Exec, class T>
void copy_values(Exec const &exec, T *to, T const *from, index_t count) {
    static_assert(std::is_trivially_copyable_v<T>, "copy_values: the values must be trivially copyable");
    auto const bytes = static_cast<std::size_t>(count) * sizeof(T);
    Kokkos::deep_copy(
        exec, detail::Unmanaged<unsigned char, ToSpace>(reinterpret_cast<unsigned char *>(to), bytes),
        detail::Unmanaged<unsigned char const, FromSpace>(reinterpret_cast<unsigned char const *>(from), bytes));
}

/// Copies a contiguous view into another of as many values.
template <class Exec, class To, class From>
void copy_values(Exec const &exec, To const &to, From const &from) {
    check(to.size() == from.size(), "copy_values: ", from.size(), " values into ", to.size());
    copy_values<typename To::memory_space, typename From::memory_space>(
        exec, to.data(), static_cast<typename To::value_type const *>(from.data()), static_cast<index_t>(to.size()));
}

/// Copies values of the host into a contiguous view and waits: they may go away.
template <class Exec, class To>
void copy_from_host(Exec const &exec, To const &to, typename To::value_type const *from) {
    copy_values<typename To::memory_space, Kokkos::HostSpace>(exec, to.data(), from, static_cast<index_t>(to.size()));
    exec.fence();
}

/// Copies a contiguous view into memory of the host and waits.
template <class Exec, class From>
void copy_to_host(Exec const &exec, typename From::non_const_value_type *to, From const &from) {
    copy_values<Kokkos::HostSpace, typename From::memory_space>(
        exec, to, static_cast<typename From::const_value_type *>(from.data()), static_cast<index_t>(from.size()));
    exec.fence();
}

/// Sets all values of a contiguous view to zero.
template <class Exec, class View>
void zero_values(Exec const &exec, View const &view) {
    static_assert(sizeof(typename View::value_type) % sizeof(std::uint32_t) == 0,
                  "zero_values: the values must be whole words");
    detail::zero_words(exec, reinterpret_cast<std::uint32_t *>(view.data()),
                       static_cast<index_t>(view.size() * (sizeof(typename View::value_type) / sizeof(std::uint32_t))));
}

} // namespace protlm::inline v0
