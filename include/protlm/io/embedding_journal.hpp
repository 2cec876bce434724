#pragma once

#include <protlm/io/detail/embedding_values.hpp>
#include <protlm/io/detail/file_descriptor.hpp>
#include <protlm/io/detail/folders.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// One protein that is written and on the disk.
struct JournalEntry {
    index_t protein = 0;
    std::uint64_t checksum = 0; ///< of its values in the work file
};

namespace detail {

/// An entry as it lies in a file; `guard` tells a whole one from a torn one.
struct JournalRecord {
    std::uint64_t protein, checksum, guard;

    static JournalRecord of(JournalEntry entry) {
        JournalRecord record{static_cast<std::uint64_t>(entry.protein), entry.checksum, 0};
        record.guard = record.expected_guard();
        return record;
    }
    std::uint64_t expected_guard() const {
        std::array<std::uint64_t, 2> const words{protein, checksum};
        return checksum64(std::as_bytes(std::span(words)), 0x6a6f75726e616c);
    }
};
static_assert(sizeof(JournalRecord) == 24);

/// The first record of a journal: no protein has its number, and its checksum is the job's key.
inline JournalRecord journal_header(std::uint64_t job) { return JournalRecord::of({-1, job}); }

/// Adds the whole entries of one file. @returns false for the journal of another job, of which nothing is added
inline bool read_journal(std::filesystem::path const &path, std::uint64_t job, std::vector<JournalEntry> &entries) {
    MappedFile const file(path);
    auto const bytes = file.bytes();
    auto const header = journal_header(job);
    JournalRecord record{};
    for (std::size_t at = 0; at + sizeof(record) <= bytes.size(); at += sizeof(record)) {
        std::memcpy(&record, bytes.data() + at, sizeof(record));
        if (at == 0 && std::memcmp(&record, &header, sizeof(record)) != 0)
            return false;
        if (record.guard != record.expected_guard())
            break;
        if (at > 0)
            entries.push_back({static_cast<index_t>(record.protein), record.checksum});
    }
    return true;
}

} // namespace detail

/// What a process has finished, one record a protein, in a file of its own that only grows. Whatever stops the process,
/// the records before are whole. The first record says which job it is of, so that nothing of another one counts.
class EmbeddingJournal {
  public:
    EmbeddingJournal() = default;

    /// Makes a new file "journal-NUMBER" in `folder`, under a number that no other process has.
    /// @param job  the job's key: see JobDescription  @throws Error
    EmbeddingJournal(std::filesystem::path const &folder, std::uint64_t job) {
        for (int number = 0; file_.get() < 0; ++number) {
            path_ = folder / ("journal-" + std::to_string(number));
            std::error_code ignored;
            if (std::filesystem::exists(path_, ignored))
                continue;
            int const file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            int const reason = errno;
            check(file >= 0 || reason == EEXIST, path_.string(), ": cannot create: ", std::strerror(reason));
            if (file >= 0)
                file_ = detail::FileDescriptor::of(file);
        }
        auto const header = detail::journal_header(job);
        write(std::span(&header, 1));
    }

    /// Adds entries, whose values must be on the disk already, and syncs the file. @throws Error
    void append(std::span<JournalEntry const> entries) {
        std::vector<detail::JournalRecord> records;
        for (auto const &entry : entries)
            records.push_back(detail::JournalRecord::of(entry));
        write(records);
        detail::sync_data(file_, path_.string());
    }

    /// All whole entries of the journals in `folder` and of its file "finished"; what follows a torn record in its file
    /// does not count. @throws Error when one cannot be read
    /// @param others  if given: how many files are of other jobs, and do not count
    static std::vector<JournalEntry> read(std::filesystem::path const &folder, std::uint64_t job,
                                          index_t *others = nullptr) {
        std::vector<JournalEntry> entries;
        index_t count = 0;
        for (auto const &name : detail::files_below(folder))
            if (name == "finished" || name.starts_with("journal-"))
                count += !detail::read_journal(folder / name, job, entries);
        if (others)
            *others = count;
        return entries;
    }

    /// The entries of "finished" alone, which no process writes to while they work.
    static std::vector<JournalEntry> read_finished(std::filesystem::path const &folder, std::uint64_t job) {
        std::vector<JournalEntry> entries;
        std::error_code ignored;
        if (std::filesystem::exists(folder / "finished", ignored))
            detail::read_journal(folder / "finished", job, entries);
        return entries;
    }

    /// Makes "finished" of `entries` and removes all journals; for one process, before others begin to write.
    static void replace(std::filesystem::path const &folder, std::uint64_t job, std::span<JournalEntry const> entries) {
        AtomicFile file(folder / "finished");
        auto const header = detail::journal_header(job);
        file.write(&header, sizeof(header));
        for (auto const &entry : entries) {
            auto const record = detail::JournalRecord::of(entry);
            file.write(&record, sizeof(record));
        }
        file.commit();
        for (auto const &name : detail::files_below(folder))
            if (name.starts_with("journal-"))
                std::filesystem::remove(folder / name);
    }

  private:
    void write(std::span<detail::JournalRecord const> records) {
        auto const bytes = std::as_bytes(records);
        detail::write_at(file_, bytes, size_, path_.string());
        size_ += static_cast<index_t>(bytes.size());
    }

    std::filesystem::path path_;
    detail::FileDescriptor file_;
    index_t size_ = 0;
};

} // namespace protlm::inline v0
