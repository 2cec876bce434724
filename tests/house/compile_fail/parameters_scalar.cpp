// expect: constraints not satisfied
// expect: Scalar

#include <protlm/core/parameters.hpp>

protlm::Parameters<long double, Kokkos::DefaultHostExecutionSpace> parameters; // no model is stored so
