#pragma once

// The one place that knows differences between Kokkos 3.4 and 5.x.

#include <protlm/core/floating_point.hpp>

#include <Kokkos_Core.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace protlm::inline v0 {

/// Signed 64-bit index: rows, columns and offsets never overflow, also for billions of tokens.
using index_t = std::int64_t;

/// True for execution spaces whose kernels run on the host (Serial, OpenMP, Threads).
template <class Exec>
inline constexpr bool is_host_space =
    (Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename Exec::memory_space>::accessible &&
     Kokkos::SpaceAccessibility<Exec, Kokkos::HostSpace>::accessible);

/// A Kokkos execution space; a memory space is none, though it has one.
template <class T>
concept ExecutionSpace = Kokkos::is_execution_space<T>::value;

/// One-dimensional view that does not own its memory (owner: a MemoryPool buffer or the caller).
template <class T, class Exec>
using VectorView =
    Kokkos::View<T *, Kokkos::LayoutRight, typename Exec::memory_space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

/// Row-major matrix view that does not own its memory.
template <class T, class Exec>
using MatrixView =
    Kokkos::View<T **, Kokkos::LayoutRight, typename Exec::memory_space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

/// Range of work items on `exec`; indices are 64 bit.
template <class Exec>
auto range(Exec const &exec, index_t begin, index_t end) {
    return Kokkos::RangePolicy<Exec, Kokkos::IndexType<index_t>>(exec, begin, end);
}

/// Range whose items are handed out one at a time: for few items of unequal cost.
template <class Exec>
auto dynamic_range(Exec const &exec, index_t begin, index_t end) {
    return Kokkos::RangePolicy<Exec, Kokkos::IndexType<index_t>, Kokkos::Schedule<Kokkos::Dynamic>>(
        exec, begin, end, Kokkos::ChunkSize(1));
}

/// Number of host threads that a kernel on `exec` uses (1 for device spaces' host side).
template <class Exec>
int concurrency(Exec const &exec) {
    if constexpr (requires { exec.concurrency(); })
        return static_cast<int>(exec.concurrency());
    else
        return static_cast<int>(Exec::concurrency());
}

/// Gives each running iteration of a host kernel a number below `size()` that no other running one has: the place of
/// its workspace.
template <class Exec>
using WorkspaceToken = Kokkos::Experimental::UniqueToken<Exec, Kokkos::Experimental::UniqueTokenScope::Global>;

} // namespace protlm::inline v0
