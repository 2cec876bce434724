// What drivers that read FASTA offer and say alike.
#pragma once

#include <support/command_line.hpp>

#include <protlm/data/masked_proteins.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace examples {

inline void add_invalid_option(CLI::App &app, protlm::FastaOptions &options) {
    using Invalid = protlm::InvalidLetters;
    add_choice(app, "--invalid", options.invalid, {{"error", Invalid::error}, {"mask", Invalid::mask}},
               "letters that the vocabulary lacks: 'error' stops at the first, 'mask' reads them as X");
}

inline void warn(char const *program, std::string const &what) {
    std::fprintf(stderr, "%s: warning: %s\n", program, what.c_str());
}

/// Says what of the input was not as users may think.
inline void warn_of(char const *program, protlm::FastaCounts const &counts) {
    if (!counts.nucleotides.empty())
        warn(program, counts.nucleotides + ": all residues are A, C, G, T, U or N: is it DNA or RNA?");
    if (counts.latin1 > 0)
        warn(program, "headers that are no UTF-8, taken for Latin-1: " + std::to_string(counts.latin1));
    if (counts.masked > 0)
        warn(program,
             "letters that the vocabulary lacks, read as " + counts.masked_as + ": " + std::to_string(counts.masked));
}

/// protlm::read_masked_proteins with these warnings.
inline std::vector<protlm::MaskedProtein> read_masked(char const *program, std::vector<std::string> const &paths,
                                                      protlm::Vocabulary const &vocabulary, std::string const &letters,
                                                      bool spans, protlm::FastaOptions const &options) {
    protlm::FastaCounts counts;
    auto proteins = protlm::read_masked_proteins(paths, vocabulary, letters, spans, options, &counts);
    warn_of(program, counts);
    return proteins;
}

} // namespace examples
