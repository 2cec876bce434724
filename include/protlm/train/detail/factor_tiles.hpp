#pragma once

#include <protlm/train/detail/tensor_blocks.hpp>

namespace protlm::inline v0::detail {

/// Rows of one matrix of a factored tensor, or a piece of a tensor that is not factored (one row then).
struct FactorTile {
    index_t begin; // first element in the flat buffer
    index_t rows, cols;
    index_t row_state; // first row's statistics; not factored: the first element's
    index_t col_state; // first column's statistics
    index_t partial;   // first of the tile's column sums
    std::int32_t matrix, tensor;
    std::int32_t factored, decays;
};

/// One matrix of a factored tensor: the last two of its dimensions.
struct FactorMatrix {
    index_t rows, cols, row_state, col_state;
    index_t first_tile, tiles;
};

/// A table cut into tiles for Adafactor's row and column statistics. Tiles are fixed, and what is summed over them is
/// summed in their order, so results depend neither on threads nor on ranks.
template <class Exec>
struct FactorTiles {
    static constexpr index_t tile_elements = 65536;
    static constexpr index_t least_rows = 32; // keeps the column sums below 1/32 of the tensor
    template <class T>
    using View = typename TensorBlocks<Exec>::template View<T>;

    View<FactorTile> tiles;
    View<FactorMatrix> matrices;
    View<std::int32_t> matrix_of_column; // (col_states)
    View<index_t> first;                 // (tensors + 1): the first tile of each tensor
    View<index_t> sizes;                 // (tensors)
    index_t row_states = 0, col_states = 0, full_states = 0, partials = 0;

    explicit FactorTiles(ParameterTable const &table, DecayRule const &rule) {
        Lists lists;
        for (auto const &entry : table.entries()) {
            add(lists, entry, rule.applies(entry));
            lists.first.push_back(static_cast<index_t>(lists.tiles.size()));
            lists.sizes.push_back(entry.size());
        }
        using Blocks = TensorBlocks<Exec>;
        tiles = Blocks::upload("protlm::adafactor::tiles", lists.tiles);
        matrices = Blocks::upload("protlm::adafactor::matrices", lists.matrices);
        matrix_of_column = Blocks::upload("protlm::adafactor::matrix_of_column", lists.matrix_of_column);
        first = Blocks::upload("protlm::adafactor::first_tile", lists.first);
        sizes = Blocks::upload("protlm::adafactor::sizes", lists.sizes);
    }
    index_t count() const { return static_cast<index_t>(tiles.extent(0)); }
    index_t tensors() const { return static_cast<index_t>(sizes.extent(0)); }

  private:
    struct Lists {
        std::vector<FactorTile> tiles;
        std::vector<FactorMatrix> matrices;
        std::vector<std::int32_t> matrix_of_column;
        std::vector<index_t> first{0}, sizes;
    };

    void add(Lists &lists, ParameterEntry const &entry, bool decays) {
        auto const tensor = static_cast<std::int32_t>(lists.sizes.size());
        if (entry.size() == 0)
            return;
        if (entry.shape.size() < 2) {
            for (index_t i = 0; i < entry.size(); i += tile_elements) {
                index_t const cols = std::min(tile_elements, entry.size() - i);
                lists.tiles.push_back({entry.offset + i, 1, cols, full_states, 0, 0, -1, tensor, 0, decays});
                full_states += cols;
            }
            return;
        }
        index_t const cols = entry.shape.back(), rows = entry.shape[entry.shape.size() - 2];
        for (index_t begin = 0; begin < entry.size(); begin += rows * cols)
            add_matrix(lists, entry.offset + begin, rows, cols, tensor, decays);
    }

    void add_matrix(Lists &lists, index_t begin, index_t rows, index_t cols, std::int32_t tensor, bool decays) {
        auto const matrix = static_cast<std::int32_t>(lists.matrices.size());
        auto const first_tile = static_cast<index_t>(lists.tiles.size());
        index_t const step = std::max(least_rows, tile_elements / cols);
        for (index_t r = 0; r < rows; r += step) {
            lists.tiles.push_back({begin + r * cols, std::min(step, rows - r), cols, row_states + r, col_states,
                                   partials, matrix, tensor, 1, decays});
            partials += cols;
        }
        lists.matrices.push_back(
            {rows, cols, row_states, col_states, first_tile, static_cast<index_t>(lists.tiles.size()) - first_tile});
        lists.matrix_of_column.insert(lists.matrix_of_column.end(), static_cast<std::size_t>(cols), matrix);
        row_states += rows;
        col_states += cols;
    }
};

/// One element-wise pass over a tile on one host thread.
template <class A, int count, class Body>
void visit_tile_on_host(FactorTile const tile, Body const body, double *results) {
    LaneSum<Pack<A>> packed[count + 1];
    LaneSum<A> single[count + 1];
    for (index_t r = 0; r < tile.rows; ++r) {
        A const factor = body.row_factor(tile, r);
        index_t c = 0;
        for (; c + pack_lanes<Pack<A>> <= tile.cols; c += pack_lanes<Pack<A>>)
            body(tile, r, c, factor, packed);
        for (; c < tile.cols; ++c)
            body(tile, r, c, factor, single);
    }
    for (int k = 0; k < count; ++k)
        results[k] = packed[k].total() + single[k].total();
}

/// The same by a team of device threads.
template <class A, int count, class Exec, class Body>
struct TileKernel {
    typename FactorTiles<Exec>::template View<FactorTile> tiles;
    Body body;
    double *results;

    KOKKOS_INLINE_FUNCTION void operator()(typename Kokkos::TeamPolicy<Exec>::member_type const &member) const {
        FactorTile const tile = tiles(static_cast<std::size_t>(member.league_rank()));
        LaneSum<A> sums[count + 1];
        for (index_t i = member.team_rank(); i < tile.rows * tile.cols; i += member.team_size()) {
            index_t const r = i / tile.cols;
            body(tile, r, i - r * tile.cols, body.row_factor(tile, r), sums);
        }
        for (int k = 0; k < count; ++k) {
            member.team_reduce(Kokkos::Sum<double>(sums[k].lane[0]));
            if (member.team_rank() == 0)
                results[index_t(member.league_rank()) * count + k] = sums[k].lane[0];
        }
    }
};

/// Calls `body(tile, r, c, body.row_factor(tile, r), sums)` for every element; `count` sums a tile go to `results`.
template <class A, int count, Kernels kernels, class Exec, class Body>
void for_tiles(char const *label, Exec const &exec, FactorTiles<Exec> const &tiles, Body const &body,
               double *results = nullptr) {
    if (tiles.count() == 0)
        return;
    if constexpr (is_host_space<Exec> && kernels == Kernels::native) {
        FactorTile const *list = tiles.tiles.data();
        Kokkos::parallel_for(label, dynamic_range(exec, 0, tiles.count()),
                             [=](index_t t) { visit_tile_on_host<A, count>(list[t], body, results + t * count); });
    } else {
        int const team = is_host_space<Exec> ? 1 : 256;
        Kokkos::parallel_for(label, Kokkos::TeamPolicy<Exec>(exec, static_cast<int>(tiles.count()), team),
                             TileKernel<A, count, Exec, Body>{tiles.tiles, body, results});
    }
}

} // namespace protlm::inline v0::detail
