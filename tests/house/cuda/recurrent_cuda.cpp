// Transformer-XL and XLNet on Kokkos::Cuda: training with segments and memory, and with two streams.

#include "agreement.hpp"

#include <protlm/objective/causal.hpp>
#include <protlm/transformer_xl.hpp>
#include <protlm/xlnet.hpp>

namespace {

struct TransformerXlCase {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        auto const vocabulary = protlm::Vocabulary::protbert();
        protlm::TransformerXlConfig config;
        config.vocab_size = vocabulary.size();
        config.d_model = config.d_embed = 32;
        config.n_head = 4;
        config.d_head = 8;
        config.d_inner = 64;
        config.n_layer = 2;
        config.mem_len = 8;
        protlm::TransformerXl<S, Exec> model(config);
        return cuda_check::train(model, protlm::CausalLanguageModel{.segment_length = 6}, vocabulary, recompute);
    }
};

struct XlnetCase {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        protlm::XlnetConfig config;
        config.d_model = 32;
        config.n_head = 4;
        config.d_head = 8;
        config.d_inner = 64;
        config.n_layer = 2;
        protlm::Xlnet<S, Exec> model(config);
        return cuda_check::train(model, protlm::PermutationLanguageModel(), protlm::Vocabulary::protxlnet(), recompute);
    }
};

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    return cuda_check::agrees<TransformerXlCase>("Transformer-XL") & cuda_check::agrees<XlnetCase>("XLNet") ? 0 : 1;
}
