#pragma once

#include <protlm/ops/detail/relative_device.hpp>
#include <protlm/ops/detail/relative_host_backward.hpp>
#include <protlm/ops/linear.hpp>

#include <limits>
#include <vector>

namespace protlm::inline v0 {

/// The part of RelativeScore that kernels copy: see there.
template <Scalar S>
struct RelativeKernel : detail::RelativeTerms<S> {
    using A = accumulate_t<S>;
    static constexpr bool parametric = true;

    A const *transposed; // hosts: (H D, stride) encodings of all offsets, transposed; else null
    index_t transposed_stride;

    KOKKOS_FUNCTION A scale() const { return this->factor; }
    KOKKOS_FUNCTION S const *query_bias(AttentionPlace const &place) const {
        return this->key_bias + this->first(place);
    }
    KOKKOS_FUNCTION A operator()(AttentionPlace const &place, index_t query, index_t key, A const *q) const {
        index_t const width = this->width(place), first = this->first(place), row = this->row(place, query, key);
        A sum = 0;
        for (index_t d = 0; d < width && row >= 0; ++d)
            sum += (q[d] + static_cast<A>(this->position_bias[first + d])) * this->r(row, first + d);
        if (S const *vector = this->segment_vector(place, query, key))
            for (index_t d = 0; d < width; ++d)
                sum += (q[d] + static_cast<A>(this->segment.bias[first + d])) * static_cast<A>(vector[d]);
        return this->factor * sum;
    }
    template <int W>
    KOKKOS_FUNCTION void add_query_gradient(AttentionPlace const &place, index_t query, index_t key, A gradient,
                                            A (&sums)[W]) const {
        index_t const width = this->width(place), first = this->first(place), row = this->row(place, query, key);
        S const *vector = this->segment_vector(place, query, key);
        for (int d = 0; d < W; ++d)
            if (d < width)
                sums[d] += gradient *
                           ((row >= 0 ? this->r(row, first + d) : A(0)) + (vector ? static_cast<A>(vector[d]) : A(0)));
    }

    /// Where the sums of one head of one sequence lie: room for every offset between its queries and keys.
    detail::RelativePartials partials(AttentionPlace const &place) const {
        index_t const room = this->positions ? 2 * place.keys : place.queries + place.keys;
        index_t const before = this->positions ? 2 * place.key_row : place.query_row + place.key_row;
        index_t const floor = this->behind - (place.keys - 1);
        return {(place.sequence * place.heads + place.head) * detail::RelativePartials::vectors + before * place.heads +
                    place.head * room,
                floor, std::min(room, std::max<index_t>(this->reach - floor, 0))};
    }
    index_t partial_size(index_t query_rows, index_t key_rows, index_t sequences, index_t heads) const {
        index_t const room = this->positions ? 2 * key_rows : query_rows + key_rows;
        return (sequences * detail::RelativePartials::vectors + room) * heads * detail::padded<A>(this->r.cols / heads);
    }

    index_t workspace(AttentionPlace const &place, index_t queries, bool backward) const {
        return detail::RelativeWork<A>::size(queries, place.keys, detail::padded<A>(this->width(place)),
                                             this->positions ? 2 * place.keys : place.queries + place.keys, backward);
    }
    void prepare(AttentionPlace const &place, Rows<A const> q, index_t begin, index_t count, A *work) const {
        detail::relative_prepare(*this, place, q, begin, count, scratch(place, count, work));
    }
    detail::SumsFrom<A> start(AttentionTile const &tile, A *work, A *scores) const {
        auto const own = scratch(tile.place, tile.count, work);
        A const *const q = own.q + (tile.q0 - tile.first) * detail::padded<A>(this->width(tile.place));
        if (this->positions)
            detail::placed_scores(*this, tile, q, own.strip, scores);
        else
            detail::consecutive_scores(*this, tile, q, scores);
        for (index_t i = 0; i < tile.rows; ++i) // what the product reads behind the last key
            std::fill(scores + i * detail::tile_stride + tile.keys,
                      scores + i * detail::tile_stride + detail::padded<A>(tile.keys), A(0));
        if (this->segment.query_types)
            detail::add_segment_scores(*this, tile, own, scores);
        return {scores, detail::tile_stride};
    }
    void prepare_backward(AttentionPlace const &place, A *work, A *sums) const {
        detail::relative_prepare_backward(*this, place, scratch(place, place.queries, work), sums);
    }
    void add_gradient_tile(AttentionTile const &tile, A *work, A const *gradient, A *sums) const {
        detail::relative_gradient_tile(*this, tile, scratch(tile.place, tile.count, work), gradient, sums);
    }
    void finish(AttentionPlace const &place, Rows<A const> q, A *work, A *dq, A *sums) const {
        detail::relative_finish(*this, place, q, scratch(place, place.queries, work), dq, sums);
    }

  private:
    detail::RelativeWork<A> scratch(AttentionPlace const &place, index_t queries, A *work) const {
        return {work, queries, place.keys, detail::padded<A>(this->width(place))};
    }
};

/// The score of Transformer-XL (arXiv 1901.02860, section 3.3) and XLNet (arXiv 1906.08237, section 2.5):
/// scale ((q + r_w) . k + (q + r_r) . r[offset] [+ (q + r_s) . segment[same or not]]). The term of an offset is
/// computed for a stretch of offsets at a time and shifted within the tile, so nothing of size L x L exists.
///
/// Row p of r encodes a key p - behind places after the query, so that r needs longest keys - 1 rows behind the
/// query's own and, unless the mask is causal, longest queries - 1 after it; pairs that it does not reach have no such
/// term. Queries are the last rows of the keys, as in CausalMask. Backward: accumulates into r and the weights.
template <Scalar S, class Exec>
class RelativeScore {
  public:
    using A = accumulate_t<S>;
    using Kernel = RelativeKernel<S>;
    using Types = Buffer<std::int32_t, Exec>;

    /// @param r (P, H D) projected encodings @param behind row of offset 0 @param r_w, r_r weights of H D elements
    template <class Context>
    RelativeScore(Context &context, Tensor<A, Exec> r, index_t behind, Weight<S, Exec> r_w, Weight<S, Exec> r_r,
                  A scale)
        : r_(r), r_w_(r_w), r_r_(r_r) {
        check(behind >= 0 && behind < r.rows(), "RelativeScore: behind is ", behind, ", expected one of the ", r.rows(),
              " rows of r");
        check_extent("RelativeScore", "r_w_bias", "elements", r_w.rows() * r_w.cols(), r.cols());
        check_extent("RelativeScore", "r_r_bias", "elements", r_r.rows() * r_r.cols(), r.cols());
        detail::RelativeTerms<S> &terms = kernel_;
        terms = {Rows<A const>(r.value()),
                 behind,
                 r.rows(),
                 std::numeric_limits<index_t>::max(),
                 r_w.values.data(),
                 r_r.values.data(),
                 scale,
                 nullptr,
                 {}};
        kernel_.transposed = nullptr;
        if constexpr (Context::on_host) {
            // a stride off the powers of two, which would put the rows of a product into few sets of the cache
            index_t const stride = (detail::transposed_lead + r.rows() + detail::strip_cols<A> + 63) / 64 * 64 + 16;
            transposed_ = context.template buffer<A>(r.cols() * stride);
            detail::transpose_encodings(context, Rows<A const>(r.value()), transposed_, stride);
            kernel_.transposed = transposed_.data();
            kernel_.transposed_stride = stride;
        }
    }

    /// Queries that are not the last rows of the keys, as in a query stream.
    /// @param positions (Tq) each query's place among the keys of its sequence, ascending within a sequence
    RelativeScore with_positions(Types positions) const {
        RelativeScore score = *this;
        score.positions_ = positions;
        score.kernel_.positions = positions.data();
        score.placed_ = true;
        return score;
    }
    /// Adds the segment term.
    /// @param query_types (Tq), key_types (Tk) @param r_s weight of H D elements
    /// @param embedding weight of 2 H D elements: added for keys of the query's own type, and of any other
    RelativeScore with_segments(Types query_types, Types key_types, Weight<S, Exec> r_s,
                                Weight<S, Exec> embedding) const {
        check_extent("RelativeScore", "r_s_bias", "elements", r_s.rows() * r_s.cols(), r_.cols());
        check_extent("RelativeScore", "seg_embed", "elements", embedding.rows() * embedding.cols(), 2 * r_.cols());
        RelativeScore score = *this;
        score.query_types_ = query_types;
        score.key_types_ = key_types;
        score.r_s_ = r_s;
        score.embedding_ = embedding;
        score.kernel_.segment = {query_types.data(), key_types.data(), r_s.values.data(), embedding.values.data()};
        return score;
    }
    /// r has 2 P rows, and sequences from `first_sequence` on use the second P: XLNet's bi_data.
    RelativeScore with_backward_half(index_t first_sequence) const {
        check(r_.rows() % 2 == 0 && kernel_.behind < r_.rows() / 2, "RelativeScore: r has ", r_.rows(),
              " rows, expected two halves that reach ", kernel_.behind, " behind");
        RelativeScore score = *this;
        score.kernel_.reach = r_.rows() / 2;
        score.kernel_.second = first_sequence;
        return score;
    }

    Kernel const &kernel() const { return kernel_; }
    std::vector<ParameterId> parameters() const {
        std::vector<ParameterId> all;
        for (auto const *weight : {&r_w_, &r_r_, &r_s_, &embedding_})
            all.insert(all.end(), weight->ids.begin(), weight->ids.end());
        return all;
    }
    bool trained() const {
        return r_.needs_gradient() || r_w_.trained() || r_r_.trained() || r_s_.trained() || embedding_.trained();
    }

    /// @throws Error when r, positions or types do not fit the queries and keys, or host kernels would use what a
    /// context with other kernels made
    void validate(Segments<Exec> const &queries, Segments<Exec> const &keys, index_t heads, index_t head_width,
                  bool host_kernels = false) const {
        check(!host_kernels || kernel_.transposed,
              "RelativeScore: made by a context with portable kernels, but "
              "attention is called with native ones: expected one context for both");
        check_extent("RelativeScore", "r", "columns", r_.cols(), heads * head_width);
        check(kernel_.behind >= keys.longest - 1, "RelativeScore: r reaches ", kernel_.behind,
              " behind the query, expected at least ", keys.longest - 1, " for ", keys.longest, " keys");
        if (placed_)
            check_extent("RelativeScore", "positions", "entries", positions_.size(), queries.total());
        if (embedding_) {
            check_extent("RelativeScore", "query_types", "entries", query_types_.size(), queries.total());
            check_extent("RelativeScore", "key_types", "entries", key_types_.size(), keys.total());
        }
    }

    /// Gradients of r and the weights += the sums of all sequences, one after the other.
    template <class Context>
    void accumulate_partials(Context &context, detail::AttentionRows<A> const &rows, Segments<Exec> const &queries,
                             Segments<Exec> const &, A const *partials) const {
        index_t const sequences = queries.count();
        if (r_.needs_gradient()) {
            auto const gradient = r_.accumulate();
            detail::add_encoding_sums(context, rows, kernel_, sequences, partials, gradient.rows, gradient.fresh);
        }
        for_vectors([&](index_t which, A *gradient) {
            detail::add_vector_sums(context, rows, kernel_, sequences, partials, which, gradient);
        });
    }
    /// The same from the gradient of every pair.
    template <class Context, class Pairs>
    void accumulate_pairs(Context &context, Pairs const &pairs, Segments<Exec> const &queries,
                          Segments<Exec> const &) const {
        index_t const columns = r_.cols(), all = (embedding_ ? 5 : 2) * columns, sequences = queries.count();
        detail::with_head_width(pairs.rows.width, [&](auto width) {
            if (r_.needs_gradient()) {
                auto const target = r_.accumulate();
                detail::encoding_gradient_device<width()>(context.exec(), pairs, sequences, target.rows, target.fresh);
            }
            auto const parts = context.template buffer<A>(queries.total() * all);
            Rows<A> const rows{parts.data(), queries.total(), all, all};
            detail::relative_parts_device<width()>(context.exec(), pairs, sequences, rows);
            for_vectors([&](index_t which, A *gradient) {
                detail::column_sums_device(context.exec(), Rows<A const>(rows.columns(which * columns, columns)),
                                           gradient);
            });
        });
    }

  private:
    /// f(number, gradient) for r_w, r_r, r_s and the two segment vectors, those that are trained.
    template <class F>
    void for_vectors(F const &f) const {
        Weight<S, Exec> const *const weights[] = {&r_w_, &r_r_, &r_s_, &embedding_};
        for (index_t i = 0; i < 4; ++i)
            if (weights[i]->trained())
                f(i, weights[i]->gradients.data());
        if (embedding_.trained())
            f(4, embedding_.gradients.data() + r_.cols());
    }

    Tensor<A, Exec> r_;
    Weight<S, Exec> r_w_, r_r_, r_s_ = {}, embedding_ = {};
    Buffer<A, Exec> transposed_;
    Types positions_, query_types_, key_types_;
    bool placed_ = false;
    Kernel kernel_ = {};
};

} // namespace protlm::inline v0
