#pragma once

// Needs HDF5 (CMake target protlm::hdf5), so it is included by itself.

#include <protlm/embed/embedder.hpp>
#include <protlm/embed/job.hpp>
#include <protlm/embed/team.hpp>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What the file of an embedder with these options is; model's name and hash, and what became of long proteins, are the
/// caller's.
inline EmbeddingInfo embedding_info(EmbedOptions const &options, EncoderShape const &shape, DataType precision,
                                    EmbeddingLayout layout = EmbeddingLayout::packed, int gzip = 0) {
    EmbeddingInfo info;
    info.layers = resolve_layers(options.layers, shape.layers);
    info.pooling = pooling_name(options.pooling);
    info.precision = precision;
    info.width = shape.width;
    info.per_residue = options.per_residue;
    info.layout = layout;
    info.gzip = gzip;
    return info;
}

/// This process's share of the proteins `members`, as share_proteins shares all. @returns ascending numbers of proteins
inline std::vector<index_t> share_of(Proteins const &proteins, std::vector<index_t> const &members,
                                     EncoderShape const &shape, index_t special, EmbeddingShare share,
                                     Windows const &windows = {}) {
    std::vector<index_t> lengths;
    for (index_t const i : members)
        lengths.push_back(proteins.length(i));
    auto mine = share_proteins(lengths, shape, special, share.rank, share.ranks, windows);
    for (auto &number : mine)
        number = members[static_cast<std::size_t>(number)];
    return mine;
}

/// What embedding has come to; handed to the caller's report while it works.
struct EmbeddingProgress {
    index_t proteins = 0, residues = 0; ///< so far, of this process; of proteins that are cut, those of all windows
    double seconds_in_all = -1;         ///< forecast for this process's share; negative until it is known
};

namespace detail {

/// Tokens of all sequences of the proteins `members`: windows, where a protein is cut.
inline index_t tokens_of(Proteins const &proteins, std::vector<index_t> const &members, index_t special,
                         Windows const &windows) {
    return std::accumulate(members.begin(), members.end(), index_t(0),
                           [&](index_t sum, index_t i) { return sum + windows.tokens(proteins.length(i), special); });
}

/// Some of `members` (one at least) that stand for all, of about `tokens` tokens: taken at even steps through their
/// lengths.
inline std::vector<index_t> sample_members(Proteins const &proteins, std::vector<index_t> members, index_t special,
                                           index_t tokens, Windows const &windows) {
    members = longest_first(proteins.lengths(), std::move(members));
    auto const count = static_cast<index_t>(members.size());
    auto const all = tokens_of(proteins, members, special, windows);
    index_t const mean = std::max<index_t>(1, all / count);
    index_t const step = count / std::clamp<index_t>(tokens / mean, 1, count);
    std::vector<index_t> sample;
    for (index_t i = step / 2; i < count; i += step)
        sample.push_back(members[static_cast<std::size_t>(i)]);
    std::sort(sample.begin(), sample.end());
    return sample;
}

/// `members` without `others`, both ascending.
inline std::vector<index_t> without(std::vector<index_t> const &members, std::vector<index_t> const &others) {
    std::vector<index_t> rest;
    std::set_difference(members.begin(), members.end(), others.begin(), others.end(), std::back_inserter(rest));
    return rest;
}

inline double cost_of(Proteins const &proteins, std::vector<index_t> const &members, EncoderShape const &shape,
                      index_t special, Windows const &windows = {}) {
    return std::accumulate(members.begin(), members.end(), 0.0, [&](double sum, index_t i) {
        return sum + protein_cost(shape, proteins.length(i), special, windows);
    });
}

} // namespace detail

/// Embeds the proteins `mine` into an open job. A few of them that stand for all come first, to forecast the time by;
/// their results count like any.
/// @param encoder  an Embedder, or anything else with shape(), special(), windows() and embed(proteins, members, sink),
/// which calls sink(ProteinEmbedding<float>) once for each member
/// @param report  called as report(EmbeddingProgress) after each protein
/// @throws Error for a value that is not finite or does not fit, a full disk; what was finished is noted in the job
template <class Encoder, class Report>
void write_embeddings(Encoder &encoder, Proteins const &proteins, std::vector<index_t> mine, EmbeddingJob &job,
                      Report &&report) {
    using Clock = std::chrono::steady_clock;
    index_t const special = encoder.special();
    Windows const windows = encoder.windows();
    EmbeddingProgress progress;
    bool const vectors = job.info().per_protein(), residues = job.info().per_residue;
    auto const sink = [&](ProteinEmbedding<float> const &result) {
        for (index_t slot = 0; slot < job.info().slots(); ++slot)
            job.add(result.protein, residues ? result.residues(slot).data() : nullptr,
                    vectors ? result.vector(slot).data() : nullptr);
        ++progress.proteins;
        progress.residues += windows.tokens(result.length, 0);
        report(std::as_const(progress));
    };
    double const whole = detail::cost_of(proteins, mine, encoder.shape(), special, windows);
    double measured = 0, forecast = -1;
    // The first sample also touches memory for the first time, so it is measured only if it takes long enough.
    for (index_t tokens = 1024; measured < 0.5 && tokens <= 65536 && !mine.empty(); tokens *= 8) {
        auto const sample = detail::sample_members(proteins, mine, special, tokens, windows);
        auto const start = Clock::now();
        encoder.embed(proteins, sample, sink);
        measured = std::chrono::duration<double>(Clock::now() - start).count();
        mine = detail::without(mine, sample);
        forecast = measured * whole / detail::cost_of(proteins, sample, encoder.shape(), special, windows);
    }
    progress.seconds_in_all = forecast;
    encoder.embed(proteins, std::move(mine), sink);
    job.flush();
}

} // namespace protlm::inline v0
