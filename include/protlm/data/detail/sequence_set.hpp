#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

/// 128-bit hash of a sequence. Among 10^10 sequences two different ones share it with a chance below 10^-18.
struct SequenceHash {
    std::uint64_t low = 0, high = 0;
    bool operator==(SequenceHash const &) const = default;
};

/// Set of 128-bit hashes in one flat table: 16 bytes an entry, at most three quarters full.
class SequenceSet {
  public:
    /// True when `hash` was not there before.
    bool insert(SequenceHash hash) {
        if (hash == SequenceHash{}) // the empty slot's value
            return !std::exchange(has_zero_, true);
        if (4 * (size_ + 1) > 3 * slots_.size())
            grow();
        SequenceHash &slot = find(hash);
        if (slot == hash)
            return false;
        slot = hash;
        ++size_;
        return true;
    }
    std::size_t size() const { return size_ + has_zero_; }

  private:
    SequenceHash &find(SequenceHash hash) {
        std::size_t at = hash.low & (slots_.size() - 1);
        while (slots_[at] != SequenceHash{} && slots_[at] != hash)
            at = (at + 1) & (slots_.size() - 1);
        return slots_[at];
    }
    void grow() {
        std::vector<SequenceHash> larger(slots_.empty() ? 1024 : 2 * slots_.size());
        std::vector<SequenceHash> const old = std::exchange(slots_, std::move(larger));
        for (SequenceHash const hash : old)
            if (hash != SequenceHash{})
                find(hash) = hash;
    }
    std::vector<SequenceHash> slots_;
    std::size_t size_ = 0;
    bool has_zero_ = false;
};

} // namespace protlm::inline v0::detail
