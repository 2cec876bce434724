#pragma once

#include "program.hpp"

#include <protlm/io/checkpoint.hpp>
#include <protlm/io/checkpoint_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace protlm::test {

/// A store, and a run of six steps with checkpoints at the third and the last.
struct Run {
    TemporaryFolder folder;
    Run() {
        folder.write("proteins.fasta", fasta_text(150, 90));
        auto const prepared = run_program(setting("PROTLM_TEST_PREPARE") + " " + (folder / "proteins.fasta").string() +
                                              " --quiet --held-out 0.1 --output " + (folder / "s.store").string(),
                                          folder);
        BOOST_REQUIRE_MESSAGE(prepared.status == 0, prepared.text);
    }

    /// @param options  behind the usual ones, and instead of them where they say the same
    Ended start(std::string const &output, std::string const &options = "", int ranks = 1) const {
        return run_program(command(output, options, ranks), folder);
    }
    std::string command(std::string const &output, std::string const &options = "", int ranks = 1) const {
        std::string command = ranks > 1 ? setting("PROTLM_TEST_MPIRUN_" + std::to_string(ranks)) + " " : "";
        command += setting("PROTLM_TEST_PROGRAM") + " " + options;
        for (auto const &[name, value] : {std::pair{"--data", (folder / "s.store").string()},
                                          {"--config", setting("PROTLM_TEST_CONFIG")},
                                          {"--output", (folder / output).string()}})
            if (options.find(name) == options.npos)
                command += std::string(" ") + name + " " + value;
        return command;
    }
    void run(std::string const &output, std::string const &options = "", int ranks = 1) const {
        auto const ended = start(output, "--quiet " + options, ranks);
        BOOST_REQUIRE_MESSAGE(ended.status == 0, output << ": " << ended.text);
    }
    std::filesystem::path checkpoint(std::string const &output, index_t step) const {
        return folder / output / step_folder_name(step);
    }
    std::vector<float> weights(std::string const &output, index_t step) const {
        return SafetensorsFile(checkpoint(output, step) / "optimizer.safetensors").read<float>("weights");
    }
    std::vector<nlohmann::json> log(std::string const &output) const {
        std::ifstream file(folder / output / "log.jsonl");
        std::vector<nlohmann::json> lines;
        for (std::string line; std::getline(file, line);)
            lines.push_back(nlohmann::json::parse(line));
        return lines;
    }
    std::vector<double> column(std::string const &output, char const *name) const {
        std::vector<double> values;
        for (auto const &line : log(output))
            if (line.contains(name))
                values.push_back(line[name].get<double>());
        return values;
    }
    static std::string setting(std::string const &name) { return protlm::test::setting(name.c_str()); }
};

/// A program at work. Whoever forgets it kills it.
class Working {
  public:
    /// @param output  a file descriptor for both of its outputs; -1: what this process has
    explicit Working(std::string const &command, int output = -1) : child_(::fork()) {
        if (child_ == 0) {
            for (int const signal : {SIGHUP, SIGINT}) // whoever starts tests may ignore them
                std::signal(signal, SIG_DFL);
            if (output >= 0 && (::dup2(output, 1) < 0 || ::dup2(output, 2) < 0))
                ::_exit(127);
            ::execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), static_cast<char *>(nullptr));
            ::_exit(127);
        }
    }
    Working(Working const &) = delete;
    Working &operator=(Working const &) = delete;
    ~Working() {
        if (child_ <= 0)
            return;
        send(SIGKILL);
        wait();
    }
    void send(int signal) const { ::kill(child_, signal); }
    /// How it ended, as shells count: 128 and the signal that killed it.
    int wait() {
        int status = -1;
        ::waitpid(std::exchange(child_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

  private:
    pid_t child_;
};

/// Looks every few milliseconds; gives up after a minute.
template <class Condition>
bool wait_until(Condition &&condition) {
    for (int i = 0; i < 12000; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(5)))
        if (condition())
            return true;
    return false;
}

} // namespace protlm::test
