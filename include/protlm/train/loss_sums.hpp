#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/copy.hpp>

#include <array>
#include <concepts>

namespace protlm::inline v0 {

/// What a loss function returns for one micro-batch.
template <class L>
concept LossValue = requires(L loss) {
    { loss.sum.rows() } -> std::convertible_to<index_t>; // Tensor (1, 1): sum of -log p over labelled tokens
    { loss.labelled } -> std::convertible_to<index_t>;   // number of labelled tokens
    { loss.correct } -> std::convertible_to<index_t>;    // of them, those whose best token is the label
};

/// A loss of two means, each over labelled tokens of its own: weight * mean(sum) + mean(auxiliary). ELECTRA's, where
/// the auxiliary loss is the generator's.
template <class L>
concept PairedLoss = LossValue<L> && requires(L loss) {
    { loss.weight } -> std::convertible_to<double>;
    { loss.majority } -> std::convertible_to<index_t>; // right answers of one who always gives the commoner one
    { loss.auxiliary } -> LossValue;
};

/// A loss function of a PairedLoss says beforehand how many labelled tokens both parts of a micro-batch will have, so
/// that each can be divided by its number over all micro-batches and ranks.
template <class F, class MicroBatch>
concept CountingLoss = requires(F const &loss, MicroBatch const &micro_batch) {
    { loss.counts(micro_batch) } -> std::same_as<std::array<index_t, 2>>;
};

/// The number in a (1, 1) tensor. The host waits for it.
template <class T, class Exec>
double to_host(Exec const &exec, Tensor<T, Exec> const &scalar) {
    T value{};
    copy_to_host(exec, &value, scalar.view());
    return static_cast<double>(value);
}

/// Losses added up over micro-batches, and over ranks once `values` are.
struct LossSums {
    enum Field { loss, correct, labelled, auxiliary, auxiliary_labelled, majority, fields };
    std::array<double, fields> values{}; // loss: with its weight

    template <class Exec, LossValue L>
    void add(Exec const &exec, L const &value) {
        double weight = 1;
        if constexpr (PairedLoss<L>) {
            weight = value.weight;
            if (value.auxiliary.labelled > 0)
                values[auxiliary] += to_host(exec, value.auxiliary.sum);
            values[auxiliary_labelled] += static_cast<double>(value.auxiliary.labelled);
            values[majority] += static_cast<double>(value.majority);
        }
        values[loss] += weight * to_host(exec, value.sum);
        values[correct] += static_cast<double>(value.correct);
        values[labelled] += static_cast<double>(value.labelled);
    }

    /// Of all: the first mean, with its weight, and the auxiliary one.
    double mean() const { return ratio(loss, labelled) + ratio(auxiliary, auxiliary_labelled); }
    /// Of one field to another, 0 where there is nothing.
    double ratio(Field part, Field whole) const { return values[whole] > 0 ? values[part] / values[whole] : 0.0; }
};

} // namespace protlm::inline v0
