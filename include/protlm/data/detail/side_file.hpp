#pragma once

#include <protlm/core/check.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace protlm::inline v0::detail {

/// Bytes that are written once and read back once, kept in memory up to 1 MiB and beyond that in a file without a
/// name beside another file, so that nothing is left behind however the program ends.
class SideFile {
  public:
    explicit SideFile(std::filesystem::path const &beside) : beside_(beside.string()) {}
    SideFile(SideFile const &) = delete;
    SideFile &operator=(SideFile const &) = delete;
    ~SideFile() {
        if (file_ >= 0)
            ::close(file_);
    }

    /// Appends; never splits what one call writes over two calls of `read_back`'s consumer when all calls before wrote
    /// the same size and it divides the buffer. @throws Error, for example when the disk is full
    void write(void const *data, std::size_t size) {
        auto const *const from = static_cast<char const *>(data);
        for (std::size_t done = 0; done < size;) {
            if (buffer_.size() == buffer_bytes)
                flush();
            std::size_t const part = std::min(size - done, buffer_bytes - buffer_.size());
            buffer_.insert(buffer_.end(), from + done, from + done + part);
            done += part;
        }
    }

    /// Gives all bytes in order to `consume(char const *, std::size_t)`, in parts of up to 1 MiB.
    template <class Consume>
    void read_back(Consume consume) {
        if (in_file_ == 0) {
            consume(buffer_.data(), buffer_.size());
            return;
        }
        flush();
        buffer_.resize(buffer_bytes);
        for (std::uint64_t at = 0; at < in_file_;) {
            std::size_t const part = std::min<std::uint64_t>(buffer_bytes, in_file_ - at);
            for (std::size_t done = 0; done < part;) {
                ssize_t const got = ::pread(file_, buffer_.data() + done, part - done, static_cast<off_t>(at + done));
                check(got > 0 || (got < 0 && errno == EINTR), beside_,
                      ": cannot read its temporary file: ", got == 0 ? "it was truncated" : std::strerror(errno));
                done += got > 0 ? static_cast<std::size_t>(got) : 0;
            }
            consume(buffer_.data(), part);
            at += part;
        }
    }

  private:
    static constexpr std::size_t buffer_bytes = std::size_t(1) << 20;

    void open() {
#ifdef O_TMPFILE // never has a name; not every file system can
        std::filesystem::path const folder = std::filesystem::path(beside_).parent_path();
        file_ = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (file_ >= 0)
            return;
#endif
        std::string const ending = ".partial";
        std::string name = beside_ + ".side.XXXXXX" + ending;
        file_ = ::mkostemps(name.data(), static_cast<int>(ending.size()), O_CLOEXEC);
        check(file_ >= 0, name, ": cannot create: ", std::strerror(errno));
        ::unlink(name.c_str());
    }
    void flush() {
        if (file_ < 0)
            open();
        for (std::size_t done = 0; done < buffer_.size();) {
            ssize_t const put = ::write(file_, buffer_.data() + done, buffer_.size() - done);
            check(put >= 0 || errno == EINTR, beside_, ": cannot write its temporary file: ", std::strerror(errno));
            done += put > 0 ? static_cast<std::size_t>(put) : 0;
        }
        in_file_ += buffer_.size();
        buffer_.clear();
    }
    std::string beside_;
    std::vector<char> buffer_;
    std::uint64_t in_file_ = 0;
    int file_ = -1;
};

} // namespace protlm::inline v0::detail
