// What all drivers do alike: command line, MPI, Kokkos, messages, exit status.
#pragma once

#include <support/command_line.hpp>
#include <support/standard_streams.hpp>
#include <support/start_kokkos.hpp>
#include <support/version.hpp>

#include <protlm/core/build_advice.hpp>
#include <protlm/core/mapped_file_guard.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>

namespace examples {

/// Exit statuses; whatever else goes wrong is 1.
inline constexpr int done = 0, wrong_usage = 2, interrupted = 75; ///< 75: to be run again (EX_TEMPFAIL)

/// What a driver runs in that knows no ranks. The others take MpiSession or OneProcess, which offer the same.
struct Alone {
    Alone(int &, char **&) {}
    int rank() const { return 0; }
    int size() const { return 1; }
    int node_rank() const { return 0; }
    int first_rank_with(bool here) const { return here ? 0 : 1; }
    void abort(int) const {}
};

struct Driver {
    char const *name;
    bool kokkos = true;
};

/// An error's message with the option that decides, as users of the command line write it.
inline std::string message_for_users(protlm::Error const &error) {
    if (!error.setting())
        return error.what();
    std::string option(error.setting()->name);
    std::replace(option.begin(), option.end(), '_', '-');
    return error.message() + " (--" + option + ' ' + std::string(error.setting()->values) + ')';
}

/// The rank that whatever started this process gave it: for what happens before MPI is started.
inline bool may_print() {
    for (char const *name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
        if (char const *rank = std::getenv(name))
            return std::atoi(rank) == 0;
    return true;
}

/// What became of a command line: the program goes on, or ends with `status` and these texts.
struct Outcome {
    std::optional<int> status;
    std::string output, error;
};

/// @param describe  (app) or (app, arguments), adds options; what it throws is no mistake of usage, what a callback of
///                  the app throws is
template <class Describe>
Outcome read_command_line(char const *program, Arguments const &arguments, Describe &describe) {
    CLI::App app("", program);
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_help_flag("-h,--help", "print this and end");
    app.add_flag_callback(
        "--version", [&] { throw CLI::CallForVersion(version_text(program), 0); },
        "print what this program was built of, and end");
    try {
        if constexpr (std::is_invocable_v<Describe &, CLI::App &, Arguments const &>)
            describe(app, arguments);
        else
            describe(app);
        app.footer(app.get_footer() + "Options --kokkos-... go to Kokkos: --kokkos-help lists them.");
    } catch (protlm::Error const &error) {
        return {1, "", message_for_users(error)};
    } catch (std::exception const &error) {
        return {1, "", error.what()};
    }
    try {
        auto const mistake = CommandLine(app, arguments).read();
        if (mistake.empty())
            return {};
        return {wrong_usage, "", mistake + " (" + program + " --help)"};
    } catch (CLI::CallForVersion const &version) {
        return {done, version.what(), ""};
    } catch (CLI::Success const &) {
        return {done, app.help(), ""};
    } catch (protlm::Error const &error) {
        return {wrong_usage, "", message_for_users(error)};
    }
}

/// What `run` returns, or done where it returns nothing.
template <class Session, class Run>
int status_of(Run &run, Session const &session) {
    auto const call = [&] {
        if constexpr (std::is_invocable_v<Run &, Session const &>)
            return run(session);
        else
            return run();
    };
    if constexpr (std::is_void_v<decltype(call())>)
        return call(), done;
    else
        return call();
}

/// Prints "PROGRAM: MESSAGE" (of several ranks "PROGRAM: rank R: MESSAGE") and ends the job, so that no rank waits for
/// one that failed. What all ranks find wrong is told by the first: the others wait until it has ended them.
template <class Session>
int report_failure(char const *program, Session const &session, std::string const &message, int status = 1) {
    if (session.rank() > 0)
        std::this_thread::sleep_for(std::chrono::seconds(2));
    std::string const rank = session.size() > 1 ? "rank " + std::to_string(session.rank()) + ": " : "";
    std::fputs((std::string(program) + ": " + rank + message + '\n').c_str(), stderr); // one call: lines do not mix
    std::fflush(stderr);
    session.abort(status);
    return status;
}

/// Runs what a driver does, with Kokkos where it needs that.
template <class Session, class Run>
int run_described(Driver const &driver, Session const &session, Arguments const &kokkos_options, Run &run) {
    protlm::MappedFileGuard const guard(driver.name);
    try {
        std::optional<KokkosStart> kokkos;
        if (driver.kokkos) {
            kokkos.emplace(driver.name, kokkos_options, session.node_rank());
            if (auto const advice = protlm::build_advice(); session.rank() == 0 && !advice.empty())
                std::fprintf(stderr, "%s: note: %s\n", driver.name, advice.c_str());
        }
        return status_of(run, session);
    } catch (protlm::Error const &error) {
        return report_failure(driver.name, session, message_for_users(error));
    } catch (WrongUsage const &error) {
        return report_failure(driver.name, session, error.what(), wrong_usage);
    } catch (std::bad_alloc const &) {
        return report_failure(driver.name, session, "out of memory");
    } catch (std::exception const &error) {
        return report_failure(driver.name, session, error.what());
    }
}

/// `main` of a driver.
/// @tparam Session  Alone, or MpiSession or OneProcess for drivers with ranks
/// @param describe  adds the options to a CLI::App, see read_command_line
/// @param run       what the driver does: run(session) or run(); returns nothing or the exit status
/// @returns the exit status: 0 done, 2 wrong usage, 75 interrupted and to be run again, 1 any other error
template <class Session = Alone, class Describe, class Run>
int run_driver(Driver const &driver, int argc, char **argv, Describe describe, Run run) {
    prepare_standard_streams();
#ifdef PROTLM_WITH_HDF5
    H5dont_atexit(); // HDF5 1.10 crashes at exit where a full disk kept it from closing a file
#endif
    int status = 1;
    try {
        Arguments arguments(argv + std::min(argc, 1), argv + argc);
        auto const kokkos_options = take_kokkos_options(arguments);
        if (std::count(kokkos_options.begin(), kokkos_options.end(), "--kokkos-help") > 0) {
            if (may_print()) // other ranks must not wait for one that has ended
                KokkosStart const prints_help(driver.name, {"--kokkos-help"}, 0);
            return close_standard_output(driver.name, done);
        }
        auto const read = read_command_line(driver.name, arguments, describe);
        if (read.status == done) { // asked for help, which is to work where MPI cannot be started
            if (may_print())
                std::fputs(read.output.c_str(), stdout);
            return close_standard_output(driver.name, done);
        }
        Session const session(argc, argv);
        int const mistaken = session.first_rank_with(read.status.has_value());
        if (mistaken == session.rank())
            std::fputs((std::string(driver.name) + ": " + read.error + '\n').c_str(), stderr);
        if (mistaken < session.size())
            status = read.status.value_or(wrong_usage);
        else
            status = run_described(driver, session, kokkos_options, run);
    } catch (std::exception const &error) { // of the session itself
        std::fprintf(stderr, "%s: %s\n", driver.name, error.what());
    }
    return close_standard_output(driver.name, status);
}

} // namespace examples
