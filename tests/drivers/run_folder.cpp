// What a run leaves behind when it is killed, stopped, started twice, or loses the one that listens to it.

#include "pretraining_run.hpp"

#include <fcntl.h>

#include <fstream>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

namespace {

std::size_t lines(fs::path const &file) {
    std::ifstream text(file);
    std::size_t count = 0;
    for (std::string line; std::getline(text, line);)
        ++count;
    return count;
}

std::string const many = "--quiet --checkpoint-every 2 --evaluate-every 0 --keep 2 ";
std::string const endless = "--quiet --steps 100000000 --checkpoint-every 0 --evaluate-every 0 ";
std::string const nowhere = " > /dev/null 2>&1";

} // namespace

BOOST_AUTO_TEST_SUITE(run_folder)

BOOST_AUTO_TEST_CASE(a_run_that_is_killed_again_and_again_ends_with_the_same_bits) {
    Run const run;
    run.run("whole", many + "--steps 40");
    int kills = 0;
    for (int i = 0; i < 6; ++i) {
        Working killed(run.command("killed", many + "--steps 40") + nowhere);
        std::size_t const before = lines(run.folder / "killed" / "log.jsonl");
        wait_until([&] {
            std::size_t const now = lines(run.folder / "killed" / "log.jsonl");
            return now >= 39 || (now != before && now > static_cast<std::size_t>(5 * i + 3));
        });
        killed.send(SIGKILL);
        kills += killed.wait() == 128 + SIGKILL;
    }
    BOOST_TEST(kills >= 4);
    run.run("killed", many + "--steps 40");
    for (char const *file : {"model.safetensors", "optimizer.safetensors"})
        BOOST_TEST((read_file(run.checkpoint("killed", 40) / file) == read_file(run.checkpoint("whole", 40) / file)));
    BOOST_TEST(run.column("killed", "step") == run.column("whole", "step"));
    BOOST_TEST(run.column("killed", "loss") == run.column("whole", "loss"));
}

BOOST_AUTO_TEST_CASE(the_second_run_in_a_folder_is_refused_and_the_first_goes_on) {
    Run const run;
    Working first(run.command("run", endless) + nowhere);
    auto const log = run.folder / "run" / "log.jsonl";
    BOOST_REQUIRE(wait_until([&] { return lines(log) >= 3; }));
    auto const second = run.start("run", endless);
    BOOST_TEST(second.status == 1);
    BOOST_TEST(second.text.find("is at work on it") != std::string::npos, second.text);
    BOOST_TEST(second.text.find("process ") != std::string::npos, second.text);
    std::size_t const so_far = lines(log);
    BOOST_TEST(wait_until([&] { return lines(log) > so_far + 2; }));
    first.send(SIGTERM);
    BOOST_TEST(first.wait() == 75);
    auto const steps = run.column("run", "step");
    BOOST_TEST(steps.back() == static_cast<double>(steps.size())); // none is missing
    BOOST_CHECK_NO_THROW(verify_checkpoint(run.checkpoint("run", static_cast<index_t>(steps.size()))));
}

BOOST_AUTO_TEST_CASE(every_signal_of_a_batch_system_ends_with_a_checkpoint_and_status_75) {
    Run const run;
    for (int const signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU}) {
        std::string const name = "run" + std::to_string(signal);
        Working stopped(run.command(name, endless) + nowhere);
        BOOST_REQUIRE(wait_until([&] { return lines(run.folder / name / "log.jsonl") >= 1; }));
        stopped.send(signal);
        BOOST_TEST(stopped.wait() == 75, signal);
        auto const status = read_json(run.folder / name / "status.json");
        BOOST_TEST(status["state"] == "stopped");
        BOOST_CHECK_NO_THROW(verify_checkpoint(run.checkpoint(name, status["step"].get<index_t>())));
    }
}

BOOST_AUTO_TEST_CASE(nobody_listens_any_more) {
    Run const run;
    for (int const signal : {SIGTERM, SIGINT}) {
        std::string const name = "run" + std::to_string(signal);
        std::string command = run.command(name, endless);
        command.erase(command.find("--quiet "), 8);
        int ends[2];
        BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        Working job(command, ends[1]);
        ::close(ends[1]);
        BOOST_REQUIRE(wait_until([&] { return lines(run.folder / name / "log.jsonl") >= 1; }));
        ::close(ends[0]);
        job.send(signal);
        BOOST_TEST(job.wait() == 75);
        auto const status = read_json(run.folder / name / "status.json");
        BOOST_CHECK_NO_THROW(verify_checkpoint(run.checkpoint(name, status["step"].get<index_t>())));
    }
}

BOOST_AUTO_TEST_CASE(what_is_passed_over_is_told_even_by_a_quiet_run) {
    Run const run;
    run.run("run", "--steps 4 --checkpoint-every 2");
    fs::resize_file(run.checkpoint("run", 4) / "optimizer.safetensors", 100);
    auto const again = run.start("run", "--quiet --steps 4 --checkpoint-every 2");
    BOOST_TEST(again.status == 0);
    BOOST_TEST(again.text.find("checkpoint passed over: ") != std::string::npos, again.text);
    for (index_t step : {2, 4})
        fs::resize_file(run.checkpoint("run", step) / "optimizer.safetensors", 100);
    auto const log = read_file(run.folder / "run" / "log.jsonl");
    auto const none = run.start("run", "--quiet --steps 4 --checkpoint-every 2");
    BOOST_TEST(none.status == 1);
    BOOST_TEST(none.text.find("none of its checkpoints is whole") != std::string::npos, none.text);
    BOOST_TEST(read_file(run.folder / "run" / "log.jsonl") == log);
}

BOOST_AUTO_TEST_CASE(nothing_to_predict_is_refused) {
    Run const run;
    auto const none = run.start("run", "--steps 4 --mask-rate 0");
    BOOST_TEST(none.status == 1);
    BOOST_TEST(none.text.find("rate is 0, expected above 0") != std::string::npos, none.text);
    auto const hardly = run.start("run", "--steps 4 --mask-rate 1e-30");
    BOOST_TEST(hardly.text.find("had nothing to predict") != std::string::npos, hardly.text);
    BOOST_TEST(hardly.text.find("there is no held-out loss") != std::string::npos, hardly.text);
}

BOOST_AUTO_TEST_SUITE_END()
