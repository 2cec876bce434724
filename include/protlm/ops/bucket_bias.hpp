#pragma once

#include <protlm/core/check.hpp>
#include <protlm/ops/attention_score.hpp>
#include <protlm/ops/detail/attention_shape.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace protlm::inline v0 {

/// The bucket of a key that lies `offset` behind (negative) or ahead of (positive) the query, as T5 counts them:
/// half of the buckets for exact small distances, the others logarithmic up to `max_distance`; with `bidirectional`
/// half of all for keys ahead, else those share bucket 0. arXiv 1910.10683, section 2.1; computed in float as the
/// original implementation does, so that borders fall alike.
inline std::int32_t relative_bucket(index_t offset, bool bidirectional, index_t buckets, index_t max_distance) {
    index_t first = 0;
    index_t distance = std::max<index_t>(-offset, 0);
    if (bidirectional) {
        buckets /= 2;
        first = offset > 0 ? buckets : 0;
        distance = std::abs(offset);
    }
    index_t const exact = buckets / 2;
    if (distance < exact)
        return static_cast<std::int32_t>(first + distance);
    float const position =
        std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
        static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) *
        static_cast<float>(buckets - exact);
    return static_cast<std::int32_t>(first + std::min(exact + static_cast<index_t>(position), buckets - 1));
}

/// T5's score: q . k + bias[bucket(key - query)][head], without 1 / sqrt(head width); the part that kernels copy.
/// The bias of an offset is looked up in a table of offsets, so nothing of size L x L exists.
template <Scalar S>
struct BucketBiasKernel {
    using A = accumulate_t<S>;
    static constexpr bool parametric = true;

    std::int32_t const *buckets_of_offsets; // (2 max_distance + 1)
    Rows<S const> table;                    // (buckets, heads)
    index_t max_distance;
    A factor;

    KOKKOS_FUNCTION A scale() const { return factor; }
    KOKKOS_FUNCTION A const *query_bias(AttentionPlace const &) const { return nullptr; }
    KOKKOS_FUNCTION index_t buckets() const { return table.rows; }
    KOKKOS_FUNCTION A operator()(AttentionPlace const &place, index_t query, index_t key, A const *) const {
        return static_cast<A>(table(bucket(place, query, key), place.head));
    }
    template <int W>
    KOKKOS_FUNCTION void add_query_gradient(AttentionPlace const &, index_t, index_t, A, A (&)[W]) const {}
    /// Bucket of a pair; keys before the first query (memory, cache) shift the offset. Beyond max_distance all
    /// offsets of one sign share one bucket.
    KOKKOS_FUNCTION index_t bucket(AttentionPlace const &place, index_t query, index_t key) const {
        index_t const offset = key - query - (place.keys - place.queries);
        index_t const near = offset < -max_distance ? -max_distance : offset > max_distance ? max_distance : offset;
        return buckets_of_offsets[near + max_distance];
    }

    /// One bias for each key - query from -(queries - 1) to keys - 1; in the backward one sum for each as well.
    index_t workspace(AttentionPlace const &place, index_t queries, bool backward) const {
        return diagonals(place, queries) * (backward ? 2 : 1);
    }
    void prepare(AttentionPlace const &place, Rows<A const>, index_t first, index_t count, A *work) const {
        index_t const last = first + count - 1;
        for (index_t i = 0; i < place.keys + count - 1; ++i)
            work[i] = static_cast<A>(table(bucket(place, last, i), place.head));
        std::fill(work + place.keys + count - 1, work + diagonals(place, count), A(0)); // registers reach behind them
    }
    /// Every row of a tile begins with the biases of the row before, shifted by one.
    detail::SumsFrom<A> start(AttentionTile const &tile, A const *work, A *) const {
        return {work + (tile.k0 - tile.q0 + tile.first + tile.count - 1), -1};
    }

    index_t partial_size(index_t, index_t, index_t sequences, index_t heads) const {
        return sequences * heads * buckets();
    }
    void prepare_backward(AttentionPlace const &place, A *work, A *) const {
        index_t const size = diagonals(place, place.queries);
        std::fill(work + size, work + 2 * size, A(0));
    }
    /// Sums along the diagonals, a register of them at a time: each row is read one element further left, into the
    /// zeros around it.
    void add_gradient_tile(AttentionTile const &tile, A *work, A const *gradient, A *partials) const {
        if (!partials)
            return;
        A *const sums = work + diagonals(tile.place, tile.place.queries) + (tile.k0 - tile.q0 + tile.count);
        for (index_t i0 = 0; i0 < tile.rows; i0 += detail::tile_gap) {
            index_t const rows = std::min(detail::tile_gap, tile.rows - i0);
            A const *const from = gradient + i0 * detail::tile_stride - (rows - 1);
            A *const to = sums - i0 - rows;
            index_t const diagonals_here = tile.keys + rows - 1;
            index_t j = 0;
            for (; j + detail::lanes<A> <= diagonals_here; j += detail::lanes<A>) {
                detail::Vec<A> sum = detail::load(to + j);
                for (index_t i = 0; i < rows; ++i)
                    sum += detail::load(from + i * (detail::tile_stride + 1) + j);
                detail::store(to + j, sum);
            }
            for (; j < diagonals_here; ++j)
                for (index_t i = 0; i < rows; ++i)
                    to[j] += from[i * (detail::tile_stride + 1) + j];
        }
    }
    /// Adds the sums of the diagonals to their buckets.
    void finish(AttentionPlace const &place, Rows<A const>, A const *work, A *, A *partials) const {
        if (partials)
            add_to_buckets(place, work + diagonals(place, place.queries), partials);
    }
    /// partials (sequences * heads, buckets) = the sums of one head's offsets, each in its bucket.
    KOKKOS_FUNCTION void add_to_buckets(AttentionPlace const &place, A const *sums, A *partials) const {
        A *const bucket_sums = partials + (place.sequence * place.heads + place.head) * buckets();
        for (index_t i = 0; i < buckets(); ++i)
            bucket_sums[i] = A(0);
        if (place.queries > 0 && place.keys > 0)
            for (index_t i = 0; i < place.queries + place.keys - 1; ++i)
                bucket_sums[bucket(place, place.queries - 1, i)] += sums[i];
    }

    /// Room for all offsets, and a register behind them.
    static index_t diagonals(AttentionPlace const &place, index_t queries) {
        return place.keys + queries + detail::lanes<A>;
    }
};

namespace detail {

/// gradient (buckets, heads) += sums (sequences * heads, buckets), in the order of the sequences.
template <class Exec, class A>
void add_bucket_sums(Exec const &exec, A const *sums, index_t sequences, index_t heads, index_t buckets,
                     Rows<A> gradient) {
    Kokkos::parallel_for(
        "protlm::add_bucket_sums", range(exec, 0, heads * buckets), KOKKOS_LAMBDA(index_t item) {
            index_t const head = item / buckets, bucket = item % buckets;
            A sum = gradient(bucket, head);
            for (index_t b = 0; b < sequences; ++b)
                sum += sums[(b * heads + head) * buckets + bucket];
            gradient(bucket, head) = sum;
        });
}

/// Sums of the score gradients of each key - query, one after the other for all sequences and heads, then of buckets.
template <class Exec, class A, class Pairs>
void bucket_gradients_device(Exec const &exec, Pairs pairs, index_t sequences, A *diagonal_sums, A *bucket_sums) {
    index_t const heads = pairs.rows.heads, longest = pairs.rows.q.rows + pairs.rows.k.rows;
    Kokkos::parallel_for(
        "protlm::score_gradient", range(exec, 0, longest * heads), KOKKOS_LAMBDA(index_t item) {
            index_t const head = item % heads, row = item / heads;
            index_t b = 0; // rows of diagonals: sequence b has those from q_offsets[b] + k_offsets[b]
            while (b + 1 < sequences && pairs.rows.q_offsets[b + 1] + pairs.rows.k_offsets[b + 1] <= row)
                ++b;
            auto const place = pairs.rows.place(b, head);
            index_t const diagonal = row - place.query_row - place.key_row - (place.queries - 1);
            A sum = 0;
            index_t const begin = diagonal < 0 ? -diagonal : 0;
            for (index_t q = begin; q < place.queries && q + diagonal < place.keys; ++q)
                sum += pairs(place, q, q + diagonal).gradient;
            diagonal_sums[head * longest + row] = sum;
        });
    Kokkos::parallel_for(
        "protlm::score_buckets", range(exec, 0, sequences * heads), KOKKOS_LAMBDA(index_t item) {
            auto const place = pairs.rows.place(item / heads, item % heads);
            pairs.score.add_to_buckets(place, diagonal_sums + place.head * longest + place.query_row + place.key_row,
                                       bucket_sums);
        });
}

} // namespace detail

/// T5's score with its table: see BucketBiasKernel.
template <Scalar S, class Exec>
class BucketBias {
  public:
    using A = accumulate_t<S>;
    using Kernel = BucketBiasKernel<S>;

    /// @param table (buckets, heads), Hugging Face's relative_attention_bias
    /// @throws Error when the buckets or the distance do not fit T5's rule
    template <class Context>
    BucketBias(Context &context, Weight<S, Exec> table, bool bidirectional, index_t max_distance, A scale = A(1))
        : table_(table) {
        index_t const used = bidirectional ? table.rows() / 2 : table.rows();
        check(used >= 2 && max_distance > used / 2, "BucketBias: ", table.rows(), " buckets and max_distance ",
              max_distance, ": needs at least 2 buckets a direction and a distance above the exact ones");
        std::vector<std::int32_t> buckets;
        for (index_t offset = -max_distance; offset <= max_distance; ++offset)
            buckets.push_back(relative_bucket(offset, bidirectional, table.rows(), max_distance));
        buckets_ = context.template upload<std::int32_t>(buckets);
        kernel_ = {buckets_.data(), table.value(), max_distance, scale};
    }

    Kernel const &kernel() const { return kernel_; }
    std::vector<ParameterId> const &parameters() const { return table_.ids; }
    bool trained() const { return table_.trained(); }
    void validate(Segments<Exec> const &, Segments<Exec> const &, index_t heads, index_t, bool) const {
        check_extent("BucketBias", "table", "columns", table_.cols(), heads);
    }

    /// Table gradient += the bucket sums of all heads of all sequences, one after the other.
    /// @param sums (sequences * heads, buckets)
    template <class Context>
    void accumulate_partials(Context &context, detail::AttentionRows<A> const &, Segments<Exec> const &queries,
                             Segments<Exec> const &, A const *sums) const {
        detail::add_bucket_sums(context.exec(), sums, queries.count(), table_.cols(), table_.rows(), table_.gradient());
    }
    /// The same from the gradient of every pair.
    template <class Context, class Pairs>
    void accumulate_pairs(Context &context, Pairs const &pairs, Segments<Exec> const &queries,
                          Segments<Exec> const &keys) const {
        auto const diagonals = context.template buffer<A>((queries.total() + keys.total()) * table_.cols());
        auto const sums = context.template buffer<A>(kernel_.partial_size(0, 0, queries.count(), table_.cols()));
        detail::bucket_gradients_device(context.exec(), pairs, queries.count(), diagonals.data(), sums.data());
        accumulate_partials(context, pairs.rows, queries, keys, sums.data());
    }

  private:
    Weight<S, Exec> table_;
    Buffer<std::int32_t, Exec> buckets_;
    Kernel kernel_;
};

} // namespace protlm::inline v0
