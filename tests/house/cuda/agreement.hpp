#pragma once

// Trains a small model for some steps in two execution spaces and compares: all device code that training needs must
// compile and link; run on a machine with a GPU, the results must agree with the host's.

#include <protlm/data/batch.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/gradient_step.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

namespace cuda_check {

/// Three proteins as a model of `vocabulary` reads them.
inline protlm::Batch proteins(protlm::Vocabulary const &vocabulary) {
    protlm::Batch batch;
    for (char const *protein : {"MKTAYIAKQRQISFVKSHFSRQ", "SKTZPLLVGA", "AETCZAO"})
        append_sequence(batch, vocabulary, encode(vocabulary, protein), std::nullopt,
                        static_cast<std::uint64_t>(batch.sequences()));
    return batch;
}

/// `objective.loss` as GradientStep calls it.
template <class Model, class Objective>
struct StepLoss {
    Model const &model;
    Objective const &objective;
    protlm::Vocabulary const &vocabulary;
    template <class Context>
    auto operator()(Context &context, protlm::Batch const &batch) const {
        return objective.loss(context, model, batch, vocabulary, 1);
    }
    auto counts(protlm::Batch const &batch) const
        requires requires { objective.counts(batch, vocabulary, 1); }
    {
        return objective.counts(batch, vocabulary, 1);
    }
};

/// The losses of three steps.
template <class Model, class Objective>
std::vector<double> train(Model &model, Objective const &objective, protlm::Vocabulary const &vocabulary,
                          bool recompute) {
    using S = typename Model::scalar_type;
    using Exec = typename Model::execution_space;
    model.initialise(1);
    model.set_recompute(recompute);
    protlm::Training<Exec> context;
    protlm::GradientStep<S, Exec> step(model.parameters(), 1.0);
    protlm::AdamW<S, Exec> optimizer(model.parameters(), {});
    protlm::NoExchange exchange;
    std::array<protlm::Batch, 1> const batches{proteins(vocabulary)};
    std::vector<double> losses;
    for (int i = 1; i <= 3; ++i)
        losses.push_back(step(context, batches, StepLoss<Model, Objective>{model, objective, vocabulary}, optimizer,
                              exchange, i, 1e-3, [] { return protlm::RankNews(); })
                             .loss);
    return losses;
}

/// Compares `Case::template run<S, Exec>(recompute)` on the device with the host's, in three scalars.
template <class Case>
bool agrees(char const *name) {
    bool good = true;
    auto const compare = [&]<class S>(S, bool recompute, double tolerance) {
        auto const device = Case::template run<S, Kokkos::Cuda>(recompute);
        auto const host = Case::template run<S, Kokkos::DefaultHostExecutionSpace>(recompute);
        double error = 0;
        for (std::size_t i = 0; i < host.size(); ++i)
            error = std::max(error, std::abs(device[i] - host[i]));
        std::printf("%s: largest difference between device and host: %g, at most %g\n", name, error, tolerance);
        good = good && error <= tolerance;
    };
    compare(double(), true, 1e-9);
    compare(float(), false, 1e-4);
    return good;
}

} // namespace cuda_check
