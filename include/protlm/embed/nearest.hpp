#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/kokkos.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A neighbour: which one, and how near. Sorted by nearness, then by number, so that results are the same every time.
struct Neighbour {
    index_t index;
    float similarity; ///< larger is nearer

    bool operator<(Neighbour const &other) const {
        return similarity > other.similarity || (similarity == other.similarity && index < other.index);
    }
    bool operator==(Neighbour const &) const = default;
};

/// Rows of `values` (P, C) brought to length 1 in place, so that scalar products are cosines. Rows of zeros stay.
/// @throws Error for a value that is not finite
inline void normalise_rows(std::span<float> values, index_t width) {
    auto const columns = static_cast<std::size_t>(width);
    for (std::size_t row = 0; row < values.size(); row += columns) {
        double sum = 0;
        for (std::size_t j = row; j < row + columns; ++j)
            sum += double(values[j]) * values[j];
        check(is_finite(sum), "normalise_rows: row ", row / columns, " has a value that is not finite");
        double const scale = sum > 0 ? 1 / std::sqrt(sum) : 0;
        for (std::size_t j = row; j < row + columns; ++j)
            values[j] = static_cast<float>(values[j] * scale);
    }
}

namespace detail {

// Blocks of queries are tasks; their size is fixed, so that a similarity has the same bits on any number of threads.
inline constexpr index_t query_block = 128, database_block = 512;

using FloatRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRowsView = Eigen::Map<FloatRows const>;

/// Calls use(i, similarities (P)) for each query i of one block; `row` and `tile` are memory to be used again.
template <class Use>
void score_block(index_t block, std::span<float const> queries, std::span<float const> database, index_t width,
                 Use &&use) {
    index_t const first = block * query_block, all = static_cast<index_t>(queries.size()) / width;
    index_t const count = std::min(query_block, all - first), size = static_cast<index_t>(database.size()) / width;
    FloatRows scores(count, size);
    FloatRowsView const left(queries.data() + first * width, count, width);
    for (index_t from = 0; from < size; from += database_block) {
        index_t const columns = std::min(database_block, size - from);
        FloatRowsView const right(database.data() + from * width, columns, width);
        scores.middleCols(from, columns).noalias() = left * right.transpose();
    }
    for (index_t i = 0; i < count; ++i)
        use(first + i, std::span<float>(scores.data() + i * size, static_cast<std::size_t>(size)));
}

} // namespace detail

/// Scalar products of every query with every row of the database, a block of queries at a time and in parallel: memory
/// is 128 P floats a thread. With rows of length 1 they are cosines.
/// @param queries   (Q, C) row-major  @param database  (P, C) row-major  @param width  C
/// @param use       use(query, products (P), which it may change), from several threads, each query once; throws
/// nothing
/// @throws Error when sizes disagree
template <class Use>
void for_each_query(std::span<float const> queries, std::span<float const> database, index_t width, Use &&use) {
    auto const columns = static_cast<std::size_t>(width);
    check(width > 0 && queries.size() % columns == 0 && database.size() % columns == 0,
          "for_each_query: ", queries.size(), " and ", database.size(), " values in rows of ", width);
    index_t const blocks =
        (static_cast<index_t>(queries.size()) / width + detail::query_block - 1) / detail::query_block;
    using Host = Kokkos::DefaultHostExecutionSpace;
    Kokkos::parallel_for("protlm::for_each_query",
                         Kokkos::RangePolicy<Host, Kokkos::Schedule<Kokkos::Dynamic>>(0, blocks),
                         [&](index_t block) { detail::score_block(block, queries, database, width, use); });
    Host().fence();
}

/// The `k` nearest rows of the database for each query, nearest first; fewer where the database is smaller.
/// @param leave_out_self  queries and database are the same, and no row is a neighbour of its own
/// @throws Error when sizes disagree
inline std::vector<std::vector<Neighbour>> nearest(std::span<float const> queries, std::span<float const> database,
                                                   index_t width, index_t k, bool leave_out_self = false) {
    check(k >= 1, "nearest: ", k, " neighbours, expected at least 1");
    std::vector<std::vector<Neighbour>> result(queries.size() / static_cast<std::size_t>(width));
    for_each_query(queries, database, width, [&](index_t query, std::span<float const> scores) {
        auto &best = result[static_cast<std::size_t>(query)]; // a heap, its farthest on top
        for (index_t i = 0; i < static_cast<index_t>(scores.size()); ++i) {
            if (leave_out_self && i == query)
                continue;
            Neighbour const candidate{i, scores[static_cast<std::size_t>(i)]};
            bool const full = static_cast<index_t>(best.size()) == k;
            if (full && !(candidate < best.front()))
                continue;
            if (full) {
                std::pop_heap(best.begin(), best.end());
                best.pop_back();
            }
            best.push_back(candidate);
            std::push_heap(best.begin(), best.end());
        }
        std::sort_heap(best.begin(), best.end());
    });
    return result;
}

} // namespace protlm::inline v0
