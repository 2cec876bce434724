// BERT's training and embedding for Kokkos::Cuda: all device code that they need must compile and link. Run on a
// machine with a GPU, it also compares the results with the host's.

#include <protlm/bert.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/gradient_step.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

namespace {

protlm::BertConfig small_config() {
    protlm::BertConfig config;
    config.hidden_size = 64;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 4;
    config.intermediate_size = 128;
    config.max_position_embeddings = 64;
    return config;
}

/// Trains for some steps and embeds: the losses, then the vectors of two proteins.
template <class S, class Exec>
std::vector<double> train_and_embed(bool recompute) {
    auto const vocabulary = protlm::Vocabulary::protbert();
    protlm::Bert<S, Exec> model(small_config());
    model.initialise(1);
    model.set_recompute(recompute);
    protlm::MaskedLanguageModel const objective{.rate = 0.5};
    protlm::Batch batch;
    for (char const *protein : {"MKTAYIAKQRQISFVKSHFSRQ", "SKTZP", "AETCZAO"})
        append_sequence(batch, vocabulary, encode(vocabulary, protein), std::nullopt,
                        static_cast<std::uint64_t>(batch.sequences()));
    auto const loss = [&](auto &context, protlm::Batch const &b) {
        auto const masked = objective.apply(b, vocabulary, 1);
        auto const packed = make_packed(context, {masked.tokens, b.token_types, b.offsets});
        return model.masked_loss(context, packed, context.template upload<protlm::index_t>(masked.rows),
                                 context.template upload<std::int32_t>(masked.labels));
    };
    protlm::Training<Exec> context;
    protlm::GradientStep<S, Exec> step(model.parameters(), 1.0);
    protlm::AdamW<S, Exec> optimizer(model.parameters(), {});
    protlm::NoExchange exchange;
    std::vector<double> results;
    for (int i = 1; i <= 3; ++i)
        results.push_back(step(context, std::array{batch}, loss, optimizer, exchange, i, 1e-3, [] {
                              return protlm::RankNews();
                          }).loss);
    for (auto const &protein : protlm::embed(model, {"MKTAYIAKQR", "SKTZP"}))
        results.insert(results.end(), protein.vector.begin(), protein.vector.end());
    return results;
}

template <class S>
bool agrees(bool recompute, double tolerance) {
    auto const device = train_and_embed<S, Kokkos::Cuda>(recompute);
    auto const host = train_and_embed<S, Kokkos::DefaultHostExecutionSpace>(recompute);
    double error = 0;
    for (std::size_t i = 0; i < host.size(); ++i)
        error = std::max(error, std::abs(device[i] - host[i]));
    std::printf("largest difference between device and host: %g, at most %g\n", error, tolerance);
    return error <= tolerance;
}

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    bool const good = agrees<double>(true, 1e-9) && agrees<float>(false, 1e-4) && agrees<protlm::bfloat16>(false, 0.05);
    return good ? 0 : 1;
}
