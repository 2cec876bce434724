#pragma once

// The relative term on hosts. The scores of 16 neighbouring queries and 128 keys need the encodings of 143 offsets: one
// product with these, of which each row is shifted by one against the next. Nothing is moved for the shift: a stride of
// one element less, or more, reads a strip of offsets as a tile of keys, and a tile of keys as a strip of offsets.

#include <protlm/ops/detail/attention_host.hpp>
#include <protlm/ops/detail/relative_kernel.hpp>

#include <utility>

namespace protlm::inline v0::detail {

/// Consecutive queries of a strip, and rows and registers of the kernel that multiplies it with encodings: the offsets
/// between these and the keys of a tile fill whole steps of the kernel but one.
#if defined(__AVX512F__)
inline constexpr index_t strip_rows = 16;
inline constexpr int strip_kernel_rows = 8, strip_vectors = 3;
#else
inline constexpr index_t strip_rows = 12;
inline constexpr int strip_kernel_rows = panel_rows, strip_vectors = panel_vectors;
#endif
template <class A>
inline constexpr index_t strip_cols = strip_vectors *lanes<A>;
static_assert(strip_rows <= tile_gap / 2);
/// Queries at places of their own are one strip as long as they lie within so many places; elements between its rows.
inline constexpr index_t strip_span = 64, strip_stride = key_tile + strip_span + 16;
/// Elements between the rows of the encodings of one head: off the powers of two, which put the rows of a panel into
/// few sets of the cache.
template <class A>
inline constexpr index_t encoding_stride(index_t p) {
    return p + 64 / index_t(sizeof(A));
}
/// Zero columns before the transposed encodings: strips begin up to strip_rows - 1 before them.
inline constexpr index_t transposed_lead = 16;

/// How the sums of one head of one sequence lie in `partials`: r_w, r_r, r_s, the two segment vectors, and the rows of
/// r that the sequence reaches, each of padded head width.
struct RelativePartials {
    index_t row;         // first of the rows
    index_t floor, used; // first row of r, and how many
    static constexpr index_t vectors = 5;
};

/// Scratch of one task.
template <class A>
struct RelativeWork {
    A *q;                        // (queries, padded width): (q + r_r) times the factor
    A *strip;                    // (panel_rows, strip_stride)
    A *same;                     // (queries, 2): segment term of a key of the same and of another type
    A *types;                    // (keys): the keys' types as numbers
    A *embedding;                // (2, padded width): the segment vectors
    A *dq, *weights, *encodings; // backward: (queries, padded width), (queries, 2), (used, encoding_stride)

    RelativeWork(A *memory, index_t queries, index_t keys, index_t p) {
        q = std::exchange(memory, memory + queries * p);
        strip = std::exchange(memory, memory + panel_rows * strip_stride);
        same = std::exchange(memory, memory + padded<A>(2 * queries));
        types = std::exchange(memory, memory + padded<A>(keys + lanes<A>));
        embedding = std::exchange(memory, memory + 2 * p);
        dq = std::exchange(memory, memory + queries * p);
        weights = std::exchange(memory, memory + padded<A>(2 * queries));
        encodings = memory;
    }
    static index_t size(index_t queries, index_t keys, index_t p, index_t used, bool backward) {
        index_t const head = queries * p + padded<A>(2 * queries);
        index_t const forward = head + panel_rows * strip_stride + padded<A>(keys + lanes<A>) + 2 * p;
        return backward ? forward + head + used * encoding_stride<A>(p) : forward;
    }
};

/// Some neighbouring queries at places of their own and the stretch of offsets between them and the keys of a tile:
/// column c of the strip belongs to row low + c of r; the row of a query at `position` begins at column last -
/// position. Columns from `end` on have no encoding.
struct RelativeStrip {
    index_t row, rows; // within the tile
    index_t last, low, cols, end;
};

template <class Score>
RelativeStrip relative_strip(Score const &score, AttentionTile const &tile, index_t row) {
    index_t const query = tile.q0 + row, first = score.position(tile.place, query);
    index_t const most = std::min<index_t>(panel_rows, tile.rows - row);
    index_t rows = 1;
    while (rows < most && score.position(tile.place, query + rows) - first < strip_span)
        ++rows;
    index_t const last = score.position(tile.place, query + rows - 1), low = score.behind - last + tile.k0;
    index_t const cols = tile.keys + last - first;
    return {row, rows, last, low, cols, std::max<index_t>(0, std::min(cols, score.reach - low))};
}

/// Sum of a times b, rows of any width.
template <class A>
inline A dot(A const *a, A const *b, index_t width) {
    Vec<A> sum{};
    index_t d = 0;
    for (; d + lanes<A> <= width; d += lanes<A>)
        sum += load(a + d) * load(b + d);
    if (d < width)
        sum += load_part(a + d, width - d) * load_part(b + d, width - d);
    return sum_lanes<A>(sum);
}

/// The transposed encodings of a head, from those of row `low` of r on.
template <class Score>
auto const *transposed_from(Score const &score, AttentionPlace const &place, index_t low) {
    return score.transposed + score.first(place) * score.transposed_stride + transposed_lead + score.half(place) + low;
}

/// Asks for what is needed next, far from what is read now. The empty statement keeps the compiler from taking a loop
/// of these for one without effect.
inline void prefetch(void const *address) {
    __builtin_prefetch(address);
    asm volatile("");
}

/// Asks for the encodings that the next tile of queries needs beyond those of this one, whose lowest is `low`.
template <class Score>
void prefetch_transposed(Score const &score, AttentionPlace const &place, index_t low) {
    auto const *r = transposed_from(score, place, low - query_tile);
    for (index_t d = 0; d < score.width(place) && low >= query_tile; ++d)
        for (index_t j = 0; j < query_tile; j += 64 / index_t(sizeof(*r)))
            prefetch(r + d * score.transposed_stride + j);
}

/// Scores of consecutive queries (q, from the tile's first on): strips of them times the encodings of their offsets,
/// each row to the tile one element further left than the row before, so that offsets become keys. What has no key
/// falls into the gaps between the rows.
template <class A, class Score>
void consecutive_scores(Score const &score, AttentionTile const &tile, A const *q, A *scores) {
    index_t const width = score.width(tile.place), p = padded<A>(width);
    index_t const farthest = score.behind - score.position(tile.place, tile.q0) + tile.k0; // of query 0 and key 0
    prefetch_transposed(score, tile.place, farthest - (tile.rows - 1));
    for (index_t j = 0; j < tile.keys + strip_rows - 1; j += strip_cols<A>)
        for (index_t row = 0; row < tile.rows; row += strip_rows) {
            index_t const low = farthest - row - (strip_rows - 1);
            if (low + j < score.reach)
                micro_rows<strip_vectors, strip_kernel_rows>(
                    LeftRows<A>{q + row * p, p}, transposed_from(score, tile.place, low + j), score.transposed_stride,
                    SumsFrom<A>{}, scores + row * tile_stride - (strip_rows - 1) + j, tile_stride + 1,
                    std::min(strip_rows, tile.rows - row), width);
        }
    for (index_t i = 0; i < tile.rows; ++i) // no encodings: no term
        for (index_t j = std::max<index_t>(0, score.reach - (farthest - i)); j < tile.keys; ++j)
            scores[i * tile_stride + j] = A(0);
}

/// Scores of queries at places of their own: strip by strip, each row copied from its own first offset on.
template <class A, class Score>
void placed_scores(Score const &score, AttentionTile const &tile, A const *q, A *strip, A *scores) {
    index_t const width = score.width(tile.place), p = padded<A>(width);
    for (index_t row = 0; row < tile.rows;) {
        RelativeStrip const s = relative_strip(score, tile, row);
        for (index_t j = 0; j < s.end; j += strip_cols<A>)
            micro_rows<strip_vectors, strip_kernel_rows>(
                LeftRows<A>{q + row * p, p}, transposed_from(score, tile.place, s.low + j), score.transposed_stride,
                SumsFrom<A>{}, strip + j, strip_stride, s.rows, width);
        for (index_t i = 0; i < s.rows; ++i) {
            std::fill(strip + i * strip_stride + s.end, strip + i * strip_stride + std::max(s.cols, s.end), A(0));
            std::copy_n(strip + i * strip_stride + s.last - score.position(tile.place, tile.q0 + row + i), tile.keys,
                        scores + (row + i) * tile_stride);
        }
        row += s.rows;
    }
}

/// Adds the segment term to a tile of scores.
template <class A, class Score>
void add_segment_scores(Score const &score, AttentionTile const &tile, RelativeWork<A> const &work, A *scores) {
    for (index_t i = 0; i < tile.rows; ++i) {
        index_t const query = tile.q0 + i;
        auto const type = static_cast<A>(score.segment.query_types[tile.place.query_row + query]);
        A const *const same = work.same + 2 * (query - tile.first), *const types = work.types + tile.k0;
        Vec<A> const e0 = broadcast(same[0]), e1 = broadcast(same[1]);
        A *const row = scores + i * tile_stride;
        for (index_t j = 0; j < tile.keys; j += lanes<A>)
            store(row + j, load(row + j) + (load(types + j) == type ? e0 : e1));
    }
}

/// (q + r_r) times the factor, and with a segment term the scores of both types of keys.
template <class A, class Score>
void relative_prepare(Score const &score, AttentionPlace const &place, Rows<A const> q, index_t begin, index_t count,
                      RelativeWork<A> const &work) {
    index_t const width = score.width(place), first = score.first(place), p = padded<A>(width);
    auto const &segment = score.segment;
    if (segment.query_types) {
        for (index_t j = 0; j < place.keys; ++j)
            work.types[j] = static_cast<A>(segment.key_types[place.key_row + j]);
        std::fill_n(work.types + place.keys, lanes<A>, A(0));
        A *const biased = work.q; // free yet
        for (index_t s = 0; s < 2; ++s)
            for (index_t d = 0; d < width; ++d)
                work.embedding[s * p + d] = static_cast<A>(segment.embedding[s * score.r.cols + first + d]);
        copy_head(q, place.query_row + begin, count, first, width, score.factor, biased, segment.bias + first);
        for (index_t i = 0; i < count; ++i)
            for (index_t s = 0; s < 2; ++s)
                work.same[2 * i + s] = dot(biased + i * p, work.embedding + s * p, width);
    }
    copy_head(q, place.query_row + begin, count, first, width, score.factor, work.q, score.position_bias + first);
}

/// The encodings transposed, (H D, stride), between zeros.
template <class Context, class A, class Exec>
void transpose_encodings(Context &context, Rows<A const> r, Buffer<A, Exec> const &to, index_t stride) {
    A *const columns = to.data();
    index_t const step = lanes<A>;
    Kokkos::parallel_for(
        "protlm::transpose_encodings", range(context.exec(), 0, (r.cols + step - 1) / step), [=](index_t panel) {
            index_t const first = panel * step, n = std::min(step, r.cols - first);
            for (index_t j = first; j < first + n; ++j) {
                std::fill_n(columns + j * stride, transposed_lead, A(0));
                std::fill(columns + j * stride + transposed_lead + r.rows, columns + (j + 1) * stride, A(0));
            }
            transpose(r.data + first, r.stride, r.rows, n, columns + first * stride + transposed_lead, stride);
        });
}

} // namespace protlm::inline v0::detail
