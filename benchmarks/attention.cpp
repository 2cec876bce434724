// Attention by length, head width, mask and score, forward and backward: tokens/s and GFLOP/s. Scores and results
// take 4 L^2 D operations a head forward and 10 backward (half of each under a causal mask), as is usually counted;
// exponentials come on top, and so does what a score adds. The cases `ratio/...` compare a score, or dropout at 0.1,
// with plain scaling under the same mask, call by call in turn, in processor time: forward, and forward with backward.
// `build/release/benchmarks/attention --benchmark_filter=plain/64` runs a part.

#include "support.hpp"

#include <protlm/core/parameters.hpp>
#include <protlm/ops/attention.hpp>
#include <protlm/ops/relative_score.hpp>

#include <cstdio>
#include <ctime>
#include <exception>

namespace protlm::bench {
namespace {

using Context = Training<Exec>;
constexpr index_t model_width = 512, batch_tokens = 8192;

/// Self attention over a joint (T, 3 C) projection; sequences of `length` fill a batch of 8,192 tokens.
template <class MakeScore, class Mask>
class SelfAttentionCase {
  public:
    SelfAttentionCase(index_t length, index_t head_width, MakeScore const &make_score, Mask mask, double dropout = 0)
        : length_(length), heads_(model_width / head_width), head_width_(head_width), make_score_(make_score),
          mask_(mask), dropout_(dropout) {
        std::vector<std::int64_t> offsets{0};
        while (offsets.back() + length <= batch_tokens)
            offsets.push_back(offsets.back() + length);
        segments_ = make_segments(context_, offsets);
        qkv_ = context_.tensor<float>(tokens(), 3 * model_width);
        fill(qkv_);
    }
    index_t tokens() const { return segments_.total(); }

    /// Forward, or forward and backward.
    void operator()(bool backward) {
        auto const score = make_score_(*this);
        auto const out =
            attention(context_, Columns{qkv_, 0}, Columns{qkv_, model_width}, Columns{qkv_, 2 * model_width}, segments_,
                      segments_, heads_, head_width_, score, mask_, attention_products<float>, dropout_);
        if (backward) {
            out.accumulate();
            Kokkos::deep_copy(out.gradient_view(), 0.01f);
            context_.tape().run();
            qkv_.release_gradient();
            if (encodings_)
                encodings_.release_gradient();
        }
        context_.tape().clear();
        context_.exec().fence();
    }

    ScaledDot<float> scaled() const { return {1.0f / std::sqrt(static_cast<float>(head_width_))}; }
    /// T5's bias with a table that is trained.
    BucketBias<float, Exec> bucket_bias() { return {context_, weight({32, heads_}), true, 128}; }
    /// Transformer-XL's term with encodings and biases that are trained; `ahead` under masks that are not causal.
    RelativeScore<float, Exec> relative(bool ahead) {
        auto const biases = weight({2 * heads_, head_width_});
        if (!encodings_) {
            encodings_ = context_.tensor<float>(length_ + (ahead ? length_ - 1 : 0), model_width);
            fill(encodings_);
        }
        return {context_,       encodings_, length_ - 1, biases.slice(0, heads_), biases.slice(heads_, heads_),
                scaled().factor};
    }

  private:
    static void fill(Tensor<float, Exec> const &tensor) {
        for (index_t i = 0; i < tensor.rows() * tensor.cols(); ++i)
            tensor.view().data()[i] = static_cast<float>(i * 37 % 101 - 50) * 0.02f;
    }
    /// The score's weight, made on first use.
    Weight<float, Exec> weight(std::vector<index_t> const &shape) {
        if (parameters_.table().entries().empty()) {
            ParameterTable table;
            table.add("score", shape, Initialiser::truncated_normal(0.5));
            parameters_ = Parameters<float, Exec>(table);
            parameters_.initialise(1);
            parameters_.enable_gradients();
        }
        return parameters_.weight(0);
    }

    Context context_;
    index_t length_, heads_, head_width_;
    MakeScore make_score_;
    Mask mask_;
    double dropout_;
    Segments<Exec> segments_;
    Tensor<float, Exec> qkv_, encodings_;
    Parameters<float, Exec> parameters_;
};

auto const scaled = [](auto &run) { return run.scaled(); };
auto const bucket_bias = [](auto &run) { return run.bucket_bias(); };
auto const relative_full = [](auto &run) { return run.relative(true); };
auto const relative_causal = [](auto &run) { return run.relative(false); };

template <class MakeScore, class Mask>
void run_attention(benchmark::State &state, index_t head_width, bool backward, MakeScore const &make_score, Mask mask) {
    index_t const length = state.range(0);
    SelfAttentionCase<MakeScore, Mask> run(length, head_width, make_score, mask);
    run(backward); // fills the pool
    double seconds = 0;
    for (auto _ : state) {
        auto const start = std::chrono::steady_clock::now();
        run(backward);
        double const one = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(one);
        seconds += one;
    }
    double const pairs =
        static_cast<double>(run.tokens()) * static_cast<double>(length) * (Mask::everything ? 1.0 : 0.5);
    double const flops = (backward ? 14.0 : 4.0) * pairs * static_cast<double>(model_width);
    double const rate = flops * static_cast<double>(state.iterations()) / seconds;
    state.SetItemsProcessed(state.iterations() * run.tokens());
    state.counters["GFLOPS"] = rate * 1e-9;
    state.counters["share"] = rate / measured_peak();
}

/// Time of a score, or of dropout, over that of plain scaling: the median over calls in turn, so that a busy machine
/// slows both.
template <class MakeScore, class Mask>
void run_ratio(benchmark::State &state, index_t head_width, MakeScore const &make_score, Mask mask, double dropout) {
    SelfAttentionCase<decltype(scaled), Mask> plain(state.range(0), head_width, scaled, mask);
    SelfAttentionCase<MakeScore, Mask> other(state.range(0), head_width, make_score, mask, dropout);
    auto const seconds = [](auto &run, bool backward) {
        std::clock_t const start = std::clock();
        run(backward);
        return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    };
    std::vector<double> ratios[2];
    for (bool backward : {false, true})
        seconds(plain, backward), seconds(other, backward);
    for (auto _ : state)
        for (bool backward : {false, true}) {
            double const reference = seconds(plain, backward);
            ratios[backward].push_back(seconds(other, backward) / reference);
        }
    for (bool backward : {false, true}) {
        auto &all = ratios[backward];
        std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
        state.counters[backward ? "forward_backward" : "forward"] = all[all.size() / 2];
    }
}

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

template <class MakeScore, class Mask>
void add_ratio(std::string const &name, MakeScore make_score, Mask mask, double dropout = 0) {
    for (index_t head_width : {32, 64, 128})
        benchmark::RegisterBenchmark(
            ("ratio/" + name + "/" + std::to_string(head_width)).c_str(),
            [=](benchmark::State &state) { run_ratio(state, head_width, make_score, mask, dropout); })
            ->Arg(512)
            ->Arg(2048)
            ->Iterations(9)
            ->Unit(benchmark::kMillisecond);
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
        add("relative", relative_full, protlm::FullMask{});
        add("relative_causal", relative_causal, protlm::CausalMask{});
        add_ratio("bucket_bias", bucket_bias, protlm::FullMask{});
        add_ratio("dropout", scaled, protlm::FullMask{}, 0.1);
        add_ratio("relative", relative_full, protlm::FullMask{});
        add_ratio("relative_causal", relative_causal, protlm::CausalMask{});
        benchmark::RunSpecifiedBenchmarks();
    } catch (std::exception const &error) {
        std::fprintf(stderr, "attention: %s\n", error.what());
        return 1;
    }
}
