// One vector a protein, from what users name: an embedding file, or FASTA with --composition.
#pragma once

#include <protlm/embed/protein_vectors.hpp>

#include <array>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace examples {

/// Whether a file begins as HDF5 does, also behind a user block.
inline bool is_hdf5(std::string const &path) {
    constexpr std::array<char, 8> signature{'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
    std::ifstream file(path, std::ios::binary);
    for (std::streamoff at = 0; at < (1 << 20); at = at == 0 ? 512 : 2 * at) {
        std::array<char, 8> bytes{};
        file.seekg(at);
        if (!file.read(bytes.data(), bytes.size()))
            return false;
        if (bytes == signature)
            return true;
    }
    return false;
}

/// @throws protlm::Error when a file is not there, or is of the kind that --composition, or its absence, does not take
inline void check_kind(std::string const &path, bool composition) {
    if (composition && path == "-")
        return;
    std::error_code ignored;
    auto const status = std::filesystem::status(path, ignored);
    if (!composition && std::filesystem::exists(path + ".partial", ignored) && !std::filesystem::exists(status))
        return; // the reader says how to complete it
    protlm::check(std::filesystem::exists(status), path, ": no such file");
    protlm::check(!std::filesystem::is_directory(status), path, ": is a folder, expected ",
                  composition ? "a FASTA file" : "an embedding file");
    if (!std::filesystem::is_regular_file(status))
        return;
    bool const hdf5 = is_hdf5(path);
    protlm::check(hdf5 || composition, path, ": is no embedding file (HDF5); embed makes one of FASTA, and ",
                  "--composition takes FASTA itself");
    protlm::check(!hdf5 || !composition, path, ": is an HDF5 file, but --composition takes FASTA");
}

/// Vectors of all proteins in the files. @param layer  of files with several
/// @throws protlm::Error
inline protlm::ProteinVectors read_vectors(std::vector<std::string> const &paths, bool composition,
                                           std::optional<protlm::index_t> layer) {
    for (auto const &path : paths)
        check_kind(path, composition);
    protlm::check(composition || paths.size() == 1, "one embedding file at a time, not ", paths.size());
    return composition ? protlm::composition_vectors(paths) : protlm::read_protein_vectors(paths.front(), layer);
}

} // namespace examples
