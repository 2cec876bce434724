#pragma once

#include <protlm/core/parameters.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// Which tensors weight decay and LAMB's trust ratio apply to: those of at least `least_rank` dimensions whose name
/// holds none of `excluded_names`. The default spares biases and the weights of norms, as the original BERT does.
struct DecayRule {
    std::vector<std::string> excluded_names = {"LayerNorm", "layer_norm", "r_w_bias", "r_r_bias", "r_s_bias"};
    std::size_t least_rank = 2;

    bool applies(ParameterEntry const &entry) const {
        return entry.shape.size() >= least_rank &&
               std::none_of(excluded_names.begin(), excluded_names.end(),
                            [&](std::string const &part) { return entry.name.find(part) != std::string::npos; });
    }
};

/// One flat array of an optimizer's state; what a checkpoint keeps to resume with the same bits.
template <class T, class Exec>
struct StateArray {
    std::string name;
    Kokkos::View<T *, Kokkos::LayoutRight, typename Exec::memory_space> values;
};

/// What the trainer asks of an optimizer: AdamW, Lamb, Adafactor.
template <class O, class S, class Exec>
concept Optimizer = requires(O optimizer, O const &constant, Exec const &exec, Parameters<S, Exec> &parameters) {
    optimizer.step(exec, parameters, 1e-3, 1.0);
    { constant.state() } -> std::same_as<std::vector<StateArray<accumulate_t<S>, Exec>>>;
    { constant.steps() } -> std::convertible_to<index_t>;
    optimizer.set_steps(index_t(1));
    { constant.effective_rate(1e-3) } -> std::convertible_to<double>;
};

/// The weights that an optimizer works on: the model's own where they have the precision, else float copies whose
/// rounded values it writes back. In `Exec`'s memory.
template <Scalar S, class Exec>
class MasterWeights {
  public:
    using Accumulate = accumulate_t<S>;
    using Flat = typename Parameters<S, Exec>::template Flat<Accumulate>;
    /// True when the model's scalar has 16 bits.
    static constexpr bool separate = !std::same_as<S, Accumulate>;

    explicit MasterWeights(Parameters<S, Exec> const &parameters) {
        if constexpr (separate) {
            master_ = Flat("protlm::optimizer::master", parameters.values().extent(0)); // zeros
            copy(Exec(), parameters.values().data(), master_.data(), static_cast<index_t>(master_.extent(0)));
        }
    }

    /// (extent) in the layout of the table.
    Accumulate *data(Parameters<S, Exec> const &parameters) const {
        if constexpr (separate)
            return master_.data();
        else
            return parameters.values().data();
    }
    /// Where rounded values go, or null when `data` is the model's own.
    S *rounded(Parameters<S, Exec> const &parameters) const { return separate ? parameters.values().data() : nullptr; }
    void append_state(std::vector<StateArray<Accumulate, Exec>> &state) const {
        if constexpr (separate)
            state.push_back({"master", master_});
    }

    /// Free function in spirit; public because nvcc takes kernels only from there.
    static void copy(Exec const &exec, S const *from, Accumulate *to, index_t size) {
        Kokkos::parallel_for(
            "protlm::optimizer::master", range(exec, 0, size),
            KOKKOS_LAMBDA(index_t i) { to[i] = static_cast<Accumulate>(from[i]); });
        exec.fence();
    }

  private:
    Flat master_;
};

} // namespace protlm::inline v0
