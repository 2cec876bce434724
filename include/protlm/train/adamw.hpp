#pragma once

#include <protlm/core/floating_point.hpp>
#include <protlm/train/detail/tensor_blocks.hpp>

namespace protlm::inline v0 {

/// Settings of AdamW.
struct AdamWOptions {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;      ///< added to the root of the second moment
    double weight_decay = 0.01; ///< for the tensors of `decay`
    DecayRule decay = {};

    /// @throws Error naming the field
    void validate(char const *optimizer = "AdamW") const {
        check(beta1 >= 0 && beta1 < 1, optimizer, ": beta1 is ", beta1, ", expected 0 up to below 1");
        check(beta2 >= 0 && beta2 < 1, optimizer, ": beta2 is ", beta2, ", expected 0 up to below 1");
        check(epsilon > 0 && is_finite(epsilon), optimizer, ": epsilon is ", epsilon, ", expected above 0");
        check(weight_decay >= 0 && is_finite(weight_decay), optimizer, ": weight_decay is ", weight_decay,
              ", expected at least 0");
    }
};

namespace detail {

/// What a step of Adam needs beside the arrays; computed in double, applied in the precision of the moments.
template <class A>
struct AdamFactors {
    A gradient_scale, beta1, beta2, correction1, root_correction2, epsilon, weight_decay, learning_rate;

    AdamFactors(double b1, double b2, double eps, double decay, index_t step, double rate, double scale)
        : gradient_scale(static_cast<A>(scale)), beta1(static_cast<A>(b1)), beta2(static_cast<A>(b2)),
          correction1(static_cast<A>(1.0 / (1.0 - std::pow(b1, static_cast<double>(step))))),
          root_correction2(static_cast<A>(1.0 / std::sqrt(1.0 - std::pow(b2, static_cast<double>(step))))),
          epsilon(static_cast<A>(eps)), weight_decay(static_cast<A>(decay)), learning_rate(static_cast<A>(rate)) {}

    /// Moves both moments towards the gradient of element `i`.
    template <class V>
    KOKKOS_INLINE_FUNCTION void moments(A const *gradients, A *first, A *second, index_t i, V &m, V &v) const {
        V const g = load_pack<V>(gradients + i) * gradient_scale;
        m = load_pack<V>(first + i) * beta1 + g * (A(1) - beta1);
        v = load_pack<V>(second + i) * beta2 + g * g * (A(1) - beta2);
        store_pack(first + i, m);
        store_pack(second + i, v);
    }
    /// The bias-corrected direction.
    template <class V>
    KOKKOS_INLINE_FUNCTION V direction(V const &m, V const &v) const {
        return m * correction1 / (square_root<V>(v) * root_correction2 + epsilon);
    }
};

template <class A, class S>
struct AdamWBody {
    AdamFactors<A> factors;
    A *weights;
    S *rounded;
    A const *gradients;
    A *first, *second;

    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(TensorBlock const &block, index_t i, LaneSum<V> *) const {
        V m, v;
        factors.moments(gradients, first, second, i, m, v);
        A const keep = block.decays ? A(1) - factors.learning_rate * factors.weight_decay : A(1);
        V const w = load_pack<V>(weights + i) * keep - factors.direction(m, v) * factors.learning_rate;
        store_pack(weights + i, w);
        if (rounded)
            store_pack(rounded + i, w);
    }
};

} // namespace detail

/// Two moments in the layout of the parameters, and the number of steps: what the optimizers of Adam's kind keep.
template <Scalar S, ExecutionSpace Exec>
class AdamMoments {
  public:
    using Accumulate = accumulate_t<S>;

    /// Moments (extent), and master weights where the model has 16 bits; they share memory with the optimizer.
    std::vector<StateArray<Accumulate, Exec>> state() const {
        std::vector<StateArray<Accumulate, Exec>> state{{"first_moment", first_}, {"second_moment", second_}};
        master_.append_state(state);
        return state;
    }
    index_t steps() const { return steps_; }
    void set_steps(index_t steps) { steps_ = steps; }
    double effective_rate(double scheduled) const { return scheduled; }

  protected:
    using Flat = typename MasterWeights<S, Exec>::Flat;

    AdamMoments(Parameters<S, Exec> const &parameters, DecayRule const &decay)
        : blocks_(parameters.table(), decay), master_(parameters),
          first_("protlm::adam::first_moment", parameters.values().extent(0)),
          second_("protlm::adam::second_moment", parameters.values().extent(0)) {}

    /// Counts a step; its factors.
    template <class Options>
    detail::AdamFactors<Accumulate> begin_step(Options const &options, double learning_rate, double gradient_scale) {
        return {options.beta1, options.beta2, options.epsilon, options.weight_decay,
                ++steps_,      learning_rate, gradient_scale};
    }

    detail::TensorBlocks<Exec> blocks_;
    MasterWeights<S, Exec> master_;
    Flat first_, second_;
    index_t steps_ = 0;
};

/// Adam with decoupled weight decay, one pass over the memory. Loshchilov and Hutter, arXiv 1711.05101, algorithm 2.
template <Scalar S, ExecutionSpace Exec, Kernels kernels = Kernels::native>
class AdamW : public AdamMoments<S, Exec> {
  public:
    using Accumulate = accumulate_t<S>;

    /// Allocates two moments in the layout of `parameters`. @throws Error when an option makes no sense
    AdamW(Parameters<S, Exec> const &parameters, AdamWOptions options)
        : AdamMoments<S, Exec>(parameters, options.decay), options_(std::move(options)) {
        options_.validate();
    }

    /// Updates the values with `parameters.gradients()` times `gradient_scale`.
    void step(Exec const &exec, Parameters<S, Exec> &parameters, double learning_rate, double gradient_scale) {
        auto const factors = this->begin_step(options_, learning_rate, gradient_scale);
        detail::for_blocks<Accumulate, 0, kernels>(
            "protlm::adamw", exec, this->blocks_,
            detail::AdamWBody<Accumulate, S>{factors, this->master_.data(parameters), this->master_.rounded(parameters),
                                             parameters.gradients().data(), this->first_.data(), this->second_.data()});
    }

  private:
    AdamWOptions options_;
};

} // namespace protlm::inline v0
