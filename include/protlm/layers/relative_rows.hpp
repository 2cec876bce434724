#pragma once

#include <protlm/core/segments.hpp>
#include <protlm/layers/recurrent_memory.hpp>
#include <protlm/ops/concatenate.hpp>
#include <protlm/ops/dropout.hpp>
#include <protlm/ops/permutation_mask.hpp>
#include <protlm/ops/sinusoid.hpp>

#include <algorithm>
#include <optional>

namespace protlm::inline v0 {

/// Rows that ask in relative attention: every token of a batch, or the targets of a query stream.
template <class Exec>
struct RelativeQueries {
    Segments<Exec> segments;
    Buffer<std::int32_t, Exec> places;    // (R) among the keys of their sequence; empty: the last keys in their order
    Buffer<std::uint64_t, Exec> samples;  // (R), for dropout; empty: the keys in force
    Buffer<std::int32_t, Exec> positions; // (R) in their sequence, for dropout
};

/// Rows that are asked, a memory's in front of the tokens', and how far they are from those that ask.
template <class A, class Exec>
struct RelativeKeys {
    Segments<Exec> segments;
    std::optional<JoinedSegments<Exec>> joined; // where rows of the memory and of the tokens go; none: no memory
    Tensor<A, Exec> encodings;                  // (P, C) of distances
    index_t behind = 0;                         // distance of the first
};

namespace detail {

/// to[i] = from[rows[i]].
template <class Context, class T, class Exec>
Buffer<T, Exec> gather_entries(Context &context, Buffer<T, Exec> const &from, Buffer<index_t, Exec> const &rows) {
    auto const result = context.template buffer<T>(rows.size());
    T *const to = result.data();
    T const *const source = from.data();
    index_t const *const row = rows.data();
    Kokkos::parallel_for(
        "protlm::gather_entries", range(context.exec(), 0, rows.size()),
        KOKKOS_LAMBDA(index_t i) { to[i] = source[row[i]]; });
    return result;
}

/// The sample of each row, for dropout: the batch's, or that of the keys in force; empty where rows have none.
template <class Context, class Exec>
Buffer<std::uint64_t, Exec> samples_of(Context &context, PackedTokens<Exec> const &batch) {
    if constexpr (Context::training)
        return batch.samples.size() > 0 ? batch.samples : context.dropout().sample;
    else
        return {};
}

/// Dropout of encodings (P, C), which all sequences share: keyed by the batch's first sample and the distance.
template <class Context, class A, class Exec>
Tensor<A, Exec> encodings_dropout(Context &context, Tensor<A, Exec> const &encodings, index_t behind,
                                  Buffer<std::uint64_t, Exec> const &samples, double rate) {
    if (!Context::training || rate == 0.0)
        return encodings;
    index_t const count = samples.size() > 0 ? encodings.rows() : 0; // without samples, rows are keyed by number
    auto const sample = context.template buffer<std::uint64_t>(count);
    auto const distance = context.template buffer<std::int32_t>(count);
    std::uint64_t *const to_sample = sample.data();
    std::int32_t *const to_distance = distance.data();
    std::uint64_t const *const first = samples.data();
    Kokkos::parallel_for(
        "protlm::encodings_dropout", range(context.exec(), 0, count), KOKKOS_LAMBDA(index_t p) {
            to_sample[p] = first[0];
            to_distance[p] = static_cast<std::int32_t>(behind - p);
        });
    DropoutScope<Context> const scope(context, sample, distance);
    auto y = dropout(context, encodings, rate);
    y.set_needs_gradient(false);
    return y;
}

} // namespace detail

/// Which distances a table of encodings holds, see relative_sinusoids.
struct DistanceRange {
    index_t behind, ahead, clamp;
};

/// The largest distance within a sequence; 0 where there are no rows.
template <class Exec>
index_t farthest(Segments<Exec> const &segments) {
    return std::max<index_t>(segments.longest - 1, 0);
}

/// Encodings (P, C) of distances, with dropout in training: one draw for the batch, as in the original.
template <class A, class Context, class Exec>
Tensor<A, Exec> distance_encodings(Context &context, PackedTokens<Exec> const &batch, index_t width,
                                   DistanceRange distances, double dropout_rate) {
    bool const dropped = Context::training && dropout_rate > 0.0;
    auto const encodings =
        relative_sinusoids<A>(context, width, distances.behind, distances.ahead, distances.clamp, !dropped);
    return detail::encodings_dropout(context, encodings, distances.behind, detail::samples_of(context, batch),
                                     dropout_rate);
}

/// The keys of a batch, behind those of a memory. @param width C @param ahead whether keys after a query are seen
/// @param clamp farther distances count as this one; up to 0: no limit
template <class A, class Context, class Exec>
RelativeKeys<A, Exec> relative_keys(Context &context, PackedTokens<Exec> const &batch,
                                    RecurrentMemory<A, Exec> const *memory, index_t width, bool ahead, index_t clamp,
                                    double dropout_rate) {
    RelativeKeys<A, Exec> keys;
    keys.segments = batch.segments;
    if (memory && !memory->empty()) {
        keys.joined = join_segments(context, memory->segments, batch.segments);
        keys.segments = keys.joined->segments;
    }
    keys.behind = farthest(keys.segments);
    keys.encodings = distance_encodings<A>(context, batch, width,
                                           {keys.behind, ahead ? farthest(batch.segments) : 0, clamp}, dropout_rate);
    return keys;
}

/// The targets of an order ask. @param keys of the batch
template <class Context, class Exec>
RelativeQueries<Exec> target_queries(Context &context, PackedTokens<Exec> const &batch,
                                     TwoStreamOrder<Exec> const &order, Segments<Exec> const &keys) {
    RelativeQueries<Exec> queries;
    queries.segments = order.target_segments;
    queries.places = order.target_places(context, keys);
    if (auto const samples = detail::samples_of(context, batch); samples.size() > 0)
        queries.samples = detail::gather_entries(context, samples, order.targets);
    queries.positions = order.target_positions;
    return queries;
}

} // namespace protlm::inline v0
