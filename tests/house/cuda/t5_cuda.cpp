// T5 on Kokkos::Cuda: training and generation.

#include "agreement.hpp"

#include <protlm/t5.hpp>

namespace {

struct T5Case {
    template <class S, class Exec>
    static std::vector<double> run(bool recompute) {
        protlm::T5Config config;
        config.d_model = 32;
        config.d_kv = 16;
        config.d_ff = 64;
        config.num_heads = 4;
        config.num_layers = 2;
        config.num_decoder_layers = 1;
        config.feed_forward_proj = "gated-gelu";
        protlm::T5<S, Exec> model(config);
        return cuda_check::train(model, protlm::SpanCorruption{.density = 0.3}, protlm::Vocabulary::prott5(),
                                 recompute);
    }
};

} // namespace

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    return cuda_check::agrees<T5Case>("T5") ? 0 : 1;
}
