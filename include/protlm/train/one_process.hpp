#pragma once

#include <protlm/train/exchange.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// A program that runs in one process: the same interface as MpiSession of <protlm/distributed.hpp>, so that a driver
/// is written once.
class OneProcess {
  public:
    OneProcess(int &, char **&) {}

    int rank() const { return 0; }
    int size() const { return 1; }

    /// Runs a driver: what `function` returns is the exit status; an exception is the message "PROGRAM: MESSAGE" and 1.
    template <class F>
    int run_guarded(std::string_view program, F &&function) const {
        try {
            return function();
        } catch (std::exception const &error) {
            std::fputs((std::string(program) + ": " + error.what() + "\n").c_str(), stderr);
            return 1;
        }
    }

    /// What adds up the gradients of `parameters` over ranks.
    template <class Parameters>
    NoExchange exchange(Parameters &) const {
        return {};
    }
};

} // namespace protlm::inline v0
