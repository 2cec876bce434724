#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/context.hpp>

#include <algorithm>

namespace protlm::inline v0 {

namespace detail {

/// Which elements a dropout keeps: a function of seed, epoch, op, protein, position and column.
template <class Exec>
struct DropoutMask {
    std::uint64_t key;
    std::uint32_t threshold; // drop where 32 random bits are below
    std::uint64_t const *sample;
    std::int32_t const *position;

    /// Four decisions for columns 4 block .. 4 block + 3 of row t.
    KOKKOS_FUNCTION PhiloxWords operator()(index_t t, index_t block) const {
        std::uint64_t const s = sample ? sample[t] : 0;
        std::uint32_t const p = position ? static_cast<std::uint32_t>(position[t]) : static_cast<std::uint32_t>(t);
        return philox({{p, static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32),
                        static_cast<std::uint32_t>(block)}},
                      key);
    }
};

/// The key of one op: seed, purpose, epoch and op number through the generator once.
template <class Exec>
DropoutMask<Exec> dropout_mask(DropoutKeys<Exec> const &keys, std::uint32_t op, double rate) {
    auto const words = CounterRandom{keys.seed, Purpose::dropout, keys.epoch}(op, 0);
    bool const numbered = keys.sample.size() == 0; // a row's number stands for protein and position
    return {(static_cast<std::uint64_t>(words[1]) << 32) | words[0],
            static_cast<std::uint32_t>(std::min(rate * 4294967296.0, 4294967295.0)),
            numbered ? nullptr : keys.sample.data(), numbered ? nullptr : keys.position.data()};
}

/// y = [y +] x where kept, scaled by 1 / (1 - rate), else 0.
template <class Exec, class A>
void apply_dropout(Exec const &exec, DropoutMask<Exec> mask, A scale, Rows<A const> x, Rows<A> y, bool add) {
    index_t const blocks = (x.cols + 3) / 4;
    Kokkos::parallel_for(
        "protlm::dropout", range(exec, 0, x.rows * blocks), KOKKOS_LAMBDA(index_t item) {
            index_t const t = item / blocks, block = item % blocks;
            auto const bits = mask(t, block);
            for (int i = 0; i < 4; ++i)
                if (index_t const j = 4 * block + i; j < x.cols) {
                    A const value = bits[i] < mask.threshold ? A(0) : x(t, j) * scale;
                    y(t, j) = add ? y(t, j) + value : value;
                }
        });
}

} // namespace detail

/// y (T, C): each element zero with probability `rate`, else x / (1 - rate). In inference it is x itself: dropout
/// does not exist there. The mask is made again in the backward, not kept. Srivastava et al., JMLR 15, 2014.
/// Backward: accumulates into x. @throws Error when rate is not in [0, 1)
template <class Context, class A, class Exec = typename Context::execution_space>
Tensor<A, Exec> dropout(Context &context, Tensor<A, Exec> x, double rate) {
    check(rate >= 0.0 && rate < 1.0, "dropout: rate is ", rate, ", expected at least 0 and below 1");
    if constexpr (!Context::training) {
        return x;
    } else {
        auto const op = context.next_op(); // also when nothing is dropped: later ops keep their numbers
        if (rate == 0.0)
            return x;
        check(context.dropout().sample.size() == 0 || context.dropout().sample.size() == x.rows(), "dropout: x has ",
              x.rows(), " rows, but the keys in force are for ", context.dropout().sample.size());
        auto const keys = context.dropout();
        auto const scale = static_cast<A>(1.0 / (1.0 - rate));
        auto const y = context.template tensor<A>(x.rows(), x.cols());
        detail::apply_dropout(context.exec(), detail::dropout_mask(keys, op, rate), scale, Rows<A const>(x.value()),
                              y.value(), false);
        context.tape().record([&context, x, y, keys, op, rate, scale] {
            if (!x.needs_gradient() || !y.has_gradient())
                return;
            auto const dx = x.accumulate();
            detail::apply_dropout(context.exec(), detail::dropout_mask(keys, op, rate), scale,
                                  Rows<A const>(y.gradient()), dx.rows, !dx.fresh);
        });
        return y;
    }
}

} // namespace protlm::inline v0
