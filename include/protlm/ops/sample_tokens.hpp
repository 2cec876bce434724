#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/philox.hpp>

namespace protlm::inline v0 {

/// What the random numbers of sampled tokens are keyed by: (seed, epoch), and the sample and position of each row.
template <class Exec>
struct SampleKeys {
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
    Buffer<std::uint64_t, Exec> samples;  // (R)
    Buffer<std::int32_t, Exec> positions; // (R)
};

namespace detail {

/// -log(-log u) for u uniform in (0, 1), from 32 random bits: always finite.
KOKKOS_INLINE_FUNCTION double gumbel(std::uint32_t bits) {
    return -::log(-::log((static_cast<double>(bits) + 0.5) / 4294967296.0));
}

/// The token of one row: the largest of logit + noise, the first of equal ones.
template <class A>
KOKKOS_INLINE_FUNCTION std::int32_t sample_row(A const *logits, index_t tokens, std::uint64_t key, std::uint64_t sample,
                                               std::uint32_t position) {
    double largest = 0;
    std::int32_t best = 0;
    for (index_t first = 0; first < tokens; first += 4) { // four tokens from each draw
        PhiloxWords const bits =
            philox({{position, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32),
                     static_cast<std::uint32_t>(first / 4)}},
                   key);
        for (index_t j = first; j < tokens && j < first + 4; ++j) {
            double const score = static_cast<double>(logits[j]) + gumbel(bits[static_cast<int>(j - first)]);
            if (j == 0 || score > largest) {
                largest = score;
                best = static_cast<std::int32_t>(j);
            }
        }
    }
    return best;
}

template <class Exec, class A>
void sample_tokens_kernel(Exec const &exec, Rows<A const> logits, std::uint64_t key, std::uint64_t const *samples,
                          std::int32_t const *positions, std::int32_t *tokens) {
    Kokkos::parallel_for(
        "protlm::sample_tokens", range(exec, 0, logits.rows), KOKKOS_LAMBDA(index_t i) {
            tokens[i] =
                sample_row(logits.row(i), logits.cols, key, samples[i], static_cast<std::uint32_t>(positions[i]));
        });
}

} // namespace detail

/// One token (R) for each row of logits (R, V), drawn from their softmax by the Gumbel-max trick: the token with the
/// largest logit + noise. Noise is a function of (seed, epoch, sample, position, token), so a token is drawn alike in
/// any batch and on any rank. Has no backward. Gumbel, 1954; Maddison et al., arXiv 1411.0030.
/// @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Buffer<std::int32_t, Exec> sample_tokens(Context &context, Tensor<A, Exec> const &logits,
                                         SampleKeys<Exec> const &keys) {
    check_extent("sample_tokens", "samples", "entries", keys.samples.size(), logits.rows());
    check_extent("sample_tokens", "positions", "entries", keys.positions.size(), logits.rows());
    check(logits.cols() > 0, "sample_tokens: logits has no columns");
    auto const words = CounterRandom{keys.seed, Purpose::replace, keys.epoch}(0, 0);
    std::uint64_t const key = (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
    auto const tokens = context.template buffer<std::int32_t>(logits.rows());
    detail::sample_tokens_kernel(context.exec(), Rows<A const>(logits.value()), key, keys.samples.data(),
                                 keys.positions.data(), tokens.data());
    return tokens;
}

} // namespace protlm::inline v0
