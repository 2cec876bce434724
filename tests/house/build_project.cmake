# Configures, builds and runs a project, as somebody who uses protlm would.
#   cmake -DSOURCE=folder -DBUILD=folder [-DRUN=program] -P build_project.cmake -- options of the configuration...
#         [-- arguments of the program...]
# Options that end in nothing (-DNAME=) are passed on as they are.
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
# Lists travel with | between their elements.
list(TRANSFORM options REPLACE "[|]" "\\\\;")

execute_process(COMMAND "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" ${options} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" COMMAND_ERROR_IS_FATAL ANY)
if(RUN)
    execute_process(COMMAND "${BUILD}/${RUN}" ${arguments} COMMAND_ERROR_IS_FATAL ANY)
endif()
