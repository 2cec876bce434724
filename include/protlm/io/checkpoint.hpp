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

/// How closely a checkpoint is looked at.
enum class Verify {
    sizes,   ///< every file is there with its size: milliseconds
    contents ///< and has its SHA-256: as long as reading it
};

/// Checks a checkpoint folder against its checksums.json; files that are not listed there do not matter.
/// @throws Error naming the file that is missing, truncated or damaged
inline void verify_checkpoint(std::filesystem::path const &folder, Verify depth = Verify::contents) {
    auto const list = folder / "checksums.json";
    std::error_code error;
    bool const complete = std::filesystem::exists(list, error);
    check(complete, folder.string(), ": has no checksums.json; this is no complete checkpoint");
    Fields const document = read_fields(list);
    check(document.required<index_t>("format_version") == 1, list.string(), ": format_version: is ",
          document.required<index_t>("format_version"), ", this program reads 1");
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
/// damaged ones are passed over with a warning.
inline LatestCheckpoint latest_checkpoint(std::filesystem::path const &root, Verify depth = Verify::contents) {
    LatestCheckpoint result;
    auto checkpoints = list_checkpoints(root);
    for (; !checkpoints.empty(); checkpoints.pop_back()) {
        auto const &[step, folder] = checkpoints.back();
        try {
            verify_checkpoint(folder, depth);
        } catch (std::exception const &error) {
            result.warnings.push_back("checkpoint passed over: " + std::string(error.what()));
            continue;
        }
        result.folder = folder;
        result.step = step;
        break;
    }
    return result;
}

/// Removes the oldest checkpoints until `keep` complete ones are left; incomplete or damaged ones do not count and are
/// left for their owner to look at. An interrupted removal leaves a partial folder, never a damaged checkpoint.
/// @returns the folders removed  @throws Error when a folder cannot be removed
inline std::vector<std::filesystem::path> prune_checkpoints(std::filesystem::path const &root, index_t keep) {
    check(keep >= 1, "prune_checkpoints: keep is ", keep, ", expected at least 1");
    std::vector<std::filesystem::path> complete;
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
        std::filesystem::path const dying = folder.string() + ".partial";
        detail::remove_folder(dying);
        detail::rename_path(folder, dying);
        detail::remove_folder(dying);
    }
    return complete;
}

/// Removes what interrupted writes and removals left in `root`: folders step-XXXXXXXX.partial. Call it when a run
/// starts, in one process and before the first checkpoint.
/// @returns the folders removed  @throws Error when a folder cannot be removed
inline std::vector<std::filesystem::path> remove_partial_checkpoints(std::filesystem::path const &root) {
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
