// expect: constraints not satisfied
// expect: ExecutionSpace

#include <protlm/core/context.hpp>

protlm::Inference<Kokkos::HostSpace> context; // a memory space cannot run kernels
