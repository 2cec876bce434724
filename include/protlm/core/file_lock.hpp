#pragma once

#include <protlm/core/check.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0 {

namespace detail {

/// What came of an attempt to lock an open file.
enum class Locked {
    yes,
    held,       ///< by another process, or by another opening of the file in this one
    unsupported ///< this file system has no locks
};

/// Tries to lock an open file without waiting. The lock ends when the file is closed, by a kill too.
/// @throws Error naming `name` and the system's reason
inline Locked try_lock(int file, std::string const &name) {
    int result = 0;
    do
        result = ::flock(file, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    int const reason = errno;
    if (result == 0)
        return Locked::yes;
    if (reason == EWOULDBLOCK || reason == EACCES)
        return Locked::held;
    bool const missing = reason == ENOSYS || reason == ENOLCK || reason == EOPNOTSUPP || reason == EINVAL;
    check(missing, name, ": cannot lock: ", std::strerror(reason));
    return Locked::unsupported;
}

/// Whether `path` still is the name of the open `file`; another process may have removed or replaced it.
inline bool is_name_of(std::filesystem::path const &path, int file) {
    struct stat named {
    }, open{};
    return ::lstat(path.c_str(), &named) == 0 && ::fstat(file, &open) == 0 && named.st_dev == open.st_dev &&
           named.st_ino == open.st_ino;
}

/// When a process of this machine began, in the kernel's ticks; empty where there is none or nobody knows.
inline std::string process_start(long long process) {
    std::ifstream file("/proc/" + std::to_string(process) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1))); // the name may hold spaces
    std::string field;
    for (int i = 3; i <= 22; ++i)
        fields >> field;
    return fields ? field : "";
}

/// Who holds a lock, as its file says.
struct LockHolder {
    std::string host, since, start;
    long long process = 0;

    static constexpr std::string_view title = "protlm lock";

    static LockHolder here() {
        LockHolder holder;
        char name[256] = "";
        ::gethostname(name, sizeof(name) - 1);
        holder.host = name;
        holder.process = ::getpid();
        holder.start = process_start(holder.process);
        std::time_t const now = std::time(nullptr);
        std::tm broken{};
        char text[32] = "";
        std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&now, &broken));
        holder.since = text;
        return holder;
    }
    std::string text() const {
        return std::string(title) + "\nhost " + host + "\nprocess " + std::to_string(process) + "\nsince " + since +
               "\nstart " + start + "\n";
    }
    static LockHolder parse(std::string const &text) {
        LockHolder holder;
        std::istringstream lines(text);
        std::string line;
        std::getline(lines, line);
        for (std::string key; lines >> key;) {
            if (key == "process")
                lines >> holder.process;
            else if (std::getline(lines >> std::ws, line))
                (key == "host" ? holder.host : key == "since" ? holder.since : holder.start) = line;
        }
        return holder;
    }
    /// "process 17 on node4 since 2026-01-31T12:00:00Z"
    std::string name() const {
        return process == 0 ? "another process"
                            : "process " + std::to_string(process) + " on " + host + " since " + since;
    }
    /// Whether it is another process of this machine that is still at work.
    bool at_work() const {
        LockHolder const me = here();
        if (process <= 0 || host != me.host || process == me.process)
            return false;
        bool const exists = ::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM;
        return exists && process_start(process) == start;
    }
};

} // namespace detail

/// Keeps other processes from what one process writes, as long as this object lives. The lock is the system's (flock)
/// on a file of its own, so it ends with its process, however that ends; a lock file that is left over blocks nobody.
/// The file says who holds it: host, process and since when. Moves only.
///
///     FileLock const lock("uniref.store.lock.partial", "uniref.store");
///
/// Where the file system has no locks, `exclusive` is false, and only a holder on the same machine is noticed.
class FileLock {
  public:
    /// Holds nothing.
    FileLock() = default;
    /// Takes the lock or throws; never waits.
    /// @param file  the lock file; made when it does not exist, removed at the end
    /// @param what  what is being locked, for the message
    /// @throws Error "WHAT: process 17 on node4 since 2026-01-31T12:00:00Z is at work on it (FILE)", or when the file
    /// cannot be made
    FileLock(std::filesystem::path file, std::string const &what) : path_(std::move(file)) {
        while (!take(what)) {
        }
    }
    FileLock(FileLock &&other) noexcept { swap(other); }
    FileLock &operator=(FileLock &&other) noexcept {
        FileLock(std::move(other)).swap(*this);
        return *this;
    }
    ~FileLock() {
        if (file_ < 0)
            return;
        if (owner_ == ::getpid()) { // a forked child has no say
            if (detail::is_name_of(path_, file_))
                ::unlink(path_.c_str()); // before the lock ends: whoever opened it meanwhile notices
        }
        ::close(file_);
    }

    /// Whether the system keeps every other process out; false where the file system has no locks.
    bool exclusive() const { return exclusive_; }
    bool held() const { return file_ >= 0; }

  private:
    /// One attempt; false when the file was removed by its last holder in between.
    bool take(std::string const &what) {
        int const file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0666);
        int const reason = errno;
        check(file >= 0, what, ": cannot make the lock file ", path_.string(), ": ", std::strerror(reason));
        FileLock attempt;
        attempt.path_ = path_;
        attempt.file_ = file; // closed by `attempt` at every way out
        std::string const there = read(file);
        check(there.empty() || there.starts_with(detail::LockHolder::title), what, ": ", path_.string(),
              " is no lock file, but has the name of one");
        detail::Locked const locked = detail::try_lock(file, path_.string());
        auto const holder = detail::LockHolder::parse(there);
        bool const free = locked == detail::Locked::yes || (locked == detail::Locked::unsupported && !holder.at_work());
        check(free, what, ": ", holder.name(), " is at work on it (", path_.string(), ')');
        if (!detail::is_name_of(path_, file))
            return false;
        std::string const text = detail::LockHolder::here().text();
        bool const written = ::ftruncate(file, 0) == 0 &&
                             ::pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
        check(written, what, ": cannot write the lock file ", path_.string(), ": ", std::strerror(errno));
        attempt.exclusive_ = locked == detail::Locked::yes;
        attempt.owner_ = ::getpid();
        swap(attempt);
        return true;
    }
    static std::string read(int file) {
        std::string text(1024, '\0');
        ssize_t const size = ::pread(file, text.data(), text.size(), 0);
        text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        return text;
    }
    void swap(FileLock &other) noexcept {
        std::swap(path_, other.path_);
        std::swap(file_, other.file_);
        std::swap(owner_, other.owner_);
        std::swap(exclusive_, other.exclusive_);
    }
    std::filesystem::path path_;
    int file_ = -1;
    pid_t owner_ = 0;
    bool exclusive_ = false;
};

} // namespace protlm::inline v0
