#pragma once

#include <protlm/data/vocabulary.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/sha256.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// The folder with a model's config.json: `path` itself, or the newest undamaged checkpoint of the run in `path`.
/// @throws Error when there is neither
inline std::filesystem::path find_model(std::filesystem::path const &path) {
    std::error_code ignored;
    if (std::filesystem::exists(path / "config.json", ignored))
        return path;
    check(std::filesystem::is_directory(path, ignored), path.string(), ": no such folder");
    auto const latest = latest_checkpoint(path);
    check(!latest.folder.empty(), path.string(), ": holds neither config.json nor a checkpoint step-XXXXXXXX of a run");
    return latest.folder;
}

/// The vocabulary in a model's folder: vocab.txt, or where there is none that of the family's ProtTrans model, ProtBert
/// for example, if the model has as many tokens. Those of ALBERT and XLNet are not taken: their residues' numbers are
/// not published, and a guess would give wrong embeddings without a sign of it.
/// @param family as Vocabulary::of takes it: config.json's model_type
/// @throws Error when there is none, or it has more pieces than the model has tokens
inline Vocabulary read_model_vocabulary(std::filesystem::path const &folder, index_t vocab_size,
                                        std::string_view family = "bert") {
    auto const file = folder / "vocab.txt";
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) {
        check(family != "albert" && family != "xlnet", file.string(), ": is missing, and the vocabulary of a released ",
              family, " is not built in");
        auto known = Vocabulary::of(family);
        check(vocab_size == known.size(), file.string(), ": is missing, and a model of ", vocab_size,
              " tokens does not have ", family == "bert" ? "ProtBert's" : "the family's", " vocabulary");
        return known;
    }
    auto const vocabulary = read_vocabulary_text(file);
    check(vocabulary.size() <= vocab_size, file.string(), ": has ", vocabulary.size(),
          " pieces, but the model's vocab_size is ", vocab_size);
    return vocabulary;
}

/// SHA-256 of a model's weights: of its one file, or of its shards one after the other in the order of their names.
inline std::string model_sha256(CheckpointFolder const &checkpoint) {
    Sha256 hash;
    for (auto const &file : checkpoint.files())
        hash.update(MappedFile(file.name()).bytes());
    return hash.hex();
}

} // namespace protlm::inline v0
