#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// "45 s", "3:07 min" or "12:05 h": a duration for people. Unknown (negative or not finite) is "?".
inline std::string format_duration(double seconds) {
    if (!(seconds >= 0) || seconds > 1e9)
        return "?";
    auto const whole = static_cast<long long>(std::llround(seconds));
    char text[32];
    if (whole < 60)
        std::snprintf(text, sizeof(text), "%lld s", whole);
    else if (whole < 3600)
        std::snprintf(text, sizeof(text), "%lld:%02lld min", whole / 60, whole % 60);
    else
        std::snprintf(text, sizeof(text), "%lld:%02lld h", whole / 3600, whole / 60 % 60);
    return text;
}

/// "7.31", "999", "12.3 k", "4.06 M": a number for people, with three significant digits and a decimal prefix.
/// @param unit  put behind it: "12.3 kB", "12 B", "12.3 k proteins"
inline std::string format_amount(double value, std::string_view unit = {}) {
    static constexpr char const *prefix[] = {"", " k", " M", " G", " T", " P"};
    int step = 0;
    while (std::abs(value) >= 999.5 && step < 5) {
        value /= 1000;
        ++step;
    }
    int const decimals = (step == 0 && value == std::floor(value)) || std::abs(value) >= 99.95 ? 0
                         : std::abs(value) >= 9.995                                            ? 1
                                                                                               : 2;
    char text[48];
    std::snprintf(text, sizeof(text), "%.*f%s", decimals, value, prefix[step]);
    bool const space = !unit.empty() && (unit != "B" || step == 0);
    return (text + std::string(space ? " " : "")).append(unit);
}

/// Shows how far a long job is: done and total, rate, time left, and a note of the caller, for example the loss.
/// On a terminal one line is redrawn a few times a second; elsewhere (logs, batch jobs) a plain line comes every 10 s.
/// `update` costs one look at the clock, so it may be called for every step.
///
///     Progress progress("embedding", "proteins", proteins.size());
///     for (...) progress.update(done, "longest 512");
///     progress.finish();
class Progress {
  public:
    /// @param job    first word of the line
    /// @param unit   what is counted, in the plural; with "B" the rate reads MB/s
    /// @param total  0 when it is not known: then there is no time left
    /// @param quiet  never prints (ranks other than the first)
    Progress(std::string job, std::string unit, double total, bool quiet = false, std::FILE *stream = stderr)
        : job_(std::move(job)), unit_(std::move(unit)), total_(total), quiet_(quiet), stream_(stream),
          terminal_(::isatty(::fileno(stream)) != 0) {}
    Progress(Progress const &) = delete;
    Progress &operator=(Progress const &) = delete;
    /// Ends the redrawn line, so that an error message begins on a line of its own.
    ~Progress() { end_line(); }

    /// `done` of `total` units are done.
    /// @param note  shown at the end of the line
    void update(double done, std::string_view note = {}) {
        done_ = done;
        double const now = seconds();
        if (!quiet_ && now >= next_)
            show(now, note);
    }

    /// Shows the last state once more, with the whole time in place of the time left.
    void finish(std::string_view note = {}) {
        finished_ = true;
        if (!quiet_)
            show(seconds(), note);
        end_line();
    }

    /// Text that the next line shows, without printing it.
    std::string line(std::string_view note = {}) const { return line(seconds(), note); }

    /// Seconds since the start.
    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  private:
    using Clock = std::chrono::steady_clock;

    std::string line(double now, std::string_view note) const {
        std::string text = job_ + ": ";
        if (total_ > 0) {
            char percent[16];
            std::snprintf(percent, sizeof(percent), " (%.0f %%)", 100 * std::min(1.0, done_ / total_));
            text += format_amount(done_) + " of " + format_amount(total_, unit_) + percent;
        } else {
            text += format_amount(done_, unit_);
        }
        double const rate = now > 0 ? done_ / now : 0;
        if (rate > 0)
            text += ", " + format_amount(rate, unit_) + "/s";
        if (finished_)
            text += ", " + format_duration(now);
        else if (total_ > 0 && rate > 0)
            text += ", " + format_duration((total_ - done_) / rate) + " left";
        if (!note.empty())
            text.append(", ").append(note);
        return text;
    }
    void show(double now, std::string_view note) {
        std::string const text = line(now, note);
        if (terminal_)
            std::fprintf(stream_, "\r%s\033[K", text.c_str());
        else
            std::fprintf(stream_, "%s\n", text.c_str());
        std::fflush(stream_);
        open_line_ = terminal_;
        next_ = now + (terminal_ ? 0.2 : 10.0);
    }
    void end_line() {
        if (std::exchange(open_line_, false))
            std::fputc('\n', stream_);
    }

    std::string job_, unit_;
    double total_;
    bool quiet_;
    std::FILE *stream_;
    bool terminal_;
    Clock::time_point start_ = Clock::now();
    double done_ = 0;
    double next_ = 0.5; // seconds; short jobs show their end only
    bool open_line_ = false, finished_ = false;
};

} // namespace protlm::inline v0
