#pragma once

#include <protlm/train/adamw.hpp>

namespace protlm::inline v0 {

/// Settings of LAMB.
struct LambOptions {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-6;      ///< added to the root of the second moment
    double weight_decay = 0.01; ///< for the tensors of `decay`
    DecayRule decay = {};       ///< which tensors have weight decay and a trust ratio; the others take Adam's step
};

namespace detail {

/// Pass 1: moments, and the sums of squares of weights and update.
template <class A>
struct LambMoments {
    AdamFactors<A> factors;
    A const *weights, *gradients;
    A *first, *second;

    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(TensorBlock const &block, index_t i, LaneSum<V> *sums) const {
        V m, v;
        factors.moments(gradients, first, second, i, m, v);
        if (!block.decays)
            return;
        V const w = load_pack<V>(weights + i);
        V const update = factors.direction(m, v) + w * factors.weight_decay;
        sums[0].add_square(w);
        sums[1].add_square(update);
    }
};

/// Pass 2: the update once more from the moments, scaled by the trust ratio.
template <class A, class S>
struct LambUpdate {
    AdamFactors<A> factors;
    A *weights;
    S *rounded;
    A const *first, *second;
    double const *squares; // (tensors, 2): of weights and update

    template <class V>
    KOKKOS_INLINE_FUNCTION void operator()(TensorBlock const &block, index_t i, LaneSum<V> *) const {
        V w = load_pack<V>(weights + i);
        V update = factors.direction(load_pack<V>(first + i), load_pack<V>(second + i));
        if (block.decays)
            update = (update + w * factors.weight_decay) * ratio(block.tensor);
        w = w - update * factors.learning_rate;
        store_pack(weights + i, w);
        if (rounded)
            store_pack(rounded + i, w);
    }
    KOKKOS_INLINE_FUNCTION A ratio(std::int32_t tensor) const {
        double const weight = squares[2 * tensor], update = squares[2 * tensor + 1];
        return weight > 0 && update > 0 ? static_cast<A>(square_root(weight / update)) : A(1);
    }
};

} // namespace detail

/// Layer-wise adaptive Adam for large batches, with bias correction and exact norms of every tensor; two passes over
/// the memory. You et al., arXiv 1904.00962v5, algorithm 2, with phi the identity; a zero norm gives ratio 1.
template <Scalar S, ExecutionSpace Exec, Kernels kernels = Kernels::native>
class Lamb : public AdamMoments<S, Exec> {
  public:
    using Accumulate = accumulate_t<S>;

    /// Allocates two moments in the layout of `parameters`. @throws Error when an option makes no sense
    Lamb(Parameters<S, Exec> const &parameters, LambOptions options)
        : AdamMoments<S, Exec>(parameters, options.decay), options_(std::move(options)),
          partial_("protlm::lamb::partial_squares", static_cast<std::size_t>(2 * this->blocks_.count())),
          squares_("protlm::lamb::squares", static_cast<std::size_t>(2 * this->blocks_.tensors())) {
        AdamWOptions{options_.beta1, options_.beta2, options_.epsilon, options_.weight_decay, {}}.validate("Lamb");
    }

    /// Updates the values with `parameters.gradients()` times `gradient_scale`.
    void step(Exec const &exec, Parameters<S, Exec> &parameters, double learning_rate, double gradient_scale) {
        auto const factors = this->begin_step(options_, learning_rate, gradient_scale);
        Accumulate *weights = this->master_.data(parameters), *first = this->first_.data(),
                   *second = this->second_.data();
        detail::for_blocks<Accumulate, 2, kernels>(
            "protlm::lamb::moments", exec, this->blocks_,
            detail::LambMoments<Accumulate>{factors, weights, parameters.gradients().data(), first, second},
            partial_.data());
        detail::sum_blocks(exec, this->blocks_, 2, partial_.data(), squares_.data());
        detail::for_blocks<Accumulate, 0, kernels>("protlm::lamb::update", exec, this->blocks_,
                                                   detail::LambUpdate<Accumulate, S>{factors, weights,
                                                                                     this->master_.rounded(parameters),
                                                                                     first, second, squares_.data()});
    }

  private:
    LambOptions options_;
    Kokkos::View<double *, typename Exec::memory_space> partial_; // (blocks, 2)
    Kokkos::View<double *, typename Exec::memory_space> squares_; // (tensors, 2)
};

} // namespace protlm::inline v0
