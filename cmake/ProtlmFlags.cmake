# protlm_warn_about_flags: says once, at configuration, when the flags that targets around protlm are compiled with make
# it slow without need: no optimisation, or the 128-bit vectors of x86-64's first processors. Used by the project itself
# and by its installed package. PROTLM_QUIET_FLAGS=ON switches it off.
function(protlm_warn_about_flags)
    if(PROTLM_QUIET_FLAGS OR PROTLM_FLAGS_TOLD OR CMAKE_CONFIGURATION_TYPES)
        return()
    endif()
    string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
    set(flags "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}}")
    if(NOT flags MATCHES "(^| )-O([1-9sg]|fast)?( |$)")
        set(level STATUS)
        if(NOT CMAKE_BUILD_TYPE)
            set(level WARNING) # nobody asked for it
        endif()
        message(${level} "protlm: these flags do not optimise, and protlm is some fifty times slower then: set "
                         "CMAKE_BUILD_TYPE=Release (it is \"${CMAKE_BUILD_TYPE}\")")
    elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND NOT PROTLM_NATIVE AND
           NOT flags MATCHES "-march=|-mavx|-xHost|-mcpu=")
        message(STATUS "protlm: without -march=native or -march=x86-64-v3 in CMAKE_CXX_FLAGS vectors have 128 bits, a "
                       "third of the speed of a processor with AVX-512")
    endif()
    set(PROTLM_FLAGS_TOLD TRUE CACHE INTERNAL "protlm has said what it thinks of the compiler's flags")
endfunction()
