// prepare: what it refuses to overwrite, two of it on one output, kills, and what it says about its input.

#include "program.hpp"

#include <protlm/data/store.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/stat.h>

#include <csignal>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

namespace {

std::string program() { return setting("PROTLM_TEST_PROGRAM"); }

/// In the folder, with short names. @returns how it ended, what it wrote
Ended prepare(TemporaryFolder const &folder, std::string const &arguments) {
    auto const before = fs::current_path();
    fs::current_path(folder.path());
    Ended ended = run_program(program() + " " + arguments, folder);
    fs::current_path(before);
    return ended;
}

void check_refused(Ended const &ended, std::string const &text) {
    BOOST_TEST(ended.status == 1, ended.text);
    BOOST_TEST(ended.text.find(text) != std::string::npos, ended.text);
}

/// A process that is fed through a pipe and so works as long as this object lives.
class Fed {
  public:
    Fed(TemporaryFolder const &folder, std::string const &output, std::string const &begin) {
        int ends[2];
        BOOST_REQUIRE(::pipe(ends) == 0);
        child_ = ::fork();
        BOOST_REQUIRE(child_ >= 0);
        if (child_ == 0) {
            ::dup2(ends[0], STDIN_FILENO);
            ::close(ends[0]), ::close(ends[1]);
            fs::current_path(folder.path());
            ::execl(program().c_str(), "prepare", "-", "-q", "-o", output.c_str(), static_cast<char *>(nullptr));
            ::_exit(127);
        }
        ::close(ends[0]);
        feed_ = ends[1];
        ssize_t const written = ::write(feed_, begin.data(), begin.size());
        BOOST_REQUIRE(written == static_cast<ssize_t>(begin.size()));
        for (int i = 0; i < 1000 && !fs::exists(folder / (output + ".partial")); ++i)
            ::usleep(10'000);
        BOOST_REQUIRE(fs::exists(folder / (output + ".partial")));
    }
    ~Fed() { kill(); }
    void kill() {
        if (child_ > 0)
            ::kill(child_, SIGKILL), end();
    }
    /// @returns its exit status
    int end() {
        ::close(feed_);
        int status = 0;
        ::waitpid(std::exchange(child_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

  private:
    pid_t child_ = -1;
    int feed_ = -1;
};

} // namespace

BOOST_AUTO_TEST_SUITE(prepare_driver)

BOOST_AUTO_TEST_CASE(inputs_and_files_of_others_are_not_overwritten) {
    TemporaryFolder const folder;
    std::string const fasta = fasta_text(30, 50);
    fs::path const input = folder.write("x.fasta", fasta), thesis = folder.write("thesis.tex", "text");
    fs::create_hard_link(input, folder / "hard");
    fs::create_symlink("x.fasta", folder / "soft");
    for (std::string const name : {"x.fasta", "./x.fasta", "hard", "soft"})
        for (std::string const force : {"", " --force"}) {
            check_refused(prepare(folder, "x.fasta -o " + name + force), "is an input");
            check_refused(prepare(folder, "x.fasta -o s --held-out 0.5 --write-held-out " + name + force),
                          "is an input");
        }
    check_refused(prepare(folder, "x.fasta -o thesis.tex"), "thesis.tex: exists (--force replaces it)");
    check_refused(prepare(folder, "x.fasta -o s --write-held-out thesis.tex"), "thesis.tex: exists (--force");
    check_refused(prepare(folder, "x.fasta -o s --write-held-out ./s"), "cannot be the same file");
    check_refused(prepare(folder, "x.fasta -o none/s"), "none");
    check_refused(prepare(folder, "x.fasta -o /dev/null --force"), "is a device");
    BOOST_TEST(read_file(input) == fasta);
    BOOST_TEST(read_file(thesis) == "text");
    BOOST_TEST(!fs::exists(folder / "s"));
    for (char const *arguments : {"x.fasta -o s -q", "x.fasta -o s -q --check", "x.fasta -o thesis.tex --force -q"})
        BOOST_TEST(prepare(folder, arguments).status == 0);
    BOOST_TEST(TokenStore(thesis).size() == 30u);
}

BOOST_AUTO_TEST_CASE(the_second_of_two_is_refused_and_the_first_goes_on) {
    TemporaryFolder const folder;
    folder.write("x.fasta", fasta_text(30, 50));
    Fed first(folder, "s", fasta_text(10, 50));
    Ended const second = prepare(folder, "x.fasta -q -o s");
    check_refused(second, "s: process ");
    check_refused(second, "is at work on it");
    BOOST_TEST(first.end() == 0);
    BOOST_TEST(TokenStore(folder / "s").size() == 10u);
    {
        Fed killed(folder, "s", fasta_text(5, 50));
        killed.kill();
        BOOST_TEST(TokenStore(folder / "s").size() == 10u);
        BOOST_TEST(fs::exists(folder / "s.partial"));
    }
    BOOST_TEST(prepare(folder, "x.fasta -q -o s").status == 0);
    BOOST_TEST(TokenStore(folder / "s").size() == 30u);
    for (auto const &entry : fs::directory_iterator(folder.path()))
        BOOST_TEST(entry.path().extension() != ".partial", entry.path());
}

BOOST_AUTO_TEST_CASE(what_is_odd_is_said_even_if_quiet) {
    TemporaryFolder const folder;
    std::string dna;
    for (int i = 0; i < 100; ++i)
        dna += ">d" + std::to_string(i) + "\nACGTACGTACGTACGTN\n";
    folder.write("dna", dna);
    folder.write("latin1", ">prot\xE9ine\nMKT\n");
    folder.write("zero", std::string(">a\nMK\n>b\0\nMK\n", 14));
    folder.write("odd", ">a\nMKT\n>b\nMKJ\n");
    auto const warned = [&](std::string const &arguments, std::string const &text) {
        Ended const ended = prepare(folder, arguments + " -q -o s");
        BOOST_TEST(ended.status == 0, ended.text);
        BOOST_TEST(ended.text.find("prepare: warning: " + text) == 0u, ended.text);
    };
    warned("dna", "dna: all residues are A, C, G, T, U or N");
    warned("latin1", "headers that are no UTF-8, taken for Latin-1: 1");
    BOOST_TEST(TokenStore(folder / "s").id(0) == "prot\xC3\xA9ine");
    warned("dna latin1 --held-out 1", "dna: all residues");
    warned("latin1 --held-out 1 --invalid mask", "headers");
    BOOST_TEST(prepare(folder, "latin1 --held-out 1 -o s").text.find("all proteins are held out") != std::string::npos);
    check_refused(prepare(folder, "zero -o s"), "zero:3: the header holds a zero byte");
    check_refused(prepare(folder, "odd -o s"),
                  "odd:4:3: letter 'J' (record b) is not in the alphabet (--invalid mask)");
    BOOST_TEST(prepare(folder, "odd -o s --invalid mask").text.find("invalid read as X                      1") !=
               std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
