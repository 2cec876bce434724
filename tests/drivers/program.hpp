#pragma once

#include "support/temporary_folder.hpp"

#include <protlm/core/philox.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace protlm::test {

/// A value that CMake puts into the environment of these tests. @throws std::runtime_error when it is not there
inline std::string setting(char const *name) {
    char const *value = std::getenv(name);
    if (!value)
        throw std::runtime_error(std::string(name) + " is not set; start this test by ctest");
    return value;
}

/// How a program ended, what it wrote to both outputs, and the most memory it had, in bytes.
struct Ended {
    int status;
    std::string text;
    double peak_bytes;
};

/// Runs a command line of the shell.
inline Ended run_program(std::string const &command, TemporaryFolder const &folder) {
    auto const output = folder / "output.txt";
    std::string const line = "exec " + command + " > '" + output.string() + "' 2>&1";
    pid_t const child = ::fork();
    if (child == 0) {
        ::execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char *>(nullptr));
        ::_exit(127);
    }
    int status = -1;
    struct rusage usage {};
    if (child < 0 || ::wait4(child, &status, 0, &usage) != child)
        throw std::runtime_error("cannot run " + command);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(output),
            1024.0 * static_cast<double>(usage.ru_maxrss)};
}

/// Proteins in which a residue says much about the next one. @param longest  residues; lengths differ up to it
inline std::string fasta_text(int count, std::uint32_t longest, std::uint32_t shortest = 3) {
    std::string const letters = "LAGVESIKRDTPNQFYMHCW";
    std::ostringstream text;
    for (int i = 0; i < count; ++i) {
        CounterRandom const random{77, Purpose::sample, 0};
        auto const sample = static_cast<std::uint64_t>(i);
        std::uint32_t const length = shortest + random(sample, 1u << 30)[0] % (longest - shortest + 1);
        text << ">protein" << i << '\n';
        std::uint32_t residue = 0;
        for (std::uint32_t t = 0; t < length; ++t) {
            auto const bits = random(sample, t);
            residue = bits[0] % 4 == 0 ? bits[1] % 20 : (residue * 3 + 1) % 20;
            text << letters[residue];
        }
        text << '\n';
    }
    return text.str();
}

} // namespace protlm::test
