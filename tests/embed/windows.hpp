#pragma once

// Proteins that are cut into windows, for every family. See families.hpp.

#include <embed/families.hpp>

namespace protlm::test {

/// A protein's windows as proteins of their own.
inline Proteins windows_of(Proteins const &proteins, Windows const &windows) {
    Proteins pieces;
    for (index_t i = 0; i < proteins.size(); ++i)
        for (index_t k = 0; k < windows.count(proteins.length(i)); ++k) {
            auto const first = static_cast<std::size_t>(windows.first(k, proteins.length(i)));
            auto const size = static_cast<std::size_t>(windows.size(proteins.length(i)));
            pieces.add("window", proteins.tokens(i).subspan(first, size));
        }
    return pieces;
}

/// The distance of residue `i` to the nearer border of window `k` that is not the protein's own end.
inline double border_distance(Windows const &windows, index_t k, index_t i, index_t length) {
    double distance = 1e9;
    if (k > 0)
        distance = std::min(distance, static_cast<double>(i - windows.first(k, length) + 1));
    if (k + 1 < windows.count(length))
        distance = std::min(distance, static_cast<double>(windows.first(k, length) + windows.length - i));
    return distance;
}

/// Residues are the weighted means of the windows embedded by themselves, and those of one window its own bits; the
/// protein's vector is the mean of its residues', with cls that of the windows' vectors.
template <class Family>
void windows_are_averaged_as_stated(index_t limit, WindowOptions const &wanted, typename Family::Config const &config) {
    auto const vocabulary = Family::vocabulary();
    auto const model = made_family<Family>(config);
    std::vector<index_t> const lengths{limit, limit + 1, 5, 3 * limit, 2 * limit - 1, 40 * limit + 7};
    auto const proteins = random_proteins(lengths, 1, vocabulary);
    for (index_t const layer : {1, 2}) {
        Embedder embedder(model, vocabulary, {.layers = {layer}, .windows = wanted});
        auto const windows = embedder.windows();
        BOOST_REQUIRE(windows.length == limit);
        auto const pieces = windows_of(proteins, windows);
        Embedder piecewise(model, vocabulary, {.layers = {layer}, .windows = std::nullopt});
        auto const actual = collect(embedder, proteins, proteins.all());
        auto const expected = collect(piecewise, pieces, pieces.all());
        auto const width = embedder.shape().width;
        std::size_t piece = 0, single = 0;
        double error = 0, largest = 0;
        bool same = true;
        for (std::size_t p = 0; p < lengths.size(); ++p) {
            index_t const length = lengths[p], count = windows.count(length);
            std::vector<double> sums(actual.residues[p].size()), weights(static_cast<std::size_t>(length));
            for (index_t k = 0; k < count; ++k)
                for (index_t j = 0; j < windows.size(length); ++j) {
                    index_t const i = windows.first(k, length) + j;
                    double const weight = border_distance(windows, k, i, length);
                    bool const alone = (k == 0 || !windows.covers(k - 1, i, length)) &&
                                       (k + 1 == count || !windows.covers(k + 1, i, length));
                    weights[static_cast<std::size_t>(i)] += weight;
                    for (index_t c = 0; c < width; ++c) {
                        float const value =
                            expected
                                .residues[piece + static_cast<std::size_t>(k)][static_cast<std::size_t>(j * width + c)];
                        sums[static_cast<std::size_t>(i * width + c)] += weight * static_cast<double>(value);
                        same = same && (!alone || actual.residues[p][static_cast<std::size_t>(i * width + c)] == value);
                    }
                    single += alone && count > 1;
                }
            std::vector<double> mean(static_cast<std::size_t>(width), 0.0);
            for (std::size_t at = 0; at < sums.size(); ++at) {
                double const value = sums[at] / weights[at / static_cast<std::size_t>(width)];
                error = std::max(error, std::abs(value - static_cast<double>(actual.residues[p][at])));
                largest = std::max(largest, std::abs(value));
                mean[at % static_cast<std::size_t>(width)] += value / static_cast<double>(length);
            }
            for (std::size_t c = 0; c < mean.size(); ++c)
                error = std::max(error, std::abs(mean[c] - static_cast<double>(actual.vectors[p][c])));
            piece += static_cast<std::size_t>(count);
        }
        BOOST_TEST(same, "residues of one window alone are not its own");
        BOOST_TEST(single > 0u);
        BOOST_TEST(error < 4e-7 * largest, error << " of values up to " << largest); // three roundings of a float
        BOOST_TEST(compare_bits("a whole protein", actual.vectors[0], expected.vectors[0]));
    }
}

/// Long proteins have the same bits in any company, on any number of ranks and threads, for one layer and several.
template <class Family>
void windows_have_the_same_bits(typename Family::Config const &config, WindowOptions const &wanted) {
    auto const vocabulary = Family::vocabulary();
    std::vector<index_t> const lengths{700, 33, 31, 0, 64, 95, 64, 30, 257, 1, 400};
    auto const proteins = random_proteins(lengths, 2, vocabulary);
    auto const model = made_family<Family>(config);
    for (Pooling const pooling : {Pooling::mean, Pooling::max, Pooling::cls}) {
        auto const options = [&](index_t budget) {
            return EmbedOptions{.pooling = pooling, .layers = {2}, .token_budget = budget, .windows = wanted};
        };
        Embedder alone(model, vocabulary, options(1));
        auto const expected = collect(alone, proteins, proteins.all());
        for (index_t const budget : {70, 500, 100000}) {
            Embedder embedder(model, vocabulary, options(budget));
            auto const order = shuffled(proteins.size());
            compare_members(collect(embedder, proteins, order), expected, order, "batches");
            for (index_t rank = 0; rank < 3; ++rank) {
                auto const mine = embedder.share(proteins, rank, 3);
                compare_members(collect(embedder, proteins, mine), expected, mine, "ranks");
            }
        }
        Embedder several(model, vocabulary, {.pooling = pooling, .layers = {0, 2}, .windows = wanted});
        several(proteins, [&](ProteinEmbedding<float> const &result) {
            auto const p = static_cast<std::size_t>(result.protein);
            auto const vector = result.vector(1), residues = result.residues(1);
            BOOST_TEST(std::equal(vector.begin(), vector.end(), expected.vectors[p].begin()));
            BOOST_TEST(std::equal(residues.begin(), residues.end(), expected.residues[p].begin()));
            BOOST_TEST(result.windows == several.windows().count(lengths[p]));
        });
    }
}

} // namespace protlm::test
