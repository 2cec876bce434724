#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/segments.hpp>

#include <limits>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// How one vector stands for a protein: the mean or the largest value over its residues, column by column, or the
/// vector of its [CLS] token (its last token where none stands before the residues, as in XLNet), which says little
/// unless the model was trained to use it. `none`: there is no such vector, only those of residues.
enum class Pooling { mean, max, cls, none };

/// "mean", "max", "cls" or "none".
inline std::string pooling_name(Pooling pooling) {
    return pooling == Pooling::mean  ? "mean"
           : pooling == Pooling::max ? "max"
           : pooling == Pooling::cls ? "cls"
                                     : "none";
}

/// @throws Error for a name that is none
inline Pooling pooling_from_name(std::string_view name) {
    for (Pooling const pooling : {Pooling::mean, Pooling::max, Pooling::cls, Pooling::none})
        if (name == pooling_name(pooling))
            return pooling;
    fail("pooling: is \"", name, "\", expected \"mean\", \"max\", \"cls\" or \"none\"");
}

namespace detail {

/// Columns that one task pools at once: enough for vector units on hosts, one a thread on devices.
template <class Exec>
inline constexpr int pooled_columns = is_host_space<Exec> ? 64 : 1;

/// y (B, C) from the residue rows of each sequence: those behind its first `before` and before its last `after` rows.
template <class Exec, class A>
void pool_rows(Exec const &exec, Pooling pooling, std::int64_t const *offsets, index_t before, index_t after,
               Rows<A const> hidden, Rows<A> y) {
    constexpr int step = pooled_columns<Exec>;
    index_t const blocks = (y.cols + step - 1) / step;
    Kokkos::parallel_for(
        "protlm::pool", range(exec, 0, y.rows * blocks), KOKKOS_LAMBDA(index_t item) {
            index_t const b = item / blocks, first = item % blocks * step;
            int const n = static_cast<int>(first + step < y.cols ? step : y.cols - first);
            bool const empty = offsets[b] + before >= offsets[b + 1] - after, cls = pooling == Pooling::cls && !empty;
            index_t const begin = !cls ? offsets[b] + before : before > 0 ? offsets[b] : offsets[b + 1] - 1;
            index_t const end = cls ? begin + 1 : offsets[b + 1] - after;
            double sum[step] = {}; // in the order of the rows: the same bits in any batch
            for (int j = 0; begin < end && pooling != Pooling::mean && j < n; ++j)
                sum[j] = static_cast<double>(hidden(begin, first + j));
            for (index_t t = begin; t < end; ++t) {
                A const *row = hidden.row(t) + first;
                for (int j = 0; j < n; ++j) {
                    double const value = static_cast<double>(row[j]);
                    sum[j] = pooling == Pooling::mean ? sum[j] + value : value > sum[j] ? value : sum[j];
                }
            }
            double const count = pooling == Pooling::mean && begin < end ? static_cast<double>(end - begin) : 1.0;
            for (int j = 0; j < n; ++j)
                y(b, first + j) = static_cast<A>(sum[j] / count);
        });
}

} // namespace detail

/// One vector a protein, (B, C), from hidden states (T, C). Sums are kept in double and taken in the order of the
/// residues, so that a protein's bits do not depend on its batch. A protein without residues has zeros, whatever the
/// pooling.
/// @param pooling  not `none`  @param before, after  special tokens around the residues of every sequence
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> pool(Context &context, Pooling pooling, Segments<Exec> const &segments, index_t before, index_t after,
                     Tensor<A, Exec> const &hidden) {
    check(pooling != Pooling::none, "pool: pooling is none");
    check_extent("pool", "hidden", "rows", hidden.rows(), segments.total());
    auto const y = context.template tensor<A>(segments.count(), hidden.cols());
    detail::pool_rows(context.exec(), pooling, segments.device.data(), before, after, Rows<A const>(hidden.value()),
                      y.value());
    return y;
}

} // namespace protlm::inline v0
