// BERT, ALBERT and ELECTRA on Kokkos::Cuda: training, and BERT's embeddings.

#include "agreement.hpp"

#include <protlm/albert.hpp>
#include <protlm/bert.hpp>
#include <protlm/electra.hpp>

namespace {

template <class Config>
Config small(Config config) {
    config.hidden_size = 64;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 4;
    config.intermediate_size = 128;
    config.max_position_embeddings = 64;
    return config;
}

struct BertCase {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        auto const vocabulary = protlm::Vocabulary::protbert();
        protlm::Bert<S, Exec> model(small(protlm::BertConfig()));
        auto results = cuda_check::train(model, protlm::MaskedLanguageModel{.rate = 0.5}, vocabulary, recompute);
        for (auto const &protein : protlm::embed(model, {"MKTAYIAKQR", "SKTZP"}, {}, vocabulary))
            results.insert(results.end(), protein.vector.begin(), protein.vector.end());
        return results;
    }
};

struct AlbertCase {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        auto const vocabulary = protlm::Vocabulary::protalbert();
        auto config = small(protlm::AlbertConfig());
        config.vocab_size = vocabulary.size();
        config.embedding_size = 32;
        protlm::Albert<S, Exec> model(config);
        return cuda_check::train(model, protlm::MaskedLanguageModel{.rate = 0.5}, vocabulary, recompute);
    }
};

struct ElectraCase {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        using Model = protlm::Electra<S, Exec>;
        auto const discriminator = small(protlm::ElectraConfig());
        auto generator = discriminator;
        generator.hidden_size = 32;
        protlm::GeneratorDiscriminator<Model, Model> model(generator, discriminator);
        return cuda_check::train(model, protlm::ReplacedTokenDetection{.rate = 0.5}, protlm::Vocabulary::protbert(),
                                 recompute);
    }
};

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    bool const good = cuda_check::agrees<BertCase>("BERT") & cuda_check::agrees<AlbertCase>("ALBERT") &
                      cuda_check::agrees<ElectraCase>("ELECTRA");
    double const error = std::abs(BertCase::run<protlm::bfloat16, Kokkos::Cuda>(false)[2] -
                                  BertCase::run<protlm::bfloat16, Kokkos::DefaultHostExecutionSpace>(false)[2]);
    std::printf("BERT in bfloat16: %g, at most 0.05\n", error);
    return good && error <= 0.05 ? 0 : 1;
}
