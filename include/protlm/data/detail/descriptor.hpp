#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

using Bytes = std::span<std::uint8_t const>;

/// An open file that is closed on destruction, read through one buffer. Standard input is read, not closed.
class Descriptor {
  public:
    static constexpr std::size_t buffer_bytes = std::size_t(1) << 18;

    /// @param path  "-" is standard input
    explicit Descriptor(std::string path) : name_(std::move(path)), buffer_(buffer_bytes) {
        file_ = name_ == "-" ? STDIN_FILENO : ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
        check(file_ >= 0, name_, ": cannot open: ", std::strerror(errno));
        opened_ = FileState::of(file_);
        name_ = name_ == "-" ? "standard input" : name_;
    }
    Descriptor(Descriptor &&other) noexcept
        : name_(std::move(other.name_)), buffer_(std::move(other.buffer_)), begin_(other.begin_), end_(other.end_),
          consumed_(other.consumed_), opened_(other.opened_), file_(std::exchange(other.file_, -1)) {}
    Descriptor &operator=(Descriptor &&) = delete;
    ~Descriptor() {
        if (file_ > STDIN_FILENO)
            ::close(file_);
    }

    /// Fills the buffer to at least `size` bytes where the file has them, and shows it without consuming.
    Bytes peek(std::size_t size) {
        if (end_ - begin_ < size && begin_ > 0) {
            std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
            end_ -= std::exchange(begin_, 0);
        }
        while (end_ - begin_ < size && !at_end_)
            fill();
        return {buffer_.data() + begin_, end_ - begin_};
    }
    /// The next bytes; empty at the end. Valid until the next call.
    Bytes read() {
        Bytes const bytes = peek(1);
        skip(bytes.size());
        return bytes;
    }
    void skip(std::size_t size) {
        begin_ += size;
        consumed_ += size;
        if (begin_ == end_)
            begin_ = end_ = 0;
    }
    bool is_regular() const { return opened_.regular; }
    std::string const &name() const { return name_; }
    std::uint64_t consumed() const { return consumed_; }

  private:
    void fill() {
        ssize_t got = -1;
        do
            got = ::read(file_, buffer_.data() + end_, buffer_.size() - end_);
        while (got < 0 && errno == EINTR);
        check(got >= 0, name_, ": cannot read: ", std::strerror(errno));
        at_end_ = got == 0;
        opened_.check_unchanged(FileState::of(file_), name_); // before anybody wonders about what was read
        end_ += static_cast<std::size_t>(got);
    }
    std::string name_;
    std::vector<std::uint8_t> buffer_;
    std::size_t begin_ = 0, end_ = 0;
    std::uint64_t consumed_ = 0;
    FileState opened_;
    int file_ = -1;
    bool at_end_ = false;
};

} // namespace protlm::inline v0::detail
