#pragma once

#include <protlm/core/context.hpp>
#include <protlm/data/batch.hpp>

#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

/// Keys a training pass over `batch` by seed, epoch, sample and position, so that a protein's dropout is the same in
/// any batch and on any rank. In inference there is nothing to do.
template <class Context>
void key_dropout(Context &context, Batch const &batch, std::uint64_t seed) {
    if constexpr (Context::training) {
        std::vector<std::uint64_t> samples;
        std::vector<std::int32_t> positions;
        samples.reserve(batch.tokens.size());
        positions.reserve(batch.tokens.size());
        for (index_t b = 0; b < batch.sequences(); ++b)
            for (index_t t = 0; t < batch.length(b); ++t) {
                samples.push_back(batch.samples[static_cast<std::size_t>(b)]);
                positions.push_back(static_cast<std::int32_t>(t));
            }
        context.set_dropout({seed, static_cast<std::uint32_t>(batch.epoch),
                             context.template upload<std::uint64_t>(samples),
                             context.template upload<std::int32_t>(positions)});
    }
}

/// A run's loss for its steps: `loss(context, batch, seed)` with dropout keyed, and `loss.counts(batch, seed)` where
/// it has that, see CountingLoss.
template <class LossFunction>
struct KeyedLoss {
    LossFunction &loss;
    std::uint64_t seed;

    template <class Context>
    auto operator()(Context &context, Batch const &batch) const {
        key_dropout(context, batch, seed);
        return loss(context, batch, seed);
    }
    auto counts(Batch const &batch) const requires requires { loss.counts(batch, seed); }
    { return loss.counts(batch, seed); }
};

} // namespace protlm::inline v0
