#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace protlm::inline v0 {

namespace detail {

/// Writes to standard error; may be called in a signal handler.
inline void write_error(std::string_view text) noexcept {
    ssize_t const ignored = ::write(STDERR_FILENO, text.data(), text.size());
    static_cast<void>(ignored);
}

/// Finds what is mapped at an address in the kernel's list, without memory of its own, so in a signal handler too.
class MappingSearch {
  public:
    /// The path of the file that is mapped at `address`; empty where none is. Valid as long as this object.
    std::string_view find(std::uintptr_t address) noexcept {
        int const maps = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
        bool found = false;
        while (!found && next_line(maps))
            found = holds(address);
        ::close(maps);
        std::string_view const line(line_.data(), size_);
        std::size_t const path = line.find('/');
        return found && path != line.npos ? line.substr(path) : std::string_view();
    }

  private:
    bool next_line(int file) noexcept {
        size_ = 0;
        while (true) {
            if (at_ == end_) {
                ssize_t const got = ::read(file, buffer_.data(), buffer_.size());
                if (got <= 0)
                    return false;
                at_ = 0;
                end_ = static_cast<std::size_t>(got);
            }
            char const byte = buffer_[at_++];
            if (byte == '\n')
                return true;
            if (size_ < line_.size())
                line_[size_++] = byte;
        }
    }
    /// A line begins with the first and the one past the last address, "7f00-7f10 r--p ...".
    bool holds(std::uintptr_t address) const noexcept {
        std::array<std::uintptr_t, 2> bounds{};
        std::size_t bound = 0;
        for (std::size_t i = 0; i < size_ && line_[i] != ' '; ++i) {
            char const c = line_[i];
            if (c == '-')
                bound = 1;
            else
                bounds[bound] = bounds[bound] * 16 + static_cast<std::uintptr_t>(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        return address >= bounds[0] && address < bounds[1];
    }
    std::array<char, 4096> buffer_;
    std::array<char, 4608> line_;
    std::size_t at_ = 0, end_ = 0, size_ = 0;
};

} // namespace detail

/// A mapped file that is cut short while it is used, or whose disk fails, ends a program by SIGBUS, and nobody knows
/// which file it was. As long as this object lives, such an end says so on standard error, and is exit status 1:
///
///     embed: /data/proteins.fasta: cannot be read any more: it was cut short or replaced, or its disk fails
///
/// Make one at the beginning of `main`, behind MPI_Init. An error of that kind elsewhere ends the program as before.
class MappedFileGuard {
  public:
    /// @param program  begins the message; its first 63 characters are kept
    explicit MappedFileGuard(std::string_view program) noexcept {
        std::size_t const size = std::min(program.size(), name().size() - 1);
        std::memcpy(name().data(), program.data(), size);
        name()[size] = '\0';
        struct sigaction action {};
        action.sa_sigaction = report;
        action.sa_flags = SA_SIGINFO;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGBUS, &action, &before_);
    }
    MappedFileGuard(MappedFileGuard const &) = delete;
    MappedFileGuard &operator=(MappedFileGuard const &) = delete;
    ~MappedFileGuard() { ::sigaction(SIGBUS, &before_, nullptr); }

  private:
    static std::array<char, 64> &name() noexcept {
        static constinit std::array<char, 64> text{};
        return text;
    }
    static void report(int signal, siginfo_t *info, void *) {
        detail::MappingSearch search;
        auto const file = search.find(reinterpret_cast<std::uintptr_t>(info->si_addr));
        if (file.empty()) { // not of a file: as it would have been
            ::signal(signal, SIG_DFL);
            ::raise(signal);
            return;
        }
        detail::write_error(name().data());
        detail::write_error(name()[0] == '\0' ? "" : ": ");
        detail::write_error(file);
        detail::write_error(": cannot be read any more: it was cut short or replaced, or its disk fails\n");
        ::_exit(1);
    }
    struct sigaction before_ {};
};

} // namespace protlm::inline v0
