#pragma once

#include <protlm/core/progress.hpp>
#include <protlm/core/scalar.hpp>
#include <protlm/embed/available_memory.hpp>
#include <protlm/embed/embedder.hpp>

#include <algorithm>
#include <string>

namespace protlm::inline v0 {

/// Memory in bytes that embedding will take, known before it starts.
struct MemoryForecast {
    double weights = 0;     ///< of the model
    double activations = 0; ///< of the largest batch, and scratch
    double results = 0;     ///< host copies of the largest batch's hidden states, for devices
    double proteins = 0;    ///< the input: ids and tokens

    double total() const { return weights + activations + results + proteins; }
    /// "1.68 GB weights + 0.41 GB largest batch + ..."
    std::string text() const {
        std::string line = format_amount(total(), "B") + " (weights " + format_amount(weights, "B") +
                           ", largest batch " + format_amount(activations, "B");
        if (results > 0)
            line += ", results on the host " + format_amount(results, "B");
        return line + ", proteins " + format_amount(proteins, "B") + ")";
    }
};

/// The largest batch that a forecast is for.
struct BatchExtent {
    index_t tokens = 0;  ///< special tokens included
    index_t longest = 0; ///< of one sequence
    index_t states = 1;  ///< hidden states (T, C) that are kept for the results: layers, where residues are asked for
};

/// Forecast for an encoder with scalar S that runs on Exec in an inference context.
///
/// What counts is what the pool holds: in one layer what is alive behind attention (input, queries, keys and values,
/// mixed values, output), whose blocks are too small for the inner values of the feed-forward part, and those. Relative
/// attention still has its queries, keys and values there, and encodings of all distances and their keys. Hosts repack
/// one weight matrix at a time and keep tiles for each thread.
/// @param parameters  of the model  @param threads  that work at the same time
template <Scalar S, class Exec>
MemoryForecast forecast_embedding(EncoderShape const &shape, index_t parameters, BatchExtent const &batch,
                                  int threads) {
    double const a = sizeof(accumulate_t<S>), c = static_cast<double>(shape.width);
    double const t = static_cast<double>(batch.tokens), f = static_cast<double>(shape.inner);
    double const heads = static_cast<double>(shape.heads), mixed = static_cast<double>(shape.attention());
    MemoryForecast forecast;
    forecast.weights = static_cast<double>(parameters) * sizeof(S);
    double const projected = shape.distances > 0 ? c + 4 * mixed : 0;
    double const inner_rows = shape.inner_rows > 0 ? std::min(t, static_cast<double>(shape.inner_rows)) : t;
    double const inner = inner_rows * (shape.gated ? 3 : 1) * f;
    double const attended = t * (2 * c + 4 * mixed + heads);
    // T5 computes its inner values, of which a gated layer has three, in blocks that attention's memory serves, too
    double const layer = std::max(shape.inner_rows > 0 ? attended : attended + inner, t * (3 * c + projected) + inner);
    double const encodings = static_cast<double>(shape.distances * batch.longest) * (c + mixed);
    double const kept = static_cast<double>(std::max<index_t>(batch.states - 1, 0)) * c;
    double const rows = (layer + t * kept + encodings) * a + t * 3 * sizeof(std::int32_t);
    double const repacked = std::max(3 * mixed * c, f * c) * a;
    double const head_width = mixed / heads;
    double const tiles = threads * (1024 * std::max(16.0, head_width) + 8192) * a;
    double const slack = 1.125; // the pool rounds sizes up by at most an eighth
    forecast.activations = slack * (rows + (is_host_space<Exec> ? repacked + tiles : 0));
    forecast.results = is_host_space<Exec> ? 0 : t * c * a * static_cast<double>(batch.states);
    return forecast;
}

namespace detail {

/// What counts of proteins that are embedded as a whole, or of those that are cut into windows.
struct ProteinExtent {
    index_t tokens = 0, residues = 0; ///< of all; special tokens are tokens
    index_t longest = 0;              ///< protein in residues

    void add(index_t length, Windows const &windows, index_t special) {
        tokens += windows.tokens(length, special);
        residues += length;
        longest = std::max(longest, length);
    }
};

inline MemoryForecast largest(MemoryForecast const &a, MemoryForecast const &b) {
    return {std::max(a.weights, b.weights), std::max(a.activations, b.activations), std::max(a.results, b.results),
            std::max(a.proteins, b.proteins)};
}

} // namespace detail

/// Forecast for embedding `proteins`, by this process alone or as one of several. Where proteins are cut, the largest
/// batch is one of windows, beside which lie the means of all residues of its proteins.
/// @param parameters  of the model
template <class Model>
MemoryForecast forecast_embedding(Embedder<Model> const &embedder, Proteins const &proteins, index_t parameters) {
    using Exec = typename Model::execution_space;
    index_t const special = embedder.special(), budget = embedder.options().token_budget;
    auto const &windows = embedder.windows();
    detail::ProteinExtent whole, cut;
    for (index_t const length : proteins.lengths())
        (windows.cut(length) ? cut : whole).add(length, windows, special);
    auto const layers = static_cast<index_t>(embedder.options().layers.size());
    auto const of = [&](detail::ProteinExtent const &extent, index_t longest, index_t states) {
        BatchExtent const batch{
            .tokens = std::min(std::max(budget, longest), extent.tokens), .longest = longest, .states = states};
        return forecast_embedding<typename Model::scalar_type, Exec>(embedder.shape(), parameters, batch,
                                                                     concurrency(embedder.context().exec()));
    };
    auto forecast = of(whole, whole.longest + special, embedder.options().per_residue ? layers : 0);
    if (cut.longest > 0) {
        auto windowed = of(cut, windows.length + special, 0);
        auto const rows = std::max(cut.longest, std::min(budget, cut.residues));
        double const means = static_cast<double>(rows * embedder.shape().width * layers) *
                             sizeof(accumulate_t<typename Model::scalar_type>);
        windowed.activations += 1.125 * means; // the pool rounds sizes up by at most an eighth
        windowed.results = is_host_space<Exec> ? 0 : means;
        forecast = detail::largest(forecast, windowed);
    }
    double const names = 128.0; // id, its entry, length and offset
    forecast.proteins = static_cast<double>(proteins.residues()) + names * static_cast<double>(proteins.size());
    return forecast;
}

} // namespace protlm::inline v0
