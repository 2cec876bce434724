#pragma once

#include <protlm/core/parameters.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/ops/attention_mask.hpp>
#include <protlm/ops/detail/micro_kernel.hpp>

#include <vector>

namespace protlm::inline v0 {

/// A tile of pairs of one head, as host kernels compute it: queries [q0, q0 + rows) and keys [k0, k0 + keys). The task
/// that it is part of has the queries [first, first + count).
struct AttentionTile {
    AttentionPlace place;
    index_t first, count;
    index_t q0, rows, k0, keys;
};

/// What the kernel part of a score must offer. The score of a pair is scale() * (q + query_bias) . k plus what the
/// score adds to it:
/// - on any device `operator()(place, query, key, q)` for one pair, from the query's own columns of its head, and
///   `add_query_gradient`, which adds the query's gradient of that part, over scale(), times `gradient`;
/// - on hosts `start(tile, work, scores)`, what the sums of a tile begin with: a view of `work`, or of `scores`, where
///   they are to come: rows detail::tile_stride apart, into whose gaps, and before the first, the score may write. What
///   lies behind the last key up to whole registers may be anything.
/// `work` is scratch of `workspace(place, queries, backward)` elements, filled by `prepare` for a stretch of queries.
/// query_bias: (head width) elements, or null.
template <class T, class A>
concept AttentionScoreKernel = requires(T score, AttentionPlace place, AttentionTile tile, Rows<A const> q, index_t i,
                                        A value, A const *row, A *work, A (&sums)[32]) {
    { T::parametric } -> std::convertible_to<bool>;
    { score.scale() } -> std::convertible_to<A>;
    { score.query_bias(place) == nullptr } -> std::convertible_to<bool>;
    { score(place, i, i, row) } -> std::convertible_to<A>;
    score.add_query_gradient(place, i, i, value, sums);
    { score.workspace(place, i, true) } -> std::convertible_to<index_t>;
    score.prepare(place, q, i, i, work);
    { score.start(tile, work, work) } -> std::convertible_to<detail::SumsFrom<A>>;
};

/// What the kernel part of a score with a backward of its own offers to host kernels beside that. Every head of every
/// sequence is one task, which may keep sums in `partials`: partial_size elements, shared out by the score itself.
/// - `prepare_backward(place, work, partials)` follows `prepare`;
/// - `add_gradient_tile` sees the gradient of every tile of scores once; rows lie detail::tile_stride apart, and
///   detail::tile_gap elements before and behind each row's keys are zero;
/// - `finish(place, q, work, dq, partials)` adds to dq (queries, padded head width), which holds the gradient through
///   q . k over scale(), and completes the sums. `partials` is null when no gradient of a parameter is wanted.
template <class T, class A>
concept AttentionScoreGradient = requires(T score, AttentionPlace place, AttentionTile tile, Rows<A const> q, index_t i,
                                          A const *gradient, A *work) {
    { score.partial_size(i, i, i, i) } -> std::convertible_to<index_t>; // of query and key rows, sequences and heads
    score.prepare_backward(place, work, work);
    score.add_gradient_tile(tile, work, gradient, work);
    score.finish(place, q, work, work, work);
};

/// A score: its kernel part and the parameters that its backward adds to. `validate(queries, keys, heads, head width,
/// host kernels)` throws when they do not fit. One with a backward of its own also offers `trained()`,
/// `accumulate_partials(context, rows, queries, keys, partials)` for what host kernels summed, and
/// `accumulate_pairs(context, pairs, queries, keys)` for other devices, where `pairs(place, query, key).gradient` is
/// the gradient of a score.
template <class T, class A>
concept AttentionScore = AttentionScoreKernel<typename T::Kernel, A> &&
    (!T::Kernel::parametric || AttentionScoreGradient<typename T::Kernel, A>)&&requires(T score, index_t i) {
    { score.kernel() } -> std::convertible_to<typename T::Kernel>;
    { score.parameters() } -> std::convertible_to<std::vector<ParameterId>>;
};

/// scale * (q . k): Vaswani et al., arXiv 1706.03762, section 3.2.1, with scale 1 / sqrt(head width).
template <class A>
struct ScaledDot {
    using Kernel = ScaledDot;
    static constexpr bool parametric = false;
    A factor;
    ScaledDot const &kernel() const { return *this; }
    std::vector<ParameterId> parameters() const { return {}; }
    template <class Exec>
    void validate(Segments<Exec> const &, Segments<Exec> const &, index_t, index_t, bool) const {}

    KOKKOS_FUNCTION A scale() const { return factor; }
    KOKKOS_FUNCTION A const *query_bias(AttentionPlace const &) const { return nullptr; }
    KOKKOS_FUNCTION A operator()(AttentionPlace const &, index_t, index_t, A const *) const { return A(0); }
    template <int W>
    KOKKOS_FUNCTION void add_query_gradient(AttentionPlace const &, index_t, index_t, A, A (&)[W]) const {}
    index_t workspace(AttentionPlace const &, index_t, bool) const { return 0; }
    void prepare(AttentionPlace const &, Rows<A const>, index_t, index_t, A *) const {}
    detail::SumsFrom<A> start(AttentionTile const &, A *, A *) const { return {}; }
};

} // namespace protlm::inline v0
