#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/parameters.hpp>

namespace protlm::inline v0::detail {

/// A small weight's values in the scalar of sums: the weight's own memory, or a widened copy of 16-bit values.
template <class A, class Exec>
struct WeightValues {
    Buffer<A, Exec> copy;
    A const *data = nullptr;
};

template <class A, class Context, class S, class Exec>
WeightValues<A, Exec> weight_values(Context &context, Weight<S, Exec> const &weight) {
    WeightValues<A, Exec> values;
    if (!weight)
        return values;
    if constexpr (std::same_as<A, S>) {
        values.data = weight.values.data();
    } else {
        index_t const size = weight.rows() * weight.cols();
        values.copy = context.template buffer<A>(size);
        A *const to = values.copy.data();
        S const *const from = weight.values.data();
        Kokkos::parallel_for(
            "protlm::widen", range(context.exec(), 0, size),
            KOKKOS_LAMBDA(index_t i) { to[i] = static_cast<A>(from[i]); });
        values.data = to;
    }
    return values;
}

} // namespace protlm::inline v0::detail
