#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/core/progress.hpp>
#include <protlm/embed/forecast.hpp>
#include <protlm/embed/model_folder.hpp>
#include <protlm/embed/read_proteins.hpp>
#include <protlm/embed/write_embeddings.hpp>

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// Prints what reading changed or left out.
inline void print_warnings(ReadReport const &report, Proteins const &proteins, index_t max_length) {
    for (auto const &line : warnings(report, proteins, max_length))
        std::fprintf(stderr, "embed: warning: %s\n", line.c_str());
}

/// What a program says about a job of embedding: the forecast, progress, and the end. Silent unless `talks`.
class EmbeddingReport {
  public:
    /// @param windows  the encoder's  @param here  processes of this job on this machine
    EmbeddingReport(EmbeddingJob const &job, Proteins const &proteins, Windows const &windows, EmbeddingShare share,
                    index_t here, bool talks)
        : job_(&job), proteins_(&proteins), windows_(windows), share_(share), here_(here), talks_(talks) {}

    /// The file was complete already.
    void complete() const {
        if (talks_)
            std::printf("%s: is complete already\n", job_->path().c_str());
    }

    /// Says how much there is to do and what it takes. @param mine  this process's share
    void start(MemoryForecast const &memory, std::vector<index_t> const &mine) {
        progress_.emplace(share_.ranks > 1 ? "embed (first rank)" : "embed", "residues",
                          static_cast<double>(detail::tokens_of(*proteins_, mine, 0, windows_)), !talks_);
        if (!talks_)
            return;
        say_amounts();
        say("memory of a process: " + memory.text());
        double const wanted = (memory.activations + memory.results) * static_cast<double>(here_);
        double const left = available_memory();
        if (wanted > left)
            say("warning: only " + format_amount(left, "B") + " are left here" +
                (here_ > 1 ? " for " + std::to_string(here_) + " processes" : "") +
                "; a smaller token budget needs less memory");
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
    void say_amounts() const {
        auto const &info = job_->info();
        double const rows = static_cast<double>((info.per_residue ? proteins_->residues() : 0) +
                                                (info.per_protein() ? proteins_->size() : 0));
        double const values = rows * static_cast<double>(info.width * info.slots());
        index_t cut = 0, windows = 0;
        for (index_t const length : proteins_->lengths())
            if (windows_.cut(length)) {
                ++cut;
                windows += windows_.count(length);
            }
        say(format_amount(static_cast<double>(proteins_->size()), "proteins") + ", " +
            format_amount(static_cast<double>(proteins_->residues()), "residues") +
            (cut > 0 ? " (" + std::to_string(cut) + " long proteins in " + std::to_string(windows) + " windows of " +
                           std::to_string(windows_.length) + " residues)"
                     : "") +
            ", file " + format_amount(values * static_cast<double>(data_type_size(info.precision)), "B"));
        auto const finished = proteins_->size() - static_cast<index_t>(job_->missing().size());
        if (finished > 0)
            say("going on with a job that finished " + format_amount(static_cast<double>(finished), "proteins") +
                " of them before");
        if (job_->foreign_journals() > 0)
            say("warning: notes of " + std::to_string(job_->foreign_journals()) +
                " processes that worked on something else do not count");
    }
    static void say(std::string const &text) { std::fprintf(stderr, "embed: %s\n", text.c_str()); }
    std::string rate() const {
        return format_amount(static_cast<double>(done_) / std::max(progress_->seconds(), 1e-9), "proteins/s");
    }

    EmbeddingJob const *job_;
    Proteins const *proteins_;
    Windows windows_;
    EmbeddingShare share_;
    index_t here_;
    bool talks_, told_ = false;
    index_t done_ = 0;
    std::optional<Progress> progress_;
};

} // namespace protlm::inline v0
