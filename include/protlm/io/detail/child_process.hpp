#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/io/detail/file_descriptor.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0::detail {

/// Texts and numbers, one after the other, on their way from one process to another.
class Parcel {
  public:
    Parcel() = default;
    explicit Parcel(std::string bytes) : bytes_(std::move(bytes)) {}

    void put(std::uint64_t number) { bytes_.append(reinterpret_cast<char const *>(&number), sizeof(number)); }
    void put(std::string_view text) {
        put(text.size());
        bytes_.append(text);
    }
    std::uint64_t number() {
        std::uint64_t result = 0;
        check(bytes_.size() - at_ >= sizeof(result), "a message of another process ends too early");
        std::memcpy(&result, bytes_.data() + at_, sizeof(result));
        at_ += sizeof(result);
        return result;
    }
    std::string text() {
        auto const size = number();
        check(bytes_.size() - at_ >= size, "a message of another process ends too early");
        at_ += size;
        return bytes_.substr(at_ - size, size);
    }
    std::string const &bytes() const { return bytes_; }

  private:
    std::string bytes_;
    std::size_t at_ = 0;
};

/// Private memory of this process in bytes, as the limit RLIMIT_DATA counts it; 0 where the system does not say.
inline std::uint64_t data_bytes() {
    unsigned long long pages = 0;
    if (std::FILE *file = std::fopen("/proc/self/statm", "re")) {
        if (std::fscanf(file, "%*u %*u %*u %*u %*u %llu", &pages) != 1)
            pages = 0;
        std::fclose(file);
    }
    return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// In a new child: says nothing, crashes quietly, and ends by itself after too much time or memory.
inline void limit_child(std::uint64_t seconds, std::uint64_t memory) {
    for (int const signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU, SIGTERM, SIGINT})
        std::signal(signal, SIG_DFL);
    int const nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, STDOUT_FILENO), ::dup2(nowhere, STDERR_FILENO);
    auto const limit = [](auto resource, std::uint64_t most) {
        struct rlimit values {};
        if (::getrlimit(resource, &values) == 0 && (values.rlim_cur == RLIM_INFINITY || values.rlim_cur > most)) {
            values.rlim_cur = most;
            ::setrlimit(resource, &values);
        }
    };
    limit(RLIMIT_CORE, 0), limit(RLIMIT_CPU, seconds);
    if (std::uint64_t const now = data_bytes())
        limit(RLIMIT_DATA, now + memory);
}

/// The child's work: the result of `function()`, a Parcel, or an Error's message goes into `pipe`, marked by its first
/// byte, and a last byte says that all is there.
template <class Function>
[[noreturn]] void run_child(FileDescriptor const &pipe, Function const &function) {
    std::string answer;
    try {
        answer = 'R' + function().bytes();
    } catch (std::bad_alloc const &) {
        answer = "M";
    } catch (std::exception const &error) {
        answer = std::string("E") + error.what();
    }
    answer += '.';
    for (std::size_t at = 0; at < answer.size();) {
        ssize_t const written = ::write(pipe.get(), answer.data() + at, answer.size() - at);
        if (written < 0 && errno != EINTR)
            ::_exit(1);
        at += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
    ::_exit(0);
}

/// Runs `function()`, which gives a Parcel, in a child process, for work in which a library may crash or hang.
/// @param name  the file that is read, in messages
/// @param seconds, memory  of the processor and in bytes, that the child may take
/// @throws Error what the function threw, or that it crashed, hung or needed too much memory
template <class Function>
Parcel in_child_process(std::string const &name, std::uint64_t seconds, std::uint64_t memory,
                        Function const &function) {
    int ends[2] = {-1, -1};
    check(::pipe2(ends, O_CLOEXEC) == 0, name, ": cannot make a pipe: ", std::strerror(errno));
    auto const reading = FileDescriptor::of(ends[0]);
    auto writing = FileDescriptor::of(ends[1]);
    pid_t const child = ::fork();
    check(child >= 0, name, ": cannot start a process to read it: ", std::strerror(errno));
    if (child == 0) {
        limit_child(seconds, memory);
        run_child(writing, function);
    }
    { auto const closed = std::move(writing); }
    std::string answer;
    std::array<char, 1 << 16> block{};
    for (ssize_t count = 1; count != 0;) {
        count = ::read(reading.get(), block.data(), block.size());
        if (count > 0)
            answer.append(block.data(), static_cast<std::size_t>(count));
        else if (count < 0 && errno != EINTR)
            break;
    }
    int status = 0;
    pid_t ended = -1;
    do
        ended = ::waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    bool const hung = ended == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU;
    check(!hung, name, ": is damaged: HDF5 was still at work on it after ", seconds, " s");
    check(answer.size() >= 2 && answer.back() == '.', name, ": is damaged: HDF5 crashed when it read it");
    check(answer.front() != 'M', name, ": is damaged, or asks for more memory than ", memory, " bytes");
    check(answer.front() != 'E', answer.substr(1, answer.size() - 2));
    return Parcel(answer.substr(1, answer.size() - 2));
}

} // namespace protlm::inline v0::detail
