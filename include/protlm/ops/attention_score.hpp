#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/ops/attention_mask.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace protlm::inline v0 {

/// What the kernel part of a score must offer. The score of a pair is scale() * (q . k) plus what it adds to it:
/// `operator()(place, q, k)` for one pair on any device; on hosts `add_tile` for a tile of pairs, with a workspace of
/// `workspace(place)` elements that `prepare` fills once a head. `parametric` scores also take the gradient of a tile.
template <class T, class A>
concept AttentionScoreKernel = requires(T score, AttentionPlace place, index_t i, A *tile) {
    { T::parametric } -> std::convertible_to<bool>;
    { score.scale() } -> std::convertible_to<A>;
    { score(place, i, i) } -> std::convertible_to<A>;
    { score.workspace(place) } -> std::convertible_to<index_t>;
    score.prepare(place, tile);
    score.add_tile(place, tile, i, i, i, i, tile, i);
};

/// A score: its kernel part, and the parameters that its backward adds to.
template <class T, class A>
concept AttentionScore = AttentionScoreKernel<typename T::Kernel, A> && requires(T score) {
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
    KOKKOS_FUNCTION A scale() const { return factor; }
    KOKKOS_FUNCTION A operator()(AttentionPlace const &, index_t, index_t) const { return A(0); }
    index_t workspace(AttentionPlace const &) const { return 0; }
    void prepare(AttentionPlace const &, A *) const {}
    void add_tile(AttentionPlace const &, A const *, index_t, index_t, index_t, index_t, A *, index_t) const {}
};

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
    KOKKOS_FUNCTION index_t buckets() const { return table.rows; }
    KOKKOS_FUNCTION A operator()(AttentionPlace const &place, index_t query, index_t key) const {
        return static_cast<A>(table(bucket(place, query, key), place.head));
    }
    /// Bucket of a pair; keys before the first query (memory, cache) shift the offset. Beyond max_distance all
    /// offsets of one sign share one bucket.
    KOKKOS_FUNCTION index_t bucket(AttentionPlace const &place, index_t query, index_t key) const {
        index_t const offset = key - query - (place.keys - place.queries);
        index_t const near = offset < -max_distance ? -max_distance : offset > max_distance ? max_distance : offset;
        return buckets_of_offsets[near + max_distance];
    }

    /// One bias for each key - query from -(queries - 1) to keys - 1.
    KOKKOS_FUNCTION index_t workspace(AttentionPlace const &place) const {
        index_t const rows = place.queries + place.keys;
        return rows > 0 ? rows - 1 : 0;
    }
    void prepare(AttentionPlace const &place, A *biases) const {
        for (index_t i = 0; i < workspace(place); ++i)
            biases[i] = (*this)(place, place.queries - 1, i);
    }
    /// tile (rows, width) += the biases of queries from q0 and keys from k0.
    void add_tile(AttentionPlace const &place, A const *biases, index_t q0, index_t rows, index_t k0, index_t width,
                  A *tile, index_t stride) const {
        for (index_t i = 0; i < rows; ++i) {
            A const *bias = biases + (k0 - (q0 + i) + place.queries - 1);
            for (index_t j = 0; j < width; ++j)
                tile[i * stride + j] += bias[j];
        }
    }
    /// Adds a tile of score gradients to one sum for each key - query.
    void add_gradient_tile(AttentionPlace const &place, A *sums, index_t q0, index_t rows, index_t k0, index_t width,
                           A const *tile, index_t stride) const {
        for (index_t i = 0; i < rows; ++i) {
            A *sum = sums + (k0 - (q0 + i) + place.queries - 1);
            for (index_t j = 0; j < width; ++j)
                sum[j] += tile[i * stride + j];
        }
    }
    /// Adds the sums of one head's offsets to its buckets.
    KOKKOS_FUNCTION void add_to_buckets(AttentionPlace const &place, A const *sums, A *bucket_sums) const {
        for (index_t i = 0; i < workspace(place); ++i)
            bucket_sums[bucket(place, place.queries - 1, i)] += sums[i];
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

    /// Table gradient += the bucket sums of all heads of all sequences, one after the other.
    /// @param sums (sequences * heads, buckets)
    void accumulate(Exec const &exec, A const *sums, index_t sequences) const {
        Rows<A> const gradient = table_.gradient();
        index_t const heads = gradient.cols, buckets = gradient.rows;
        detail::add_bucket_sums(exec, sums, sequences, heads, buckets, gradient);
    }

  private:
    Weight<S, Exec> table_;
    Buffer<std::int32_t, Exec> buckets_;
    Kernel kernel_;
};

} // namespace protlm::inline v0
