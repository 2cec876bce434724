#pragma once

#include <protlm/train/detail/adafactor_kernels.hpp>

#include <cmath>

namespace protlm::inline v0 {

/// Settings of Adafactor; the defaults are the paper's and T5's.
struct AdafactorOptions {
    double epsilon1 = 1e-30;     ///< added to squared gradients
    double epsilon2 = 1e-3;      ///< least root mean square that scales the rate of a tensor
    double clip_threshold = 1.0; ///< updates of a larger root mean square are scaled down to it
    double decay_rate = -0.8;    ///< the running means keep 1 - step^decay_rate
    double beta1 = 0.0;          ///< of the first moment; 0: none, and no memory for it
    double weight_decay = 0.0;   ///< times the tensor's rate, for the tensors of `decay`
    bool relative_step = true;   ///< the rate is min(1e-2, 1 / root of step); the scheduled rate is not used
    bool warmup_init = false;    ///< relative step: min(1e-6 step, 1 / root of step) instead
    bool scale_parameter = true; ///< the rate of a tensor is multiplied by its weights' root mean square
    DecayRule decay = {};

    /// @throws Error naming the field
    void validate() const {
        check(epsilon1 > 0, "Adafactor: epsilon1 is ", epsilon1, ", expected above 0");
        check(epsilon2 >= 0, "Adafactor: epsilon2 is ", epsilon2, ", expected at least 0");
        check(clip_threshold > 0, "Adafactor: clip_threshold is ", clip_threshold, ", expected above 0");
        check(decay_rate < 0, "Adafactor: decay_rate is ", decay_rate, ", expected below 0");
        check(beta1 >= 0 && beta1 < 1, "Adafactor: beta1 is ", beta1, ", expected 0 up to below 1");
        check(weight_decay >= 0, "Adafactor: weight_decay is ", weight_decay, ", expected at least 0");
        check(relative_step || !warmup_init, "Adafactor: warmup_init needs relative_step");
    }
};

/// Adaptive rates from one number a row and one a column. Tensors of two or more dimensions are factored over their
/// last two, each as it is named and stored. Shazeer and Stern, arXiv 1804.04235, algorithms 4 and 5.
template <Scalar S, ExecutionSpace Exec, Kernels kernels = Kernels::native>
class Adafactor {
  public:
    using Accumulate = accumulate_t<S>;

    /// Allocates the statistics. @throws Error when an option makes no sense
    Adafactor(Parameters<S, Exec> const &parameters, AdafactorOptions options)
        : options_(std::move(options)), tiles_(parameters.table(), options_.decay), master_(parameters),
          rows_("protlm::adafactor::row_squares", size(tiles_.row_states)),
          columns_("protlm::adafactor::column_squares", size(tiles_.col_states)),
          full_("protlm::adafactor::squares", size(tiles_.full_states)),
          first_("protlm::adafactor::first_moment", options_.beta1 > 0 ? parameters.values().extent(0) : 0),
          column_factors_("protlm::adafactor::column_factors", size(tiles_.col_states)),
          row_means_("protlm::adafactor::row_means", tiles_.matrices.extent(0)),
          column_partials_("protlm::adafactor::column_partials", size(tiles_.partials)),
          tile_squares_("protlm::adafactor::tile_squares", size(2 * tiles_.count())),
          factors_("protlm::adafactor::tensor_factors", size(tiles_.tensors())) {
        options_.validate();
    }

    /// Updates the values with `parameters.gradients()` times `gradient_scale`. `learning_rate` counts only without
    /// `relative_step`.
    void step(Exec const &exec, Parameters<S, Exec> &parameters, double learning_rate, double gradient_scale) {
        ++steps_;
        double const keep = 1.0 - std::pow(static_cast<double>(steps_), options_.decay_rate);
        detail::AdafactorArrays<Accumulate> const arrays{parameters.gradients().data(),
                                                         master_.data(parameters),
                                                         rows_.data(),
                                                         columns_.data(),
                                                         full_.data(),
                                                         options_.beta1 > 0 ? first_.data() : nullptr,
                                                         column_factors_.data(),
                                                         row_means_.data(),
                                                         column_partials_.data(),
                                                         static_cast<Accumulate>(gradient_scale),
                                                         static_cast<Accumulate>(keep),
                                                         static_cast<Accumulate>(options_.epsilon1)};
        detail::factor_statistics<Accumulate, kernels>(exec, tiles_, arrays);
        detail::for_tiles<Accumulate, 2, kernels>("protlm::adafactor::squares", exec, tiles_,
                                                  detail::AdafactorSquares<Accumulate>{arrays}, tile_squares_.data());
        Kokkos::parallel_for("protlm::adafactor::tensor_factors", range(exec, 0, tiles_.tensors()),
                             detail::TensorFactorsKernel<Accumulate, Exec>{
                                 tiles_.first, tiles_.sizes, tile_squares_.data(), factors_.data(),
                                 rate(steps_, learning_rate), options_.epsilon2, options_.clip_threshold,
                                 options_.weight_decay, options_.scale_parameter});
        detail::for_tiles<Accumulate, 0, kernels>(
            "protlm::adafactor::update", exec, tiles_,
            detail::AdafactorUpdate<Accumulate, S>{arrays, master_.rounded(parameters), factors_.data(),
                                                   static_cast<Accumulate>(options_.beta1)});
    }

    /// Statistics, the first moment where there is one, and master weights where the model has 16 bits.
    std::vector<StateArray<Accumulate, Exec>> state() const {
        std::vector<StateArray<Accumulate, Exec>> state{
            {"row_squares", rows_}, {"column_squares", columns_}, {"squares", full_}};
        if (options_.beta1 > 0)
            state.push_back({"first_moment", first_});
        master_.append_state(state);
        return state;
    }
    index_t steps() const { return steps_; }
    void set_steps(index_t steps) { steps_ = steps; }
    /// The rate of the last step before parameter scaling: the relative step's, or the scheduled one.
    double effective_rate(double scheduled) const { return rate(std::max<index_t>(steps_, 1), scheduled); }

  private:
    using Flat = typename MasterWeights<S, Exec>::Flat;
    template <class T>
    using View = typename detail::TensorBlocks<Exec>::template View<T>;
    static std::size_t size(index_t count) { return static_cast<std::size_t>(count); }

    double rate(index_t step, double scheduled) const {
        double const t = static_cast<double>(step);
        return options_.relative_step ? std::min(options_.warmup_init ? 1e-6 * t : 1e-2, 1.0 / std::sqrt(t))
                                      : scheduled;
    }

    AdafactorOptions options_;
    detail::FactorTiles<Exec> tiles_;
    MasterWeights<S, Exec> master_;
    Flat rows_, columns_, full_, first_, column_factors_;
    View<double> row_means_, column_partials_, tile_squares_;
    View<detail::TensorFactors<Accumulate>> factors_;
    index_t steps_ = 0;
};

} // namespace protlm::inline v0
