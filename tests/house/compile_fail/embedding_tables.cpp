// expect: embedding: needs at least one table

#include <protlm/ops/embedding.hpp>

using namespace protlm;
using Exec = Kokkos::DefaultHostExecutionSpace;

auto use(Inference<Exec> &context) { return embedding(context, std::array<Lookup<float, Exec>, 0>{}); }
