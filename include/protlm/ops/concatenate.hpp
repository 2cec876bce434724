#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>

#include <vector>

namespace protlm::inline v0 {

/// A tensor (R, C) whose row i is to be row rows[i] of a larger one.
template <class A, class Exec>
struct PlacedRows {
    Tensor<A, Exec> tensor;
    Buffer<index_t, Exec> rows; // (R)
};

namespace detail {

/// y[rows[i]] = x[i].
template <class Exec, class A>
void scatter_rows(Exec const &exec, index_t const *rows, Rows<A const> x, Rows<A> y) {
    Kokkos::parallel_for(
        "protlm::scatter_rows", range(exec, 0, x.rows), KOKKOS_LAMBDA(index_t i) {
            A const *from = x.row(i);
            A *to = y.row(rows[i]);
            for (index_t j = 0; j < x.cols; ++j)
                to[j] = from[j];
        });
}

/// dx[i] = [dx[i] +] g[rows[i]].
template <class Exec, class A>
void collect_rows(Exec const &exec, index_t const *rows, Rows<A const> g, Rows<A> dx, bool add) {
    Kokkos::parallel_for(
        "protlm::collect_rows", range(exec, 0, dx.rows), KOKKOS_LAMBDA(index_t i) {
            A const *from = g.row(rows[i]);
            A *to = dx.row(i);
            for (index_t j = 0; j < dx.cols; ++j)
                to[j] = (add ? to[j] : A(0)) + from[j];
        });
}

/// to (T, C) = [to +] from (T, C), either of them columns of a wider matrix.
template <class Exec, class A>
void copy_columns(Exec const &exec, Rows<A const> from, Rows<A> to, bool add) {
    Kokkos::parallel_for(
        "protlm::copy_columns", range(exec, 0, to.rows), KOKKOS_LAMBDA(index_t i) {
            for (index_t j = 0; j < to.cols; ++j)
                to(i, j) = (add ? to(i, j) : A(0)) + from(i, j);
        });
}

} // namespace detail

/// y (T, C) put together from rows of several tensors; together they must name every row of y once.
/// Backward: accumulates into those parts that need a gradient. @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> place_rows(Context &context, index_t rows, std::vector<PlacedRows<A, Exec>> parts) {
    check(!parts.empty(), "place_rows: needs at least one part");
    index_t placed = 0;
    auto const y = context.template tensor<A>(rows, parts[0].tensor.cols());
    for (auto const &part : parts) {
        check_extent("place_rows", "part", "columns", part.tensor.cols(), y.cols());
        check_extent("place_rows", "rows", "entries", part.rows.size(), part.tensor.rows());
        detail::scatter_rows(context.exec(), part.rows.data(), Rows<A const>(part.tensor.value()), y.value());
        placed += part.tensor.rows();
    }
    check_extent("place_rows", "parts", "rows", placed, rows);
    if constexpr (Context::training)
        context.tape().record([&context, parts, y] {
            if (!y.has_gradient())
                return; // no loss depends on it
            for (auto const &part : parts)
                if (part.tensor.needs_gradient()) {
                    auto const dx = part.tensor.accumulate();
                    detail::collect_rows(context.exec(), part.rows.data(), Rows<A const>(y.gradient()), dx.rows,
                                         !dx.fresh);
                }
        });
    return y;
}

/// Two batches of the same sequences as one: each sequence's rows of the first, then its rows of the second.
template <class Exec>
struct JoinedSegments {
    Segments<Exec> segments;                       // of the joined rows
    Buffer<index_t, Exec> first_rows, second_rows; // where each row of the two goes
};

/// Plans `concatenate`. @throws Error when the two have different numbers of sequences
template <class Context, class Exec = typename Context::execution_space>
JoinedSegments<Exec> join_segments(Context &context, Segments<Exec> const &first, Segments<Exec> const &second) {
    check_extent("join_segments", "second", "sequences", second.count(), first.count());
    std::vector<std::int64_t> offsets{0};
    std::vector<index_t> first_rows, second_rows;
    index_t next = 0;
    for (index_t b = 0; b < first.count(); ++b) {
        for (index_t i = 0; i < first.length(b); ++i)
            first_rows.push_back(next++);
        for (index_t i = 0; i < second.length(b); ++i)
            second_rows.push_back(next++);
        offsets.push_back(next);
    }
    return {make_segments(context, offsets), context.template upload<index_t>(first_rows),
            context.template upload<index_t>(second_rows)};
}

/// y (T1 + T2, C): rows of `first` (T1, C), such as a memory, and of `second` (T2, C), sequence by sequence.
/// Backward: accumulates into those that need a gradient; a memory does not. @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> concatenate(Context &context, Tensor<A, Exec> first, Tensor<A, Exec> second,
                            JoinedSegments<Exec> const &joined) {
    return place_rows<Context, A, Exec>(
        context, joined.segments.total(),
        {{std::move(first), joined.first_rows}, {std::move(second), joined.second_rows}});
}

/// Columns [first, first + count) of a tensor.
template <class A, class Exec>
struct ColumnRange {
    Tensor<A, Exec> tensor;
    index_t first, count;
};

/// y (T, sum of counts): the columns of several tensors, side by side.
/// Backward: accumulates into those that need a gradient. @throws Error when extents disagree
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> concatenate_columns(Context &context, std::vector<ColumnRange<A, Exec>> parts) {
    check(!parts.empty(), "concatenate_columns: needs at least one part");
    index_t const rows = parts[0].tensor.rows();
    index_t width = 0;
    for (auto const &part : parts) {
        check_extent("concatenate_columns", "part", "rows", part.tensor.rows(), rows);
        check(part.first >= 0 && part.first + part.count <= part.tensor.cols(), "concatenate_columns: columns ",
              part.first, " to ", part.first + part.count, " of ", part.tensor.cols());
        width += part.count;
    }
    auto const y = context.template tensor<A>(rows, width);
    index_t next = 0;
    for (auto const &part : parts) {
        detail::copy_columns(context.exec(), Rows<A const>(part.tensor.value()).columns(part.first, part.count),
                             y.value().columns(next, part.count), false);
        next += part.count;
    }
    if constexpr (Context::training)
        context.tape().record([&context, parts, y] {
            if (!y.has_gradient())
                return; // no loss depends on it
            index_t from = 0;
            for (auto const &part : parts) {
                if (part.tensor.needs_gradient()) {
                    auto const dx = part.tensor.accumulate();
                    bool const whole = part.count == dx.rows.cols;
                    if (dx.fresh && !whole)
                        zero_values(context.exec(), part.tensor.gradient_view());
                    detail::copy_columns(context.exec(), Rows<A const>(y.gradient()).columns(from, part.count),
                                         dx.rows.columns(part.first, part.count), !dx.fresh || !whole);
                }
                from += part.count;
            }
        });
    return y;
}

} // namespace protlm::inline v0
