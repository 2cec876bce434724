// expect: generate_greedy: the decoder must offer rows(), step(context, tokens) and reorder(context, rows)

#include <protlm/model/generation.hpp>

using namespace protlm;

struct StepsOnly {
    void step(std::span<std::int32_t const>) {}
};

void use(Inference<Kokkos::DefaultHostExecutionSpace> &context, StepsOnly &decoder, std::span<TextStart const> starts) {
    generate_greedy(context, decoder, starts, {});
}
