// expect: constraints not satisfied
// expect: Scalar

#include <protlm/core/scalar.hpp>

protlm::accumulate_t<int> sum = 0; // a model has no integer scalar
