#pragma once

#include <protlm/io/checkpoint.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// "OWNER/NAME" of a model hub, also from the address of its page; empty where `text` cannot be one.
inline std::string hub_name(std::string text) {
    for (std::string const address : {"https://huggingface.co/", "http://huggingface.co/", "hf://"})
        if (text.starts_with(address))
            text.erase(0, address.size());
    while (text.ends_with('/'))
        text.pop_back();
    auto const slash = text.find('/');
    bool const plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
        return c == '/' || c == '-' || c == '_' || c == '.' || (c < 128 && std::isalnum(c));
    });
    bool const two =
        slash != text.npos && slash > 0 && slash + 1 < text.size() && text.find('/', slash + 1) == text.npos;
    return two && plain && text[0] != '.' && text[slash + 1] != '.' ? text : std::string();
}

/// @throws Error that says what to do where `path` is no folder
inline void require_model_folder(std::filesystem::path const &path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored))
        return;
    if (std::filesystem::exists(path, ignored)) {
        auto const folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
        fail(path.string(), ": is a file; a model is a folder with config.json, weights and a vocabulary",
             std::filesystem::exists(folder / "config.json", ignored) ? ": give " + folder.string() : std::string());
    }
    auto const hub = hub_name(path.string());
    check(!hub.empty() && !std::filesystem::exists(path.parent_path(), ignored), path.string(), ": no such folder");
    auto const local = hub.substr(hub.find('/') + 1);
    fail(path.string(), ": no such folder; models are not fetched by their names: 'hf download ", hub, " --local-dir ",
         local, "' makes the folder ", local);
}

/// In a hub's cache, models--OWNER--NAME holds the files of each revision in snapshots/REVISION, and refs/main says
/// which one is meant. @returns `path` where it is no such folder
/// @throws Error where it holds several revisions and does not say which
inline std::filesystem::path follow_hub_cache(std::filesystem::path const &path) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    auto const snapshots = path / "snapshots";
    if (fs::exists(path / "config.json", ignored) || !fs::is_directory(snapshots, ignored))
        return path;
    std::string revision;
    std::ifstream(path / "refs" / "main") >> revision;
    bool const plain = revision.find('/') == revision.npos && !revision.starts_with('.');
    if (!revision.empty() && plain && fs::is_directory(snapshots / revision, ignored))
        return snapshots / revision;
    auto const folders = folders_in(snapshots);
    check(folders.size() == 1, snapshots.string(), ": holds ", folders.size(), " revisions",
          folders.empty() ? "; the download is not complete" : ", and refs/main names none of them: give one of them");
    return folders.front();
}

} // namespace detail

/// Where the weights to begin a training with are: a file of weights, a model's folder, that of a generator and its
/// discriminator, the newest checkpoint of the run in `path`, or the revision that is meant in a folder of a hub's
/// cache.
/// @throws Error when there are none, with the command that downloads where `path` is the name of a model on a hub
inline std::filesystem::path find_weights(std::filesystem::path const &path) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path, ignored))
        return path;
    detail::require_model_folder(path);
    return newest_checkpoint_of(detail::follow_hub_cache(path));
}

/// The folder with a model's config.json: `path` itself; or the newest undamaged checkpoint of the run in `path`, and
/// of a generator and its discriminator the latter, which is what embeds (Clark et al., arXiv 2003.10555); or the
/// revision that is meant in a folder of a hub's cache (models--OWNER--NAME).
/// @throws Error when there is none, with the command that downloads where `path` is the name of a model on a hub
inline std::filesystem::path find_model(std::filesystem::path const &path) {
    detail::require_model_folder(path);
    auto const root = detail::follow_hub_cache(path);
    std::error_code ignored;
    for (auto const &folder : {root, root / "discriminator"})
        if (std::filesystem::exists(folder / "config.json", ignored))
            return folder;
    auto const latest = latest_checkpoint(root);
    if (latest.folder.empty())
        for (auto const &folder : detail::folders_in(root))
            check(!std::filesystem::exists(folder / "config.json", ignored), root.string(),
                  ": holds no config.json, but its folder ", folder.filename().string(), " does: give ",
                  folder.string());
    check(!latest.folder.empty(), root.string(), ": holds neither config.json nor a checkpoint step-XXXXXXXX of a run",
          latest.warnings.empty() ? "" : "; " + latest.warnings.front());
    auto const discriminator = latest.folder / "discriminator";
    return std::filesystem::exists(discriminator / "config.json", ignored) ? discriminator : latest.folder;
}

} // namespace protlm::inline v0
