# Finds what the protlm targets link. Used by the project itself and by its installed package, so both look in the
# same way: a target that already exists is taken as it is, and only then a package is searched for.
# Each macro sets a variable PROTLM_HAVE_...; none of them stops the configuration.

# protlm_find(TARGET PACKAGE [arguments of find_package...]): TARGET exists afterwards if it could be found.
macro(protlm_find target package)
    if(NOT TARGET ${target})
        find_package(${package} ${ARGN})
    endif()
endmacro()

# protlm_require(NAME VERSION FOUND): notes in PROTLM_MISSING a package that was found in an older version. Packages
# refuse by themselves what has another major version, so that none is asked of find_package.
macro(protlm_require name version found)
    if(NOT "${found}" STREQUAL "" AND "${found}" VERSION_LESS ${version})
        list(APPEND PROTLM_MISSING "${name} ${version} or newer (found ${found})")
    endif()
endmacro()

# Kokkos 3.4 or newer, Eigen, nlohmann-json, zlib, zstd, threads, and liblzma and libbz2 where they are; cuBLAS when Kokkos has CUDA.
# Sets PROTLM_HAVE_CORE, and PROTLM_MISSING to the names of what was not found.
macro(protlm_find_core)
    set(PROTLM_MISSING "")
    protlm_find(Kokkos::kokkos Kokkos QUIET HINTS ${protlm_Kokkos_DIR})
    protlm_find(Eigen3::Eigen Eigen3 QUIET HINTS ${protlm_Eigen3_DIR} NO_MODULE)
    protlm_find(nlohmann_json::nlohmann_json nlohmann_json QUIET HINTS ${protlm_nlohmann_json_DIR})
    protlm_find(ZLIB::ZLIB ZLIB QUIET)
    protlm_find(Threads::Threads Threads QUIET)
    protlm_find_zstd()
    protlm_find_decompressor(lzma PROTLM_HAVE_LZMA lzma.h lzma liblzma)
    protlm_find_decompressor(bzip2 PROTLM_HAVE_BZIP2 bzlib.h bz2 bzip2)
    foreach(protlm_target Kokkos::kokkos Eigen3::Eigen nlohmann_json::nlohmann_json ZLIB::ZLIB protlm::zstd
                          Threads::Threads)
        if(NOT TARGET ${protlm_target})
            list(APPEND PROTLM_MISSING ${protlm_target})
        endif()
    endforeach()
    protlm_require(Kokkos 3.4 "${Kokkos_VERSION}")
    protlm_require(Eigen 3.4 "${Eigen3_VERSION}")
    protlm_require(nlohmann-json 3.9 "${nlohmann_json_VERSION}")
    if("CUDA" IN_LIST Kokkos_DEVICES OR Kokkos_ENABLE_CUDA)
        protlm_find(CUDA::cublas CUDAToolkit QUIET)
        if(NOT TARGET CUDA::cublas)
            list(APPEND PROTLM_MISSING CUDA::cublas)
        endif()
    endif()
    if(PROTLM_MISSING)
        set(PROTLM_HAVE_CORE FALSE)
    else()
        set(PROTLM_HAVE_CORE TRUE)
    endif()
endmacro()

# zstd comes with a CMake package from some builds only, under several target names: protlm::zstd stands for all.
macro(protlm_find_zstd)
    if(NOT TARGET protlm::zstd)
        find_path(PROTLM_ZSTD_INCLUDE_DIR zstd.h)
        find_library(PROTLM_ZSTD_LIBRARY NAMES zstd zstd_static)
        mark_as_advanced(PROTLM_ZSTD_INCLUDE_DIR PROTLM_ZSTD_LIBRARY)
        foreach(protlm_target zstd::libzstd zstd::libzstd_shared zstd::libzstd_static)
            if(TARGET ${protlm_target} AND NOT TARGET protlm::zstd)
                add_library(protlm::zstd INTERFACE IMPORTED)
                set_target_properties(protlm::zstd PROPERTIES INTERFACE_LINK_LIBRARIES ${protlm_target})
            endif()
        endforeach()
        if(NOT TARGET protlm::zstd AND PROTLM_ZSTD_INCLUDE_DIR AND PROTLM_ZSTD_LIBRARY)
            add_library(protlm::zstd UNKNOWN IMPORTED)
            set_target_properties(protlm::zstd PROPERTIES IMPORTED_LOCATION "${PROTLM_ZSTD_LIBRARY}"
                                  INTERFACE_INCLUDE_DIRECTORIES "${PROTLM_ZSTD_INCLUDE_DIR}")
        endif()
    endif()
endmacro()

# What reads FASTA files that xz or bzip2 compressed, where it is there: protlm::lzma and protlm::bzip2, which are empty
# otherwise; the macros PROTLM_HAVE_LZMA and PROTLM_HAVE_BZIP2 come with them. CMake's own modules compile programs to
# find them, this does not.
macro(protlm_find_decompressor name macro header)
    if(NOT TARGET protlm::${name})
        find_path(${macro}_INCLUDE_DIR ${header})
        find_library(${macro}_LIBRARY NAMES ${ARGN})
        mark_as_advanced(${macro}_INCLUDE_DIR ${macro}_LIBRARY)
        add_library(protlm::${name} INTERFACE IMPORTED)
        if(${macro}_INCLUDE_DIR AND ${macro}_LIBRARY)
            set_target_properties(protlm::${name} PROPERTIES INTERFACE_LINK_LIBRARIES "${${macro}_LIBRARY}"
                                  INTERFACE_INCLUDE_DIRECTORIES "${${macro}_INCLUDE_DIR}"
                                  INTERFACE_COMPILE_DEFINITIONS ${macro})
        endif()
    endif()
endmacro()

# MPI with its C interface, called from C++. Sets PROTLM_HAVE_MPI.
macro(protlm_find_mpi)
    protlm_find(MPI::MPI_CXX MPI QUIET COMPONENTS CXX)
    if(TARGET MPI::MPI_CXX)
        set(PROTLM_HAVE_MPI TRUE)
    else()
        set(PROTLM_HAVE_MPI FALSE)
    endif()
endmacro()

# HDF5's C library. CMake's module compiles a C program to find it, so C is switched on. Sets PROTLM_HAVE_HDF5.
macro(protlm_find_hdf5)
    if(NOT TARGET hdf5::hdf5)
        if(NOT CMAKE_C_COMPILER_LOADED)
            enable_language(C)
        endif()
        find_package(HDF5 QUIET COMPONENTS C)
    endif()
    if(TARGET hdf5::hdf5)
        set(PROTLM_HAVE_HDF5 TRUE)
    else()
        set(PROTLM_HAVE_HDF5 FALSE)
    endif()
endmacro()

# Packages found inside a subproject are invisible to the project around it, which links protlm::protlm and with it
# their targets: make them global.
function(protlm_share_imported_targets)
    get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
    foreach(target IN LISTS targets)
        set_property(TARGET ${target} PROPERTY IMPORTED_GLOBAL TRUE)
    endforeach()
endfunction()
