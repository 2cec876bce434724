#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace protlm::inline v0::detail {

/// A growing run of tokens that always offers room to write at its end; new memory is not cleared first.
class TokenBuffer {
  public:
    static constexpr std::size_t least_room = 4096;

    void clear() { size_ = 0; }
    std::size_t size() const { return size_; }
    std::span<std::uint8_t const> span() const { return {data_.get(), size_}; }

    /// Memory behind the tokens, at least `least_room` bytes; what is written there counts after `grow`.
    std::span<std::uint8_t> room() {
        if (capacity_ - size_ < least_room)
            reserve(std::max(2 * capacity_, 16 * least_room));
        return {data_.get() + size_, capacity_ - size_};
    }
    void grow(std::size_t count) { size_ += count; }

  private:
    void reserve(std::size_t capacity) {
        auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
        if (size_ > 0)
            std::memcpy(larger.get(), data_.get(), size_);
        data_ = std::move(larger);
        capacity_ = capacity;
    }
    std::unique_ptr<std::uint8_t[]> data_;
    std::size_t size_ = 0, capacity_ = 0;
};

} // namespace protlm::inline v0::detail
