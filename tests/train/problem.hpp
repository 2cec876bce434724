#pragma once

#include <protlm/core/parameters.hpp>

#include <cmath>
#include <vector>

namespace protlm::test {

/// A table with what optimizers must tell apart: matrices of several blocks, a stack of matrices, vectors, a scalar,
/// an empty tensor, and names that are excluded from decay.
inline ParameterTable optimizer_table() {
    ParameterTable table;
    auto const normal = Initialiser::truncated_normal(0.5);
    table.add("embeddings.weight", {310, 217}, normal); // more than one tile and block, no multiple of a pack
    table.add("layer.0.bias", {217}, normal);
    table.add("layer.0.LayerNorm.weight", {40}, Initialiser::ones());
    table.add("stack", {3, 7, 20}, normal);
    table.add("nothing", {0, 5}, normal);
    table.add("single", {}, Initialiser::ones());
    table.add("r_w_bias", {4, 5}, normal); // two dimensions, excluded by its name
    table.add("zeros", {6, 3}, Initialiser::zeros());
    return table;
}

inline bool is_decayed(ParameterEntry const &entry) {
    return entry.name == "embeddings.weight" || entry.name == "stack" || entry.name == "nothing" ||
           entry.name == "zeros";
}

template <class S, class Exec>
Parameters<S, Exec> optimizer_problem() {
    Parameters<S, Exec> parameters(optimizer_table());
    parameters.initialise(7);
    parameters.enable_gradients();
    return parameters;
}

/// Gradient of element `i` at `step`: of very different sizes, so that scale errors show.
inline double gradient_of(index_t i, index_t step) {
    double const x = std::sin(0.37 * static_cast<double>(i) + 1.3 * static_cast<double>(step));
    return x * std::exp2(static_cast<double>(i % 7) - 3.0);
}

/// Sets all gradients, gaps excluded.
template <class S, class Exec>
void set_gradients(Parameters<S, Exec> &parameters, index_t step) {
    auto host = Kokkos::create_mirror_view(parameters.gradients());
    for (auto const &entry : parameters.table().entries())
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
            host(static_cast<std::size_t>(i)) = static_cast<accumulate_t<S>>(gradient_of(i, step));
    Kokkos::deep_copy(parameters.gradients(), host);
}

template <class View>
auto to_vector(View const &view) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
    return std::vector<typename View::non_const_value_type>(host.data(), host.data() + host.extent(0));
}

inline double root_mean_square(double const *values, index_t size) {
    double sum = 0;
    for (index_t i = 0; i < size; ++i)
        sum += values[i] * values[i];
    return std::sqrt(sum / static_cast<double>(size));
}

} // namespace protlm::test
