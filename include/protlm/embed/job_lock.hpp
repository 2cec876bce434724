#pragma once

#include <protlm/core/file_lock.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

namespace protlm::inline v0 {

/// Keeps two jobs apart that would write the same embedding file: a FileLock in the folder FILE.job, which is made for
/// it and removed again where nothing else came into it. Moves only.
class EmbeddingLock {
  public:
    /// Holds nothing.
    EmbeddingLock() = default;
    /// Waits up to two seconds: a job that was just killed may need a moment to end.
    /// @param file  the embedding file  @throws Error naming who is at work on it
    explicit EmbeddingLock(std::filesystem::path const &file) : folder_(file.string() + ".job") {
        using Clock = std::chrono::steady_clock;
        auto const start = Clock::now();
        while (!lock_.held())
            try {
                make_folder();
                lock_ = FileLock(folder_ / "lock", file.string());
            } catch (Error const &) {
                if (Clock::now() - start > std::chrono::seconds(2) || !may_change())
                    throw;
                std::this_thread::sleep_for(std::chrono::milliseconds(50));
            }
    }
    EmbeddingLock(EmbeddingLock &&other) noexcept { swap(other); }
    EmbeddingLock &operator=(EmbeddingLock &&other) noexcept {
        EmbeddingLock(std::move(other)).swap(*this);
        return *this;
    }
    ~EmbeddingLock() {
        bool const held = lock_.held();
        std::error_code ignored; // it is not empty, or another job has begun in it
        lock_ = FileLock();
        if (held)
            std::filesystem::remove(folder_, ignored);
    }

    bool held() const { return lock_.held(); }

  private:
    void make_folder() const {
        std::error_code error;
        std::filesystem::create_directories(folder_, error);
        check(!error, folder_.string(), ": cannot make folder: ", error.message());
    }
    /// Whether another attempt may do better: the folder is there, or was removed by a job that has just ended.
    bool may_change() const {
        std::error_code ignored;
        auto const parent = folder_.has_parent_path() ? folder_.parent_path() : std::filesystem::path(".");
        return std::filesystem::is_directory(parent, ignored);
    }
    void swap(EmbeddingLock &other) noexcept {
        std::swap(folder_, other.folder_);
        std::swap(lock_, other.lock_);
    }
    std::filesystem::path folder_;
    FileLock lock_;
};

} // namespace protlm::inline v0
