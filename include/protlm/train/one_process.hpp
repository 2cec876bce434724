#pragma once

#include <protlm/train/exchange.hpp>

namespace protlm::inline v0 {

/// A program that runs in one process: the same interface as MpiSession of <protlm/distributed.hpp>, so that a driver
/// is written once.
class OneProcess {
  public:
    OneProcess(int &, char **&) {}

    int rank() const { return 0; }
    int size() const { return 1; }

    int node_rank() const { return 0; }
    int first_rank_with(bool here) const { return here ? 0 : 1; }
    void abort(int) const {}

    /// What adds up the gradients of `parameters` over ranks.
    template <class Parameters>
    NoExchange exchange(Parameters &) const {
        return {};
    }
};

} // namespace protlm::inline v0
