#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/philox.hpp>

#include <bit>
#include <cstdint>
#include <utility>

namespace protlm::inline v0 {

/// Where a run stands in its data: all that a resume needs, on any number of ranks.
struct Cursor {
    std::uint64_t seed = 0, epoch = 0;
    std::uint64_t position = 0; ///< the next example of the epoch's order
    bool operator==(Cursor const &) const = default;
};

/// A pseudo-random permutation of 0 ... n-1 in constant memory: position in the epoch -> sample, also for billions.
/// A Feistel network over the bits of n-1 (Luby and Rackoff, "How to construct pseudorandom permutations",
/// 1988), with Philox as round function; results outside the range are permuted again (cycle walking; under two tries
/// on average).
class Permutation {
  public:
    /// @param epoch  below 2^24; every (seed, epoch) gives another order
    /// @throws Error for n = 0 or a larger epoch
    Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t epoch)
        : n_(n), random_{seed, Purpose::shuffle, static_cast<std::uint32_t>(epoch)} {
        check(n > 0, "Permutation: nothing to permute");
        check(epoch < (1u << 24), "Permutation: epoch ", epoch, ", expected below 2^24");
        int const bits = std::bit_width(n - 1);
        low_bits_ = bits - bits / 2;
        high_bits_ = bits / 2;
        rounds_ = bits < 16 ? 32 : 8; // halves of a few bits mix slowly: with 8 rounds, 5 samples are 3 % from uniform
    }

    /// @param i  below `size()`
    std::uint64_t operator()(std::uint64_t i) const {
        check(i < n_, "Permutation: index ", i, " of ", n_);
        do
            i = scramble(i);
        while (i >= n_);
        return i;
    }

    std::uint64_t size() const { return n_; }

  private:
    std::uint64_t scramble(std::uint64_t i) const {
        int width = high_bits_, other_width = low_bits_; // the halves change places, so their widths do
        std::uint64_t low = i & ones(low_bits_), high = i >> low_bits_;
        for (std::uint32_t round = 0; round < rounds_; ++round) {
            std::uint64_t const mixed = high ^ (random_(low, round)[0] & ones(width));
            high = std::exchange(low, mixed);
            std::swap(width, other_width);
        }
        return high << low_bits_ | low;
    }
    static std::uint64_t ones(int bits) { return (std::uint64_t(1) << bits) - 1; } // bits <= 32
    std::uint64_t n_;
    CounterRandom random_;
    int low_bits_ = 0, high_bits_ = 0;
    std::uint32_t rounds_ = 8; // even, so that each half ends where it began
};

} // namespace protlm::inline v0
