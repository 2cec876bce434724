#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file_lock.hpp>
#include <protlm/core/foreign_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

/// What tells whether a file was written to between two looks at it.
struct FileState {
    bool regular = false;
    std::uint64_t device = 0, number = 0;
    std::int64_t size = 0, seconds = 0, nanoseconds = 0; ///< bytes, and the time of the last change

    /// Of an open file. @returns what is no regular file when it cannot be told
    static FileState of(int file) {
        struct stat status {};
        return ::fstat(file, &status) == 0 ? FileState(status) : FileState();
    }
    /// @throws Error when the file of that name is the same one and has changed
    void check_unchanged(std::filesystem::path const &path) const {
        struct stat status {};
        if (::stat(path.c_str(), &status) == 0)
            check_unchanged(FileState(status), path.string());
    }
    void check_unchanged(FileState const &now, std::string const &name) const {
        bool const same_file = regular && device == now.device && number == now.number;
        check(!same_file || size == now.size, name, ": changed while it was being read: has ", now.size, " bytes, had ",
              size);
        check(!same_file || (seconds == now.seconds && nanoseconds == now.nanoseconds), name,
              ": changed while it was being read: somebody has written to it since it was opened");
    }

    FileState() = default;

  private:
    explicit FileState(struct stat const &status)
        : regular(S_ISREG(status.st_mode)), device(status.st_dev), number(status.st_ino), size(status.st_size),
          seconds(status.st_mtim.tv_sec), nanoseconds(status.st_mtim.tv_nsec) {}
};

/// A file mapped read-only; pages are read when touched. Moves only; unmaps on destruction.
class MappedFile {
  public:
    MappedFile() = default;

    /// Maps `path`. An empty file gives an empty span.
    /// @throws Error naming the path and the system's reason, or that a Git LFS pointer lies in the file's place
    explicit MappedFile(std::filesystem::path const &path) : MappedFile(path, AnyContent()) {
        refuse_lfs_pointer(bytes(), path_.string());
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

    /// Where others write into a file that is mapped, what was read of it may be half of the old and half of the new.
    /// A file that was removed, or replaced by renaming another, is still there as it was.
    /// @throws Error naming the file when its size or the time of its last change is another than when it was opened
    void check_unchanged() const {
        if (data_)
            opened_.check_unchanged(path_);
    }

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
    struct AnyContent {};
    MappedFile(std::filesystem::path const &path, AnyContent) : path_(path) {
        int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe would wait for its writer
        int const open_reason = errno;
        check(file >= 0, path.string(), ": cannot open: ", std::strerror(open_reason));
        opened_ = FileState::of(file);
        bool const regular = opened_.regular;
        size_ = regular ? static_cast<std::size_t>(opened_.size) : 0;
        void *address = size_ ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0) : nullptr;
        int const reason = errno;
        ::close(file);
        check(regular, path.string(), ": not a regular file");
        check(address != MAP_FAILED, path.string(), ": cannot map: ", std::strerror(reason));
        data_ = static_cast<std::byte const *>(address);
    }
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
        std::swap(opened_, other.opened_);
    }
    std::byte const *data_ = nullptr;
    std::size_t size_ = 0;
    std::filesystem::path path_;
    FileState opened_;
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

namespace detail {

/// Removes a file that a killed process left over; false when its process still is at work, or nobody can tell.
inline bool remove_left_over(std::filesystem::path const &path) {
    int const file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (file < 0)
        return errno == ENOENT;
    struct stat status {};
    bool const regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    bool const nobodys = regular && try_lock(file, path.string()) == Locked::yes;
    bool const removed = nobodys && is_name_of(path, file) && ::unlink(path.c_str()) == 0;
    ::close(file);
    return removed || (nobodys && ::access(path.c_str(), F_OK) != 0);
}

/// Makes a new file for writing that no other process has: PATH.partial, or PATH.2.partial and so on where others are
/// at work on the same output. It is locked as long as it is open, so that what killed processes left can be told from
/// it, and is removed. @param partial  receives the name @throws Error naming the file that cannot be created
inline int create_partial(std::filesystem::path const &path, std::filesystem::path &partial) {
    int file = -1;
    for (int number = 1; number < 1000; ++number) {
        std::filesystem::path const name =
            path.string() + (number == 1 ? "" : '.' + std::to_string(number)) + ".partial";
        struct stat status {};
        bool const exists = ::lstat(name.c_str(), &status) == 0;
        if (file >= 0 && !exists)
            break;
        if ((exists && !remove_left_over(name)) || file >= 0)
            continue;
        file = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        int const reason = errno;
        check(file >= 0 || reason == EEXIST, name.string(), ": cannot create: ", std::strerror(reason));
        if (file < 0)
            continue;
        partial = name;
        if (try_lock(file, name.string()) == Locked::held || !is_name_of(name, file))
            ::close(std::exchange(file, -1)); // another process took it for a left-over
    }
    check(file >= 0, path.string(), ": cannot create a file beside it, 999 others are there");
    return file;
}

} // namespace detail

/// A file that appears under its name only when `commit` has written and synced all of it; until then, and after
/// any error, the old file of that name is untouched. It is written as PATH.partial; of several processes that write
/// the same output each has a file of its own, and the last to commit wins. Moves are not needed and not offered.
class AtomicFile {
  public:
    /// @throws Error when no file can be created beside `path`
    explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
        int const file = detail::create_partial(path_, partial_);
        stream_ = ::fdopen(file, "wb");
        int const reason = errno;
        if (!stream_)
            ::close(file);
        check(stream_, partial_.string(), ": cannot create: ", std::strerror(reason));
    }
    AtomicFile(AtomicFile const &) = delete;
    AtomicFile &operator=(AtomicFile const &) = delete;
    ~AtomicFile() {
        if (!stream_)
            return;
        std::remove(partial_.c_str()); // before its lock ends
        std::fclose(stream_);
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
        std::error_code error;
        if (flushed) // while the lock still holds
            std::filesystem::rename(partial_, path_, error);
        if (!flushed || error)
            std::remove(partial_.c_str());
        std::fclose(std::exchange(stream_, nullptr)); // all of it is on the disk, nothing is left to fail
        check(flushed, partial_.string(), ": cannot sync: ", std::strerror(reason));
        check(!error, path_.string(), ": cannot rename ", partial_.string(), ": ", error.message());
        sync_folder(path_.parent_path());
    }

  private:
    std::filesystem::path path_, partial_;
    std::FILE *stream_ = nullptr;
    std::size_t written_ = 0;
};

} // namespace protlm::inline v0
