#pragma once

#include <protlm/data/model_vocabulary.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/find_model.hpp>
#include <protlm/io/sha256.hpp>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// SHA-256 of a model's weights: of its one file, or of its shards one after the other in the order of their names.
inline std::string model_sha256(CheckpointFolder const &checkpoint) {
    Sha256 hash;
    for (auto const &file : checkpoint.files())
        hash.update(MappedFile(file.name()));
    return hash.hex();
}

/// The same of the checkpoint in `folder`, computed by a thread of its own while the caller loads it. The files are
/// open when this returns, so they may be removed then.
inline std::shared_future<std::string> model_sha256_later(std::filesystem::path const &folder) {
    auto const files = std::make_shared<std::vector<MappedFile>>();
    CheckpointFolder const checkpoint(folder);
    for (auto const &file : checkpoint.files())
        files->emplace_back(file.name());
    auto const hash_files = [files] {
        Sha256 hash;
        for (auto const &file : *files)
            hash.update(file);
        return hash.hex();
    };
    return std::async(std::launch::async, hash_files).share();
}

} // namespace protlm::inline v0
