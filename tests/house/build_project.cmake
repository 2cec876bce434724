# Configures, builds and runs a project, as somebody who uses protlm would.
#   cmake -DSOURCE=folder -DBUILD=folder [-DRUN=program [-DPRINTS=regex]] -P build_project.cmake -- options of cmake...
#         [-- arguments of the program...]
# Lists among the options travel with | between their elements.
set(parts_seen 0)
set(options "")
set(arguments "")
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
    if("${CMAKE_ARGV${i}}" STREQUAL "--")
        math(EXPR parts_seen "${parts_seen} + 1")
    elseif(parts_seen EQUAL 1)
        list(APPEND options "${CMAKE_ARGV${i}}")
    elseif(parts_seen EQUAL 2)
        list(APPEND arguments "${CMAKE_ARGV${i}}")
    endif()
endforeach()
list(TRANSFORM options REPLACE "[|]" "\\\\;")

execute_process(COMMAND "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" ${options} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" COMMAND_ERROR_IS_FATAL ANY)
if(RUN)
    execute_process(COMMAND "${BUILD}/${RUN}" ${arguments} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
    if(PRINTS AND NOT output MATCHES "${PRINTS}")
        message(FATAL_ERROR "${RUN} does not print ${PRINTS}, but:\n${output}")
    endif()
endif()
