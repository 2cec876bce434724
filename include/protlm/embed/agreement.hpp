#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/embed/job.hpp>
#include <protlm/embed/team.hpp>

#include <algorithm>
#include <cstddef>
#include <string>

namespace protlm::inline v0 {

/// Compares what the processes are about to do, before any of them works. A file that some of them filled with other
/// proteins' vectors, or with another model's, would look complete.
/// @throws Error in all processes, naming who differs from the first and in what
inline void require_agreement(EmbeddingTeam const &team, JobDescription const &description) {
    auto const keys = team.gather(std::to_string(description.key()));
    if (std::count(keys.begin(), keys.end(), keys.front()) == std::ssize(keys))
        return;
    auto const texts = team.gather(description.text());
    auto const first = JobDescription::parse(texts.front(), "the description of rank 0");
    std::string who;
    index_t differing = 0;
    for (std::size_t rank = 1; rank < texts.size(); ++rank)
        if (keys[rank] != keys.front() && ++differing <= 4) {
            std::string const name = "rank " + std::to_string(rank);
            who += (differing > 1 ? "; " : "") + name + " has " +
                   JobDescription::parse(texts[rank], "the description of " + name).instead_of(first);
        }
    if (differing > 4)
        who += "; and " + std::to_string(differing - 4) + " more";
    fail("ranks disagree about what they embed with what: ", who);
}

/// Opens a job that the first process has begun. @returns false when there is nothing to do: the file is complete
/// @throws Error in all processes when one does not see the work file
inline bool open_together(EmbeddingTeam const &team, EmbeddingJob &job) {
    bool const open = job.open();
    auto const all = team.gather(open ? "open" : "");
    for (std::size_t rank = 1; rank < all.size(); ++rank)
        check(all[rank] == all[0], "rank ", rank, all[0].empty() ? " sees an unfinished " : " does not see rank 0's ",
              job.path().string(), ".partial: all ranks must work on one file system");
    return open;
}

} // namespace protlm::inline v0
