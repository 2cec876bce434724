#pragma once

#include <protlm/core/file_lock.hpp>
#include <protlm/io/checkpoint.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace protlm::inline v0 {

/// Where a run begins: the checkpoint it goes on from, if any.
struct StartingPoint {
    std::filesystem::path folder; ///< empty: at step 0
    bool explicitly = false;      ///< the user named this checkpoint, so later ones of the run are given up
    bool own = false;             ///< it is a checkpoint of this run's folder
};

/// The folder of a run, as the one process that writes there sees it: locked, with room made where the disk is full.
class RunFolder {
  public:
    /// Makes the folder where it is missing, locks it for the life of this object, and clears what a killed run left.
    /// @throws Error naming who is at work in it
    explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {
        detail::make_folders(folder_);
        lock_ = FileLock(folder_ / "lock", folder_.string());
        remove_partial_checkpoints(folder_);
    }

    /// What `from` names: "auto": the newest whole checkpoint here, if there are any; "never": none; else a checkpoint,
    /// or a run's folder, of which the newest one.
    /// @param warnings  takes a line for each checkpoint that is passed over
    /// @throws Error with "never" while there are checkpoints here, or when none of those that are there is whole, or
    /// when the one named is damaged
    StartingPoint starting_point(std::string const &from, std::vector<std::string> &warnings) const {
        if (from == "never") {
            check(list_checkpoints(folder_).empty(), folder_.string(),
                  ": has checkpoints of an earlier run; resume it, or take another output folder");
            return {};
        }
        std::error_code ignored;
        bool const is_run =
            from == "auto" || (!std::filesystem::exists(std::filesystem::path(from) / "checksums.json", ignored) &&
                               !list_checkpoints(from).empty());
        if (is_run)
            return newest(from == "auto" ? folder_ : std::filesystem::path(from), warnings);
        check(std::filesystem::is_directory(from, ignored), from, ": no such folder to resume from");
        verify_checkpoint(from);
        auto const folder = detail::without_slash(from);
        bool const own = detail::parse_step(folder.filename().string()).has_value() && is_this(parent(folder));
        return {folder, true, own};
    }

    /// A run goes on from `start`, whose step is `step`: later checkpoints, which it gives up, get other names.
    /// @returns the new names
    std::vector<std::filesystem::path> begin(StartingPoint const &start, index_t step) {
        std::error_code ignored;
        std::filesystem::remove(folder_ / status_file, ignored);
        resumed_ = start.explicitly && start.own ? folder_ / start.folder.filename() : std::filesystem::path();
        if (!start.explicitly)
            return {};
        return set_aside_checkpoints(folder_, start.own ? step : -1);
    }

    /// Writes the checkpoint of `step` by `write(checkpoint)` and removes old ones until `keep` are left. Never
    /// removed: the one just written, and the one that the user named to go on from. Where the disk is full, old ones
    /// are removed first, all but the newest.
    /// @param bytes  that it needs, about
    /// @returns the folders that had to go before the checkpoint was complete
    /// @throws Error; the newest older checkpoint then still stands
    template <class Write>
    std::vector<std::filesystem::path> save(index_t step, index_t keep, std::uint64_t bytes, Write &&write) {
        std::filesystem::path const folder = folder_ / step_folder_name(step);
        std::vector<std::filesystem::path> removed;
        try {
            write_checkpoint(folder, write);
        } catch (Error const &error) {
            if (!is_full(error))
                throw;
            removed = prune_checkpoints(folder_, 1, {resumed_});
            try {
                check(!removed.empty(), error.what());
                write_checkpoint(folder, write);
            } catch (Error const &again) {
                fail(again.what(), "; the checkpoint of step ", step, " takes about ", bytes, " bytes, ", free_bytes(),
                     " are free; older checkpoints stand");
            }
        }
        prune_checkpoints(folder_, keep, {resumed_, folder});
        return removed;
    }

    /// Leaves a file status.json, which tells scripts how the run ended. @param state  "finished" or "stopped"
    /// @returns false when it cannot be written
    bool leave_status(char const *state, index_t step, std::filesystem::path const &checkpoint) const {
        try {
            write_json(folder_ / status_file, {{"state", state}, {"step", step}, {"checkpoint", checkpoint.string()}});
        } catch (Error const &) {
            return false;
        }
        return true;
    }

    std::filesystem::path const &path() const { return folder_; }

  private:
    static constexpr char const *status_file = "status.json";

    /// The newest whole checkpoint of the run in `root`.
    StartingPoint newest(std::filesystem::path const &root, std::vector<std::string> &warnings) const {
        auto const latest = latest_checkpoint(root);
        warnings = latest.warnings;
        std::string all;
        for (auto const &warning : warnings)
            all += "; " + warning;
        check(latest || warnings.empty(), root.string(),
              ": none of its checkpoints is whole, and a run that began anew would replace them and its log", all);
        bool const own = is_this(root);
        return {latest.folder, latest && !own, latest && own};
    }
    static std::filesystem::path parent(std::filesystem::path const &folder) {
        return folder.has_parent_path() ? folder.parent_path() : std::filesystem::path(".");
    }
    bool is_this(std::filesystem::path const &other) const {
        std::error_code error;
        return std::filesystem::equivalent(other, folder_, error) && !error;
    }
    template <class Write>
    static void write_checkpoint(std::filesystem::path const &folder, Write &write) {
        CheckpointWriter checkpoint(folder);
        write(checkpoint);
        checkpoint.commit();
    }
    static bool is_full(Error const &error) {
        std::string const text = error.what();
        for (int const reason : {ENOSPC, EDQUOT})
            if (text.find(std::strerror(reason)) != text.npos)
                return true;
        return false;
    }
    std::uint64_t free_bytes() const {
        std::error_code error;
        auto const space = std::filesystem::space(folder_, error);
        return error ? 0 : space.available;
    }

    std::filesystem::path folder_, resumed_;
    FileLock lock_;
};

} // namespace protlm::inline v0
