#pragma once

#include <protlm/core/check.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// A file mapped read-only; pages are read when touched. Moves only; unmaps on destruction.
class MappedFile {
  public:
    MappedFile() = default;

    /// Maps `path`. An empty file gives an empty span.
    /// @throws Error naming the path and the system's reason
    explicit MappedFile(std::filesystem::path const &path) : path_(path) {
        int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        int const open_reason = errno;
        check(file >= 0, path.string(), ": cannot open: ", std::strerror(open_reason));
        struct stat status {};
        bool const regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
        size_ = regular ? static_cast<std::size_t>(status.st_size) : 0;
        void *address = size_ ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
        int const reason = errno;
        ::close(file);
        check(regular, path.string(), ": not a regular file");
        check(address != MAP_FAILED, path.string(), ": cannot map: ", std::strerror(reason));
        data_ = static_cast<std::byte const *>(address);
    }
    MappedFile(MappedFile &&other) noexcept { swap(other); }
    MappedFile &operator=(MappedFile &&other) noexcept {
        MappedFile(std::move(other)).swap(*this);
        return *this;
    }
    ~MappedFile() {
        if (data_)
            ::munmap(const_cast<std::byte *>(data_), size_);
    }

    /// All bytes; valid as long as this object.
    std::span<std::byte const> bytes() const { return {data_, size_}; }
    std::size_t size() const { return size_; }
    std::filesystem::path const &path() const { return path_; }

    /// Says that `part` of the bytes is read next, so that its pages come at once and not one by one.
    void expect(std::span<std::byte const> part) const noexcept {
#if defined(MADV_POPULATE_READ)
        advise(part, MADV_POPULATE_READ);
#else
        advise(part, MADV_WILLNEED);
#endif
    }
    /// Gives back the memory of `part` of the bytes, for files larger than memory; they are read again when touched.
    void release(std::span<std::byte const> part) const noexcept { advise(part, MADV_DONTNEED); }

  private:
    /// Advice is no more than that: failure does not matter. Bytes that are not of this file are left alone.
    void advise(std::span<std::byte const> part, int advice) const noexcept {
        if (!data_ || part.empty() || part.data() < data_ || part.data() + part.size() > data_ + size_)
            return;
        auto const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        auto const first = static_cast<std::size_t>(part.data() - data_) / page * page;
        auto const last = static_cast<std::size_t>(part.data() - data_) + part.size();
        ::madvise(const_cast<std::byte *>(data_) + first, last - first, advice);
    }
    void swap(MappedFile &other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(path_, other.path_);
    }
    std::byte const *data_ = nullptr;
    std::size_t size_ = 0;
    std::filesystem::path path_;
};

/// Flushes a directory's entries to the disk, so that a rename survives a power cut.
/// @throws Error naming the folder and the system's reason
inline void sync_folder(std::filesystem::path const &folder) {
    int const file = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int reason = errno;
    check(file >= 0, folder.string(), ": cannot open folder: ", std::strerror(reason));
    int const result = ::fsync(file);
    reason = errno;
    ::close(file);
    // Some network file systems cannot sync a folder and say EINVAL; the rename itself still holds.
    check(result == 0 || reason == EINVAL, folder.string(), ": cannot sync folder: ", std::strerror(reason));
}

/// A file that appears under its name only when `commit` has written and synced all of it; until then, and after
/// any error, the old file of that name is untouched. Moves are not needed and not offered.
class AtomicFile {
  public:
    /// @throws Error when `path` with ".partial" appended cannot be created
    explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)), partial_(path_.string() + ".partial") {
        stream_ = std::fopen(partial_.c_str(), "wbe");
        int const reason = errno;
        check(stream_, partial_.string(), ": cannot create: ", std::strerror(reason));
    }
    AtomicFile(AtomicFile const &) = delete;
    AtomicFile &operator=(AtomicFile const &) = delete;
    ~AtomicFile() {
        if (!stream_)
            return;
        std::fclose(stream_);
        std::remove(partial_.c_str());
    }

    /// Appends `size` bytes. @throws Error, for example when the disk is full
    void write(void const *data, std::size_t size) {
        bool const complete = std::fwrite(data, 1, size, stream_) == size;
        int const reason = errno; // before the message's own calls change it
        if (!complete)
            fail(partial_.string(), ": cannot write ", size, " bytes: ", std::strerror(reason));
        written_ += size;
    }
    void write(std::string_view text) { write(text.data(), text.size()); }

    /// Overwrites bytes at `offset` that were written before (headers whose values are known last).
    void rewrite(std::size_t offset, void const *data, std::size_t size) {
        check(offset + size <= written_, partial_.string(), ": rewrite past the end");
        bool const complete = std::fseek(stream_, static_cast<long>(offset), SEEK_SET) == 0 &&
                              std::fwrite(data, 1, size, stream_) == size && std::fseek(stream_, 0, SEEK_END) == 0;
        int const reason = errno;
        check(complete, partial_.string(), ": cannot write: ", std::strerror(reason));
    }
    std::size_t written() const { return written_; }

    /// Syncs the file, gives it its name, syncs the folder. @throws Error; the old file then still stands
    void commit() {
        bool const flushed = std::fflush(stream_) == 0 && ::fsync(::fileno(stream_)) == 0;
        int const reason = errno;
        bool const closed = std::fclose(std::exchange(stream_, nullptr)) == 0;
        if (!flushed || !closed)
            std::remove(partial_.c_str());
        check(flushed && closed, partial_.string(), ": cannot sync: ", std::strerror(reason));
        std::error_code error;
        std::filesystem::rename(partial_, path_, error);
        if (error)
            std::remove(partial_.c_str());
        check(!error, path_.string(), ": cannot rename ", partial_.string(), ": ", error.message());
        sync_folder(path_.parent_path());
    }

  private:
    std::filesystem::path path_, partial_;
    std::FILE *stream_ = nullptr;
    std::size_t written_ = 0;
};

} // namespace protlm::inline v0
