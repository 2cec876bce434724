#pragma once

#include <protlm/core/philox.hpp>

#include <cstdint>
#include <span>
#include <utility>

namespace protlm::inline v0::detail {

/// The random numbers of one sample, one after the other: for objectives whose choices depend on each other, such as
/// spans. They depend on (seed, epoch, sample) alone.
class SampleRandom {
  public:
    SampleRandom(std::uint64_t seed, Purpose purpose, std::uint64_t epoch, std::uint64_t sample)
        : random_{seed, purpose, static_cast<std::uint32_t>(epoch)}, sample_(sample) {}

    std::uint32_t bits() {
        if (used_ == 4) {
            words_ = random_(sample_, call_++);
            used_ = 0;
        }
        return words_[used_++];
    }
    /// Uniform in [0, 1).
    double uniform() { return static_cast<double>(uniform_float(bits())); }
    /// Uniform in [0, n).
    std::uint32_t below(std::size_t n) { return uniform_below(bits(), static_cast<std::uint32_t>(n)); }
    /// Every order equally likely (Fisher and Yates).
    template <class T>
    void shuffle(std::span<T> values) {
        for (std::size_t left = values.size(); left > 1; --left)
            std::swap(values[left - 1], values[below(left)]);
    }

  private:
    CounterRandom random_;
    std::uint64_t sample_;
    std::uint32_t call_ = 0;
    int used_ = 4;
    PhiloxWords words_{};
};

} // namespace protlm::inline v0::detail
