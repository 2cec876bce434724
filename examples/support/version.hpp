// What --version prints: all that a report of a fault should say of a program.
#pragma once

#include <protlm/core/version.hpp>
#ifdef PROTLM_WITH_MPI
#include <protlm/distributed.hpp>
#endif
#ifdef PROTLM_WITH_HDF5
#include <protlm/hdf5.hpp>
#endif

#include <Kokkos_Core.hpp>

#include <string>

namespace examples {

inline std::string compiler_text() {
#if defined(__NVCC__)
    std::string text =
        "nvcc " + std::to_string(__CUDACC_VER_MAJOR__) + '.' + std::to_string(__CUDACC_VER_MINOR__) + " with ";
#else
    std::string text;
#endif
#if defined(__clang__)
    return text + "Clang " + std::to_string(__clang_major__) + '.' + std::to_string(__clang_minor__) + '.' +
           std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
    return text + "GCC " + __VERSION__;
#else
    return text + "unknown";
#endif
}

inline std::string instruction_set_text() {
#if defined(__AVX512BF16__)
    return "x86-64 with AVX-512 and its bfloat16";
#elif defined(__AVX512F__)
    return "x86-64 with AVX-512";
#elif defined(__AVX2__)
    return "x86-64 with AVX2";
#elif defined(__x86_64__)
    return "x86-64 without AVX2";
#elif defined(__aarch64__)
    return "AArch64";
#else
    return "unknown";
#endif
}

inline std::string kokkos_text() {
    std::string text = std::to_string(KOKKOS_VERSION / 10000) + '.' + std::to_string(KOKKOS_VERSION / 100 % 100) + '.' +
                       std::to_string(KOKKOS_VERSION % 100);
    for (char const *name : {
#ifdef KOKKOS_ENABLE_SERIAL
             "Serial",
#endif
#ifdef KOKKOS_ENABLE_OPENMP
             "OpenMP",
#endif
#ifdef KOKKOS_ENABLE_THREADS
             "Threads",
#endif
#ifdef KOKKOS_ENABLE_CUDA
             "CUDA",
#endif
#ifdef KOKKOS_ENABLE_HIP
             "HIP",
#endif
#ifdef KOKKOS_ENABLE_SYCL
             "SYCL",
#endif
             ""})
        text += *name ? std::string(", ") + name : "";
    return text;
}

inline std::string version_text(std::string const &program) {
    std::string text = program + " (protlm) " PROTLM_VERSION_STRING "\ncompiler         " + compiler_text();
#ifdef PROTLM_BUILD_TYPE
    text += "\nbuild type       " PROTLM_BUILD_TYPE;
#endif
#ifndef __OPTIMIZE__
    text += "\noptimised        no";
#endif
    text += "\ninstruction set  " + instruction_set_text() + "\nKokkos           " + kokkos_text();
#ifdef PROTLM_WITH_MPI
    char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(library, &length); // one of few functions that MPI has before it is started
    std::string const mpi(library, static_cast<std::size_t>(length));
    text += "\nMPI              " + mpi.substr(0, mpi.find_first_of("\n,"));
#endif
#ifdef PROTLM_WITH_HDF5
    unsigned version[3] = {};
    H5get_libversion(&version[0], &version[1], &version[2]);
    text += "\nHDF5             " + std::to_string(version[0]) + '.' + std::to_string(version[1]) + '.' +
            std::to_string(version[2]);
#endif
    return text + '\n';
}

} // namespace examples
