// libFuzzer target: the journals of an unfinished embedding job. An even first byte: the rest is a journal; its whole
// records are read, a copy gives the same, and a cut takes only what it hits. An odd one: the rest are records that get
// the job's header and right guards, where a checksum below 3 stands for that protein's own; a job is taken up with
// them, and counts as finished what the journal says of the values that lie in its work file.

#include <protlm/embed/job.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace protlm;
namespace fs = std::filesystem;

constexpr std::uint64_t some_job = 0x6a6f62; // of the journals in the corpus
constexpr index_t count = 3;                 // proteins of the job; the last one's vectors were never written

void require(bool valid) {
    if (!valid)
        std::abort();
}

fs::path make_folder() {
    std::string name = std::string(fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") + "/protlm-fuzz-XXXXXX";
    require(::mkdtemp(name.data()) != nullptr);
    static fs::path const folder = name;
    std::atexit([] { fs::remove_all(folder); });
    return folder;
}

void write(fs::path const &path, std::string const &bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    require(bool(file.flush()));
}

bool same(JournalEntry a, JournalEntry b) { return a.protein == b.protein && a.checksum == b.checksum; }

/// Leaves nothing but the job's description.
void clear(fs::path const &folder) {
    std::vector<fs::path> all;
    for (auto const &entry : fs::directory_iterator(folder))
        if (entry.path().filename() != "job.json")
            all.push_back(entry.path());
    for (auto const &path : all)
        fs::remove_all(path);
}

/// Of the records that are byte by byte what is written for an entry, those before the first that is not.
std::vector<JournalEntry> whole_entries(std::string const &bytes) {
    std::vector<JournalEntry> entries;
    for (std::size_t at = 0; at + 24 <= bytes.size(); at += 24) {
        std::uint64_t words[2];
        std::memcpy(words, bytes.data() + at, sizeof(words));
        JournalEntry const entry{static_cast<index_t>(words[0]), words[1]};
        auto const record = at == 0 ? detail::journal_header(some_job) : detail::JournalRecord::of(entry);
        if (std::memcmp(bytes.data() + at, &record, sizeof(record)) != 0)
            break;
        if (at > 0)
            entries.push_back(entry);
    }
    return entries;
}

void read_journal(fs::path const &folder, std::string const &bytes) {
    clear(folder);
    write(folder / "journal-0", bytes);
    index_t others = 0, none = 1;
    auto const entries = EmbeddingJournal::read(folder, some_job, &others);
    auto const expected = whole_entries(bytes);
    require(std::equal(entries.begin(), entries.end(), expected.begin(), expected.end(), same));
    EmbeddingJournal::replace(folder, some_job, entries);
    require(!fs::exists(folder / "journal-0"));
    auto const again = EmbeddingJournal::read(folder, some_job, &none);
    require(none == 0 && std::equal(again.begin(), again.end(), entries.begin(), entries.end(), same));
    auto const finished = EmbeddingJournal::read_finished(folder, some_job);
    require(std::equal(finished.begin(), finished.end(), entries.begin(), entries.end(), same));
    if (others > 0 || bytes.empty())
        return;
    clear(folder);
    write(folder / "journal-7", bytes.substr(0, bytes.size() - 1));
    auto const cut = EmbeddingJournal::read(folder, some_job);
    require(entries.size() - cut.size() <= 1 && std::equal(cut.begin(), cut.end(), entries.begin(), same));
}

/// A job that stopped: its values and its description.
struct Stopped {
    fs::path path;
    Proteins proteins;
    EmbeddingInfo info{.model = "model", .layers = {2}, .width = 2};
    std::shared_future<std::string> sha256;
    std::uint64_t key;
    std::vector<std::uint64_t> checksums;

    explicit Stopped(fs::path file) : path(std::move(file)) {
        std::promise<std::string> known;
        known.set_value(std::string(64, 'a'));
        sha256 = known.get_future().share();
        std::vector<std::uint8_t> const tokens{5, 6, 7};
        for (index_t i = 0; i < count; ++i)
            proteins.add("P" + std::to_string(i), std::span(tokens).first(static_cast<std::size_t>(i)));
        auto stopped = job();
        stopped->begin(sha256, false);
        require(stopped->open());
        std::vector<float> const values{1, 2, 3, 4};
        for (index_t i = 0; i + 1 < count; ++i)
            stopped->add(i, values.data(), values.data() + i);
        key = stopped->description().key();
        stopped.reset();
        EmbeddingWorkFile work(path.string() + ".partial");
        for (index_t i = 0; i < count; ++i)
            checksums.push_back(work.checksum(i));
    }
    std::unique_ptr<EmbeddingJob> job() const {
        return std::make_unique<EmbeddingJob>(path, info, proteins, JobModel{});
    }
};

void take_up(Stopped const &stopped, std::string bytes) {
    fs::path const folder = stopped.path.string() + ".job";
    clear(folder);
    std::vector<bool> finished(count);
    for (std::size_t at = 0; at + 24 <= bytes.size(); at += 24) {
        std::uint64_t words[2];
        std::memcpy(words, bytes.data() + at, sizeof(words));
        auto const own = words[0] < count ? stopped.checksums[words[0]] : 0;
        auto const checksum = words[1] < count ? stopped.checksums[words[1]] : words[1];
        auto const record = at == 0 ? detail::journal_header(stopped.key)
                                    : detail::JournalRecord::of({static_cast<index_t>(words[0]), checksum});
        std::memcpy(bytes.data() + at, &record, sizeof(record));
        if (at > 0 && words[0] < count && checksum == own)
            finished[words[0]] = true;
    }
    write(folder / "journal-3", bytes);
    auto const job = stopped.job();
    job->begin(stopped.sha256, false);
    require(job->foreign_journals() == 0 && job->open());
    std::vector<index_t> missing;
    for (index_t i = 0; i < count; ++i)
        if (!finished[static_cast<std::size_t>(i)])
            missing.push_back(i);
    require(job->missing() == missing);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    static fs::path const folder = make_folder();
    static Stopped const stopped(folder / "out.h5");
    if (size == 0)
        return 0;
    std::string const bytes(reinterpret_cast<char const *>(data + 1), size - 1);
    fs::create_directories(folder / "notes");
    try {
        if (data[0] % 2 == 0)
            read_journal(folder / "notes", bytes);
        else
            take_up(stopped, bytes);
    } catch (Error const &) { // a journal that Git keeps elsewhere
        require(bytes.starts_with("version https://git-lfs"));
    }
    return 0;
}
