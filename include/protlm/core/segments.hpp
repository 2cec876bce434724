#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>

#include <algorithm>
#include <span>
#include <vector>

namespace protlm::inline v0 {

/// Where each sequence of a packed batch lies: rows [offsets[b], offsets[b+1]) of every activation.
template <class Exec>
struct Segments {
    std::vector<std::int64_t> host;     // (B+1)
    Buffer<std::int64_t, Exec> device;  // (B+1)
    std::vector<index_t> longest_first; // (B): sequences in the order in which tasks are handed out
    index_t longest = 0;

    index_t count() const { return static_cast<index_t>(host.size()) - 1; }
    index_t total() const { return host.back(); }
    index_t length(index_t b) const {
        return host[static_cast<std::size_t>(b) + 1] - host[static_cast<std::size_t>(b)];
    }
};

/// Copies offsets to the device.
/// @param offsets (B+1), beginning with 0, not decreasing @throws Error when they are not
template <class Context>
auto make_segments(Context &context, std::span<std::int64_t const> offsets) {
    check(!offsets.empty() && offsets[0] == 0, "make_segments: offsets must begin with 0");
    Segments<typename Context::execution_space> segments;
    segments.host.assign(offsets.begin(), offsets.end());
    for (std::size_t b = 1; b < offsets.size(); ++b) {
        check(offsets[b] >= offsets[b - 1], "make_segments: offsets[", b, "] is ", offsets[b], ", below offsets[",
              b - 1, "] ", offsets[b - 1]);
        segments.longest = std::max<index_t>(segments.longest, offsets[b] - offsets[b - 1]);
    }
    segments.device = context.template upload<std::int64_t>(segments.host);
    for (index_t b = 0; b < segments.count(); ++b)
        segments.longest_first.push_back(b);
    std::stable_sort(segments.longest_first.begin(), segments.longest_first.end(),
                     [&](index_t a, index_t b) { return segments.length(a) > segments.length(b); });
    return segments;
}

/// The row of each sequence's first token, (B). @param who  named in messages @throws Error when a sequence has none
template <class Exec>
std::vector<index_t> first_rows(Segments<Exec> const &segments, char const *who) {
    for (index_t b = 0; b < segments.count(); ++b)
        check(segments.length(b) > 0, who, ": sequence ", b, " is empty, so it has no first token");
    return {segments.host.begin(), segments.host.end() - 1};
}

/// Host description of a packed batch: what a model reads. No padding.
struct PackedView {
    std::span<std::int32_t const> tokens = {};      // (T)
    std::span<std::int32_t const> token_types = {}; // (T), or empty: all 0
    std::span<std::int64_t const> offsets = {};     // (B+1)
    std::span<std::uint64_t const> samples = {};    // (B), or empty: numbers of the proteins that key dropout
};

/// A packed batch in the memory of `Exec`.
template <class Exec>
struct PackedTokens {
    Buffer<std::int32_t, Exec> tokens;    // (T)
    Buffer<std::int32_t, Exec> types;     // (T)
    Buffer<std::int32_t, Exec> positions; // (T), from 0 within each sequence
    Segments<Exec> segments;
    Buffer<std::uint64_t, Exec> samples; // (T) of each row's protein, for dropout; empty in inference
    bool typed = false;                  // whether token types were given
    index_t size() const { return tokens.size(); }
};

namespace detail {

/// (T): the sample number of each row's sequence.
inline std::vector<std::uint64_t> row_samples(PackedView const &batch) {
    std::vector<std::uint64_t> samples(batch.tokens.size());
    for (std::size_t b = 0; b < batch.samples.size(); ++b)
        std::fill(samples.begin() + batch.offsets[b], samples.begin() + batch.offsets[b + 1], batch.samples[b]);
    return samples;
}

} // namespace detail

/// Copies a packed batch to the device and numbers the positions.
/// @throws Error when the extents disagree
template <class Context>
auto make_packed(Context &context, PackedView batch) {
    auto const total = static_cast<index_t>(batch.tokens.size());
    check_extent("make_packed", "offsets", "as last entry", batch.offsets.empty() ? -1 : batch.offsets.back(), total);
    check(batch.token_types.empty() || batch.token_types.size() == batch.tokens.size(), "make_packed: token_types has ",
          batch.token_types.size(), " entries, expected ", total);
    check(batch.samples.empty() || batch.samples.size() + 1 == batch.offsets.size(), "make_packed: samples has ",
          batch.samples.size(), " entries, expected ", batch.offsets.size() - 1);
    PackedTokens<typename Context::execution_space> packed;
    packed.segments = make_segments(context, batch.offsets);
    std::vector<std::int32_t> positions(batch.tokens.size()), types(batch.tokens.size(), 0);
    for (std::size_t b = 0; b + 1 < batch.offsets.size(); ++b)
        for (std::int64_t t = batch.offsets[b]; t < batch.offsets[b + 1]; ++t)
            positions[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t - batch.offsets[b]);
    packed.typed = !batch.token_types.empty();
    packed.tokens = context.template upload<std::int32_t>(batch.tokens);
    packed.positions = context.template upload<std::int32_t>(positions);
    if (batch.token_types.empty())
        packed.types = context.template upload<std::int32_t>(types);
    else
        packed.types = context.template upload<std::int32_t>(batch.token_types);
    if (Context::training && !batch.samples.empty())
        packed.samples = context.template upload<std::uint64_t>(detail::row_samples(batch));
    return packed;
}

} // namespace protlm::inline v0
