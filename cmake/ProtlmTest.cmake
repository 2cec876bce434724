# protlm_add_test: one test program from several files with Boost.Test cases.
#
#   protlm_add_test(NAME data SOURCES fasta.cpp store.cpp
#                   [LIBRARIES protlm::distributed protlm::hdf5 ...]   beside protlm::protlm and the test support
#                   [RANKS 1 2 4]      run under MPI once for each number of ranks, as data-1, data-2, ...
#                   [TIMEOUT 120]      seconds for one run
#                   [ARGS ...]         arguments of the program      [LABELS ...] ctest labels; the name is one
#                   [DEFINITIONS ...]  compile definitions)
#
# The program is build/PRESET/tests/test_NAME; `main` comes from tests/support. A test of a part that this build lacks
# (MPI, HDF5) is left out with a message.

if(POLICY CMP0167)
    cmake_policy(SET CMP0167 NEW) # CMake no longer has a module of its own for Boost
endif()
find_package(Boost 1.70 REQUIRED COMPONENTS unit_test_framework)
set(PROTLM_TEST_THREADS 2 CACHE STRING "OpenMP threads of a test without MPI")
set(PROTLM_TEST_SUPPORT "${CMAKE_CURRENT_LIST_DIR}/../tests/support")
set(PROTLM_TEST_FIXTURES "${CMAKE_CURRENT_LIST_DIR}/../tests/fixtures")
cmake_path(NORMAL_PATH PROTLM_TEST_SUPPORT)
cmake_path(NORMAL_PATH PROTLM_TEST_FIXTURES)

# All settings that a test program is compiled with: equal for all, so that they can share one precompiled header.
add_library(protlm_test_settings INTERFACE)
target_link_libraries(protlm_test_settings INTERFACE protlm::protlm Boost::unit_test_framework protlm_program)
target_include_directories(protlm_test_settings INTERFACE "${PROTLM_TEST_SUPPORT}/..")
target_compile_definitions(protlm_test_settings INTERFACE BOOST_TEST_NO_MAIN BOOST_TEST_DYN_LINK
                           PROTLM_TEST_FIXTURES="${PROTLM_TEST_FIXTURES}")

# The main program, which also holds the precompiled header.
add_library(protlm_test_main OBJECT "${PROTLM_TEST_SUPPORT}/main.cpp")
target_link_libraries(protlm_test_main PUBLIC protlm_test_settings)
set_target_properties(protlm_test_main PROPERTIES CXX_EXTENSIONS OFF)
target_precompile_headers(protlm_test_main PRIVATE "${PROTLM_TEST_SUPPORT}/precompiled.hpp")

if(TARGET protlm::distributed)
    add_library(protlm_test_main_mpi OBJECT "${PROTLM_TEST_SUPPORT}/main.cpp")
    target_link_libraries(protlm_test_main_mpi PUBLIC protlm_test_settings protlm::distributed)
    target_compile_definitions(protlm_test_main_mpi PRIVATE PROTLM_TEST_MPI)
    set_target_properties(protlm_test_main_mpi PROPERTIES CXX_EXTENSIONS OFF)
    target_precompile_headers(protlm_test_main_mpi REUSE_FROM protlm_test_main)

    if(NOT MPIEXEC_EXECUTABLE)
        find_program(MPIEXEC_EXECUTABLE NAMES mpiexec mpirun REQUIRED)
    endif()
    execute_process(COMMAND "${MPIEXEC_EXECUTABLE}" --version OUTPUT_VARIABLE protlm_mpi_version ERROR_QUIET)
endif()

# Sets `result` to the command line that starts an MPI job of `ranks` ranks and ends it after `timeout` seconds.
function(protlm_mpi_command result ranks timeout)
    set(command "${MPIEXEC_EXECUTABLE}" ${MPIEXEC_NUMPROC_FLAG} ${ranks})
    if(NOT MPIEXEC_NUMPROC_FLAG)
        set(command "${MPIEXEC_EXECUTABLE}" -n ${ranks})
    endif()
    if(protlm_mpi_version MATCHES "Open MPI|OpenRTE|PRRTE")
        list(APPEND command --oversubscribe --bind-to none --timeout ${timeout})
    endif()
    set(${result} ${command} PARENT_SCOPE)
endfunction()

# Environment of a test: ranks share the machine's cores, so each gets one thread; Open MPI allows root only by
# two variables, and containers often forbid its copies between processes.
set(PROTLM_TEST_ENVIRONMENT OMP_PROC_BIND=false OMP_NUM_THREADS=${PROTLM_TEST_THREADS})
set(PROTLM_TEST_MPI_ENVIRONMENT OMP_PROC_BIND=false OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none)

function(protlm_add_test)
    cmake_parse_arguments(PARSE_ARGV 0 test "" "NAME;TIMEOUT" "SOURCES;LIBRARIES;RANKS;ARGS;LABELS;DEFINITIONS")
    if(test_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "protlm_add_test ${test_NAME}: unknown arguments ${test_UNPARSED_ARGUMENTS}")
    endif()
    if("protlm::distributed" IN_LIST test_LIBRARIES AND NOT test_RANKS)
        set(test_RANKS 1)
    endif()
    if(test_RANKS)
        list(APPEND test_LIBRARIES protlm::distributed)
    endif()
    foreach(library IN LISTS test_LIBRARIES)
        if(library MATCHES "::" AND NOT TARGET ${library})
            message(STATUS "protlm: no test ${test_NAME}, because ${library} is not there")
            return()
        endif()
    endforeach()
    if(NOT test_TIMEOUT)
        set(test_TIMEOUT 120)
    endif()

    set(main protlm_test_main)
    if(test_RANKS)
        set(main protlm_test_main_mpi)
    endif()
    protlm_add_program(NAME test_${test_NAME} FOLDER tests TARGET protlm_test_${test_NAME} SOURCES ${test_SOURCES}
                       LIBRARIES ${main} ${test_LIBRARIES} DEFINITIONS ${test_DEFINITIONS})
    target_precompile_headers(protlm_test_${test_NAME} REUSE_FROM protlm_test_main)

    if(NOT test_RANKS)
        add_test(NAME ${test_NAME} COMMAND protlm_test_${test_NAME} ${test_ARGS}
                 WORKING_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        set_tests_properties(${test_NAME} PROPERTIES TIMEOUT ${test_TIMEOUT} PROCESSORS ${PROTLM_TEST_THREADS}
                             ENVIRONMENT "${PROTLM_TEST_ENVIRONMENT}" LABELS "${test_NAME};${test_LABELS}")
        return()
    endif()
    math(EXPR outer_timeout "${test_TIMEOUT} + 15")
    foreach(ranks IN LISTS test_RANKS)
        protlm_mpi_command(command ${ranks} ${test_TIMEOUT})
        add_test(NAME ${test_NAME}-${ranks}
                 COMMAND ${command} $<TARGET_FILE:protlm_test_${test_NAME}> ${test_ARGS}
                 WORKING_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        set_tests_properties(${test_NAME}-${ranks} PROPERTIES TIMEOUT ${outer_timeout} PROCESSORS ${ranks}
                             ENVIRONMENT "${PROTLM_TEST_MPI_ENVIRONMENT}" LABELS "${test_NAME};mpi;${test_LABELS}")
    endforeach()
endfunction()
