#pragma once

#include <protlm/embed/model_vocabulary.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/sha256.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// The folder with a model's config.json: `path` itself, or the newest undamaged checkpoint of the run in `path`; of a
/// generator and its discriminator, the latter, which is what embeds (Clark et al., arXiv 2003.10555).
/// @throws Error when there is neither
inline std::filesystem::path find_model(std::filesystem::path const &path) {
    std::error_code ignored;
    for (auto const &folder : {path, path / "discriminator"})
        if (std::filesystem::exists(folder / "config.json", ignored))
            return folder;
    check(std::filesystem::is_directory(path, ignored), path.string(), ": no such folder");
    auto const latest = latest_checkpoint(path);
    check(!latest.folder.empty(), path.string(), ": holds neither config.json nor a checkpoint step-XXXXXXXX of a run");
    auto const discriminator = latest.folder / "discriminator";
    return std::filesystem::exists(discriminator / "config.json", ignored) ? discriminator : latest.folder;
}

/// SHA-256 of a model's weights: of its one file, or of its shards one after the other in the order of their names.
inline std::string model_sha256(CheckpointFolder const &checkpoint) {
    Sha256 hash;
    for (auto const &file : checkpoint.files())
        hash.update(MappedFile(file.name()));
    return hash.hex();
}

} // namespace protlm::inline v0
