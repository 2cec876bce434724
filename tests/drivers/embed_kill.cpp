// The program embed, killed at random moments on 1, 2 and 4 ranks and started again: what it writes in the end is what
// a run that was never killed writes.

#include "program.hpp"

#include <protlm/bert.hpp>
#include <protlm/embed/job_lock.hpp>
#include <protlm/hdf5.hpp>

#include <boost/test/unit_test.hpp>

#include <fcntl.h>

#include <chrono>
#include <csignal>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <tuple>

using namespace protlm;
using namespace protlm::test;

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// `root` and all processes that it started, directly or not.
std::set<pid_t> descendants(pid_t root) {
    std::multimap<pid_t, pid_t> children;
    for (auto const &entry : std::filesystem::directory_iterator("/proc")) {
        auto const name = entry.path().filename().string();
        if (name.find_first_not_of("0123456789") != name.npos)
            continue;
        std::ifstream file(entry.path() / "stat");
        std::string text;
        std::getline(file, text);
        std::istringstream rest(text.substr(std::min(text.size(), text.rfind(')') + 1)));
        char state = 0;
        pid_t parent = 0;
        if (rest >> state >> parent)
            children.emplace(parent, static_cast<pid_t>(std::stol(name)));
    }
    std::set<pid_t> found{root};
    std::vector<pid_t> open{root};
    while (!open.empty()) {
        auto const [first, last] = children.equal_range(open.back());
        open.pop_back();
        for (auto at = first; at != last; ++at)
            if (found.insert(at->second).second)
                open.push_back(at->second);
    }
    return found;
}

/// Whether a process has begun a journal in `folder` since then.
bool is_at_work(std::filesystem::path const &folder, std::filesystem::file_time_type since) {
    std::error_code gone;
    for (std::filesystem::directory_iterator at(folder, gone), end; !gone && at != end; at.increment(gone))
        if (at->path().filename().string().starts_with("journal-") && at->last_write_time(gone) >= since && !gone)
            return true;
    return false;
}

/// Starts a command line and kills it with all that it started, `delay` seconds after its start, or if there is a
/// `job` folder, after the job is at work.
/// @returns whether it was killed; else `status` is how it ended
bool run_and_kill(std::string const &command, std::filesystem::path const &output, std::filesystem::path const &job,
                  double delay, int &status) {
    auto start = Clock::now();
    auto const since = std::filesystem::file_time_type::clock::now();
    bool waiting = !job.empty();
    pid_t const child = ::fork();
    if (child == 0) {
        int const file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
        ::dup2(file, 1);
        ::dup2(file, 2);
        ::execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), static_cast<char *>(nullptr));
        ::_exit(127);
    }
    BOOST_REQUIRE(child > 0);
    while (::waitpid(child, &status, WNOHANG) == 0) {
        if (waiting && is_at_work(job, since)) {
            waiting = false;
            start = Clock::now();
        }
        if (!waiting && seconds_since(start) > delay) {
            auto const all = descendants(child);
            for (pid_t const process : all)
                ::kill(process, SIGKILL);
            ::waitpid(child, &status, 0);
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

/// A small model, proteins, and what a run that is never killed makes of them in each layout.
struct Work {
    TemporaryFolder folder;
    std::string const proteins = (folder / "in.fasta").string();
    std::map<std::string, double> seconds; ///< that a whole run takes

    Work() {
        std::filesystem::create_directories(folder / "model");
        BertConfig config;
        config.hidden_size = 96;
        config.num_hidden_layers = 3;
        config.num_attention_heads = 3;
        config.intermediate_size = 256;
        config.initializer_range = 0.2;
        Bert<float> model(config);
        model.initialise(3);
        model.save(folder / "model");
        folder.write("in.fasta", fasta_text(600, 250, 20));
    }

    std::string command(int ranks, std::string const &options, std::string const &name) const {
        std::string const mpirun =
            ranks == 1 ? "" : setting(("PROTLM_TEST_MPIRUN_" + std::to_string(ranks)).c_str()) + ' ';
        return mpirun + setting("PROTLM_TEST_PROGRAM") + " --save-every 0.05 " + options + " --model " +
               (folder / "model").string() + " --output " + (folder / name).string() + ' ' + proteins;
    }
};

void check_same(std::filesystem::path const &expected, std::filesystem::path const &actual) {
    EmbeddingReader const one(expected), other(actual);
    BOOST_TEST((one.info() == other.info()));
    BOOST_TEST((one.ids() == other.ids()));
    BOOST_TEST((one.lengths() == other.lengths()));
    auto const same = [](std::vector<float> const &a, std::vector<float> const &b) {
        return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
    };
    for (index_t slot = 0; slot < one.info().slots(); ++slot) {
        BOOST_TEST(same(one.proteins(0, one.size(), slot), other.proteins(0, one.size(), slot)));
        for (index_t i = 0; i < one.size(); ++i)
            BOOST_REQUIRE(same(one.residues(i, slot), other.residues(i, slot)));
    }
}

BOOST_AUTO_TEST_SUITE(embed_program)

BOOST_AUTO_TEST_CASE(killed_at_random_moments_it_ends_as_if_never_killed) {
    Work work;
    std::vector<std::string> const choices{"", "--layout per-id --gzip 1 --layer 1,-1 --precision bfloat16"};
    for (std::size_t i = 0; i < choices.size(); ++i) {
        auto const start = Clock::now();
        auto const ended = run_program(work.command(1, choices[i], "whole" + std::to_string(i) + ".h5"), work.folder);
        BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.text);
        work.seconds[choices[i]] = seconds_since(start);
    }
    unsigned const seed = std::random_device{}();
    BOOST_TEST_MESSAGE("seed of the delays: " << seed);
    std::mt19937 random(seed);
    auto const out = work.folder / "out.h5";
    int kills = 0, resumed = 0, runs = 0, complete = 0;
    while (kills < 21 || complete < 2) {
        std::size_t const choice = static_cast<std::size_t>(complete) % choices.size();
        std::vector<int> const all_ranks{1, 2, 4};
        int const ranks = all_ranks[static_cast<std::size_t>(runs++ / 2 % 3)];
        BOOST_REQUIRE(runs < 200);
        // Two of three kills come while it computes, the others at any time; in the end it is left to finish.
        bool const started = runs % 3 != 0;
        double const longest = (started ? 0.5 : 0.9) * work.seconds[choices[choice]];
        double const delay = kills < 21 ? std::uniform_real_distribution<>(0.0, longest)(random) : 1000;
        std::filesystem::path const job = started ? out.string() + ".job" : std::string();
        int status = 0;
        if (run_and_kill(work.command(ranks, choices[choice], "out.h5"), work.folder / "log", job, delay, status)) {
            ++kills;
            std::filesystem::path const partial = out.string() + ".partial";
            if (complete_embedding_file(partial)) // killed between the mark and the name
                check_same(work.folder / ("whole" + std::to_string(choice) + ".h5"), partial);
            else if (std::filesystem::exists(partial))
                BOOST_CHECK_THROW(EmbeddingReader{partial}, Error);
            continue;
        }
        auto const text = read_file(work.folder / "log");
        BOOST_REQUIRE_MESSAGE(WIFEXITED(status) && WEXITSTATUS(status) == 0, text);
        resumed += text.find("going on with a job") != text.npos;
        check_same(work.folder / ("whole" + std::to_string(choice) + ".h5"), out);
        for (char const *trace : {".partial", ".job", ".converted"})
            BOOST_TEST(!std::filesystem::exists(out.string() + trace));
        std::filesystem::remove(out);
        ++complete;
    }
    BOOST_TEST_MESSAGE(kills << " kills, " << complete << " files complete, " << resumed << " by resumed runs");
    BOOST_TEST(kills >= 20);
    BOOST_TEST(resumed > 0);
}

/// Folders as nodes see them under one name, each with a model and proteins; in each but the first something is
/// another.
std::map<std::string, std::string> make_nodes(TemporaryFolder const &folder) {
    folder.write("in.fasta", fasta_text(40, 60, 20));
    std::map<std::string, std::string> const differences{{"proteins", "sequences "},
                                                         {"weights", "weights "},
                                                         {"config", "config.num_attention_heads 4 instead of 3"},
                                                         {"vocabulary", "vocabulary "},
                                                         {"options", "pooling max instead of mean"}};
    auto const copy = [&](std::string const &name) {
        std::filesystem::create_directories(folder / name);
        std::filesystem::copy(folder / "model", folder / name / "model");
        std::filesystem::copy(folder / "in.fasta", folder / name / "in.fasta");
        folder.write(name + "/options", "");
    };
    copy("first");
    for (auto const &[name, text] : differences)
        copy(name);
    auto text = read_file(folder / "in.fasta");
    text[text.size() - 5] = text[text.size() - 5] == 'A' ? 'C' : 'A'; // one residue of the last protein
    folder.write("proteins/in.fasta", text);
    auto config = Bert<float>::load(folder / "model").config();
    Bert<float> trained(config);
    trained.initialise(4);
    trained.save(folder / "weights" / "model");
    config.num_attention_heads = 4;
    write_json(folder / "config" / "model" / "config.json", to_json(config));
    auto swapped = Vocabulary::protbert().pieces;
    std::swap(swapped[5], swapped[6]);
    write_vocabulary_text(Vocabulary::from_pieces(swapped), folder / "vocabulary" / "model" / "vocab.txt");
    folder.write("options/options", "--pooling max");
    return differences;
}

// Node-local copies of which one is old: whatever a rank sees, it may not get into the file.
BOOST_AUTO_TEST_CASE(ranks_that_see_other_things_stop_before_any_work) {
    Work work;
    auto const &folder = work.folder;
    auto const differences = make_nodes(folder);
    auto const mpirun = [&](int ranks) { return setting(("PROTLM_TEST_MPIRUN_" + std::to_string(ranks)).c_str()); };
    auto const run = [&](int ranks, std::string const &last, std::string const &model = "model") {
        std::string const rank = "${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-${PMI_RANK:-0}}}";
        folder.write("rank.sh", "here=first model=model\n[ " + rank + " -lt " + std::to_string(ranks - 1) +
                                    " ] || here=" + last + " model=" + model + "\ncd '" + folder.path().string() +
                                    "'/$here && exec " + setting("PROTLM_TEST_PROGRAM") +
                                    " --quiet --model $model --output ../out.h5 $(cat options) in.fasta\n");
        return run_program(mpirun(ranks) + " sh " + (folder / "rank.sh").string(), folder);
    };
    for (int const ranks : {2, 3, 4}) {
        if (mpirun(ranks) == "env")
            return; // without MPI
        auto const stops = [&](Ended const &ended, std::string const &what) {
            BOOST_TEST(ended.status == 1);
            BOOST_TEST(ended.text.find("rank " + std::to_string(ranks - 1) + " has ") != std::string::npos, ended.text);
            BOOST_TEST(ended.text.find(what) != std::string::npos, ended.text);
            BOOST_TEST(!std::filesystem::exists(folder / "out.h5"));
            BOOST_TEST(!std::filesystem::exists(folder / "out.h5.partial"));
        };
        for (auto const &[name, what] : differences)
            stops(run(ranks, name), what);
        stops(run(ranks, "first", "../weights/model"), "../weights/model instead of model");
    }
    auto const one = run_program(work.command(1, "", "one.h5"), folder);
    BOOST_REQUIRE_MESSAGE(one.status == 0, one.text);
    auto const ended = run(3, "first");
    BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.text);
    EmbeddingReader const expected(folder / "one.h5"), actual(folder / "out.h5");
    BOOST_TEST(expected.info().job == actual.info().job);
    BOOST_TEST((expected.proteins(0, 40) == actual.proteins(0, 40)));
}

BOOST_AUTO_TEST_CASE(long_proteins_take_windows_and_the_file_says_so) {
    Work work;
    auto const &folder = work.folder;
    auto config = Bert<float>::load(folder / "model").config();
    config.max_position_embeddings = 52;
    Bert<float> model(config);
    model.initialise(3);
    model.save(folder / "model");
    folder.write("in.fasta", fasta_text(60, 200, 20) + ">limit\n" + std::string(50, 'K') + "\n>above\n" +
                                 std::string(51, 'K') + '\n');
    auto const one = run_program(work.command(1, "", "one.h5"), folder);
    BOOST_REQUIRE_MESSAGE(one.status == 0, one.text);
    BOOST_TEST(one.text.find("proteins longer than 50 residues, embedded in overlapping windows: ") != one.text.npos,
               one.text);
    auto const two = run_program(work.command(2, "--token-budget 200", "two.h5"), folder);
    BOOST_REQUIRE_MESSAGE(two.status == 0, two.text);
    check_same(folder / "one.h5", folder / "two.h5");
    EmbeddingReader const file(folder / "one.h5");
    BOOST_TEST((file.info().on_long == "windows" && file.info().window == 50 && file.info().overlap == 25));
    Embedder embedder(model, Vocabulary::protbert());
    Proteins proteins;
    proteins.add("above", std::vector<std::uint8_t>(51, Vocabulary::protbert().residue_table['K']));
    embedder(proteins, [&](ProteinEmbedding<float> const &result) {
        BOOST_TEST(result.windows == 2);
        auto const expected = result.residues();
        auto const actual = file.residues(file.size() - 1);
        BOOST_TEST(std::equal(actual.begin(), actual.end(), expected.begin(), expected.end()));
    });
    auto const start = [&](std::string const &options) {
        return run_program(work.command(1, options, "other.h5"), folder);
    };
    for (auto const &[options, status, text] : std::vector<std::tuple<std::string, int, std::string>>{
             {"--on-long error", 1, "but the limit is 50 (--on-long windows, cut or skip)"},
             {"--max-length 40", 1, "but the limit is 40 (--on-long windows, cut or skip)"},
             {"--window-overlap 50", 1, "windows: the overlap is 50, expected 0 to 49"},
             {"--on-long cut --window-overlap 5", 2, "--window-overlap goes with --on-long windows"},
             {"--max-length 51", 1, "51"}}) {
        auto const ended = start(options);
        BOOST_TEST(ended.status == status, options);
        BOOST_TEST(ended.text.find(text) != std::string::npos, ended.text);
    }
    auto const narrow = start("--max-length 40 --on-long windows --window-overlap 7");
    BOOST_REQUIRE_MESSAGE(narrow.status == 0, narrow.text);
    auto const info = EmbeddingReader(folder / "other.h5").info();
    BOOST_TEST((info.window == 40 && info.overlap == 7));
    BOOST_TEST(start("--max-length 40 --on-long cut --force").status == 0);
    BOOST_TEST(EmbeddingReader(folder / "other.h5").info().on_long == "cut");
}

// What would be a mistake is told before the model, which is not even there, is looked for.
BOOST_AUTO_TEST_CASE(outputs_are_checked_first) {
    Work work;
    auto const &folder = work.folder;
    std::filesystem::remove_all(folder / "model");
    auto const refused = [&](std::string const &output, std::string const &text) {
        auto const ended = run_program(work.command(1, "", output), folder);
        BOOST_TEST(ended.status == 1);
        BOOST_TEST(ended.text.find(text) != std::string::npos, ended.text);
    };
    folder.write("there.h5", "text");
    std::filesystem::create_directories(folder / "folder.h5");
    refused("there.h5", "there.h5: exists");
    refused("folder.h5", "folder.h5: is a folder");
    refused("in.fasta", "in.fasta: ");
    refused("nowhere/a.h5", "cannot be used: No such file");
    refused("a.tsv", "a.tsv: embedding files are HDF5");
    refused("a.h5", "model: no such folder");
    BOOST_TEST(!std::filesystem::exists(folder / "a.h5.job"));
    auto const standard =
        run_program(setting("PROTLM_TEST_PROGRAM") + " --model m --output - " + work.proteins, folder);
    BOOST_TEST(standard.status == 1);
    BOOST_TEST(standard.text.find("cannot go to standard output") != std::string::npos, standard.text);
    EmbeddingLock const lock(folder / "held.h5");
    refused("held.h5", "held.h5: process " + std::to_string(::getpid()) + " on ");
}

/// The parts of `whole`, one dataset an id, with its values.
void check_parts(EmbeddingReader const &whole, TemporaryFolder const &folder) {
    EmbeddingReader const proteins(folder / "p.h5"), residues(folder / "r.h5");
    for (auto const *part : {&proteins, &residues}) {
        BOOST_TEST((part->info().layout == EmbeddingLayout::per_id));
        BOOST_TEST((part->info().precision == whole.info().precision && part->info().layers == whole.info().layers));
        BOOST_TEST(part->info().model_sha256 == whole.info().model_sha256);
        BOOST_TEST((part->ids() == whole.ids() && part->lengths() == whole.lengths()));
    }
    BOOST_TEST((!proteins.info().per_residue && !residues.info().per_protein()));
    for (index_t i = 0; i < whole.size(); ++i) {
        BOOST_REQUIRE((proteins.protein(i) == whole.protein(i)));
        BOOST_REQUIRE((residues.residues(i) == whole.residues(i)));
    }
}

BOOST_AUTO_TEST_CASE(proteins_and_residues_go_into_files_of_their_own) {
    Work work;
    auto const &folder = work.folder;
    folder.write("in.fasta", fasta_text(40, 60, 20));
    std::string const p = " --proteins " + (folder / "p.h5").string(), r = " --residues " + (folder / "r.h5").string();
    auto const start = [&](std::string const &options, std::string const &name = "out.h5", int ranks = 1) {
        return run_program(work.command(ranks, options, name), folder);
    };
    auto const run = [&](std::string const &options, std::string const &name = "out.h5", int ranks = 1) {
        auto const ended = start(options, name, ranks);
        BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.text);
        return ended.text;
    };
    auto const refused = [&](std::string const &options, std::string const &text, int status = 1,
                             std::string const &name = "new.h5") {
        auto const ended = start(options, name);
        BOOST_TEST(ended.status == status, ended.text);
        BOOST_TEST(ended.text.find(text) != std::string::npos, ended.text);
        BOOST_TEST(!std::filesystem::exists(folder / "new.h5"));
    };
    refused(r + " --no-residues", "--residues needs vectors of residues, which --no-residues leaves out", 2);
    refused(p + " --pooling none", "--proteins needs vectors of proteins, which --pooling none leaves out", 2);
    refused(p + " --residues " + (folder / "p.h5").string(), "two outputs cannot be the same file");
    refused(p, "two outputs cannot be the same file", 1, "p.h5");
    refused(" --residues " + work.proteins, "in.fasta: ");
    refused(" --proteins " + (folder / "p.tsv").string(), "p.tsv: embedding files are HDF5");
    std::string const half = " --precision float16";
    auto text = run(half + p + r, "out.h5", 2);
    BOOST_TEST(text.find("r.h5: written") != text.npos, text);
    check_parts(EmbeddingReader(folder / "out.h5"), folder);
    std::filesystem::remove(folder / "p.h5");
    auto const before = std::filesystem::last_write_time(folder / "r.h5");
    text = run(half + p + r); // complete, but for a part
    BOOST_TEST((text.find("is complete already") != text.npos && text.find("p.h5: written") != text.npos), text);
    BOOST_TEST((std::filesystem::last_write_time(folder / "r.h5") == before));
    check_parts(EmbeddingReader(folder / "out.h5"), folder);
    refused(p + r, "p.h5: exists (--force replaces it)"); // another precision
    refused(half + r + " --layer 1", "r.h5: exists, made with another model, input or other options (--force");
    refused(half + " --proteins " + (folder / "r.h5").string(), "r.h5: exists (--force"); // of the other kind
    run(p + r + " --force --gzip 1", "new.h5");
    check_parts(EmbeddingReader(folder / "new.h5"), folder);
    for (char const *name : {"out.h5", "new.h5", "p.h5", "r.h5"})
        for (char const *trace : {".partial", ".job"})
            BOOST_TEST(!std::filesystem::exists((folder / name).string() + trace));
    std::filesystem::remove(folder / "new.h5");
    std::filesystem::remove(folder / "p.h5");
    folder.write("p.h5.partial", "vectors"), std::filesystem::create_directories(folder / "p.h5.job");
    folder.write("p.h5.job/job.json", "{}");
    refused(p, "p.h5: another job has begun to write it");
    BOOST_TEST(read_file(folder / "p.h5.partial") == "vectors");
}

BOOST_AUTO_TEST_CASE(errors_are_told_and_end_the_program) {
    Work work;
    auto const start = [&](std::string const &options, std::string const &name) {
        return run_program(work.command(1, options, name), work.folder);
    };
    work.folder.write("file", "");
    auto ended = start("", "file/out.h5");
    BOOST_TEST(ended.status == 1);
    BOOST_TEST(ended.text.find("out.h5: ") != std::string::npos, ended.text);
    std::filesystem::rename(work.proteins, work.proteins + ".away");
    ended = start("", "out.h5");
    BOOST_TEST(ended.status == 1);
    BOOST_TEST(ended.text.find("in.fasta: cannot read") != std::string::npos, ended.text);
    BOOST_TEST(!std::filesystem::exists(work.folder / "out.h5"));
    ended = start("--no-residues --pooling none", "out.h5");
    BOOST_TEST(ended.status == 1);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
