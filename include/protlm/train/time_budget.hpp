#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>

namespace protlm::inline v0 {

/// How long a run goes on: a number of steps, a time, or whichever ends first.
///
/// A time is turned into steps by the speed so far, so that schedules have an end to decay to; the forecast is made
/// anew at every step and so lands on the end whatever the machine does meanwhile.
class TimeBudget {
  public:
    /// @param steps  most steps; 0: no limit  @param seconds  most time; 0: no limit
    /// @throws Error when there is no limit at all
    TimeBudget(index_t steps, double seconds) : steps_(steps), seconds_(seconds) {
        check(steps >= 0 && seconds >= 0 && is_finite(seconds), "TimeBudget: ", steps, " steps and ", seconds,
              " seconds, expected at least 0");
        check(steps > 0 || seconds > 0, "TimeBudget: neither a number of steps nor a time limits the run");
    }

    /// `elapsed` seconds of the run were over when step `step` had ended; the same number on all ranks.
    void observe(index_t step, double elapsed) {
        if (first_step_ < 0) { // the first step of a process allocates, its time says little
            first_step_ = step;
            first_elapsed_ = elapsed;
        }
        step_ = step;
        elapsed_ = elapsed;
    }

    /// Goes on where a run stood: its mean speed is the first forecast.
    void resume(index_t step, double elapsed) {
        first_step_ = 0;
        first_elapsed_ = 0;
        step_ = step;
        elapsed_ = elapsed;
    }

    /// The forecast of the run's last step; 0 while a time limit is all there is and no speed is known.
    index_t total_steps() const {
        if (seconds_ == 0)
            return steps_;
        if (step_ <= first_step_ || elapsed_ <= 0)
            return steps_;
        double const a_step = step_seconds();
        double const rest = std::max(0.0, (seconds_ - elapsed_) / a_step);
        auto const total = step_ + static_cast<index_t>(std::min(rest, 1e15));
        return steps_ > 0 ? std::min(steps_, total) : total;
    }

    /// True when no further step fits.
    bool finished() const {
        if (steps_ > 0 && step_ >= steps_)
            return true;
        return seconds_ > 0 && elapsed_ + 0.5 * step_seconds() >= seconds_;
    }

    bool timed() const { return seconds_ > 0; }
    /// Seconds until the end by the forecast; negative when unknown.
    double seconds_left() const {
        index_t const total = total_steps();
        return total > 0 && step_seconds() > 0 ? static_cast<double>(total - step_) * step_seconds() : -1;
    }

  private:
    double step_seconds() const {
        return step_ > first_step_ ? (elapsed_ - first_elapsed_) / static_cast<double>(step_ - first_step_) : 0;
    }
    index_t steps_;
    double seconds_;
    index_t first_step_ = -1, step_ = 0;
    double first_elapsed_ = 0, elapsed_ = 0;
};

} // namespace protlm::inline v0
