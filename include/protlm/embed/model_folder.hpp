#pragma once

#include <protlm/data/model_vocabulary.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/find_model.hpp>
#include <protlm/io/sha256.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// SHA-256 of a model's weights: of its one file, or of its shards one after the other in the order of their names.
inline std::string model_sha256(CheckpointFolder const &checkpoint) {
    Sha256 hash;
    for (auto const &file : checkpoint.files())
        hash.update(MappedFile(file.name()));
    return hash.hex();
}

} // namespace protlm::inline v0
