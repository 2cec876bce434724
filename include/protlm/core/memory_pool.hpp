#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <utility>

namespace protlm::inline v0 {

/// What a MemoryPool has handed out, in bytes; `allocations` counts requests that went to the memory space.
struct PoolStatistics {
    std::size_t bytes_in_use = 0;
    std::size_t peak_bytes = 0;
    std::size_t reserved_bytes = 0;
    std::size_t allocations = 0;
};

/// Caching allocator for activations, gradients and scratch in `MemorySpace`.
///
/// Freed blocks are kept and handed out again, so that a training step in the steady state allocates nothing.
/// Copies share one pool; blocks keep it alive. Reuse assumes that all kernels on a pool's blocks run on one
/// execution-space instance (in order); calls come from one host thread.
template <class MemorySpace>
class MemoryPool {
    struct State {
        std::multimap<std::size_t, void *> free;
        std::size_t rows = 0; ///< of the work that the blocks were last handed out for, see expect_rows
        PoolStatistics statistics;
        State() = default;
        State(State const &) = delete;
        State &operator=(State const &) = delete;
        ~State() { release(); }
        void release() {
            for (auto [bytes, pointer] : free)
                Kokkos::kokkos_free<MemorySpace>(pointer);
            for (auto [bytes, pointer] : free)
                statistics.reserved_bytes -= bytes;
            free.clear();
        }
    };

  public:
    /// A piece of memory that returns to its pool on destruction; moves only.
    class Block {
      public:
        Block() = default;
        Block(std::shared_ptr<State> state, void *data, std::size_t bytes)
            : state_(std::move(state)), data_(data), bytes_(bytes) {}
        Block(Block &&other) noexcept
            : state_(std::move(other.state_)), data_(std::exchange(other.data_, nullptr)),
              bytes_(std::exchange(other.bytes_, 0)) {}
        Block &operator=(Block &&other) noexcept {
            std::swap(state_, other.state_);
            std::swap(data_, other.data_);
            std::swap(bytes_, other.bytes_);
            return *this;
        }
        ~Block() {
            if (!data_)
                return;
            state_->free.emplace(bytes_, data_);
            state_->statistics.bytes_in_use -= bytes_;
        }
        void *data() const { return data_; }
        explicit operator bool() const { return data_ != nullptr; }

      private:
        std::shared_ptr<State> state_;
        void *data_ = nullptr;
        std::size_t bytes_ = 0;
    };

    static constexpr std::size_t kept_anyway = std::size_t(4) << 20; ///< too little to be given back, see expect_rows

    MemoryPool() : state_(std::make_shared<State>()) {}

    /// At least `bytes` bytes, aligned for every scalar and vector type; contents are undefined.
    /// @throws Error when the memory space has no more, with the size asked for and the bytes in use
    Block allocate(std::size_t bytes) {
        check(bytes <= std::numeric_limits<std::size_t>::max() / 4, "MemoryPool: ", static_cast<std::ptrdiff_t>(bytes),
              " bytes are asked for: an extent is negative, or a product of extents is too large");
        std::size_t const wanted = size_class(bytes);
        auto &statistics = state_->statistics;
        auto found = state_->free.lower_bound(wanted);
        void *data = nullptr;
        std::size_t size = wanted;
        if (found != state_->free.end() && found->first <= wanted + wanted / 2) {
            size = found->first;
            data = found->second;
            state_->free.erase(found);
        } else {
            data = fresh(wanted);
        }
        statistics.bytes_in_use += size;
        statistics.peak_bytes = std::max(statistics.peak_bytes, statistics.bytes_in_use);
        return Block(state_, data, size);
    }

    PoolStatistics const &statistics() const { return state_->statistics; }
    /// Starts a new measurement of the peak from what is in use now.
    void reset_peak() { state_->statistics.peak_bytes = state_->statistics.bytes_in_use; }
    /// Says how many rows the activations ahead have. Where they are fewer than two thirds of those before, cached
    /// blocks are too large to serve them, and are given back where they are worth it: proteins that come long ones
    /// first then need no more memory than the longest.
    void expect_rows(std::size_t rows) {
        if (rows < state_->rows / 3 * 2 && state_->statistics.reserved_bytes > kept_anyway)
            trim();
        state_->rows = rows;
    }
    /// Gives cached blocks that nobody uses back to the memory space.
    void trim() { state_->release(); }

  private:
    /// Rounds up to an eighth of a power of two, so that batches of nearly equal size share blocks.
    static std::size_t size_class(std::size_t bytes) {
        bytes = std::max<std::size_t>(bytes, 512);
        std::size_t const step = std::bit_floor(bytes) / 8;
        return (bytes + step - 1) / step * step;
    }

    void *fresh(std::size_t bytes) {
        void *data = nullptr;
        for (int attempt = 0; attempt < 2 && !data; ++attempt) {
            if (attempt == 1)
                state_->release(); // give cached blocks back before giving up
            try {
                data = Kokkos::kokkos_malloc<MemorySpace>("protlm::pool", bytes);
            } catch (std::exception const &) {
                data = nullptr;
            }
        }
        check(data != nullptr, "MemoryPool: ", MemorySpace::name(), " has no ", bytes,
              " bytes left; in use: ", state_->statistics.bytes_in_use,
              " bytes. Use a smaller token budget or recompute.");
        ++state_->statistics.allocations;
        state_->statistics.reserved_bytes += bytes;
        return data;
    }

    std::shared_ptr<State> state_;
};

} // namespace protlm::inline v0
