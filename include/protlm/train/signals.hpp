#pragma once

#include <protlm/core/check.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <initializer_list>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// The last signal that a ScopedSignals heard; a handler can reach nothing but what has static storage.
inline std::atomic<int> &received_signal() {
    static std::atomic<int> signal{0};
    static_assert(std::atomic<int>::is_always_lock_free, "ScopedSignals: handlers need a lock-free atomic");
    return signal;
}
inline void remember_signal(int signal) { received_signal().store(signal, std::memory_order_relaxed); }

} // namespace detail

/// While it lives, these signals only set a flag, so that a run can finish its step, write a checkpoint and leave.
/// Then the old handlers stand again. The second SIGINT (Ctrl-C) ends the process as ever. One at a time.
class ScopedSignals {
  public:
    /// SIGTERM and SIGUSR1 are what batch systems send before they end a job (Slurm: --signal=USR1@120).
    /// @throws Error when a handler cannot be installed
    explicit ScopedSignals(std::initializer_list<int> signals = {SIGTERM, SIGUSR1, SIGINT}) {
        detail::received_signal().store(0); // also constructs it before the first signal
        for (int signal : signals) {
            struct sigaction action {
            }, old{};
            action.sa_handler = detail::remember_signal;
            action.sa_flags = SA_RESTART | (signal == SIGINT ? SA_RESETHAND : 0);
            sigemptyset(&action.sa_mask);
            bool const installed = ::sigaction(signal, &action, &old) == 0;
            int const reason = errno;
            if (!installed)
                restore();
            check(installed, "ScopedSignals: cannot handle signal ", signal, ": ", std::strerror(reason));
            old_.emplace_back(signal, old);
        }
    }
    ScopedSignals(ScopedSignals const &) = delete;
    ScopedSignals &operator=(ScopedSignals const &) = delete;
    ~ScopedSignals() { restore(); }

    /// The last signal that came, or 0.
    int received() const { return detail::received_signal().load(std::memory_order_relaxed); }

  private:
    void restore() {
        for (auto const &[signal, action] : old_)
            ::sigaction(signal, &action, nullptr);
        old_.clear();
    }
    std::vector<std::pair<int, struct sigaction>> old_;
};

} // namespace protlm::inline v0
