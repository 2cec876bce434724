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

/// How many ScopedSignals live.
inline std::atomic<int> &signal_scopes() {
    static std::atomic<int> scopes{0};
    return scopes;
}

} // namespace detail

/// While it lives, these signals only set a flag, so that a run can finish its step, write a checkpoint and leave.
/// Then the old handlers stand again. The second SIGINT (Ctrl-C) ends the process as ever. May be nested: the inner one
/// also knows what the outer one heard. A SIGHUP that is ignored (nohup) stays so.
class ScopedSignals {
  public:
    /// SIGTERM, SIGUSR1 and SIGUSR2 are what batch systems send before they end a job (Slurm: --signal=USR1@120),
    /// SIGXCPU what some send at their limit of time, SIGHUP what a terminal sends that closes.
    /// @throws Error when a handler cannot be installed
    explicit ScopedSignals(std::initializer_list<int> signals = {SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGHUP, SIGINT}) {
        if (detail::signal_scopes()++ == 0)
            detail::received_signal().store(0); // also constructs it before the first signal
        for (int signal : signals) {
            struct sigaction action {
            }, old{};
            action.sa_handler = detail::remember_signal;
            action.sa_flags = SA_RESTART | (signal == SIGINT ? static_cast<int>(SA_RESETHAND) : 0);
            sigemptyset(&action.sa_mask);
            bool installed = ::sigaction(signal, nullptr, &old) == 0;
            if (installed && (old.sa_handler == detail::remember_signal || is_ignored_hangup(signal, old)))
                continue;
            if (installed && signal == SIGINT && received() == SIGINT)
                continue; // the outer one has heard it: the next one ends the process
            installed = installed && ::sigaction(signal, &action, &old) == 0;
            int const reason = errno;
            if (!installed) {
                restore();
                --detail::signal_scopes();
            }
            check(installed, "ScopedSignals: cannot handle signal ", signal, ": ", std::strerror(reason));
            old_.emplace_back(signal, old);
        }
    }
    ScopedSignals(ScopedSignals const &) = delete;
    ScopedSignals &operator=(ScopedSignals const &) = delete;
    ~ScopedSignals() {
        restore();
        --detail::signal_scopes();
    }

    /// The last signal that came, or 0.
    int received() const { return detail::received_signal().load(std::memory_order_relaxed); }

  private:
    static bool is_ignored_hangup(int signal, struct sigaction const &old) {
        return signal == SIGHUP && old.sa_handler == SIG_IGN;
    }
    void restore() {
        for (auto const &[signal, action] : old_)
            ::sigaction(signal, &action, nullptr);
        old_.clear();
    }
    std::vector<std::pair<int, struct sigaction>> old_;
};

} // namespace protlm::inline v0
