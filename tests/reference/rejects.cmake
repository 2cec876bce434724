# Runs the checker on what it must refuse: it has to exit with 1 and say why.
function(must_fail what pattern)
    execute_process(COMMAND "${CHECKER}" ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE err)
    if(NOT code EQUAL 1)
        message(FATAL_ERROR "${what}: exit code ${code}, expected 1\n${out}${err}")
    endif()
    if(NOT "${out}${err}" MATCHES "${pattern}")
        message(FATAL_ERROR "${what}: the output does not match '${pattern}':\n${out}${err}")
    endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}/eps" "${WORK}/architecture")
must_fail("no such folder" "no such folder" "${WORK}/missing")
must_fail("no case" "case.json" "${WORK}/eps")

# a model that differs from the one that made the values: another epsilon
file(COPY "${CASE}/" DESTINATION "${WORK}/eps")
file(READ "${CASE}/config.json" config)
string(REPLACE "1e-12" "1e-2" config "${config}")
file(WRITE "${WORK}/eps/config.json" "${config}")
must_fail("another epsilon" "FAIL" "${WORK}/eps")

file(COPY "${CASE}/" DESTINATION "${WORK}/architecture")
file(READ "${CASE}/case.json" case)
string(REPLACE "\"architecture\": \"bert\"" "\"architecture\": \"nothing\"" case "${case}")
file(WRITE "${WORK}/architecture/case.json" "${case}")
must_fail("unknown architecture" "nothing" "${WORK}/architecture")
