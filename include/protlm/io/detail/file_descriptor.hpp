#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace protlm::inline v0::detail {

/// A file descriptor that is closed on destruction. Moves only.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    /// @throws Error naming the path and the system's reason
    FileDescriptor(std::filesystem::path const &path, int flags, mode_t mode = 0666)
        : file_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
        int const reason = errno;
        check(file_ >= 0, path.string(), ": cannot open: ", std::strerror(reason));
    }
    /// Takes over an open descriptor.
    static FileDescriptor of(int file) {
        FileDescriptor result;
        result.file_ = file;
        return result;
    }
    FileDescriptor(FileDescriptor &&other) noexcept : file_(std::exchange(other.file_, -1)) {}
    FileDescriptor &operator=(FileDescriptor &&other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }
    ~FileDescriptor() {
        if (file_ >= 0)
            ::close(file_);
    }
    int get() const { return file_; }

  private:
    int file_ = -1;
};

/// Writes all of `bytes` at `offset`. @throws Error naming `name` and the system's reason, for example a full disk
inline void write_at(FileDescriptor const &file, std::span<std::byte const> bytes, index_t offset,
                     std::string const &name) {
    while (!bytes.empty()) {
        ssize_t const written = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        int const reason = errno;
        if (written < 0 && reason == EINTR)
            continue;
        check(written > 0, name, ": cannot write: ", written == 0 ? "nothing was written" : std::strerror(reason));
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += written;
    }
}

/// Reads up to bytes.size() bytes at `offset`; gives how many there were. @throws Error naming `name`
inline std::size_t read_at(FileDescriptor const &file, std::span<std::byte> bytes, index_t offset,
                           std::string const &name) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        ssize_t const count = ::pread(file.get(), bytes.data() + done, bytes.size() - done,
                                      static_cast<off_t>(offset) + static_cast<off_t>(done));
        int const reason = errno;
        if (count < 0 && reason == EINTR)
            continue;
        check(count >= 0, name, ": cannot read: ", std::strerror(reason));
        if (count == 0)
            break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

/// Hands what was written to `file` to the disk. @throws Error naming `name`
inline void sync_data(FileDescriptor const &file, std::string const &name) {
    int const result = ::fdatasync(file.get());
    int const reason = errno;
    check(result == 0, name, ": cannot sync: ", std::strerror(reason));
}

/// Takes room on the disk for an open file of `bytes` bytes, where the file system can.
/// @throws Error with what is needed and what there is
inline void reserve_disk(FileDescriptor const &file, index_t bytes, std::string const &name) {
    if (bytes == 0 || ::fallocate(file.get(), 0, 0, static_cast<off_t>(bytes)) == 0)
        return;
    int reason = errno;
    auto const is_room = [&] { return reason == ENOSPC || reason == EDQUOT || reason == EFBIG; };
    if (!is_room()) { // this file system has no such call; its largest file may be known all the same
        if (::ftruncate(file.get(), static_cast<off_t>(bytes)) == 0)
            return;
        reason = errno;
        if (!is_room())
            return;
    }
    struct statvfs disk {};
    bool const known = ::fstatvfs(file.get(), &disk) == 0;
    fail(name, ": needs ", bytes, " bytes, but cannot have them: ", std::strerror(reason), " (",
         known ? std::to_string(static_cast<unsigned long long>(disk.f_bavail) * disk.f_frsize) : "unknown",
         " bytes are free)");
}

/// Takes the room of the file's size on its disk now, so that a disk that is too small is noticed before hours of work
/// and not after. @throws Error with what is needed and what there is
inline void reserve_disk(std::filesystem::path const &path) {
    FileDescriptor const file(path, O_RDWR);
    struct stat status {};
    check(::fstat(file.get(), &status) == 0, path.string(), ": cannot read its size: ", std::strerror(errno));
    reserve_disk(file, static_cast<index_t>(status.st_size), path.string());
}

/// Makes an empty file where one of `bytes` bytes would fit. HDF5 1.10 crashes at the end of a process in which it
/// could not close a file for want of room: what is known to be too large never reaches it. @throws Error like
/// `reserve_disk`
inline void try_disk(std::filesystem::path const &path, index_t bytes) {
    FileDescriptor const file(path, O_RDWR | O_CREAT | O_TRUNC);
    reserve_disk(file, bytes, path.string());
    check(::ftruncate(file.get(), 0) == 0, path.string(), ": cannot empty it: ", std::strerror(errno));
}

} // namespace protlm::inline v0::detail
