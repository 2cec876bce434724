// One very long protein through a wide T5 encoder: by default titin's 35,213 residues through two layers of ProtT5-XL
// (1,024 wide, 32 heads of 128, 16,384 inner columns), whose attention matrices would have 159 GB a layer. Prints the
// time and the peak of the process's memory, which grows with the length and not with its square.
//
//   long_protein [residues [layers]]

#include "support.hpp"

#include <protlm/core/progress.hpp>
#include <protlm/embed/forecast.hpp>
#include <protlm/embed/t5.hpp>
#include <protlm/model/t5.hpp>

#include <sys/resource.h>

#include <cstdio>
#include <exception>

namespace protlm::bench {

/// Bytes that this process has had in memory at most.
double peak_memory() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

T5<float, Exec> make_model(index_t layers) {
    T5Config config;
    config.d_model = 1024;
    config.d_kv = 128;
    config.num_heads = 32;
    config.d_ff = 16384;
    config.num_layers = layers;
    T5<float, Exec> model(config, {.decoder = false});
    auto const values = model.parameters().values();
    Kokkos::parallel_for(
        "weights", range(Exec(), 0, static_cast<index_t>(values.size())), KOKKOS_LAMBDA(index_t i) {
            values(static_cast<std::size_t>(i)) = static_cast<float>(i * 7919 % 2001 - 1000) * 2e-5f;
        });
    return model;
}

void run(index_t residues, index_t layers) {
    auto const vocabulary = Vocabulary::prott5();
    std::vector<std::uint8_t> tokens;
    for (index_t t = 0; t < residues; ++t)
        tokens.push_back(vocabulary.residues[static_cast<std::size_t>(t * 31 % 20)]);
    Proteins proteins;
    proteins.add("long", tokens);
    auto const model = make_model(layers);
    Embedder embedder(model, vocabulary);
    auto const forecast = forecast_embedding(embedder, proteins, model.parameters().table().extent());
    std::printf("residues %ld, layers %ld\nforecast %s\n", static_cast<long>(residues), static_cast<long>(layers),
                forecast.text().c_str());
    std::fflush(stdout);
    auto const start = std::chrono::steady_clock::now();
    embedder(proteins, [](auto const &) {});
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double const work = embedder.shape().cost(residues + embedder.special()), peak = peak_memory();
    std::printf("seconds %.1f, %.0f GFLOP/s\npeak memory %s, beside the weights %s\n", seconds, work / seconds * 1e-9,
                format_amount(peak, "B").c_str(), format_amount(peak - forecast.weights, "B").c_str());
}

} // namespace protlm::bench

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    try {
        protlm::bench::run(argc > 1 ? std::stol(argv[1]) : 35213, argc > 2 ? std::stol(argv[2]) : 2);
    } catch (std::exception const &error) {
        std::fprintf(stderr, "long_protein: %s\n", error.what());
        return 1;
    }
    return 0;
}
