#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/data/batch.hpp>

#include <vector>

namespace protlm::inline v0::detail {

/// Residues between special tokens: rows [begin, begin + length) of a batch.
struct ResidueRun {
    index_t begin = 0, length = 0;
};

/// The runs of sequence `b`: one a protein, more where unknown tokens stand between residues.
inline std::vector<ResidueRun> residue_runs(Batch const &batch, Vocabulary const &vocabulary, index_t b) {
    std::vector<ResidueRun> runs;
    bool inside = false;
    for (index_t t = batch.offsets[static_cast<std::size_t>(b)]; t < batch.offsets[static_cast<std::size_t>(b) + 1];
         ++t) {
        bool const residue = !vocabulary.is_special(batch.tokens[static_cast<std::size_t>(t)]);
        if (residue && !inside)
            runs.push_back({t, 0});
        if (residue)
            ++runs.back().length;
        inside = residue;
    }
    return runs;
}

} // namespace protlm::inline v0::detail
