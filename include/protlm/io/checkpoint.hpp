#pragma once

#include <protlm/core/file.hpp>
#include <protlm/io/detail/folders.hpp>
#include <protlm/io/json.hpp>
#include <protlm/io/sha256.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A folder that appears under its name only when everything in it has been written, synced and checksummed; until
/// then, and after any error, an old folder of that name is untouched. One process writes a checkpoint.
///
///     CheckpointWriter checkpoint(root / step_folder_name(step));
///     write_json(checkpoint / "config.json", config);
///     SafetensorsWriter weights(checkpoint / "model.safetensors", specs); ...
///     checkpoint.commit();
class CheckpointWriter {
  public:
    /// Makes FOLDER.partial, anew where an interrupted run left one. @throws Error when it cannot be made
    explicit CheckpointWriter(std::filesystem::path folder)
        : folder_(detail::without_slash(std::move(folder))), partial_(folder_.string() + ".partial") {
        detail::remove_folder(partial_);
        detail::make_folders(partial_);
    }
    CheckpointWriter(CheckpointWriter const &) = delete;
    CheckpointWriter &operator=(CheckpointWriter const &) = delete;
    ~CheckpointWriter() {
        std::error_code ignored;
        if (!committed_)
            std::filesystem::remove_all(partial_, ignored);
    }

    /// Where to write the file `name`, for example "model.safetensors" or "generator/config.json".
    /// @throws Error when `name` leads out of the folder
    std::filesystem::path operator/(std::string_view name) const {
        check(detail::is_inside(name), partial_.string(), ": \"", name, "\" is not a name inside the folder");
        auto const path = partial_ / name;
        detail::make_folders(path.parent_path());
        return path;
    }

    /// Writes a small file as it is, for example vocab.txt. @throws Error
    void write(std::string_view name, std::string_view content) const {
        AtomicFile file(*this / name);
        file.write(content);
        file.commit();
    }

    /// Syncs every file, writes checksums.json over all of them, and gives the folder its name; an old checkpoint of
    /// that name is exchanged and removed. @throws Error; an old checkpoint then still stands
    void commit() {
        nlohmann::json files = nlohmann::json::object();
        for (auto const &name : detail::files_below(partial_)) {
            auto const path = partial_ / name;
            detail::sync_file(path);
            files[name] = {{"bytes", std::filesystem::file_size(path)}, {"sha256", sha256_file(path)}};
        }
        check(!files.empty(), partial_.string(), ": nothing was written into this checkpoint");
        for (auto const &folder : detail::folders_below(partial_))
            sync_folder(folder);
        write_json(partial_ / "checksums.json",
                   {{"format", "protlm checkpoint"}, {"format_version", 1}, {"files", std::move(files)}});
        sync_folder(partial_);
        detail::replace_folder(partial_, folder_);
        committed_ = true;
    }

    std::filesystem::path const &folder() const { return folder_; }

  private:
    std::filesystem::path folder_, partial_;
    bool committed_ = false;
};

/// A newer protlm wrote this checkpoint: it is whole, so nobody may pass it over as damaged.
struct NewerFormat : Error {
    using Error::Error;
};

/// How closely a checkpoint is looked at.
enum class Verify {
    sizes,   ///< every file is there with its size: milliseconds
    contents ///< and has its SHA-256: as long as reading it
};

/// Checks a checkpoint folder against its checksums.json; files that are not listed there do not matter.
/// @throws Error naming the file that is missing, truncated or damaged; NewerFormat
inline void verify_checkpoint(std::filesystem::path const &folder, Verify depth = Verify::contents) {
    auto const list = folder / "checksums.json";
    std::error_code error;
    bool const complete = std::filesystem::exists(list, error);
    check(complete, folder.string(), ": has no checksums.json; this is no complete checkpoint");
    Fields const document = read_fields(list);
    auto const version = document.required("format_version", at_least<index_t>(1));
    if (version > 1)
        throw NewerFormat(list.string() + ": format_version: is " + std::to_string(version) +
                          ", this program reads 1; a newer version of protlm wrote it");
    Fields const files = document.object("files");
    check(!files.json().empty(), list.string(), ": lists no files");
    for (auto const &[name, entry] : files.json().items()) {
        Fields const fields(entry, list.string() + ": " + detail::excerpt(name));
        check(detail::is_inside(name), fields.name(), ": leads out of the folder");
        auto const path = folder / name;
        auto const size = std::filesystem::file_size(path, error);
        check(!error, path.string(), ": listed in checksums.json, but cannot be read: ", error.message());
        auto const expected = fields.required<std::uint64_t>("bytes");
        check(size == expected, path.string(), ": has ", size, " bytes, expected ", expected, " by checksums.json");
        auto const digest = fields.required<std::string>("sha256");
        check(depth == Verify::sizes || sha256_file(path) == digest, path.string(),
              ": is damaged, its SHA-256 is not that of checksums.json");
    }
}

/// "step-00001200": the name of the checkpoint of step 1200, so that names sort by step.
inline std::string step_folder_name(index_t step) {
    check(step >= 0, "step_folder_name: step ", step, " is negative");
    std::string const digits = std::to_string(step);
    return std::string("step-").append(digits.size() < 8 ? 8 - digits.size() : 0, '0') + digits;
}

/// The checkpoints in a run's folder by name, oldest first, with their steps; complete or not.
/// @throws Error when `root` cannot be listed; a `root` that does not exist has none
inline std::vector<std::pair<index_t, std::filesystem::path>> list_checkpoints(std::filesystem::path const &root) {
    std::vector<std::pair<index_t, std::filesystem::path>> result;
    for (auto const &folder : detail::folders_in(root))
        if (auto const step = detail::parse_step(folder.filename().string()))
            result.emplace_back(*step, folder);
    std::sort(result.begin(), result.end());
    return result;
}

/// What `latest_checkpoint` found.
struct LatestCheckpoint {
    std::filesystem::path folder; ///< empty when there is none
    index_t step = 0;
    std::vector<std::string> warnings; ///< why newer checkpoints were passed over, one line each

    explicit operator bool() const { return !folder.empty(); }
};

/// The newest checkpoint `step-XXXXXXXX` in `root` whose files are all there and undamaged. Partial ones are ignored;
/// damaged ones are passed over with a warning. A run that trains in `root` may remove the newest one found here while
/// it is looked at, because it has newer ones: then this looks again.
/// @throws NewerFormat for a checkpoint that a newer protlm wrote
inline LatestCheckpoint latest_checkpoint(std::filesystem::path const &root, Verify depth = Verify::contents) {
    LatestCheckpoint result;
    auto checkpoints = list_checkpoints(root);
    for (int looks = 1; !checkpoints.empty();) {
        auto const [step, folder] = checkpoints.back();
        try {
            verify_checkpoint(folder, depth);
            result.folder = folder;
            result.step = step;
            return result;
        } catch (NewerFormat const &) {
            throw;
        } catch (std::exception const &error) {
            std::error_code ignored;
            if (!std::filesystem::exists(folder, ignored) && ++looks <= 100) {
                checkpoints = list_checkpoints(root);
                result.warnings.clear();
                continue;
            }
            result.warnings.push_back("checkpoint passed over: " + std::string(error.what()));
            checkpoints.pop_back();
        }
    }
    return result;
}

/// `path` itself, or where it holds checkpoints step-XXXXXXXX and is none itself, the newest undamaged one.
/// @throws Error when there are checkpoints, but none is whole
inline std::filesystem::path newest_checkpoint_of(std::filesystem::path const &path) {
    std::error_code ignored;
    for (char const *file : {"checksums.json", "config.json"})
        if (std::filesystem::exists(path / file, ignored))
            return path;
    auto const latest = latest_checkpoint(path);
    if (latest)
        return latest.folder;
    check(latest.warnings.empty(), path.string(), ": none of its checkpoints is whole; ",
          latest.warnings.empty() ? "" : latest.warnings.front());
    return path;
}

/// Removes the oldest checkpoints until `keep` complete ones are left; incomplete or damaged ones do not count and are
/// left for their owner to look at. An interrupted removal leaves a partial folder, never a damaged checkpoint.
/// @param spared  folders that stay, however old
/// @returns the folders removed  @throws Error when a folder cannot be removed
inline std::vector<std::filesystem::path> prune_checkpoints(std::filesystem::path const &root, index_t keep,
                                                            std::vector<std::filesystem::path> const &spared = {}) {
    check(keep >= 1, "prune_checkpoints: keep is ", keep, ", expected at least 1");
    std::vector<std::filesystem::path> complete, removed;
    for (auto const &[step, folder] : list_checkpoints(root)) {
        try {
            verify_checkpoint(folder, Verify::sizes);
            complete.push_back(folder);
        } catch (std::exception const &) {
            continue;
        }
    }
    auto const surplus = std::max<index_t>(0, static_cast<index_t>(complete.size()) - keep);
    complete.resize(static_cast<std::size_t>(surplus));
    for (auto const &folder : complete) {
        if (std::find(spared.begin(), spared.end(), folder) != spared.end())
            continue;
        std::filesystem::path const dying = folder.string() + ".partial";
        detail::remove_folder(dying);
        detail::rename_path(folder, dying);
        detail::remove_folder(dying);
        removed.push_back(folder);
    }
    return removed;
}

/// Gives the checkpoints of steps after `step` names that no run takes up and no pruning removes:
/// step-XXXXXXXX.abandoned, with -2, -3 ... behind where there is one already. For a run that goes back to `step`.
/// @returns the new names, newest checkpoint first  @throws Error when a folder cannot be renamed
inline std::vector<std::filesystem::path> set_aside_checkpoints(std::filesystem::path const &root, index_t step) {
    std::vector<std::filesystem::path> renamed;
    auto checkpoints = list_checkpoints(root);
    for (; !checkpoints.empty() && checkpoints.back().first > step; checkpoints.pop_back()) {
        auto const &folder = checkpoints.back().second;
        std::filesystem::path name = folder.string() + ".abandoned";
        std::error_code ignored;
        for (int number = 2; std::filesystem::exists(name, ignored); ++number)
            name = folder.string() + ".abandoned-" + std::to_string(number);
        detail::rename_path(folder, name);
        renamed.push_back(name);
    }
    if (!renamed.empty())
        sync_folder(root);
    return renamed;
}

namespace detail {

/// Where a file system cannot exchange two folders, a kill between the two renames of `replace_folder` leaves the old
/// checkpoint as step-X.old.partial and the new one as step-X.partial: one of them gets its name back.
inline void recover_replaced(std::filesystem::path const &root) {
    constexpr std::string_view ending = ".old.partial";
    for (auto const &old : folders_in(root)) {
        std::string const name = old.filename().string();
        if (!name.ends_with(ending) || !parse_step(name.substr(0, name.size() - ending.size())))
            continue;
        auto const target = root / name.substr(0, name.size() - ending.size());
        std::error_code ignored;
        for (auto const &candidate : {std::filesystem::path(target.string() + ".partial"), old}) {
            if (std::filesystem::exists(target, ignored))
                break;
            try {
                verify_checkpoint(candidate);
            } catch (std::exception const &) {
                continue;
            }
            rename_path(candidate, target);
            sync_folder(root);
        }
    }
}

} // namespace detail

/// Removes what interrupted writes and removals left in `root`: folders step-XXXXXXXX.partial. A checkpoint that was
/// being replaced by one of the same step gets its name back first. Call it when a run starts, in one process, while
/// no other can write there, and before the first checkpoint.
/// @returns the folders removed  @throws Error when a folder cannot be removed
inline std::vector<std::filesystem::path> remove_partial_checkpoints(std::filesystem::path const &root) {
    detail::recover_replaced(root);
    std::vector<std::filesystem::path> removed;
    constexpr std::string_view ending = ".partial";
    for (auto const &folder : detail::folders_in(root)) {
        std::string const name = folder.filename().string();
        if (!name.ends_with(ending) || !detail::parse_step(name.substr(0, name.find('.'))))
            continue;
        detail::remove_folder(folder);
        removed.push_back(folder);
    }
    return removed;
}

} // namespace protlm::inline v0
