#pragma once

#include <sys/resource.h>

#include <csignal>

namespace protlm::test {

/// While this lives, no file of this process grows beyond `bytes`: what a full disk looks like to a writer.
class FullDisk {
  public:
    explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        rlimit const limit{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    FullDisk(FullDisk const &) = delete;
    FullDisk &operator=(FullDisk const &) = delete;
    ~FullDisk() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }

  private:
    rlimit before_{};
    void (*handler_)(int);
};

} // namespace protlm::test
