#pragma once

#include <protlm/core/context.hpp>
#include <protlm/data/batch.hpp>

#include <cstdint>
#include <vector>

namespace protlm::inline v0 {

/// Device copies of what dropout is keyed by; must live as long as the pass.
template <class Exec>
struct DropoutRows {
    Buffer<std::uint64_t, Exec> samples;  // (T)
    Buffer<std::int32_t, Exec> positions; // (T)
};

/// Keys a training pass over `batch` by seed, epoch, sample and position, so that a protein's dropout is the same in
/// any batch and on any rank. In inference there is nothing to do.
template <class Context, class Exec = typename Context::execution_space>
DropoutRows<Exec> key_dropout(Context &context, Batch const &batch, std::uint64_t seed) {
    DropoutRows<Exec> rows;
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
        rows.samples = context.template upload<std::uint64_t>(samples);
        rows.positions = context.template upload<std::int32_t>(positions);
        auto const epoch = static_cast<std::uint32_t>(batch.epoch);
        context.set_dropout({seed, epoch, rows.samples.view(), rows.positions.view()});
    }
    return rows;
}

} // namespace protlm::inline v0
