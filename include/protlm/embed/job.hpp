#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/embed/job_description.hpp>
#include <protlm/embed/job_lock.hpp>
#include <protlm/io/embedding_file.hpp>
#include <protlm/io/embedding_journal.hpp>
#include <protlm/io/embedding_work_file.hpp>

#include <chrono>
#include <exception>
#include <filesystem>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A job that fills one embedding file, by any number of processes, that may be killed at any moment and begun again
/// with any number of processes: what was finished stays, and the file's content is in the end that of a job that was
/// never killed. Beside FILE, while it is not complete:
///
///     FILE.partial         the values (EmbeddingWorkFile)
///     FILE.job/job.json    what is computed from what (JobDescription)
///     FILE.job/finished    what earlier processes have finished
///     FILE.job/journal-N   what each process has finished since (EmbeddingJournal)
///
/// Every process makes the job; the first calls `begin`; when that has returned, each calls `open`, embeds some of
/// `missing` and calls `add` for each protein, then `flush`; when all have, the first calls `finish`.
class EmbeddingJob {
  public:
    /// @param info  what is to be written; `model_sha256` may be empty until `begin`
    /// @param proteins  must outlive this object
    EmbeddingJob(std::filesystem::path path, EmbeddingInfo info, Proteins const &proteins, JobModel const &model)
        : path_(std::move(path)), folder_(path_.string() + ".job"), partial_(path_.string() + ".partial"),
          info_(std::move(info)), proteins_(&proteins), description_(info_, model, proteins) {
        detail::check_info(info_, path_.string());
    }
    EmbeddingJob(EmbeddingJob const &) = delete;
    EmbeddingJob &operator=(EmbeddingJob const &) = delete;
    /// Notes what was finished before an error.
    ~EmbeddingJob() {
        try {
            flush();
        } catch (std::exception const &) { // the error that brought us here says more
        }
    }

    /// Begins the job or takes up an earlier one. In the first process only, before `open` in any.
    /// @param model_sha256  of the weights; a new job does not wait for it
    /// @param force  replace a file that exists, and drop an earlier job of another description
    /// @param lock  of the file, where the caller has taken it before
    /// @throws Error when the file exists, an earlier job computed something else (naming what), another process is at
    /// work on it, or the disk has no room
    void begin(std::shared_future<std::string> model_sha256, bool force, EmbeddingLock lock = {}) {
        sha256_ = std::move(model_sha256);
        lock_ = lock.held() ? std::move(lock) : EmbeddingLock(path_);
        bool const exists = std::filesystem::exists(path_), started = std::filesystem::exists(folder_ / "job.json");
        if (exists || started)
            description_.set_model(sha256_.get());
        if (exists && !force) {
            check_complete();
            check_no_other_job(started);
            remove_traces(); // of a job that ended between giving the file its name and cleaning up
            return;
        }
        if (started && take_up(force))
            return;
        for (auto const &name : detail::files_below(folder_))
            if (name != "lock")
                std::filesystem::remove(folder_ / name);
        EmbeddingInfo info = info_;
        info.model_sha256.clear(); // known at the end
        try {
            EmbeddingWorkFile::create(partial_, info, proteins_->ids(), proteins_->lengths());
        } catch (...) {
            remove_traces();
            throw;
        }
        // Until this file is there nothing that was finished counts, so it must not wait for long.
        noted_ = std::async(std::launch::async, [this, description = description_]() mutable {
            description.set_model(sha256_.get());
            description.write(folder_ / "job.json");
        });
    }

    /// Opens the job in this process. @returns false when there is nothing to do: the file is complete
    bool open() {
        std::error_code ignored;
        if (!std::filesystem::exists(partial_, ignored))
            return false;
        file_.emplace(partial_);
        journal_ = EmbeddingJournal(folder_, description_.key());
        missing_ = missing_beside(EmbeddingJournal::read_finished(folder_, description_.key()));
        last_ = Clock::now();
        return true;
    }

    /// Proteins that were not finished when the job began, the same in every process, ascending.
    std::vector<index_t> const &missing() const { return missing_; }
    std::filesystem::path const &path() const { return path_; }
    EmbeddingInfo const &info() const { return info_; }
    /// What is computed from what; all processes of a job must have the same.
    JobDescription const &description() const { return description_; }
    /// Journals that `begin` found and that do not count, because they are of another job.
    index_t foreign_journals() const { return foreign_; }

    /// Writes the protein's next layer, in the order of info().layers; see EmbeddingWorkFile::write. After its last
    /// layer the protein is finished, and noted so with the next `flush`, which comes by itself: see save_every.
    void add(index_t protein, float const *residues, float const *vector) {
        check(file_.has_value(), path_.string(), ": the job is not open");
        if (slot_ == 0)
            current_ = {protein, 0};
        check(current_.protein == protein, path_.string(), ": protein ", protein, " before all layers of protein ",
              current_.protein);
        current_.checksum = file_->write(protein, slot_, residues, vector, proteins_->id(protein), current_.checksum);
        if (++slot_ < info_.slots())
            return;
        slot_ = 0;
        pending_.push_back(current_);
        if (Clock::now() - last_ > interval_)
            flush();
    }

    /// At least so many seconds lie between two notes of what is finished: what a kill can cost. 2 unless set.
    void save_every(double seconds) { interval_ = std::chrono::duration<double>(seconds); }

    /// Brings what was finished to the disk and notes it. @throws Error, for example when the disk is full
    void flush() {
        if (noted_.valid() && noted_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
            noted_.get(); // that the job cannot be noted must not come out hours later
        if (!pending_.empty()) {
            file_->sync();
            journal_.append(std::exchange(pending_, {}));
        }
        last_ = Clock::now();
    }

    /// Completes the file and gives it its name. In the first process only, when all have called `flush`.
    /// @throws Error when a protein is missing
    void finish() {
        if (!file_)
            return; // it was complete before
        if (noted_.valid())
            noted_.get();
        description_.set_model(sha256_.get());
        auto const missing = missing_beside(EmbeddingJournal::read(folder_, description_.key()));
        check(missing.empty(), path_.string(), ": ", missing.size(), " proteins are not finished, for example ",
              missing.empty() ? std::string() : proteins_->id(missing[0]), "; do all processes see the same ",
              folder_.string(), "?");
        file_.reset();
        auto const fingerprint = description_.fingerprint();
        if (info_.layout == EmbeddingLayout::packed && info_.gzip == 0) {
            EmbeddingWorkFile::complete(partial_, description_.model_sha256(), fingerprint);
            detail::rename_path(partial_, path_);
            sync_folder(path_.parent_path());
        } else {
            convert(fingerprint);
        }
        remove_traces();
    }

  private:
    using Clock = std::chrono::steady_clock;

    /// @throws Error unless the file that exists is what this job would write
    void check_complete() const {
        auto const there = complete_embedding_file(path_);
        Setting const force{"force", "replaces it"};
        check(there.has_value(), force, path_.string(), ": exists and is no complete embedding file");
        check(there->job == description_.fingerprint(), force, path_.string(),
              ": exists, made with another model, input or other options, or by an earlier protlm");
    }
    /// @throws Error when what lies beside the complete file is unfinished work of another job, which must not be lost
    void check_no_other_job(bool started) const {
        if (!started)
            return;
        auto const differences = description_.differences(JobDescription::read(folder_ / "job.json"));
        check(differences.empty(), path_.string(), ": is complete, but ", folder_.string(),
              " belongs to an unfinished job that is to replace it: ", differences,
              ". Finish that job, or remove this folder and ", partial_.string());
    }

    /// Goes on with an earlier job: keeps what is finished and still as it was written. @returns false for one that
    /// counts for nothing
    bool take_up(bool force) {
        auto const earlier = JobDescription::read(folder_ / "job.json");
        Setting const anew{"force", "begins anew"};
        check(
            force || !earlier.is_old(), anew, folder_.string(),
            ": was begun by an earlier protlm, which did not note all that its values depend on; finish it with that");
        auto const differences = description_.differences(earlier);
        check(differences.empty() || force, anew, folder_.string(), ": was begun with something else: ", differences,
              ". Finish it with what it was begun with");
        std::error_code ignored;
        if (!differences.empty() || !std::filesystem::exists(partial_, ignored)) {
            std::filesystem::remove(folder_ / "job.json");
            return false;
        }
        EmbeddingWorkFile file(partial_);
        std::vector<JournalEntry> whole;
        std::vector<bool> known(static_cast<std::size_t>(file.size()));
        for (auto const &entry : EmbeddingJournal::read(folder_, description_.key(), &foreign_))
            if (entry.protein >= 0 && entry.protein < file.size() && !known[static_cast<std::size_t>(entry.protein)] &&
                file.checksum(entry.protein) == entry.checksum) {
                known[static_cast<std::size_t>(entry.protein)] = true;
                whole.push_back(entry);
            }
        EmbeddingJournal::replace(folder_, description_.key(), whole);
        return true;
    }

    std::vector<index_t> missing_beside(std::vector<JournalEntry> const &entries) const {
        std::vector<bool> done(static_cast<std::size_t>(proteins_->size()));
        for (auto const &entry : entries)
            if (entry.protein >= 0 && entry.protein < proteins_->size())
                done[static_cast<std::size_t>(entry.protein)] = true;
        std::vector<index_t> missing;
        for (index_t i = 0; i < proteins_->size(); ++i)
            if (!done[static_cast<std::size_t>(i)])
                missing.push_back(i);
        return missing;
    }

    /// Writes the wanted layout from the work file.
    void convert(std::string const &fingerprint) {
        auto const reader = EmbeddingReader::without_mark(partial_);
        EmbeddingInfo info = info_;
        info.model = reader.info().model;
        info.model_sha256 = description_.model_sha256();
        info.job = fingerprint;
        std::filesystem::path const converted = path_.string() + ".converted";
        copy_embeddings(reader, converted, info);
        detail::rename_path(converted, path_);
        sync_folder(path_.parent_path());
    }

    void remove_traces() {
        std::error_code ignored; // the file is complete; a trace that cannot be removed harms nobody
        journal_ = {};
        std::filesystem::remove(partial_, ignored);
        for (std::filesystem::directory_iterator at(folder_, ignored), end; !ignored && at != end;
             at.increment(ignored))
            if (at->path().filename() != "lock") {
                std::error_code failed;
                std::filesystem::remove_all(at->path(), failed);
            }
        lock_ = EmbeddingLock(); // removes its file and the folder
    }

    std::filesystem::path path_, folder_, partial_;
    EmbeddingInfo info_;
    Proteins const *proteins_;
    JobDescription description_;
    std::shared_future<std::string> sha256_;
    std::optional<EmbeddingWorkFile> file_;
    EmbeddingJournal journal_;
    EmbeddingLock lock_;
    index_t foreign_ = 0;
    std::vector<index_t> missing_;
    std::vector<JournalEntry> pending_;
    JournalEntry current_; ///< the protein that is being written
    index_t slot_ = 0;     ///< its next layer
    Clock::time_point last_ = Clock::now();
    std::chrono::duration<double> interval_{2};
    std::future<void> noted_; ///< last: its destructor waits for a thread that uses the members above
};

} // namespace protlm::inline v0
