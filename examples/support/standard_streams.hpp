// Standard output and error as every driver treats them.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace examples {

/// A reader that goes away must not end the program: SIGPIPE is ignored, and progress that nobody reads is dropped. And
/// a stream that is closed must not become the first file that the program opens.
inline void prepare_standard_streams() {
    std::signal(SIGPIPE, SIG_IGN);
    for (int descriptor : {0, 1, 2})
        if (::fcntl(descriptor, F_GETFD) < 0) // takes the lowest number that is free: this one
            [[maybe_unused]]
            int const taken = ::open("/dev/null", descriptor == 1 ? O_RDONLY : O_WRONLY);
}

/// Writes what standard output still holds. @returns 1 and says why when something of it was lost, `status` otherwise
inline int close_standard_output(char const *program, int status) {
    errno = 0;
    bool failed = std::fflush(stdout) != 0;
    int reason = failed ? errno : 0;
    failed = failed || std::ferror(stdout);
    if (int const copy = ::dup(STDOUT_FILENO); copy >= 0 && ::close(copy) != 0) // network file systems tell it here
        failed = true, reason = errno;
    struct pollfd pipe {
        STDOUT_FILENO, POLLOUT, 0
    };
    bool const reader_left = reason == EPIPE || (::poll(&pipe, 1, 0) == 1 && (pipe.revents & POLLERR));
    if (!failed || reader_left)
        return status;
    std::fprintf(stderr, "%s: standard output: %s\n", program,
                 reason ? std::strerror(reason) : "not everything could be written");
    return status ? status : 1;
}

} // namespace examples
