#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>
#include <protlm/core/parameter_table.hpp>
#include <protlm/train/detail/pack.hpp>
#include <protlm/train/optimizer.hpp>

namespace protlm::inline v0::detail {

/// Part of one tensor in the flat buffer.
struct TensorBlock {
    index_t begin, size;
    std::int32_t tensor;
    std::int32_t decays; // whether the DecayRule applies
};

/// The tensors of a table cut into blocks of at most `block_size`. Sums over a tensor add the sums of its blocks in
/// their order, so they depend neither on threads nor on ranks; and one launch serves all tensors.
template <class Exec>
struct TensorBlocks {
    static constexpr index_t block_size = 16384;
    template <class T>
    using View = Kokkos::View<T *, Kokkos::LayoutRight, typename Exec::memory_space>;

    View<TensorBlock> blocks; // (blocks)
    View<index_t> first;      // (tensors + 1): the first block of each tensor

    explicit TensorBlocks(ParameterTable const &table, DecayRule const &rule = {}) {
        std::vector<TensorBlock> list;
        std::vector<index_t> begins{0};
        for (auto const &entry : table.entries()) {
            auto const tensor = static_cast<std::int32_t>(begins.size() - 1);
            for (index_t i = 0; i < entry.size(); i += block_size)
                list.push_back({entry.offset + i, std::min(block_size, entry.size() - i), tensor, rule.applies(entry)});
            begins.push_back(static_cast<index_t>(list.size()));
        }
        blocks = upload("protlm::optimizer::blocks", list);
        first = upload("protlm::optimizer::first_block", begins);
    }
    index_t count() const { return static_cast<index_t>(blocks.extent(0)); }
    index_t tensors() const { return static_cast<index_t>(first.extent(0)) - 1; }

    template <class T>
    static View<T> upload(std::string const &label, std::vector<T> const &values) {
        View<T> view(Kokkos::view_alloc(label, Kokkos::WithoutInitializing), values.size());
        copy_from_host(Exec(), view, values.data());
        return view;
    }
};

/// Runs `body(block, i, sums)` over the elements of one block, a pack at a time, on one host thread.
template <class A, int count, class Body>
void visit_block_on_host(TensorBlock const block, Body const body, double *results) {
    LaneSum<Pack<A>> packed[count + 1];
    LaneSum<A> single[count + 1];
    index_t i = block.begin;
    index_t const end = block.begin + block.size;
    for (; i + pack_lanes<Pack<A>> <= end; i += pack_lanes<Pack<A>>)
        body(block, i, packed);
    for (; i < end; ++i)
        body(block, i, single);
    for (int k = 0; k < count; ++k)
        results[k] = packed[k].total() + single[k].total();
}

/// The same by a team of device threads.
template <class A, int count, class Exec, class Body>
struct BlockKernel {
    typename TensorBlocks<Exec>::template View<TensorBlock> blocks;
    Body body;
    double *results;

    KOKKOS_INLINE_FUNCTION void operator()(typename Kokkos::TeamPolicy<Exec>::member_type const &member) const {
        TensorBlock const block = blocks(static_cast<std::size_t>(member.league_rank()));
        LaneSum<A> sums[count + 1];
        for (index_t i = member.team_rank(); i < block.size; i += member.team_size())
            body(block, block.begin + i, sums);
        for (int k = 0; k < count; ++k) {
            member.team_reduce(Kokkos::Sum<double>(sums[k].lane[0]));
            if (member.team_rank() == 0)
                results[index_t(member.league_rank()) * count + k] = sums[k].lane[0];
        }
    }
};

/// Calls `body(block, i, sums)` for every element `i` of every block; `sums` are `count` LaneSums whose totals over
/// each block go to `results` (blocks, count), which may be null when `count` is 0.
template <class A, int count, Kernels kernels, class Exec, class Body>
void for_blocks(char const *label, Exec const &exec, TensorBlocks<Exec> const &blocks, Body const &body,
                double *results = nullptr) {
    if (blocks.count() == 0)
        return;
    if constexpr (is_host_space<Exec> && kernels == Kernels::native) {
        TensorBlock const *list = blocks.blocks.data();
        Kokkos::parallel_for(label, range(exec, 0, blocks.count()),
                             [=](index_t b) { visit_block_on_host<A, count>(list[b], body, results + b * count); });
    } else {
        int const team = is_host_space<Exec> ? 1 : 256; // fixed, so that sums are the same in every run
        Kokkos::parallel_for(label, Kokkos::TeamPolicy<Exec>(exec, static_cast<int>(blocks.count()), team),
                             BlockKernel<A, count, Exec, Body>{blocks.blocks, body, results});
    }
}

/// Adds up block sums in the order of the blocks: `totals` (tensors, count) from `partial` (blocks, count).
template <class Exec>
void sum_blocks(Exec const &exec, TensorBlocks<Exec> const &blocks, int count, double const *partial, double *totals) {
    index_t const *first = blocks.first.data();
    Kokkos::parallel_for(
        "protlm::optimizer::sum_blocks", range(exec, 0, blocks.tensors() * count), KOKKOS_LAMBDA(index_t item) {
            index_t const tensor = item / count, k = item % count;
            double sum = 0;
            for (index_t b = first[tensor]; b < first[tensor + 1]; ++b)
                sum += partial[b * count + k];
            totals[item] = sum;
        });
}

/// Sums of squares of one flat array, a tensor at a time.
template <class A, class T>
struct SquareBody {
    T const *values;
    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(TensorBlock const &, index_t i, LaneSum<V> *sums) const {
        sums[0].add_square(load_pack<V>(values + i));
    }
};

} // namespace protlm::inline v0::detail
