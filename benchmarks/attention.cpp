// Attention by length, head width, mask and score, forward and backward: tokens/s and GFLOP/s. Scores and results
// take 4 L^2 D operations a head forward and 10 backward (half of each under a causal mask), as is usually counted;
// exponentials come on top. `build/release/benchmarks/attention --benchmark_filter=plain/64` runs a part.

#include "support.hpp"

#include <protlm/core/parameters.hpp>
#include <protlm/ops/attention.hpp>

#include <cstdio>
#include <exception>

namespace protlm::bench {
namespace {

using Context = Training<Exec>;
constexpr index_t model_width = 512, batch_tokens = 8192;

/// Forward, or forward and backward, of self attention over a joint (T, 3 C) projection; sequences of `length` fill a
/// batch of 8,192 tokens.
template <class MakeScore, class Mask>
void run_attention(benchmark::State &state, index_t head_width, bool backward, MakeScore const &make_score, Mask mask) {
    Context context;
    index_t const length = state.range(0), heads = model_width / head_width;
    std::vector<std::int64_t> offsets{0};
    while (offsets.back() + length <= batch_tokens)
        offsets.push_back(offsets.back() + length);
    auto const segments = make_segments(context, offsets);
    index_t const tokens = segments.total();
    auto const qkv = context.tensor<float>(tokens, 3 * model_width);
    for (index_t i = 0; i < tokens * 3 * model_width; ++i)
        qkv.view().data()[i] = static_cast<float>(i * 37 % 101 - 50) * 0.02f;
    Parameters<float, Exec> parameters; // of the score, where it has some
    auto const score = make_score(context, parameters, heads, head_width);
    auto const call = [&] {
        auto const out = attention(context, Columns{qkv, 0}, Columns{qkv, model_width}, Columns{qkv, 2 * model_width},
                                   segments, segments, heads, head_width, score, mask);
        if (backward) {
            out.accumulate();
            Kokkos::deep_copy(out.gradient_view(), 0.01f);
            context.tape().run();
            qkv.release_gradient();
        }
        context.tape().clear();
        context.exec().fence();
    };
    call(); // fills the pool
    double seconds = 0;
    for (auto _ : state) {
        auto const start = std::chrono::steady_clock::now();
        call();
        double const one = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(one);
        seconds += one;
    }
    double const pairs = static_cast<double>(tokens) * static_cast<double>(length) * (Mask::everything ? 1.0 : 0.5);
    double const flops = (backward ? 14.0 : 4.0) * pairs * static_cast<double>(model_width);
    double const rate = flops * static_cast<double>(state.iterations()) / seconds;
    state.SetItemsProcessed(state.iterations() * tokens);
    state.counters["GFLOPS"] = rate * 1e-9;
    state.counters["share"] = rate / measured_peak();
}

auto const scaled = [](Context &, Parameters<float, Exec> &, index_t, index_t head_width) {
    return ScaledDot<float>{1.0f / std::sqrt(static_cast<float>(head_width))};
};

/// T5's bias with a table that is trained.
auto const bucket_bias = [](Context &context, Parameters<float, Exec> &parameters, index_t heads, index_t) {
    ParameterTable table;
    auto const id = table.add("relative_attention_bias", {32, heads}, Initialiser::truncated_normal(0.5));
    parameters = Parameters<float, Exec>(table);
    parameters.initialise(1);
    parameters.enable_gradients();
    return BucketBias<float, Exec>(context, parameters.weight(id), true, 128);
};

template <class MakeScore, class Mask>
void add(std::string const &name, MakeScore make_score, Mask mask) {
    for (index_t head_width : {32, 64, 128})
        for (bool backward : {false, true}) {
            std::string const full =
                name + "/" + std::to_string(head_width) + (backward ? "/forward_backward" : "/forward");
            benchmark::RegisterBenchmark(
                full.c_str(),
                [=](benchmark::State &state) { run_attention(state, head_width, backward, make_score, mask); })
                ->RangeMultiplier(2)
                ->Range(128, 8192)
                ->UseManualTime()
                ->Unit(benchmark::kMillisecond);
        }
}

} // namespace
} // namespace protlm::bench

int main(int argc, char **argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    Kokkos::ScopeGuard const guard(argc, argv);
    try {
        using namespace protlm::bench;
        add_machine_context();
        benchmark::AddCustomContext("peak GFLOP/s", std::to_string(measured_peak() * 1e-9));
        add("plain", scaled, protlm::FullMask{});
        add("causal", scaled, protlm::CausalMask{});
        add("bucket_bias", bucket_bias, protlm::FullMask{});
        benchmark::RunSpecifiedBenchmarks();
    } catch (std::exception const &error) {
        std::fprintf(stderr, "attention: %s\n", error.what());
        return 1;
    }
}
