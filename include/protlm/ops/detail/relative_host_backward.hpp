#pragma once

// Gradients of the relative term on hosts.

#include <protlm/ops/detail/relative_host.hpp>

namespace protlm::inline v0::detail {

/// Zeros the sums and copies the encodings that the sequence reaches.
template <class A, class Score>
void relative_prepare_backward(Score const &score, AttentionPlace const &place, RelativeWork<A> const &work,
                               A *partials) {
    index_t const width = score.width(place), p = padded<A>(width);
    auto const at = score.partials(place);
    std::fill_n(work.dq, place.queries * p, A(0));
    std::fill_n(work.weights, 2 * place.queries, A(0));
    for (index_t i = 0; i < at.used; ++i) {
        A *const to = work.encodings + i * encoding_stride<A>(p);
        std::copy_n(score.r.row(score.half(place) + at.floor + i) + score.first(place), width, to);
        std::fill(to + width, to + p, A(0));
    }
    if (partials)
        std::fill_n(partials + at.row * p, (RelativePartials::vectors + at.used) * p, A(0));
}

/// weights += the row sums of a tile of gradients over keys of the same and of another type.
template <class A, class Score>
void segment_gradient_tile(Score const &score, AttentionTile const &tile, RelativeWork<A> const &work,
                           A const *gradient) {
    for (index_t i = 0; i < tile.rows; ++i) {
        auto const type = static_cast<A>(score.segment.query_types[tile.place.query_row + tile.q0 + i]);
        A const *const from = gradient + i * tile_stride, *const types = work.types + tile.k0;
        Vec<A> same{}, different{};
        for (index_t j = 0; j < tile.keys; j += lanes<A>) {
            Vec<A> const g = load(from + j);
            auto const equal = load(types + j) == type;
            same += equal ? g : Vec<A>{};
            different += equal ? Vec<A>{} : g;
        }
        A *const weights = work.weights + 2 * (tile.q0 + i);
        weights[0] += sum_lanes<A>(same);
        weights[1] += sum_lanes<A>(different);
    }
}

/// dq += gradients of a tile times encodings, for consecutive queries. A row of the tile, read from one element further
/// left than the row before, is a row of offsets; `encodings` begins with the offset of the last query and the first
/// key, and has `reach` rows.
template <class A>
void consecutive_query_gradient(AttentionTile const &tile, index_t p, index_t reach, A const *gradient,
                                A const *encodings, A *dq) {
    index_t const stride = tile_stride + 1, last = tile.rows - 1;
    for_stretches<A>(p, [&](auto vectors, auto block, index_t begin, index_t end) {
        for (index_t j = begin; j < end; j += vectors() * lanes<A>)
            for (index_t i = 0; i < tile.rows; i += block()) {
                index_t const rows = std::min<index_t>(block(), tile.rows - i), first = last - (i + rows - 1);
                index_t const count = std::min(tile.keys + rows - 1, reach - first);
                SumsFrom<A> const to{dq + i * p + j, p};
                if (count > 0)
                    micro_rows<vectors(), block()>(LeftRows<A>{gradient - last + first + i * stride, stride},
                                                   encodings + first * encoding_stride<A>(p) + j, encoding_stride<A>(p),
                                                   to, dq + i * p + j, p, rows, count);
            }
    });
}

/// sums, from the same offset on, += the transposed gradients times the queries: each block of offsets takes the
/// queries that have keys there.
template <class A>
void consecutive_encoding_gradient(AttentionTile const &tile, index_t p, index_t reach, A const *gradient, A const *q,
                                   A *sums) {
    index_t const stride = tile_stride + 1, last = tile.rows - 1, offsets = std::min(tile.keys + last, reach);
    for_stretches<A>(p, [&](auto vectors, auto block, index_t begin, index_t end) {
        for (index_t c = 0; c < offsets; c += block()) {
            index_t const first = std::max<index_t>(0, last - (c + block() - 1));
            index_t const rows = std::min(last, last + tile.keys - 1 - c) + 1 - first;
            for (index_t j = begin; j < end; j += vectors() * lanes<A>) {
                A *const to = sums + c * p + j;
                micro_rows<vectors(), block()>(LeftColumns<A>{gradient - last + c + first * stride, stride},
                                               q + first * p + j, p, SumsFrom<A>{to, p}, to, p,
                                               std::min<index_t>(block(), offsets - c), rows);
            }
        }
    });
}

/// Both for one strip of queries at places of their own, whose gradients are copied to their offsets first.
template <class A, class Score>
void strip_gradients(Score const &score, AttentionTile const &tile, RelativeStrip const &s, index_t p,
                     A const *gradient, A *skewed, A const *q, A const *encodings, A *dq, A *sums) {
    std::fill_n(skewed, s.rows * strip_stride, A(0));
    for (index_t i = 0; i < s.rows; ++i)
        std::copy_n(gradient + (s.row + i) * tile_stride, tile.keys,
                    skewed + i * strip_stride + s.last - score.position(tile.place, tile.q0 + s.row + i));
    tile_product(LeftRows<A>{skewed, strip_stride}, encodings, encoding_stride<A>(p), dq + s.row * p, p, s.rows, p,
                 s.end, true);
    if (sums)
        tile_product(LeftColumns<A>{skewed, strip_stride}, q + s.row * p, p, sums, p, s.end, p, s.rows, true);
}

/// The gradients of dq, of r and of the segment term through one tile.
template <class A, class Score>
void relative_gradient_tile(Score const &score, AttentionTile const &tile, RelativeWork<A> const &work,
                            A const *gradient, A *partials) {
    index_t const p = padded<A>(score.width(tile.place));
    auto const at = score.partials(tile.place);
    A *const sums = partials ? partials + (at.row + RelativePartials::vectors) * p : nullptr;
    A const *const q = work.q + tile.q0 * p;
    A *const dq = work.dq + tile.q0 * p;
    if (score.positions) {
        for (index_t i = 0; i < tile.rows;) {
            RelativeStrip const s = relative_strip(score, tile, i);
            index_t const row = s.low - at.floor;
            strip_gradients(score, tile, s, p, gradient, work.strip, q, work.encodings + row * encoding_stride<A>(p),
                            dq, sums ? sums + row * p : nullptr);
            i += s.rows;
        }
    } else {
        index_t const low = score.behind - score.position(tile.place, tile.q0 + tile.rows - 1) + tile.k0;
        index_t const row = low - at.floor;
        for (index_t i = std::max<index_t>(row - query_tile, 0); i < row;
             ++i) // what the next tile needs beyond this one
            for (index_t j = 0; j < p; j += 64 / index_t(sizeof(A))) {
                prefetch(work.encodings + i * encoding_stride<A>(p) + j);
                if (sums)
                    prefetch(sums + i * p + j);
            }
        consecutive_query_gradient(tile, p, score.reach - low, gradient, work.encodings + row * encoding_stride<A>(p),
                                   dq);
        if (sums)
            consecutive_encoding_gradient(tile, p, score.reach - low, gradient, q, sums + row * p);
    }
    if (score.segment.query_types)
        segment_gradient_tile(score, tile, work, gradient);
}

/// Adds both terms to dq; the sums of r_w, r_r, r_s and the segment vectors.
template <class A, class Score>
void relative_finish(Score const &score, AttentionPlace const &place, Rows<A const> q, RelativeWork<A> const &work,
                     A *dq, A *partials) {
    index_t const width = score.width(place), first = score.first(place), p = padded<A>(width);
    A *const sums = partials ? partials + score.partials(place).row * p : nullptr;
    auto const &segment = score.segment;
    for (index_t i = 0; i < place.queries; ++i) {
        A *const row = dq + i * p, *const positional = work.dq + i * p;
        for (index_t d = 0; d < width && sums; ++d) {
            sums[d] += row[d];
            sums[p + d] += positional[d];
        }
        for (index_t d = 0; d < width; ++d)
            row[d] += positional[d];
        if (!segment.query_types)
            continue;
        A const same = work.weights[2 * i], different = work.weights[2 * i + 1];
        A const *const own = q.row(place.query_row + i) + first;
        for (index_t d = 0; d < width; ++d) {
            A const term = same * static_cast<A>(segment.embedding[first + d]) +
                           different * static_cast<A>(segment.embedding[score.r.cols + first + d]);
            row[d] += term;
            if (sums) {
                A const biased = own[d] + static_cast<A>(segment.bias[first + d]);
                sums[2 * p + d] += term;
                sums[3 * p + d] += same * biased;
                sums[4 * p + d] += different * biased;
            }
        }
    }
    for (index_t d = 0; d < RelativePartials::vectors * p && sums; ++d)
        sums[d] *= score.factor;
}

/// r's gradient = [itself +] the sums of all sequences, one after the other.
template <class Context, class A, class Score>
void add_encoding_sums(Context &context, AttentionRows<A> const &rows, Score const &score, index_t sequences,
                       A const *partials, Rows<A> gradient, bool fresh) {
    index_t const width = rows.width, p = padded<A>(width), heads = rows.heads;
    Kokkos::parallel_for("protlm::relative_gradient", range(context.exec(), 0, gradient.rows * heads),
                         [=](index_t item) {
                             index_t const row = item / heads, head = item % heads;
                             A *const to = gradient.row(row) + head * width;
                             if (fresh)
                                 std::fill_n(to, width, A(0));
                             for (index_t b = 0; b < sequences; ++b) {
                                 AttentionPlace const place = rows.place(b, head);
                                 auto const at = score.partials(place);
                                 index_t const i = row - score.half(place) - at.floor;
                                 if (i < 0 || i >= at.used)
                                     continue;
                                 A const *from = partials + (at.row + RelativePartials::vectors + i) * p;
                                 for (index_t d = 0; d < width; ++d)
                                     to[d] += from[d];
                             }
                         });
}

/// gradient (H D) += sum number `which` of all sequences, one after the other.
template <class Context, class A, class Score>
void add_vector_sums(Context &context, AttentionRows<A> const &rows, Score const &score, index_t sequences,
                     A const *partials, index_t which, A *gradient) {
    index_t const width = rows.width, p = padded<A>(width);
    Kokkos::parallel_for("protlm::relative_bias", range(context.exec(), 0, rows.heads), [=](index_t head) {
        for (index_t b = 0; b < sequences; ++b) {
            A const *from = partials + (score.partials(rows.place(b, head)).row + which) * p;
            for (index_t d = 0; d < width; ++d)
                gradient[head * width + d] += from[d];
        }
    });
}

} // namespace protlm::inline v0::detail
