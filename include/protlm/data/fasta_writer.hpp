#pragma once

#include <protlm/core/file.hpp>
#include <protlm/data/store.hpp>
#include <protlm/data/vocabulary.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// Appends one protein in lines of 60 residues. Special tokens are left out.
/// @param header without '>' @throws Error when the file cannot be written
inline void write_fasta(AtomicFile &file, std::string_view header, Vocabulary const &vocabulary,
                        std::span<std::int32_t const> tokens) {
    std::string letters;
    for (std::int32_t const token : tokens)
        if (!vocabulary.is_special(token))
            letters.push_back(vocabulary.letter(token));
    std::string text = '>' + std::string(header) + '\n';
    for (std::size_t i = 0; i < letters.size(); i += 60)
        text += letters.substr(i, 60) + '\n';
    file.write(text);
}

/// Writes a part of a store as FASTA, with its ids. The file appears when it is complete.
/// @throws Error when it cannot be written
inline void write_fasta(std::filesystem::path const &path, TokenStore const &store, Subset part) {
    AtomicFile file(path);
    for (auto i = part.first; i < part.first + part.count; ++i) {
        std::string const letters = decode(store.vocabulary(), store.tokens(i));
        std::string text = '>' + std::string(store.id(i)) + '\n';
        for (std::size_t at = 0; at < letters.size(); at += 60)
            text += letters.substr(at, 60) + '\n';
        file.write(text);
    }
    file.commit();
}

} // namespace protlm::inline v0
