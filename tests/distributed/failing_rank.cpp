// A job of which one rank fails ("throws") or begins with other weights ("disagrees"). See CMakeLists.txt.

#include "train/bigram.hpp"

#include <protlm/distributed.hpp>
#include <protlm/train/fingerprint.hpp>

#include <cstdio>
#include <string>

using Exec = Kokkos::DefaultHostExecutionSpace;

int main(int argc, char **argv) {
    protlm::MpiSession const mpi(argc, argv);
    return mpi.run_guarded("failing_rank", [&] {
        Kokkos::ScopeGuard const kokkos(argc, argv);
        bool const disagrees = argc > 1 && std::string(argv[1]) == "disagrees";
        protlm::test::Bigram<float, Exec> model(disagrees && mpi.rank() == 2 ? 99 : 3);
        protlm::GradientExchange exchange(protlm::Communicator::duplicate(MPI_COMM_WORLD), model.parameters());
        exchange.require_agreement("the tensors", protlm::fingerprint(model.parameters().table()));
        exchange.require_agreement("the weights", protlm::fingerprint(model.parameters()));
        exchange.begin({0});
        protlm::check(mpi.rank() != 1, "the disk is full");
        exchange.finish(); // the other ranks wait here for ever
        std::puts("went on");
        return 0;
    });
}
