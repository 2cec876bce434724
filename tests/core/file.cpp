#include <protlm/core/file.hpp>
#include <protlm/core/mapped_file_guard.hpp>

#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace protlm {
namespace {

using test::read_file;
using test::TemporaryFolder;

std::string_view text_of(MappedFile const &file) {
    return {reinterpret_cast<char const *>(file.bytes().data()), file.size()};
}

auto message_has(std::string const &part) {
    return [part](Error const &error) {
        bool const found = std::string(error.what()).find(part) != std::string::npos;
        BOOST_TEST(found, "\"" << error.what() << "\" does not have \"" << part << "\"");
        return found;
    };
}

BOOST_AUTO_TEST_SUITE(mapped_file)

BOOST_AUTO_TEST_CASE(shows_all_bytes_of_a_file) {
    TemporaryFolder const folder;
    std::string content(70001, 'a');
    content[0] = '\0';
    content[70000] = '\xff';
    MappedFile const file(folder.write("x", content));
    BOOST_TEST(file.size() == 70001u);
    BOOST_TEST(file.path() == folder / "x");
    BOOST_TEST((text_of(file) == content));
}

BOOST_AUTO_TEST_CASE(an_empty_file_is_an_empty_span) {
    TemporaryFolder const folder;
    MappedFile const file(folder.write("empty", ""));
    BOOST_TEST(file.size() == 0u);
    BOOST_TEST(file.bytes().empty());
    BOOST_TEST(MappedFile().bytes().empty());
}

BOOST_AUTO_TEST_CASE(moves_and_lets_go_of_what_it_had) {
    TemporaryFolder const folder;
    MappedFile a(folder.write("a", "first")), b(folder.write("b", "second"));
    b = std::move(a);
    BOOST_TEST(text_of(b) == "first");
    BOOST_TEST(b.path() == folder / "a");
    MappedFile const c(std::move(b));
    BOOST_TEST(text_of(c) == "first");
    BOOST_TEST(b.size() == 0u);
}

BOOST_AUTO_TEST_CASE(outlives_the_name) {
    TemporaryFolder const folder;
    MappedFile const file(folder.write("x", "still here"));
    std::filesystem::remove(folder / "x");
    BOOST_TEST(text_of(file) == "still here");
}

BOOST_AUTO_TEST_CASE(a_pointer_of_git_lfs_is_called_one) {
    TemporaryFolder const folder;
    std::string const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    BOOST_CHECK_EXCEPTION(MappedFile(folder.write("vocab.txt", pointer)), Error,
                          message_has("vocab.txt: is a Git LFS pointer, not the file itself; run 'git lfs install'"));
    BOOST_TEST(MappedFile(folder.write("x", pointer.substr(0, 30))).size() == 30u);
    BOOST_TEST(MappedFile(folder.write("x", "a" + pointer)).size() == pointer.size() + 1);
}

BOOST_AUTO_TEST_CASE(a_web_page_in_a_files_place_is_called_one) {
    for (std::string const page :
         {"<!DOCTYPE html><html>", "\n <!doctype HTML>", "<HTML lang=en>", "\xef\xbb\xbf<?xml ?>"})
        BOOST_CHECK_EXCEPTION(refuse_web_page(std::as_bytes(std::span(page)), "x"), Error,
                              message_has("x: is a web page, not the file itself"));
    for (std::string const file : {"", "<", "<cls>\n<html>", "[PAD]", "<pad>"})
        refuse_web_page(std::as_bytes(std::span(file)), "x");
}

BOOST_AUTO_TEST_CASE(names_the_path_and_the_reason) {
    TemporaryFolder const folder;
    BOOST_CHECK_EXCEPTION(MappedFile(folder / "none"), Error,
                          message_has((folder / "none").string() + ": cannot open: No such file"));
    BOOST_CHECK_EXCEPTION(MappedFile(folder.path()), Error,
                          message_has(folder.path().string() + ": not a regular file"));
    BOOST_REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0); // nobody writes into it
    BOOST_CHECK_EXCEPTION(MappedFile(folder / "pipe"), Error, message_has("pipe: not a regular file"));
}

BOOST_AUTO_TEST_CASE(notices_that_others_write_into_it) {
    TemporaryFolder const folder;
    MappedFile const longer(folder.write("longer", "12345")), same(folder.write("same", "12345"));
    MappedFile const replaced(folder.write("replaced", "12345")), removed(folder.write("removed", "12345"));
    for (MappedFile const *file : {&longer, &same, &replaced, &removed})
        file->check_unchanged();
    folder.write("longer", "1234567");
    BOOST_CHECK_EXCEPTION(longer.check_unchanged(), Error,
                          message_has("longer: changed while it was being read: has 7"));
    timespec const times[2] = {{1, 2}, {3, 4}};
    BOOST_REQUIRE(::utimensat(AT_FDCWD, (folder / "same").c_str(), times, 0) == 0);
    BOOST_CHECK_EXCEPTION(same.check_unchanged(), Error, message_has("same: changed while it was being read"));
    std::filesystem::rename(folder / "longer", folder / "replaced");
    replaced.check_unchanged(); // what is mapped is the old file
    std::filesystem::remove(folder / "removed");
    removed.check_unchanged();
    BOOST_TEST(text_of(removed) == "12345");
}

BOOST_AUTO_TEST_CASE(a_file_cut_short_is_named_at_the_end) {
    TemporaryFolder const folder;
    auto const path = folder.write("store", std::string(100000, 'x'));
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    pid_t const child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        MappedFileGuard const guard("reader");
        MappedFile const file(path);
        std::filesystem::resize_file(path, 0);
        char const volatile *const bytes = reinterpret_cast<char const *>(file.bytes().data());
        ::_exit(bytes[50000] == 'x' ? 40 : 41);
    }
    ::close(ends[1]);
    std::string message(1000, '\0');
    std::size_t size = 0;
    for (ssize_t got = 1; got > 0; size += static_cast<std::size_t>(got))
        got = ::read(ends[0], message.data() + size, message.size() - size);
    message.resize(size);
    ::close(ends[0]);
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST((WIFEXITED(status) && WEXITSTATUS(status) == 1));
    BOOST_TEST(message.starts_with("reader: " + path.string() + ": cannot be read any more: "), message);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(atomic_file)

int files_in(TemporaryFolder const &folder) {
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

BOOST_AUTO_TEST_CASE(appears_complete_at_commit_and_not_before) {
    TemporaryFolder const folder;
    AtomicFile file(folder / "x");
    file.write("header..");
    file.write(std::string(100000, 'b'));
    BOOST_TEST(file.written() == 100008u);
    file.rewrite(0, "HEADER", 6);
    file.write("end");
    BOOST_TEST(!std::filesystem::exists(folder / "x"));
    file.commit();
    BOOST_TEST((read_file(folder / "x") == "HEADER.." + std::string(100000, 'b') + "end"));
    BOOST_TEST(files_in(folder) == 1);
}

BOOST_AUTO_TEST_CASE(without_commit_the_old_file_stands_and_nothing_is_left) {
    TemporaryFolder const folder;
    folder.write("x", "old");
    {
        AtomicFile file(folder / "x");
        file.write("new");
    }
    BOOST_TEST(read_file(folder / "x") == "old");
    BOOST_TEST(files_in(folder) == 1);
    AtomicFile file(folder / "x");
    file.write("new");
    file.commit();
    BOOST_TEST(read_file(folder / "x") == "new");
}

BOOST_AUTO_TEST_CASE(a_left_over_of_an_interrupted_run_is_no_obstacle) {
    TemporaryFolder const folder;
    folder.write("x.partial", std::string(1000, 'z'));
    AtomicFile file(folder / "x");
    file.write("short");
    file.commit();
    BOOST_TEST(read_file(folder / "x") == "short");
    BOOST_TEST(files_in(folder) == 1);
}

BOOST_AUTO_TEST_CASE(two_writers_of_one_output_do_not_mix) {
    TemporaryFolder const folder;
    AtomicFile first(folder / "x"), second(folder / "x");
    BOOST_TEST(std::filesystem::exists(folder / "x.partial"));
    BOOST_TEST(std::filesystem::exists(folder / "x.2.partial"));
    first.write("first, and longer");
    second.write("second");
    second.commit();
    BOOST_TEST(read_file(folder / "x") == "second");
    first.write("!");
    BOOST_TEST(read_file(folder / "x") == "second");
    first.commit();
    BOOST_TEST(read_file(folder / "x") == "first, and longer!");
    BOOST_TEST(files_in(folder) == 1);
}

BOOST_AUTO_TEST_CASE(left_overs_go_and_what_is_in_use_stays) {
    TemporaryFolder const folder;
    AtomicFile at_work(folder / "x");
    folder.write("x.2.partial", "left");
    folder.write("x.3.partial", "left");
    std::filesystem::create_directory(folder / "y.partial"); // of somebody else
    {
        AtomicFile file(folder / "x");
        file.write("new");
        BOOST_TEST(read_file(folder / "x.2.partial") == "");
        BOOST_TEST(!std::filesystem::exists(folder / "x.3.partial"));
        AtomicFile(folder / "y").commit();
    }
    BOOST_TEST(std::filesystem::exists(folder / "x.partial"));
    BOOST_TEST(!std::filesystem::exists(folder / "x.2.partial"));
    BOOST_TEST(std::filesystem::exists(folder / "y"));
    BOOST_TEST(std::filesystem::exists(folder / "y.partial"));
}

BOOST_AUTO_TEST_CASE(errors_name_the_path) {
    TemporaryFolder const folder;
    BOOST_CHECK_EXCEPTION(AtomicFile(folder / "no" / "x"), Error, message_has("cannot create: No such file"));
    AtomicFile file(folder / "x");
    file.write("1234");
    BOOST_CHECK_EXCEPTION(file.rewrite(2, "abc", 3), Error, message_has("rewrite past the end"));
}

// A file-size limit stands in for a full disk: both make write and flush fail. In a child, as limits cannot be undone.
BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_the_old_file) {
    TemporaryFolder const folder;
    folder.write("x", "old");
    pid_t const child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        rlimit const limit{8192, 8192};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int result = 1;
        try {
            AtomicFile file(folder / "x");
            for (int i = 0; i < 5; ++i)
                file.write(std::string(3000, 'n'));
            file.commit();
        } catch (Error const &) {
            result = 42;
        }
        ::_exit(result);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST(WIFEXITED(status));
    BOOST_TEST(WEXITSTATUS(status) == 42);
    BOOST_TEST(read_file(folder / "x") == "old");
    BOOST_TEST(files_in(folder) == 1);
}

BOOST_AUTO_TEST_CASE(a_name_without_a_folder_means_the_current_one) {
    TemporaryFolder const folder;
    auto const before = std::filesystem::current_path();
    std::filesystem::current_path(folder.path());
    AtomicFile file("plain");
    file.write("x");
    file.commit();
    std::filesystem::current_path(before);
    BOOST_TEST(read_file(folder / "plain") == "x");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
