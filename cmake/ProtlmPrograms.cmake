# Settings for protlm's own programs (tests, examples, benchmarks). Nothing here reaches a project that uses protlm.
include(CheckLinkerFlag)

add_library(protlm_program INTERFACE)
target_compile_options(protlm_program INTERFACE -Wall -Wextra -Wshadow)
# GCC 12 sees uninitialised values in its own AVX-512 header and overflows in std::string where there are none.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(protlm_program INTERFACE -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow)
endif()
target_compile_definitions(protlm_program INTERFACE PROTLM_BUILD_TYPE="$<CONFIG>")
if(PROTLM_NATIVE)
    target_compile_options(protlm_program INTERFACE -march=native)
endif()

set(protlm_cuda FALSE)
if("CUDA" IN_LIST Kokkos_DEVICES OR Kokkos_ENABLE_CUDA)
    set(protlm_cuda TRUE)
endif()

# mold links a test program in a fraction of the usual time.
find_program(PROTLM_MOLD mold)
mark_as_advanced(PROTLM_MOLD)
if(PROTLM_MOLD AND NOT protlm_cuda)
    check_linker_flag(CXX -fuse-ld=mold PROTLM_LINKS_WITH_MOLD)
    if(PROTLM_LINKS_WITH_MOLD)
        target_link_options(protlm_program INTERFACE -fuse-ld=mold)
    endif()
endif()

# ccache needs to be told that precompiled headers may be trusted.
if(PROTLM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER AND NOT protlm_cuda)
    find_program(PROTLM_CCACHE_PROGRAM ccache)
    mark_as_advanced(PROTLM_CCACHE_PROGRAM)
    if(PROTLM_CCACHE_PROGRAM)
        set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
            CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
            ${PROTLM_CCACHE_PROGRAM})
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            target_compile_options(protlm_program INTERFACE -fpch-preprocess)
        endif()
    endif()
endif()

# protlm_add_program(NAME name FOLDER folder SOURCES file... [LIBRARIES target...] [DEFINITIONS name...])
# builds one executable build/PRESET/FOLDER/NAME. `name` may also be a CMake target of another spelling through TARGET.
function(protlm_add_program)
    cmake_parse_arguments(PARSE_ARGV 0 program "" "NAME;FOLDER;TARGET" "SOURCES;LIBRARIES;DEFINITIONS")
    if(NOT program_TARGET)
        set(program_TARGET protlm_${program_FOLDER}_${program_NAME})
    endif()
    add_executable(${program_TARGET} ${program_SOURCES})
    target_link_libraries(${program_TARGET} PRIVATE protlm::protlm ${program_LIBRARIES} protlm_program)
    target_compile_definitions(${program_TARGET} PRIVATE ${program_DEFINITIONS})
    set_target_properties(${program_TARGET} PROPERTIES OUTPUT_NAME ${program_NAME} CXX_EXTENSIONS OFF
                          RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/${program_FOLDER}")
endfunction()
