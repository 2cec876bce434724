#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace protlm::inline v0 {

/// How tokens are drawn from a model's probabilities.
struct SamplingOptions {
    double temperature = 1.0; // divides the logits: below 1 surer, above 1 more varied; 0 takes the most probable
    index_t top_k = 0;        // only the k most probable tokens; 0: all
    double top_p = 1.0;       // only the most probable tokens that reach this sum together (nucleus)
    std::uint64_t seed = 1;

    /// @throws Error naming the option
    void validate() const {
        check(temperature >= 0.0 && is_finite(temperature), "SamplingOptions: temperature is ", temperature,
              ", expected at least 0");
        check(top_k >= 0, "SamplingOptions: top_k is ", top_k, ", expected at least 0");
        check(top_p > 0.0 && top_p <= 1.0, "SamplingOptions: top_p is ", top_p, ", expected above 0 and at most 1");
    }
};

/// One token and its probability.
struct TokenProbability {
    std::int32_t token;
    double probability;
};

/// The token of the largest value, the first of equals. @throws Error when every value is minus infinity
inline std::int32_t most_probable(std::span<double const> log_probabilities) {
    auto const best = std::max_element(log_probabilities.begin(), log_probabilities.end());
    check(best != log_probabilities.end() && *best > -std::numeric_limits<double>::infinity(),
          "most_probable: no token is allowed");
    return static_cast<std::int32_t>(best - log_probabilities.begin());
}

namespace detail {

/// Divides by the sum of all.
inline void normalise(std::vector<TokenProbability> &tokens) {
    double sum = 0;
    for (auto const &t : tokens)
        sum += t.probability;
    for (auto &t : tokens)
        t.probability /= sum;
}

} // namespace detail

/// The tokens that can be drawn, the most probable first, with probabilities that sum to 1: temperature, then top-k
/// (Fan et al., arXiv 1805.04833), then the nucleus of what is left (Holtzman et al., arXiv 1904.09751), in the order
/// of Hugging Face. Of equally probable tokens the first comes first.
/// @param log_probabilities (V); minus infinity: not allowed @throws Error when none is allowed
inline std::vector<TokenProbability> sampling_distribution(std::span<double const> log_probabilities,
                                                           SamplingOptions const &options) {
    std::int32_t const best = most_probable(log_probabilities);
    if (options.temperature == 0.0)
        return {{best, 1.0}};
    double const top = log_probabilities[static_cast<std::size_t>(best)];
    std::vector<TokenProbability> tokens;
    for (std::size_t i = 0; i < log_probabilities.size(); ++i)
        if (double const p = std::exp((log_probabilities[i] - top) / options.temperature); p > 0)
            tokens.push_back({static_cast<std::int32_t>(i), p});
    std::stable_sort(tokens.begin(), tokens.end(),
                     [](auto const &a, auto const &b) { return a.probability > b.probability; });
    if (options.top_k > 0 && std::cmp_less(options.top_k, tokens.size()))
        tokens.resize(static_cast<std::size_t>(options.top_k));
    detail::normalise(tokens);
    if (options.top_p < 1.0) {
        std::size_t kept = 0;
        for (double sum = 0; kept < tokens.size() && sum < options.top_p; ++kept)
            sum += tokens[kept].probability;
        tokens.resize(kept);
        detail::normalise(tokens);
    }
    return tokens;
}

/// The token at `uniform` in [0, 1) of the distribution's cumulative sum. @param tokens at least one, sum 1
inline std::int32_t draw_token(std::span<TokenProbability const> tokens, double uniform) {
    for (auto const &t : tokens) {
        uniform -= t.probability;
        if (uniform < 0)
            return t.token;
    }
    return tokens.back().token; // the sum fell short of 1 by rounding
}

} // namespace protlm::inline v0
