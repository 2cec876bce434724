#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/layers/relative_rows.hpp>

#include <optional>

namespace protlm::inline v0 {

/// Rows that ask: every token of the content stream, or the targets of the query stream.
template <class Exec>
struct XlnetQueries {
    Segments<Exec> segments;
    Buffer<std::int32_t, Exec> places;    // (R) among the keys of their sequence; empty: the last keys in their order
    Buffer<std::int32_t, Exec> types;     // (R); empty: no segment term
    Buffer<std::uint64_t, Exec> samples;  // (R), for dropout; empty: the keys in force
    Buffer<std::int32_t, Exec> positions; // (R) in their sequence, for dropout
};

/// Rows that are asked, a memory's in front of the tokens', and how far they are from those that ask.
template <class A, class Exec>
struct XlnetKeys {
    Segments<Exec> segments;
    Buffer<std::int32_t, Exec> types;           // (Tk), a memory's are 0; empty: no segment term
    std::optional<JoinedSegments<Exec>> joined; // where rows of the memory and of the tokens go; none: no memory
    Tensor<A, Exec> encodings;                  // (P, C) of distances; with bi_data (2 P, C), then with the sign turned
    index_t behind = 0;                         // distance of the first
    index_t backward_from = -1;                 // first sequence that runs backward; -1: none
};

namespace detail {

/// (size) zeros, but to[rows[i]] = from[i].
template <class Context, class Exec>
Buffer<std::int32_t, Exec> spread_entries(Context &context, index_t size, Buffer<std::int32_t, Exec> const &from,
                                          Buffer<index_t, Exec> const &rows) {
    auto const result = context.template buffer<std::int32_t>(size);
    zero_values(context.exec(), result.view());
    std::int32_t *const to = result.data();
    std::int32_t const *const source = from.data();
    index_t const *const row = rows.data();
    Kokkos::parallel_for(
        "protlm::spread_entries", range(context.exec(), 0, rows.size()),
        KOKKOS_LAMBDA(index_t i) { to[row[i]] = source[i]; });
    return result;
}

/// (2 P, C): encodings (P, C), then those of the distances with the sign turned: sines turn theirs, cosines do not.
template <class Context, class A, class Exec>
Tensor<A, Exec> both_ways(Context &context, Tensor<A, Exec> const &encodings) {
    index_t const count = encodings.rows(), half = encodings.cols() / 2;
    Tensor<A, Exec> const y(context.pool(), 2 * count, 2 * half, false);
    Rows<A const> const from = encodings.value();
    Rows<A> const to = y.value();
    Kokkos::parallel_for(
        "protlm::both_ways", range(context.exec(), 0, count), KOKKOS_LAMBDA(index_t p) {
            for (index_t j = 0; j < 2 * half; ++j) {
                to(p, j) = from(p, j);
                to(count + p, j) = j < half ? -from(p, j) : from(p, j);
            }
        });
    return y;
}

} // namespace detail

/// How XLNet sees distances; see XlnetConfig.
struct XlnetDistances {
    bool unidirectional = false, bi_data = false;
    index_t clamp = -1;
    double dropout_rate = 0.0;
};

/// Every token of a batch asks. @param batch as make_packed gave it
template <class Exec>
XlnetQueries<Exec> xlnet_queries(PackedTokens<Exec> const &batch) {
    return {batch.segments, {}, batch.typed ? batch.types : Buffer<std::int32_t, Exec>{}, {}, {}};
}

/// The targets of an order ask.
template <class Context, class A, class Exec>
XlnetQueries<Exec> xlnet_queries(Context &context, PackedTokens<Exec> const &batch, TwoStreamOrder<Exec> const &order,
                                 XlnetKeys<A, Exec> const &keys) {
    XlnetQueries<Exec> queries;
    queries.segments = order.target_segments;
    queries.places = order.target_places(context, keys.segments);
    if (batch.typed)
        queries.types = detail::gather_entries(context, batch.types, order.targets);
    if (auto const samples = detail::samples_of(context, batch); samples.size() > 0)
        queries.samples = detail::gather_entries(context, samples, order.targets);
    queries.positions = order.target_positions;
    return queries;
}

/// The keys of a batch, behind those of a memory. @param width C
/// @throws Error when the batch has an odd number of sequences, but its second half is to run backward
template <class A, class Context, class Exec>
XlnetKeys<A, Exec> xlnet_keys(Context &context, PackedTokens<Exec> const &batch, RecurrentMemory<A, Exec> const *memory,
                              index_t width, XlnetDistances const &distances) {
    XlnetKeys<A, Exec> keys;
    keys.segments = batch.segments;
    if (batch.typed)
        keys.types = batch.types;
    if (memory && !memory->empty()) {
        keys.joined = join_segments(context, memory->segments, batch.segments);
        keys.segments = keys.joined->segments;
        if (batch.typed)
            keys.types = detail::spread_entries(context, keys.segments.total(), batch.types, keys.joined->second_rows);
    }
    keys.behind = farthest(keys.segments);
    index_t const ahead = distances.unidirectional ? 0 : farthest(batch.segments);
    keys.encodings =
        distance_encodings<A>(context, batch, width, {keys.behind, ahead, distances.clamp}, distances.dropout_rate);
    if (distances.bi_data) {
        check(batch.segments.count() % 2 == 0, "Xlnet: bi_data: the batch has ", batch.segments.count(),
              " sequences, expected an even number: the second half runs backward");
        keys.encodings = detail::both_ways(context, keys.encodings);
        keys.backward_from = batch.segments.count() / 2;
    }
    return keys;
}

} // namespace protlm::inline v0
