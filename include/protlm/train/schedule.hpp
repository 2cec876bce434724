#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// The learning rate as a function of the step: warm-up to `peak`, then constant or a decay.
///
/// Example: `Schedule{.kind = Schedule::Kind::linear, .peak = 2e-3, .warmup_steps = 40'000, .total_steps = 400'000}`
/// is ProtBert's.
struct Schedule {
    enum class Kind { constant, linear, cosine, inverse_square_root };

    Kind kind = Kind::linear;
    double peak = 1e-3;       ///< the rate at the end of the warm-up
    index_t warmup_steps = 0; ///< steps until `peak`
    index_t total_steps = 0;  ///< where linear and cosine end; 0: not known yet, no decay
    double final_ratio = 0.0; ///< linear and cosine end at this share of `peak` and stay there
    bool hold_warmup = false; ///< the rate is `peak` during the warm-up as well (T5's inverse square root)

    /// @throws Error naming the field
    void validate() const {
        check(is_finite(peak) && peak >= 0, "Schedule: peak is ", peak, ", expected a number of at least 0");
        check(warmup_steps >= 0, "Schedule: warmup_steps is ", warmup_steps, ", expected at least 0");
        check(total_steps >= 0, "Schedule: total_steps is ", total_steps, ", expected at least 0");
        check(final_ratio >= 0 && final_ratio <= 1, "Schedule: final_ratio is ", final_ratio, ", expected 0 to 1");
    }

    /// The rate of step `step`, counted from 1. The warm-up rises linearly and reaches `peak` at step `warmup_steps`;
    /// linear and cosine reach `final_ratio` one step after `total_steps`, so that no step is lost to a rate of zero.
    double learning_rate(index_t step) const {
        double const t = static_cast<double>(std::max<index_t>(step, 1));
        double const warmup = static_cast<double>(warmup_steps);
        if (t <= warmup)
            return hold_warmup ? peak : peak * t / warmup;
        if (kind == Kind::constant || (kind != Kind::inverse_square_root && total_steps == 0))
            return peak;
        if (kind == Kind::inverse_square_root) // without a warm-up it begins at step 1
            return peak * std::sqrt(std::max(warmup, 1.0) / t);
        double const length = std::max(static_cast<double>(total_steps) + 1.0 - std::max(warmup, 1.0), 1.0);
        double const done = std::clamp((t - std::max(warmup, 1.0)) / length, 0.0, 1.0);
        double const share = kind == Kind::linear ? 1.0 - done : 0.5 * (1.0 + std::cos(std::numbers::pi * done));
        return peak * (final_ratio + (1.0 - final_ratio) * share);
    }
};

/// The names that configs and command lines use, for example "inverse_square_root".
inline constexpr std::array<std::pair<std::string_view, Schedule::Kind>, 4> schedule_names{
    {{"constant", Schedule::Kind::constant},
     {"linear", Schedule::Kind::linear},
     {"cosine", Schedule::Kind::cosine},
     {"inverse_square_root", Schedule::Kind::inverse_square_root}}};

/// @throws Error when no schedule has that name, with the names there are
inline Schedule::Kind parse_schedule(std::string_view name) {
    for (auto const &[known, kind] : schedule_names)
        if (known == name)
            return kind;
    fail("schedule is \"", name, "\", expected constant, linear, cosine or inverse_square_root");
}

} // namespace protlm::inline v0
