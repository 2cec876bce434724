#pragma once

#include <protlm/io/checkpoint_folder.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace protlm::test {

/// Checks a folder of checkpoint files: every one in good/ must hold the tensors of expected.safetensors, every one in
/// hostile/ must end in an Error that names it, within 1 s and 64 MB and without leaving a file PWNED behind.
class FilesCheck {
  public:
    explicit FilesCheck(std::filesystem::path folder) : folder_(std::move(folder)) {}

    /// True for a folder of this kind.
    static bool recognise(std::filesystem::path const &folder) {
        return std::filesystem::exists(folder / "expected.safetensors") &&
               (std::filesystem::exists(folder / "good") || std::filesystem::exists(folder / "hostile"));
    }

    /// Prints a line for each file. @returns whether all are as they must be
    bool run() const {
        bool good = true;
        for (auto const &path : entries("good"))
            good = report(path, compare(path)) && good;
        for (auto const &path : entries("hostile"))
            good = report(path, attack(path)) && good;
        return good;
    }

  private:
    struct Outcome {
        bool good;
        std::string text;
    };

    std::vector<std::filesystem::path> entries(char const *kind) const {
        std::vector<std::filesystem::path> result;
        if (std::filesystem::exists(folder_ / kind))
            for (auto const &entry : std::filesystem::directory_iterator(folder_ / kind))
                result.push_back(entry.path());
        std::sort(result.begin(), result.end());
        return result;
    }
    bool report(std::filesystem::path const &path, Outcome const &outcome) const {
        std::printf("%s  %s: %s\n", outcome.good ? "ok  " : "FAIL", path.lexically_relative(folder_).c_str(),
                    outcome.text.c_str());
        return outcome.good;
    }

    Outcome compare(std::filesystem::path const &path) const {
        try {
            CheckpointFolder const expected(folder_ / "expected.safetensors"), actual(path);
            std::string differences;
            for (auto const &[file, tensor] : expected.tensors()) {
                auto const *found = actual.find(tensor->name);
                if (!found || found->dtype != tensor->dtype || found->shape != tensor->shape ||
                    actual.read<double>(tensor->name) != expected.read<double>(tensor->name))
                    differences += ' ' + tensor->name + (found ? " differs" : " is missing");
            }
            if (actual.tensors().size() > expected.tensors().size())
                differences += " more tensors than expected";
            auto const count = std::to_string(expected.tensors().size());
            return {differences.empty(), differences.empty() ? count + " tensors equal" : differences};
        } catch (std::exception const &error) {
            return {false, error.what()};
        }
    }

    /// What opening and reading a file says; "?" in front where it does not end in an Error.
    static std::string message_of_reading(std::filesystem::path const &path) {
        try {
            CheckpointFolder const checkpoint(path);
            for (auto const &[file, tensor] : checkpoint.tensors())
                checkpoint.read<double>(tensor->name);
            return "?was read without an error";
        } catch (Error const &error) {
            return error.what();
        } catch (std::exception const &error) {
            return std::string("?ended in ") + error.what();
        }
    }

    /// Reads the file in a process of its own, whose memory can be measured and which may die.
    Outcome attack(std::filesystem::path const &path) const {
        std::array<int, 2> ends{};
        check(::pipe(ends.data()) == 0, "reference_check: cannot make a pipe");
        std::fflush(nullptr);
        auto const begin = std::chrono::steady_clock::now();
        auto const child = ::fork();
        check(child >= 0, "reference_check: cannot start a process");
        if (child == 0) {
            auto const text = message_of_reading(path);
            bool const sent = ::write(ends[1], text.data(), std::min<std::size_t>(text.size(), 4096)) >= 0;
            ::_exit(sent ? 0 : 1);
        }
        ::close(ends[1]);
        std::string message(4096, '\0');
        auto const received = ::read(ends[0], message.data(), message.size());
        message.resize(static_cast<std::size_t>(std::max<ssize_t>(received, 0)));
        ::close(ends[0]);
        int status = 0;
        rusage usage{};
        ::wait4(child, &status, 0, &usage);
        double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        return judge(path, message, status, seconds, static_cast<double>(usage.ru_maxrss) / 1024);
    }

    Outcome judge(std::filesystem::path const &path, std::string const &message, int status, double seconds,
                  double megabytes) const {
        std::string faults;
        if (status != 0 || message.empty())
            faults += " [the process died]";
        if (message.starts_with('?') || message.find(path.filename().string()) == message.npos)
            faults += " [no error that names the file]";
        if (seconds > 1)
            faults += " [took " + std::to_string(seconds) + " s]";
        if (megabytes > 64)
            faults += " [took " + std::to_string(megabytes) + " MB]";
        for (auto const &place : {std::filesystem::current_path(), folder_, path.parent_path()})
            if (std::filesystem::exists(place / "PWNED"))
                faults += " [ran what the file contains: " + (place / "PWNED").string() + "]";
        return {faults.empty(), message + faults};
    }

    std::filesystem::path folder_;
};

} // namespace protlm::test
