#pragma once

// The relative term on hosts. The scores of 16 neighbouring queries and 128 keys need the encodings of 143 offsets: one
// product with these, of which each row is shifted by one against the next. Nothing is moved for the shift: a stride of
// one element less, or more, reads a strip of offsets as a tile of keys, and a tile of keys as a strip of offsets.

#include <protlm/ops/detail/attention_host.hpp>
#include <protlm/ops/detail/relative_kernel.hpp>

#include <utility>

namespace protlm::inline v0::detail {

/// Queries of a strip, and rows and registers of the kernel that multiplies it with encodings: as many offsets as the
/// keys of a tile and these queries have fill whole registers, and whole steps of the kernel.
#if defined(__AVX512F__)
inline constexpr index_t strip_rows = 16;
inline constexpr int strip_kernel_rows = 8, strip_vectors = 3;
#else
inline constexpr index_t strip_rows = 12;
inline constexpr int strip_kernel_rows = panel_rows, strip_vectors = panel_vectors;
#endif
template <class A>
inline constexpr index_t strip_cols = strip_vectors *lanes<A>;
/// Queries at places of their own are one strip as long as they lie within so many places.
inline constexpr index_t strip_span = 64;
/// Elements between the rows of a strip of consecutive queries, and of any strip. With the first, the strips of a tile
/// interleave so that row i begins (strip_stride - 1) i elements on, already shifted to its own offsets.
inline constexpr index_t strip_stride = key_tile + 32, wide_stride = key_tile + strip_span + 16;
/// Zero columns before the transposed encodings.
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
    A *strip, *start;            // one tile
    A *same;                     // (queries, 2): segment term of a key of the same and of another type
    A *types;                    // (keys): the keys' types as numbers
    A *dq, *weights, *encodings; // backward: (queries, padded width), (queries, 2), (used, padded width)

    RelativeWork(A *memory, index_t queries, index_t keys, index_t p) {
        q = std::exchange(memory, memory + queries * p);
        strip = std::exchange(memory, memory + query_tile * wide_stride);
        start = std::exchange(memory, memory + query_tile * key_tile);
        same = std::exchange(memory, memory + 2 * queries);
        types = std::exchange(memory, memory + keys + lanes<A>);
        dq = std::exchange(memory, memory + queries * p);
        weights = std::exchange(memory, memory + 2 * queries);
        encodings = memory;
    }
    static index_t size(index_t queries, index_t keys, index_t p, index_t used, bool backward) {
        index_t const forward = queries * (p + 2) + query_tile * (wide_stride + key_tile) + keys + lanes<A>;
        return backward ? forward + queries * (p + 2) + used * p : forward;
    }
};

/// Some neighbouring queries of a tile and the stretch of offsets between them and its keys: column c of the strip
/// belongs to row low + c of r; the row of a query at `position` begins at column last - position. Columns from `end`
/// on have no encoding.
struct RelativeStrip {
    index_t row, rows; // within the tile
    index_t last, low, end;
};

/// All strips of a tile.
struct RelativeStrips {
    RelativeStrip strip[query_tile];
    index_t count = 0, end = 0; // columns of the widest
};

template <class Score>
RelativeStrip relative_strip(Score const &score, AttentionTile const &tile, index_t row) {
    index_t const query = tile.q0 + row, first = score.position(tile.place, query);
    index_t const most = score.positions ? index_t(panel_rows) : strip_rows;
    RelativeStrip strip{row, std::min(most, tile.rows - row), first + strip_rows - 1, 0, 0};
    if (score.positions) {
        index_t rows = 1;
        while (rows < strip.rows && score.position(tile.place, query + rows) - first < strip_span)
            ++rows;
        strip.rows = rows;
        strip.last = score.position(tile.place, query + rows - 1);
    }
    strip.low = score.behind - strip.last + tile.k0;
    strip.end = std::max<index_t>(0, std::min(tile.keys + strip.last - first, score.reach - strip.low));
    return strip;
}

template <class Score>
RelativeStrips relative_strips(Score const &score, AttentionTile const &tile) {
    RelativeStrips strips;
    for (index_t row = 0; row < tile.rows; row += strips.strip[strips.count++].rows) {
        strips.strip[strips.count] = relative_strip(score, tile, row);
        strips.end = std::max(strips.end, strips.strip[strips.count].end);
    }
    return strips;
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

/// Columns [j, j + strip_cols) of the scores of all strips, of which each is `stride` elements a row and begins `step`
/// elements a row of the tile after the first. Neighbouring strips share most of the encodings.
template <class A, class Score>
void relative_strip_scores(Score const &score, AttentionTile const &tile, RelativeStrips const &strips, index_t j,
                           RelativeWork<A> const &work, index_t step, index_t stride) {
    index_t const width = score.width(tile.place), p = padded<A>(width);
    A const *const r = score.transposed + score.first(tile.place) * score.transposed_stride + transposed_lead +
                       score.half(tile.place) + j;
    for (index_t i = 0; i < strips.count; ++i) {
        RelativeStrip const &s = strips.strip[i];
        if (j < s.end)
            micro_rows<strip_vectors, strip_kernel_rows>(LeftRows<A>{work.q + (tile.q0 + s.row - tile.first) * p, p},
                                                         r + s.low, score.transposed_stride, SumsFrom<A>{},
                                                         work.strip + s.row * step + j, stride, s.rows, width);
    }
}

/// Rows of a strip, each from its own first offset, to rows of a tile, plus the segment term if there is one.
template <class A, class Score>
void relative_rows(Score const &score, AttentionTile const &tile, RelativeStrip const &s, A const *strip,
                   index_t stride, RelativeWork<A> const &work) {
    for (index_t i = 0; i < s.rows; ++i) {
        index_t const query = tile.q0 + s.row + i;
        A const *const from = strip + i * stride + s.last - score.position(tile.place, query);
        A *const to = work.start + (s.row + i) * key_tile;
        if (!score.segment.query_types) {
            std::copy_n(from, padded<A>(tile.keys), to);
            continue;
        }
        auto const type = static_cast<A>(score.segment.query_types[tile.place.query_row + query]);
        A const *const same = work.same + 2 * (query - tile.first), *const types = work.types + tile.k0;
        Vec<A> const e0 = broadcast(same[0]), e1 = broadcast(same[1]);
        for (index_t j = 0; j < tile.keys; j += lanes<A>)
            store(to + j, load(from + j) + (load(types + j) == type ? e0 : e1));
    }
}

/// Asks for what is needed next, far from what is read now. The empty statement keeps the compiler from taking a loop
/// of these for one without effect.
inline void prefetch(void const *address) {
    __builtin_prefetch(address);
    asm volatile("");
}

/// Asks for the encodings that the next tile of queries needs beyond those of this one, whose lowest is `low`.
template <class A, class Score>
void prefetch_transposed(Score const &score, AttentionPlace const &place, index_t low) {
    A const *const r = score.transposed + score.first(place) * score.transposed_stride + transposed_lead +
                       score.half(place) + low - query_tile;
    for (index_t d = 0; d < score.width(place) && low >= query_tile; ++d)
        for (index_t j = 0; j < query_tile; j += 64 / index_t(sizeof(A)))
            prefetch(r + d * score.transposed_stride + j);
}

template <class A, class Score>
SumsFrom<A> relative_start(Score const &score, AttentionTile const &tile, RelativeWork<A> const &work) {
    bool const consecutive = !score.positions, copied = !consecutive || score.segment.query_types;
    index_t const stride = consecutive ? strip_stride : wide_stride, step = consecutive ? stride - 1 : stride;
    RelativeStrips const strips = relative_strips(score, tile);
    prefetch_transposed<A>(score, tile.place, strips.strip[strips.count - 1].low);
    for (index_t j = 0; j < strips.end; j += strip_cols<A>)
        relative_strip_scores(score, tile, strips, j, work, step, stride);
    for (index_t i = 0; i < strips.count; ++i) {
        RelativeStrip const &s = strips.strip[i];
        A *const scores = work.strip + s.row * step;
        index_t const cols = padded<A>(tile.keys) + s.last - score.position(tile.place, tile.q0 + s.row);
        for (index_t row = 0; row < s.rows && s.end < cols; ++row) // no encodings: no term
            std::fill(scores + row * stride + s.end, scores + row * stride + cols, A(0));
        if (copied)
            relative_rows(score, tile, s, scores, stride, work);
    }
    return copied ? SumsFrom<A>{work.start, key_tile} : SumsFrom<A>{work.strip + strip_rows - 1, strip_stride - 1};
}

/// (q + r_r) times the factor, and with a segment term the scores of both types of keys.
template <class A, class Score>
void relative_prepare(Score const &score, AttentionPlace const &place, Rows<A const> q, index_t begin, index_t count,
                      RelativeWork<A> const &work) {
    check(score.transposed != nullptr, "RelativeScore: made by a context with other kernels than attention's");
    index_t const width = score.width(place), first = score.first(place), p = padded<A>(width);
    auto const &segment = score.segment;
    if (segment.query_types) {
        for (index_t j = 0; j < place.keys; ++j)
            work.types[j] = static_cast<A>(segment.key_types[place.key_row + j]);
        std::fill_n(work.types + place.keys, lanes<A>, A(0));
        A *const embedding = work.start, *const biased = work.q; // both are free yet
        for (index_t d = 0; d < width; ++d) {
            embedding[d] = static_cast<A>(segment.embedding[first + d]);
            embedding[width + d] = static_cast<A>(segment.embedding[score.r.cols + first + d]);
        }
        copy_head(q, place.query_row + begin, count, first, width, score.factor, biased, segment.bias + first);
        for (index_t i = 0; i < count; ++i)
            for (index_t s = 0; s < 2; ++s)
                work.same[2 * i + s] = dot(biased + i * p, embedding + s * width, width);
    }
    copy_head(q, place.query_row + begin, count, first, width, score.factor, work.q, score.position_bias + first);
}

/// Zeros the sums and copies the encodings that the sequence reaches.
template <class A, class Score>
void relative_prepare_backward(Score const &score, AttentionPlace const &place, RelativeWork<A> const &work,
                               A *partials) {
    index_t const width = score.width(place), p = padded<A>(width);
    auto const at = score.partials(place);
    std::fill_n(work.dq, place.queries * p, A(0));
    std::fill_n(work.weights, 2 * place.queries, A(0));
    copy_head(score.r, score.half(place) + at.floor, at.used, score.first(place), width, A(1), work.encodings);
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

/// f(registers, j) for the columns of a padded head, a panel or a register at a time.
template <class A, class F>
void for_panels(index_t p, F const &f) {
    index_t j = 0;
    for (; j + panel_cols<A> <= p; j += panel_cols<A>)
        f(std::integral_constant<int, panel_vectors>(), j);
    if (j < p)
        f(std::integral_constant<int, 1>(), j);
}

/// dq += gradients of a tile times encodings, and the encodings' sums, unless null, += the transposed times the
/// queries: for consecutive queries. A row of the tile, read from one element further left than the row before, is a
/// row of offsets; `encodings` and `sums` begin with the offset of the last query and the first key.
template <class A>
void consecutive_gradients(AttentionTile const &tile, index_t p, index_t reach, A const *gradient, A const *q,
                           A const *encodings, A *dq, A *sums) {
    index_t const stride = tile_stride + 1, last = tile.rows - 1;
    index_t const end = std::min(tile.keys + last, reach); // offsets that have an encoding
    A const *const skewed = gradient - last;
    for_panels<A>(p, [&](auto vectors, index_t j) {
        for (index_t i = 0; i < tile.rows; i += panel_rows) {
            index_t const rows = std::min<index_t>(panel_rows, tile.rows - i);
            index_t const first = last - (i + rows - 1), count = std::min(tile.keys + rows - 1, end - first);
            if (count > 0)
                micro_rows<vectors()>(LeftRows<A>{skewed + first + i * stride, stride}, encodings + first * p + j, p,
                                      dq + i * p + j, p, rows, count, true);
        }
    });
    for_panels<A>(sums ? p : 0, [&](auto vectors, index_t j) {
        for (index_t c = 0; c < end; c += panel_rows) { // each block of offsets takes the queries that have keys there
            index_t const first = std::max<index_t>(0, last - (c + panel_rows - 1));
            index_t const rows = std::min(last, last + tile.keys - 1 - c) + 1 - first;
            micro_rows<vectors()>(LeftColumns<A>{skewed + c + first * stride, stride}, q + first * p + j, p,
                                  sums + c * p + j, p, std::min<index_t>(panel_rows, end - c), rows, true);
        }
    });
}

/// The same for one strip of queries at places of their own, whose gradients are copied to their offsets first.
template <class A, class Score>
void strip_gradients(Score const &score, AttentionTile const &tile, RelativeStrip const &s, index_t p,
                     A const *gradient, A *skewed, A const *q, A const *encodings, A *dq, A *sums) {
    std::fill_n(skewed, s.rows * wide_stride, A(0));
    for (index_t i = 0; i < s.rows; ++i)
        std::copy_n(gradient + (s.row + i) * tile_stride, tile.keys,
                    skewed + i * wide_stride + s.last - score.position(tile.place, tile.q0 + s.row + i));
    for_panels<A>(p, [&](auto vectors, index_t j) {
        micro_rows<vectors()>(LeftRows<A>{skewed, wide_stride}, encodings + j, p, dq + s.row * p + j, p, s.rows, s.end,
                              true);
        if (sums)
            micro_rows<vectors()>(LeftColumns<A>{skewed, wide_stride}, q + s.row * p + j, p, sums + j, p, s.end, s.rows,
                                  true);
    });
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
        RelativeStrips const strips = relative_strips(score, tile);
        for (index_t i = 0; i < strips.count; ++i) {
            RelativeStrip const &s = strips.strip[i];
            index_t const row = s.low - at.floor;
            strip_gradients(score, tile, s, p, gradient, work.strip, q, work.encodings + row * p, dq,
                            sums ? sums + row * p : nullptr);
        }
    } else {
        index_t const low = score.behind - score.position(tile.place, tile.q0 + tile.rows - 1) + tile.k0;
        index_t const row = low - at.floor;
        for (index_t i = std::max<index_t>(row - query_tile, 0) * p; i < row * p; i += 64 / index_t(sizeof(A))) {
            prefetch(work.encodings + i); // what the next tile of queries needs beyond this one
            if (sums)
                prefetch(sums + i);
        }
        consecutive_gradients(tile, p, score.reach - low, gradient, q, work.encodings + row * p, dq,
                              sums ? sums + row * p : nullptr);
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
