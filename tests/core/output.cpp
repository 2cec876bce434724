#include <protlm/core/file_lock.hpp>
#include <protlm/core/output.hpp>

#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <string>

namespace protlm {
namespace {

using test::message_of;
using test::TemporaryFolder;
namespace fs = std::filesystem;

void check_refused(std::string const &message, std::string const &part) {
    BOOST_TEST(message.find(part) != std::string::npos, '"' << message << "\" does not have \"" << part << '"');
}

BOOST_AUTO_TEST_SUITE(output)

BOOST_AUTO_TEST_CASE(an_input_is_no_output_by_whatever_name) {
    TemporaryFolder const folder;
    fs::path const input = folder.write("a.fasta", ">a\nMK\n"), other = folder.write("b.fasta", ">b\nMK\n");
    fs::create_hard_link(input, folder / "hard");
    fs::create_symlink(input, folder / "soft");
    fs::create_directory(folder / "sub");
    auto const everything = [](fs::path const &) { return true; };
    for (fs::path const &name :
         {input, folder / "hard", folder / "soft", folder / "." / "a.fasta", folder / "sub" / ".." / "a.fasta"}) {
        check_refused(message_of([&] { check_output(name, {other, input}, true); }), "is an input");
        check_refused(message_of([&] { check_output(name, {input}, false, everything); }), "is an input");
    }
    auto const before = fs::current_path();
    fs::current_path(folder.path());
    std::string const relative = message_of([&] { check_output("a.fasta", {input}, true); });
    fs::current_path(before);
    check_refused(relative, "is an input");
    check_output(folder / "new", {input, other, "-", ""});
}

BOOST_AUTO_TEST_CASE(an_input_does_not_have_the_name_of_a_side_file) {
    TemporaryFolder const folder;
    for (char const *name : {"x.partial", "x.2.partial", "x.converted.partial", "x.lock.partial", "x.job"})
        check_refused(message_of([&] { check_output(folder / "x", {folder.write(name, "")}, true); }), name);
    check_output(folder / "x", {folder.write("xx.partial", ""), folder.write("sub/x.partial", "")});
}

BOOST_AUTO_TEST_CASE(a_place_for_a_file_must_be_one) {
    TemporaryFolder const folder;
    fs::path const file = folder.write("file", "");
    check_refused(message_of([&] { check_output(folder.path(), {}, true); }), "is a folder, expected a file");
    check_refused(message_of([&] { check_output(folder / "new/", {}, true); }), "is a folder, expected a file");
    check_refused(message_of([&] { check_output(folder / "no" / "x", {}, true); }), "cannot be used: No such file");
    check_refused(message_of([&] { check_output(file / "x", {}, true); }), "is no folder");
    check_refused(message_of([&] { check_output("", {}, true); }), "has no name");
    check_refused(message_of([&] { check_output("/dev/null", {}, true); }), "is a device");
    BOOST_REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    check_refused(message_of([&] { check_output(folder / "pipe", {}, true); }), "a pipe");
}

BOOST_AUTO_TEST_CASE(what_exists_is_replaced_by_force_or_where_it_is_of_the_same_kind) {
    TemporaryFolder const folder;
    fs::path const file = folder.write("thesis.tex", "text");
    check_refused(message_of([&] { check_output(file); }), "thesis.tex: exists; force decides: replaces it");
    check_output(file, {}, true);
    auto const is_text = [](fs::path const &path) { return test::read_file(path) == "text"; };
    check_output(file, {}, false, is_text);
    check_refused(message_of([&] { check_output(folder.write("other", "x"), {}, false, is_text); }), "exists");
    fs::create_symlink(folder / "nowhere", folder / "dangling");
    check_refused(message_of([&] { check_output(folder / "dangling"); }), "exists");
    // A file that is there, in a folder that is read, is no output even by force.
    check_refused(message_of([&] { check_output(file, {folder.path()}, true); }), "is in the input's folder");
    check_output(folder / "new", {folder.path()}, true);
}

BOOST_AUTO_TEST_CASE(folders_and_pairs_of_outputs) {
    TemporaryFolder const folder;
    fs::path const file = folder.write("file", "");
    check_output_folder(folder / "new" / "deep");
    check_output_folder(folder.path());
    check_refused(message_of([&] { check_output_folder(folder.path(), {folder / "."}); }), "is an input");
    check_refused(message_of([&] { check_output_folder(file); }), "is no folder");
    check_refused(message_of([&] { check_output_folder(file / "below"); }), "is no folder");
    check_refused(message_of([&] { check_different_outputs(file, folder / "." / "file"); }), "the same file");
    check_refused(message_of([&] { check_different_outputs(folder / "a", folder / "." / "a"); }), "the same file");
    check_different_outputs(folder / "a", folder / "b");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(file_lock)

BOOST_AUTO_TEST_CASE(a_second_taker_is_told_who_holds_it) {
    TemporaryFolder const folder;
    {
        FileLock const lock(folder / "lock", "run");
        BOOST_TEST(lock.held());
        std::string const message = message_of([&] { FileLock(folder / "lock", "run"); });
        check_refused(message, "run: process " + std::to_string(::getpid()) + " on ");
        check_refused(message, "since 20");
        BOOST_TEST(fs::exists(folder / "lock"));
    }
    BOOST_TEST(!fs::exists(folder / "lock"));
    FileLock again(folder / "lock", "run"), moved(std::move(again));
    BOOST_TEST(!again.held());
    BOOST_TEST(moved.held());
    check_refused(message_of([&] { FileLock(folder / "no" / "lock", "run"); }), "cannot make the lock file");
    check_refused(message_of([&] { FileLock(folder.write("text", "my thesis"), "run"); }), "is no lock file");
    BOOST_TEST(test::read_file(folder / "text") == "my thesis");
}

BOOST_AUTO_TEST_CASE(a_killed_holder_blocks_nobody) {
    TemporaryFolder const folder;
    int ready[2];
    BOOST_REQUIRE(::pipe(ready) == 0);
    pid_t const child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        FileLock const lock(folder / "lock", "run");
        ssize_t const told = ::write(ready[1], "x", 1);
        ::pause();
        ::_exit(static_cast<int>(told));
    }
    char byte = 0;
    BOOST_REQUIRE(::read(ready[0], &byte, 1) == 1);
    std::string const message = message_of([&] { FileLock(folder / "lock", "run"); });
    check_refused(message, "process " + std::to_string(child) + " on ");
    // What a file system without locks would have to go by:
    auto const holder = detail::LockHolder::parse(test::read_file(folder / "lock"));
    BOOST_TEST(holder.at_work());
    ::kill(child, SIGKILL);
    BOOST_REQUIRE(::waitpid(child, nullptr, 0) == child);
    BOOST_TEST(!holder.at_work());
    BOOST_TEST(fs::exists(folder / "lock"));
    FileLock const lock(folder / "lock", "run");
    BOOST_TEST(lock.held());
    ::close(ready[0]);
    ::close(ready[1]);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
