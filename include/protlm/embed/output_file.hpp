#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/core/output.hpp>
#include <protlm/io/embedding_file.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// Refuses an embedding file that would be a mistake, before any work is done: see check_output; standard output, into
/// which HDF5 cannot be written; and a name that says another format. An embedding file that is complete and of the
/// wanted pooling, precision, layout and kind of vectors may be what the job would write; EmbeddingJob knows.
/// @param inputs  FASTA files and the model's folder  @param force  replace a file that exists  @throws Error
inline void check_embedding_output(std::filesystem::path const &output,
                                   std::vector<std::filesystem::path> const &inputs, bool force,
                                   EmbeddingInfo const &wanted) {
    check(output != "-", "an embedding file cannot go to standard output: give it a name that ends in .h5");
    std::string end = output.extension().string();
    std::transform(end.begin(), end.end(), end.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (std::string_view const other :
         {".csv",   ".tsv", ".txt", ".json", ".npy", ".npz", ".pt", ".pth", ".pkl",  ".parquet", ".safetensors",
          ".fasta", ".fas", ".fa",  ".faa",  ".gz",  ".zst", ".xz", ".zip", ".xlsx", ".html",    ".png"})
        check(end != other, output.string(), ": embedding files are HDF5, but ", end,
              " says something else; give it a name that ends in .h5");
    check_output(output, inputs, force, [&](std::filesystem::path const &path) {
        auto const there = complete_embedding_file(path);
        return there && there->pooling == wanted.pooling && there->precision == wanted.precision &&
               there->layout == wanted.layout && there->per_residue == wanted.per_residue;
    });
}

} // namespace protlm::inline v0
