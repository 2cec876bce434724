#pragma once

#include <protlm/train/detail/factor_tiles.hpp>

namespace protlm::inline v0::detail {

/// Pointers and factors that Adafactor's kernels share.
template <class A>
struct AdafactorArrays {
    A const *gradients;               // (extent)
    A *weights;                       // (extent)
    A *row_squares;                   // (row_states) running means over the columns
    A *col_squares;                   // (col_states) running means over the rows
    A *full_squares;                  // (full_states) of tensors that are not factored
    A *first_moment;                  // (extent), or null
    A *col_factors;                   // (col_states) 1 / root of col_squares
    double *row_means;                // (matrices) mean of row_squares
    double *col_partials;             // (partials)
    A gradient_scale, keep, epsilon1; // keep: the decay of the running means
};

/// Row statistics are final after this, column sums are those of each tile.
template <class A>
struct FactorStatistics {
    AdafactorArrays<A> arrays;

    /// One tile on one host thread.
    void on_host(FactorTile const &tile) const {
        if (!tile.factored)
            return;
        double *columns = arrays.col_partials + tile.partial;
        std::fill(columns, columns + tile.cols, 0.0);
        for (index_t r = 0; r < tile.rows; ++r) {
            A const *row = arrays.gradients + tile.begin + r * tile.cols;
            LaneSum<Pack<A>> packed;
            LaneSum<A> single;
            index_t c = 0;
            for (; c + pack_lanes<Pack<A>> <= tile.cols; c += pack_lanes<Pack<A>>) {
                auto const g = load_pack<Pack<A>>(row + c);
                packed.add_square(g);
                for (int k = 0; k < pack_lanes<Pack<A>>; ++k)
                    columns[c + k] += static_cast<double>(g[k]) * static_cast<double>(g[k]);
            }
            for (; c < tile.cols; ++c) {
                single.add_square(row[c]);
                columns[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
            }
            finish_row(tile, r, packed.total() + single.total());
        }
    }

    template <class Member>
    KOKKOS_INLINE_FUNCTION void on_device(FactorTile const &tile, Member const &member) const {
        if (!tile.factored)
            return;
        A const *values = arrays.gradients + tile.begin;
        for (index_t c = member.team_rank(); c < tile.cols; c += member.team_size()) {
            LaneSum<A> sum;
            for (index_t r = 0; r < tile.rows; ++r)
                sum.add_square(values[r * tile.cols + c]);
            arrays.col_partials[tile.partial + c] = sum.total();
        }
        for (index_t r = 0; r < tile.rows; ++r) {
            LaneSum<A> sum;
            for (index_t c = member.team_rank(); c < tile.cols; c += member.team_size())
                sum.add_square(values[r * tile.cols + c]);
            member.team_reduce(Kokkos::Sum<double>(sum.lane[0]));
            if (member.team_rank() == 0)
                finish_row(tile, r, sum.lane[0]);
        }
    }

    KOKKOS_INLINE_FUNCTION void finish_row(FactorTile const &tile, index_t r, double sum) const {
        A &state = arrays.row_squares[tile.row_state + r];
        state = arrays.keep * state + (A(1) - arrays.keep) * mean_square(sum, tile.cols);
    }
    /// Mean of the scaled gradient's squares plus epsilon1.
    KOKKOS_INLINE_FUNCTION A mean_square(double sum, index_t count) const {
        double const scale = static_cast<double>(arrays.gradient_scale);
        return static_cast<A>(sum * scale * scale / static_cast<double>(count)) + arrays.epsilon1;
    }
};

template <class A, class Exec>
struct FactorStatisticsKernel {
    typename FactorTiles<Exec>::template View<FactorTile> tiles;
    FactorStatistics<A> statistics;
    KOKKOS_INLINE_FUNCTION void operator()(typename Kokkos::TeamPolicy<Exec>::member_type const &member) const {
        statistics.on_device(tiles(static_cast<std::size_t>(member.league_rank())), member);
    }
};

/// The mean of each matrix' row statistics.
template <class A, class Exec>
struct RowMeansKernel {
    typename FactorTiles<Exec>::template View<FactorMatrix> matrices;
    A const *row_squares;
    double *row_means;
    KOKKOS_INLINE_FUNCTION void operator()(typename Kokkos::TeamPolicy<Exec>::member_type const &member) const {
        FactorMatrix const matrix = matrices(static_cast<std::size_t>(member.league_rank()));
        double sum = 0;
        for (index_t r = member.team_rank(); r < matrix.rows; r += member.team_size())
            sum += static_cast<double>(row_squares[matrix.row_state + r]);
        member.team_reduce(Kokkos::Sum<double>(sum));
        if (member.team_rank() == 0)
            row_means[member.league_rank()] = sum / static_cast<double>(matrix.rows);
    }
};

/// Launches all that leads to row and column factors.
template <class A, Kernels kernels, class Exec>
void factor_statistics(Exec const &exec, FactorTiles<Exec> const &tiles, AdafactorArrays<A> const &arrays) {
    if (tiles.col_states == 0)
        return;
    FactorStatistics<A> const statistics{arrays};
    int const team = is_host_space<Exec> ? 1 : 256;
    if constexpr (is_host_space<Exec> && kernels == Kernels::native) {
        FactorTile const *list = tiles.tiles.data();
        Kokkos::parallel_for("protlm::adafactor::statistics", dynamic_range(exec, 0, tiles.count()),
                             [=](index_t t) { statistics.on_host(list[t]); });
    } else {
        Kokkos::parallel_for("protlm::adafactor::statistics",
                             Kokkos::TeamPolicy<Exec>(exec, static_cast<int>(tiles.count()), team),
                             FactorStatisticsKernel<A, Exec>{tiles.tiles, statistics});
    }
    Kokkos::parallel_for("protlm::adafactor::row_means",
                         Kokkos::TeamPolicy<Exec>(exec, static_cast<int>(tiles.matrices.extent(0)), team),
                         RowMeansKernel<A, Exec>{tiles.matrices, arrays.row_squares, arrays.row_means});
    auto const matrices = tiles.matrices;
    auto const list = tiles.tiles;
    auto const matrix_of = tiles.matrix_of_column;
    Kokkos::parallel_for(
        "protlm::adafactor::columns", range(exec, 0, tiles.col_states), KOKKOS_LAMBDA(index_t c) {
            FactorMatrix const matrix = matrices(static_cast<std::size_t>(matrix_of(static_cast<std::size_t>(c))));
            double sum = 0;
            for (index_t t = matrix.first_tile; t < matrix.first_tile + matrix.tiles; ++t)
                sum += statistics.arrays.col_partials[list(static_cast<std::size_t>(t)).partial + c - matrix.col_state];
            A &state = statistics.arrays.col_squares[c];
            state = statistics.arrays.keep * state +
                    (A(1) - statistics.arrays.keep) * statistics.mean_square(sum, matrix.rows);
            statistics.arrays.col_factors[c] = A(1) / square_root(state);
        });
}

/// The update of an element before clipping, from final statistics.
template <class A>
KOKKOS_INLINE_FUNCTION A factored_row(AdafactorArrays<A> const &arrays, FactorTile const &tile, index_t r) {
    if (!tile.factored)
        return arrays.gradient_scale;
    auto const mean = static_cast<A>(arrays.row_means[tile.matrix]);
    return arrays.gradient_scale * square_root(mean / arrays.row_squares[tile.row_state + r]);
}
template <class V, class A>
KOKKOS_INLINE_FUNCTION V factored_update(AdafactorArrays<A> const &arrays, FactorTile const &tile, index_t r, index_t c,
                                         A row_factor) {
    V const g = load_pack<V>(arrays.gradients + tile.begin + r * tile.cols + c) * row_factor;
    if (tile.factored)
        return g * load_pack<V>(arrays.col_factors + tile.col_state + c);
    return g / square_root<V>(load_pack<V>(arrays.full_squares + tile.row_state + c));
}

/// Statistics of tensors that are not factored, and the sums of squares of every tensor's update and weights.
template <class A>
struct AdafactorSquares {
    AdafactorArrays<A> arrays;

    KOKKOS_INLINE_FUNCTION A row_factor(FactorTile const &tile, index_t r) const {
        return factored_row(arrays, tile, r);
    }
    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(FactorTile const &tile, index_t r, index_t c, A factor,
                                           LaneSum<V> *sums) const {
        if (!tile.factored) {
            V const g = load_pack<V>(arrays.gradients + tile.begin + c) * arrays.gradient_scale;
            A *state = arrays.full_squares + tile.row_state + c;
            store_pack(state, V(load_pack<V>(state) * arrays.keep + (g * g + arrays.epsilon1) * (A(1) - arrays.keep)));
        }
        sums[0].add_square(factored_update<V>(arrays, tile, r, c, factor));
        sums[1].add_square(load_pack<V>(arrays.weights + tile.begin + r * tile.cols + c));
    }
};

/// What a tensor's update and weights are multiplied by in a step.
template <class A>
struct TensorFactors {
    A update; // learning rate times clipping
    A keep;   // 1 - learning rate times weight decay
};

/// The factors of every tensor from the sums of squares of its tiles' updates and weights.
template <class A, class Exec>
struct TensorFactorsKernel {
    typename FactorTiles<Exec>::template View<index_t> first, sizes;
    double const *partial; // (tiles, 2)
    TensorFactors<A> *factors;
    double rate, epsilon2, clip_threshold, weight_decay;
    bool scale_parameter;

    KOKKOS_INLINE_FUNCTION void operator()(index_t tensor) const {
        auto const t = static_cast<std::size_t>(tensor);
        double update = 0, weights = 0;
        for (index_t tile = first(t); tile < first(t + 1); ++tile) {
            update += partial[2 * tile];
            weights += partial[2 * tile + 1];
        }
        double const size = static_cast<double>(sizes(t) > 0 ? sizes(t) : 1);
        double const root_update = square_root(update / size), root_weights = square_root(weights / size);
        double const alpha = scale_parameter ? rate * (root_weights > epsilon2 ? root_weights : epsilon2) : rate;
        double const clip = root_update > clip_threshold ? clip_threshold / root_update : 1.0;
        factors[tensor] = {static_cast<A>(alpha * clip), static_cast<A>(1.0 - alpha * weight_decay)};
    }
};

/// The step itself.
template <class A, class S>
struct AdafactorUpdate {
    AdafactorArrays<A> arrays;
    S *rounded;
    TensorFactors<A> const *factors;
    A beta1;

    KOKKOS_INLINE_FUNCTION A row_factor(FactorTile const &tile, index_t r) const {
        return factored_row(arrays, tile, r) * factors[tile.tensor].update;
    }
    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(FactorTile const &tile, index_t r, index_t c, A factor, LaneSum<V> *) const {
        index_t const i = tile.begin + r * tile.cols + c;
        V update = factored_update<V>(arrays, tile, r, c, factor);
        if (arrays.first_moment) {
            update = load_pack<V>(arrays.first_moment + i) * beta1 + update * (A(1) - beta1);
            store_pack(arrays.first_moment + i, update);
        }
        V const w = load_pack<V>(arrays.weights + i) * (tile.decays ? factors[tile.tensor].keep : A(1)) - update;
        store_pack(arrays.weights + i, w);
        if (rounded)
            store_pack(rounded + i, w);
    }
};

} // namespace protlm::inline v0::detail
