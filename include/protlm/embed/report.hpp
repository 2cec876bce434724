#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/core/progress.hpp>
#include <protlm/embed/forecast.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/embed/read_proteins.hpp>
#include <protlm/embed/write_embeddings.hpp>

#include <cstdio>
#include <filesystem>
#include <future>
#include <optional>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// model_sha256 of the checkpoint in `folder`, computed by a thread of its own while the caller loads it.
inline std::shared_future<std::string> model_sha256_later(std::filesystem::path const &folder) {
    return std::async(std::launch::async, [folder] { return model_sha256(CheckpointFolder(folder)); }).share();
}

/// Prints what reading changed or left out.
inline void print_warnings(ReadReport const &report, Proteins const &proteins, index_t max_length) {
    for (auto const &line : warnings(report, proteins, max_length))
        std::fprintf(stderr, "embed: warning: %s\n", line.c_str());
}

/// What a program says about a job of embedding: the forecast, progress, and the end. Silent unless `talks`.
class EmbeddingReport {
  public:
    EmbeddingReport(EmbeddingJob const &job, Proteins const &proteins, EmbeddingShare share, bool talks)
        : job_(&job), proteins_(&proteins), share_(share), talks_(talks) {}

    /// The file was complete already.
    void complete() const {
        if (talks_)
            std::printf("%s: is complete already\n", job_->path().c_str());
    }

    /// Says how much there is to do and what it takes. @param mine  this process's share
    void start(MemoryForecast const &memory, std::vector<index_t> const &mine) {
        progress_.emplace(share_.ranks > 1 ? "embed (first rank)" : "embed", "residues",
                          static_cast<double>(proteins_->residues(mine)), !talks_);
        if (!talks_)
            return;
        auto const missing = static_cast<index_t>(job_->missing().size());
        auto const &info = job_->info();
        double const rows = static_cast<double>((info.per_residue ? proteins_->residues() : 0) +
                                                (info.per_protein() ? proteins_->size() : 0));
        double const values = rows * static_cast<double>(info.width * info.slots());
        say(format_amount(static_cast<double>(proteins_->size()), "proteins") + ", " +
            format_amount(static_cast<double>(proteins_->residues()), "residues") + ", file " +
            format_amount(values * static_cast<double>(data_type_size(info.precision)), "B"));
        if (missing < proteins_->size())
            say("going on with a job that finished " +
                format_amount(static_cast<double>(proteins_->size() - missing), "proteins") + " of them before");
        say("memory of a process: " + memory.text());
        double const wanted = memory.activations + memory.results, left = available_memory();
        if (wanted > left)
            say("warning: only " + format_amount(left, "B") +
                " are left here; a smaller token budget needs less memory");
    }

    /// For write_embeddings.
    void operator()(EmbeddingProgress const &now) {
        if (now.seconds_in_all >= 0 && !told_ && talks_)
            say("forecast of time: " + format_duration(now.seconds_in_all));
        told_ = told_ || now.seconds_in_all >= 0;
        done_ = now.proteins;
        progress_->update(static_cast<double>(now.residues), rate());
    }

    /// The file is complete.
    void finish() {
        progress_->finish(rate());
        if (talks_)
            std::printf("%s: %s, %s in %s\n", job_->path().c_str(),
                        format_amount(static_cast<double>(std::filesystem::file_size(job_->path())), "B").c_str(),
                        format_amount(static_cast<double>(proteins_->size()), "proteins").c_str(),
                        format_duration(progress_->seconds()).c_str());
    }

  private:
    static void say(std::string const &text) { std::fprintf(stderr, "embed: %s\n", text.c_str()); }
    std::string rate() const {
        return format_amount(static_cast<double>(done_) / std::max(progress_->seconds(), 1e-9), "proteins/s");
    }

    EmbeddingJob const *job_;
    Proteins const *proteins_;
    EmbeddingShare share_;
    bool talks_, told_ = false;
    index_t done_ = 0;
    std::optional<Progress> progress_;
};

} // namespace protlm::inline v0
