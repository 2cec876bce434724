#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>
#include <protlm/core/parameters.hpp>

#include <array>

namespace protlm::inline v0 {

/// One table and the row of it that each token takes.
template <Scalar S, class Exec>
struct Lookup {
    Buffer<std::int32_t, Exec> ids; // (T), each in [0, rows of table); the tape keeps them
    Weight<S, Exec> table;          // (rows, C)
};

namespace detail {

/// Columns that one task of the backward owns on hosts.
inline constexpr index_t embedding_columns = 64;

template <class Exec, class A, class S>
void embedding_forward(Exec const &exec, std::int32_t const *ids, Rows<S const> table, Rows<A> y, bool add) {
    Kokkos::parallel_for(
        "protlm::embedding", range(exec, 0, y.rows), KOKKOS_LAMBDA(index_t t) {
            S const *from = table.row(ids[t]);
            A *to = y.row(t);
            for (index_t j = 0; j < y.cols; ++j)
                to[j] = (add ? to[j] : A(0)) + static_cast<A>(from[j]);
        });
}

/// gradient[ids[t]] += g[t] in the order of t: a task owns columns, so nothing is added by two threads.
template <class Exec, class A>
void embedding_backward(Exec const &exec, std::int32_t const *ids, Rows<A const> g, Rows<A> gradient) {
    index_t const step = is_host_space<Exec> ? embedding_columns : 1;
    Kokkos::parallel_for(
        "protlm::embedding_backward", range(exec, 0, (g.cols + step - 1) / step), KOKKOS_LAMBDA(index_t task) {
            index_t const first = task * step, last = first + step < g.cols ? first + step : g.cols;
            for (index_t t = 0; t < g.rows; ++t) {
                A const *from = g.row(t);
                A *to = gradient.row(ids[t]);
                for (index_t j = first; j < last; ++j)
                    to[j] += from[j];
            }
        });
}

} // namespace detail

/// y (T, C) = sum of one row of each table: word, position and token type embeddings in one op.
///
/// Backward: accumulates into the tables, in the order of the tokens, without atomics. Ids are the caller's to check:
/// a model checks them against its config on the host.
/// @throws Error when extents disagree
template <class Context, Scalar S, std::size_t n, class Exec = typename Context::execution_space>
auto embedding(Context &context, std::array<Lookup<S, Exec>, n> lookups) {
    using A = accumulate_t<S>;
    static_assert(n > 0, "embedding: needs at least one table");
    auto const tokens = lookups[0].ids.size();
    auto const y = context.template tensor<A>(tokens, lookups[0].table.cols());
    std::vector<ParameterId> touched;
    for (std::size_t i = 0; i < n; ++i) {
        check_extent("embedding", "ids", "entries", lookups[i].ids.size(), tokens);
        check_extent("embedding", "table", "columns", lookups[i].table.cols(), y.cols());
        detail::embedding_forward(context.exec(), lookups[i].ids.data(), lookups[i].table.value(), y.value(), i > 0);
        touched.insert(touched.end(), lookups[i].table.ids.begin(), lookups[i].table.ids.end());
    }
    if constexpr (Context::training)
        context.tape().record(
            [&context, lookups, y] {
                if (!y.has_gradient())
                    return; // no loss depends on it
                for (auto const &lookup : lookups)
                    if (lookup.table.trained())
                        detail::embedding_backward(context.exec(), lookup.ids.data(),
                                                   Rows<accumulate_t<S> const>(y.gradient()), lookup.table.gradient());
            },
            touched);
    return y;
}

} // namespace protlm::inline v0
