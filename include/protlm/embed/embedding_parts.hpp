#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/embed/job_lock.hpp>
#include <protlm/embed/output_file.hpp>
#include <protlm/io/embedding_file.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Files that hold the proteins alone or the residues alone of an embedding file, one dataset an id, as other programs
/// read them: written when that file is complete, with its precision and layers. In one process.
class EmbeddingParts {
  public:
    /// @param file   the whole embedding file  @param inputs  which no part may be
    /// @param whole  what it will be; its `gzip` is also the parts'  @param force  replace parts that exist
    EmbeddingParts(std::filesystem::path file, std::vector<std::filesystem::path> inputs, EmbeddingInfo whole,
                   bool force)
        : file_(std::move(file)), inputs_(std::move(inputs)), whole_(std::move(whole)), force_(force) {}

    /// Adds the part that holds the vectors of proteins; none for an empty path. Until this object goes, no other job
    /// writes the file. @throws Error for a file that would be a mistake: see check_embedding_output
    void add_proteins(std::filesystem::path const &path) { add(path, false, whole_.pooling); }
    /// The same of residues.
    void add_residues(std::filesystem::path const &path) { add(path, true, "none"); }

    /// Whether there is a file that is not to be replaced, so that `check_job` may find it wrong.
    bool may_disagree() const {
        return !force_ && std::any_of(parts_.begin(), parts_.end(), [](Part const &part) { return is_there(part); });
    }
    /// @param job  fingerprint of the job that writes the whole file
    /// @throws Error for a part that exists and is of another job, unless it may be replaced
    void check_job(std::string const &job) const {
        for (auto const &part : parts_)
            check(force_ || !is_there(part) || is_of(part, job), Setting{"force", "replaces it"}, part.path.string(),
                  ": exists, made with another model, input or other options");
    }

    /// Writes the parts from the whole file, which is complete; not those that are there already.
    /// @returns those that were written
    std::vector<std::filesystem::path> write() const {
        if (parts_.empty())
            return {};
        EmbeddingReader const reader(file_);
        std::vector<std::filesystem::path> written;
        for (auto const &part : parts_) {
            if (!force_ && is_of(part, reader.info().job))
                continue;
            auto info = reader.info();
            info.layout = EmbeddingLayout::per_id;
            info.gzip = whole_.gzip;
            info.per_residue = part.info.per_residue;
            info.pooling = part.info.pooling;
            copy_embeddings(reader, part.path, info);
            written.push_back(part.path);
        }
        return written;
    }

  private:
    struct Part {
        std::filesystem::path path;
        EmbeddingInfo info;
        EmbeddingLock lock;
    };

    void add(std::filesystem::path const &path, bool per_residue, std::string const &pooling) {
        if (path.empty())
            return;
        auto info = whole_;
        info.layout = EmbeddingLayout::per_id;
        info.per_residue = per_residue;
        info.pooling = pooling;
        check_different_outputs(path, file_);
        for (auto const &other : parts_)
            check_different_outputs(path, other.path);
        check_embedding_output(path, inputs_, force_, info);
        std::error_code ignored;
        check(!std::filesystem::exists(path.string() + ".job/job.json", ignored), path.string(),
              ": another job has begun to write it; finish that, or remove ", path.string(), ".job");
        parts_.push_back({path, std::move(info), EmbeddingLock(path)});
    }

    static bool is_there(Part const &part) {
        std::error_code ignored;
        return std::filesystem::exists(part.path, ignored);
    }
    /// Whether a part is there as this job writes it.
    static bool is_of(Part const &part, std::string const &job) {
        auto const there = complete_embedding_file(part.path);
        return there && there->job == job && there->layout == part.info.layout &&
               there->per_residue == part.info.per_residue && there->pooling == part.info.pooling;
    }

    std::filesystem::path file_;
    std::vector<std::filesystem::path> inputs_;
    EmbeddingInfo whole_;
    bool force_;
    std::vector<Part> parts_;
};

} // namespace protlm::inline v0
