#pragma once

// Opt-in: training on many ranks. Needs MPI (CMake target protlm::distributed).

#include <protlm/distributed/communicator.hpp>
#include <protlm/distributed/gradient_exchange.hpp>
#include <protlm/distributed/session.hpp>
