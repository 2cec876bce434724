#pragma once

#include <protlm/data/batch.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace protlm::test {

/// `count` sequences of 1 to 2 `length` random residues with samples first, first + 1, ...
inline Batch random_batch(Vocabulary const &vocabulary, std::size_t count, std::size_t length, std::uint64_t first = 0,
                          std::uint64_t epoch = 0) {
    std::mt19937_64 random(first + 1);
    Batch batch;
    batch.epoch = epoch;
    for (std::size_t i = 0; i < count; ++i) {
        std::vector<std::uint8_t> tokens(1 + random() % (2 * length));
        for (std::uint8_t &token : tokens)
            token = vocabulary.residues[random() % vocabulary.residues.size()];
        append_sequence(batch, vocabulary, tokens, {}, first + i);
    }
    return batch;
}

/// One protein as sample 7.
inline Batch batch_of(Vocabulary const &vocabulary, std::string const &protein) {
    Batch batch;
    append_sequence(batch, vocabulary, encode(vocabulary, protein), {}, 7);
    return batch;
}

/// Sequences of a batch by their numbers, in that order.
inline Batch chosen_sequences(Batch const &batch, std::vector<std::size_t> const &numbers) {
    Batch chosen;
    chosen.epoch = batch.epoch;
    for (std::size_t const b : numbers) {
        auto const begin = batch.offsets[b], end = batch.offsets[b + 1];
        chosen.tokens.insert(chosen.tokens.end(), batch.tokens.begin() + begin, batch.tokens.begin() + end);
        chosen.token_types.insert(chosen.token_types.end(), batch.token_types.begin() + begin,
                                  batch.token_types.begin() + end);
        chosen.offsets.push_back(chosen.size());
        chosen.samples.push_back(batch.samples[b]);
    }
    return chosen;
}

/// Letters of residues and pieces of special tokens, `<extra_id_3>` as `<3>`.
inline std::string text(Vocabulary const &vocabulary, std::vector<std::int32_t> const &tokens) {
    std::string result;
    for (std::int32_t const token : tokens) {
        std::string const &piece = vocabulary.pieces.at(static_cast<std::size_t>(token));
        if (!vocabulary.is_special(token))
            result += vocabulary.letter(token);
        else
            result += piece.starts_with("<extra_id_") ? '<' + piece.substr(10) : piece;
    }
    return result;
}

/// Passes when `count` of `trials` is within three deviations of what `probability` expects.
inline void within(double count, double trials, double probability) {
    double const sigma = std::sqrt(trials * probability * (1 - probability));
    BOOST_TEST(std::abs(count - trials * probability) < 3 * sigma,
               count << " of " << trials << ", expected " << trials * probability << " +- " << sigma);
}

/// Passes when counts are as expected by a chi-square test, up to four deviations of its distribution.
inline void fits(std::vector<double> const &counts, std::vector<double> const &expected) {
    double chi_square = 0;
    for (std::size_t i = 0; i < counts.size(); ++i)
        chi_square += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
    double const freedom = static_cast<double>(counts.size()) - 1;
    BOOST_TEST(chi_square < freedom + 4 * std::sqrt(2 * freedom));
}

} // namespace protlm::test
