#pragma once

#include <Kokkos_Core.hpp>

#include <tuple>
#include <utility>

/// Type lists for BOOST_AUTO_TEST_CASE_TEMPLATE over what this Kokkos was built with.
namespace protlm::test {

/// One combination: `typename Case::device`, `typename Case::scalar`.
template <class Device, class Scalar>
struct DeviceScalar {
    using device = Device;
    using scalar = Scalar;
};

namespace detail {
template <class... Lists>
using concatenate = decltype(std::tuple_cat(std::declval<Lists>()...));

template <class Devices, class... Scalars>
struct Combine;
template <class... Devices, class... Scalars>
struct Combine<std::tuple<Devices...>, Scalars...> {
    template <class Device>
    using row = std::tuple<DeviceScalar<Device, Scalars>...>;
    using type = concatenate<row<Devices>...>;
};
} // namespace detail

/// Execution spaces of the host that are enabled.
using HostDevices = detail::concatenate<std::tuple<>
#ifdef KOKKOS_ENABLE_SERIAL
                                        ,
                                        std::tuple<Kokkos::Serial>
#endif
#ifdef KOKKOS_ENABLE_OPENMP
                                        ,
                                        std::tuple<Kokkos::OpenMP>
#endif
#ifdef KOKKOS_ENABLE_THREADS
                                        ,
                                        std::tuple<Kokkos::Threads>
#endif
                                        >;

/// All execution spaces that are enabled, those of the host first.
using Devices = detail::concatenate<HostDevices
#ifdef KOKKOS_ENABLE_CUDA
                                    ,
                                    std::tuple<Kokkos::Cuda>
#endif
#ifdef KOKKOS_ENABLE_HIP
                                    ,
#if KOKKOS_VERSION >= 40000
                                    std::tuple<Kokkos::HIP>
#else
                                    std::tuple<Kokkos::Experimental::HIP>
#endif
#endif
                                    >;

/// Every device with every scalar. A macro's argument may hold no comma, so a test names its list first:
/// `using FloatAndDouble = protlm::test::Cases<float, double>;`
/// `BOOST_AUTO_TEST_CASE_TEMPLATE(name, Case, FloatAndDouble) { using S = typename Case::scalar; ... }`
template <class... Scalars>
using Cases = typename detail::Combine<Devices, Scalars...>::type;

/// Every device of the host with every scalar.
template <class... Scalars>
using HostCases = typename detail::Combine<HostDevices, Scalars...>::type;

} // namespace protlm::test
