// The ops one by one, at BERT's shapes: products in GFLOP/s and as a share of the machine's own peak, all else in GB/s
// of what it must at least read and write. `build/release/benchmarks/ops --benchmark_filter=linear` runs a part.

#include "support.hpp"

#include <protlm/core/parameters.hpp>
#include <protlm/ops/add.hpp>
#include <protlm/ops/cross_entropy.hpp>
#include <protlm/ops/dropout.hpp>
#include <protlm/ops/embedding.hpp>
#include <protlm/ops/linear.hpp>
#include <protlm/ops/norm.hpp>

#include <cstdio>
#include <exception>

namespace protlm::bench {
namespace {

using Context = Training<Exec>;
using Activations = Tensor<float, Exec>;

/// Runs `work` under the clock, `prepare` before each time without it. @return mean seconds of `work`
template <class Prepare, class Work>
double measure(benchmark::State &state, Prepare const &prepare, Work const &work) {
    double total = 0;
    for (auto _ : state) {
        prepare();
        Exec().fence();
        auto const start = std::chrono::steady_clock::now();
        work();
        Exec().fence();
        double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(seconds);
        total += seconds;
    }
    return total / static_cast<double>(state.iterations());
}

/// Rate of a product of `flops` operations a call, and its share of the peak.
void count_flops(benchmark::State &state, double flops, double seconds) {
    state.counters["GFLOPS"] = flops / seconds * 1e-9;
    state.counters["share"] = flops / seconds / measured_peak();
}
void count_bytes(benchmark::State &state, index_t elements, double seconds) {
    state.counters["GBytes"] = static_cast<double>(elements) * sizeof(float) / seconds * 1e-9;
}

Activations activations(Context &context, index_t rows, index_t cols) {
    auto const x = context.tensor<float>(rows, cols);
    for (index_t i = 0; i < rows * cols; ++i)
        x.view().data()[i] = static_cast<float>(i * 37 % 101 - 50) * 0.02f;
    return x;
}

/// Weights of the given shapes, trained or not.
Parameters<float, Exec> weights(std::vector<std::vector<index_t>> const &shapes, bool trained) {
    ParameterTable table;
    for (auto const &shape : shapes)
        table.add(std::to_string(table.entries().size()), shape, Initialiser::truncated_normal(0.02));
    Parameters<float, Exec> parameters(table);
    parameters.initialise(1);
    if (trained)
        parameters.enable_gradients();
    return parameters;
}

/// Gives y a gradient to run backward from.
void set_gradient(Activations const &y) {
    y.accumulate();
    Kokkos::deep_copy(y.gradient_view(), 0.01f);
}

/// Seconds of `forward`, which makes y, or of the backward from y; x loses its gradient each time.
template <class Forward>
double measure_side(benchmark::State &state, bool backward, Context &context, Activations const &x,
                    Activations const &y, Forward const &forward) {
    double seconds = 0;
    if (backward)
        seconds = measure(
            state,
            [&] {
                forward();
                if (x)
                    x.release_gradient();
                set_gradient(y);
            },
            [&] { context.tape().run(); });
    else
        seconds = measure(
            state, [] {}, forward);
    context.tape().clear();
    return seconds;
}

enum class Part { forward, gelu, dx, dw };

/// @param state T, K, N
void run_linear(benchmark::State &state, Part part) {
    Context context;
    index_t const t = state.range(0), k = state.range(1), n = state.range(2);
    auto const parameters = weights({{n, k}, {n}}, part == Part::dw);
    auto x = activations(context, t, k);
    x.set_needs_gradient(part == Part::dx);
    Activations y;
    auto const forward = [&] {
        context.tape().clear();
        y = linear(context, x, parameters.weight(0), parameters.weight(1),
                   part == Part::gelu ? Activation::gelu : Activation::none);
    };
    bool const backward = part == Part::dx || part == Part::dw;
    double const seconds = measure_side(state, backward, context, x, y, forward);
    count_flops(state, 2.0 * static_cast<double>(t) * static_cast<double>(k) * static_cast<double>(n), seconds);
}

/// The two back ends side by side, and with them the peak. @param state n
void run_product(benchmark::State &state, bool packed) {
    index_t const n = state.range(0);
    double best = 0;
    for (auto _ : state) {
        double const rate = packed ? packed_product_rate(n) : eigen_product_rate(n);
        best = std::max(best, rate);
        state.SetIterationTime(2.0 * static_cast<double>(n * n * n) / rate);
    }
    state.counters["GFLOPS"] = best * 1e-9;
    state.counters["share"] = best / measured_peak();
}

/// Forward, or with `backward` the backward alone, of an op on x (T, C).
/// @param passes how often the whole of (T, C) is read or written at least
template <class Op>
void run_rows(benchmark::State &state, bool backward, index_t passes, Op const &op) {
    Context context;
    auto const x = activations(context, state.range(0), state.range(1));
    Activations y;
    auto const forward = [&] {
        context.tape().clear();
        y = op(context, x);
    };
    count_bytes(state, passes * x.rows() * x.cols(), measure_side(state, backward, context, x, y, forward));
}

void run_layer_norm(benchmark::State &state, bool backward) {
    auto const parameters = weights({{state.range(1)}, {state.range(1)}}, true);
    run_rows(state, backward, backward ? 3 : 2, [&](Context &context, Activations const &x) {
        return layer_norm(context, x, parameters.weight(0), parameters.weight(1), 1e-12);
    });
}

void run_dropout(benchmark::State &state, bool backward) {
    run_rows(state, backward, 2, [](Context &context, Activations const &x) { return dropout(context, x, 0.1); });
}

void run_add(benchmark::State &state, bool backward) {
    run_rows(state, backward, 3, [](Context &context, Activations const &x) { return add(context, x, x); });
}

/// Cross entropy over 30 letters. @param state rows, classes
void run_cross_entropy(benchmark::State &state, bool backward) {
    std::vector<std::int32_t> labels;
    for (index_t i = 0; i < state.range(0); ++i)
        labels.push_back(static_cast<std::int32_t>(i % state.range(1)));
    run_rows(state, backward, backward ? 2 : 1, [&](Context &context, Activations const &x) {
        return cross_entropy(context, x, context.upload<std::int32_t>(labels)).sum;
    });
}

/// Letters, positions and types, as BERT adds them. @param state T, C
void run_embedding(benchmark::State &state, bool backward) {
    Context context;
    index_t const tokens = state.range(0), width = state.range(1);
    auto const tables = weights({{30, width}, {1024, width}, {2, width}}, true);
    std::vector<std::int32_t> letters, positions, types(static_cast<std::size_t>(tokens), 0);
    for (index_t t = 0; t < tokens; ++t) {
        letters.push_back(static_cast<std::int32_t>(5 + t * 7 % 20));
        positions.push_back(static_cast<std::int32_t>(t % 350));
    }
    auto const a = context.upload<std::int32_t>(letters), b = context.upload<std::int32_t>(positions),
               c = context.upload<std::int32_t>(types);
    using L = Lookup<float, Exec>;
    Activations y;
    auto const forward = [&] {
        context.tape().clear();
        y = embedding(context, std::array{L{a, tables.weight(0)}, L{b, tables.weight(1)}, L{c, tables.weight(2)}});
    };
    Activations const none;
    count_bytes(state, (backward ? 1 : 2) * tokens * width, measure_side(state, backward, context, none, y, forward));
}

template <class F>
void add(std::string const &name, F run, std::vector<std::vector<std::int64_t>> const &shapes) {
    auto *const added = benchmark::RegisterBenchmark(name.c_str(), run)->UseManualTime()->Unit(benchmark::kMillisecond);
    for (auto const &shape : shapes)
        added->Args(shape);
}

void add_benchmarks() {
    for (bool packed : {true, false})
        add(packed ? "product/packed" : "product/eigen", [=](benchmark::State &state) { run_product(state, packed); },
            {{256}, {512}, {1024}, {2048}});
    // joint projection, output, feed-forward up and down: widths 256, 512 and ProtBert's 1024; also few rows
    std::vector<std::vector<std::int64_t>> shapes;
    for (std::int64_t width : {256, 512, 1024})
        for (auto [k, n] : {std::pair{width, 3 * width}, {width, width}, {width, 4 * width}, {4 * width, width}})
            shapes.push_back({4096, k, n});
    for (std::int64_t t : {1, 16, 100, 350})
        shapes.push_back({t, 512, 2048});
    for (auto [name, part] : {std::pair{"linear/forward", Part::forward},
                              {"linear/forward_gelu", Part::gelu},
                              {"linear/dx", Part::dx},
                              {"linear/dw", Part::dw}})
        add(
            name, [part = part](benchmark::State &state) { run_linear(state, part); }, shapes);
    std::vector<std::vector<std::int64_t>> const rows{{4096, 256}, {4096, 512}, {4096, 1024}};
    for (bool backward : {false, true}) {
        std::string const side = backward ? "/backward" : "/forward";
        add(
            "layer_norm" + side, [=](benchmark::State &state) { run_layer_norm(state, backward); }, rows);
        add(
            "dropout" + side, [=](benchmark::State &state) { run_dropout(state, backward); }, rows);
        add(
            "add" + side, [=](benchmark::State &state) { run_add(state, backward); }, rows);
        add(
            "embedding" + side, [=](benchmark::State &state) { run_embedding(state, backward); }, rows);
        add("cross_entropy" + side, [=](benchmark::State &state) { run_cross_entropy(state, backward); },
            {{600, 30}, {4096, 30}});
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
        protlm::bench::add_machine_context();
        benchmark::AddCustomContext("peak GFLOP/s", std::to_string(protlm::bench::measured_peak() * 1e-9));
        protlm::bench::add_benchmarks();
        benchmark::RunSpecifiedBenchmarks();
    } catch (std::exception const &error) {
        std::fprintf(stderr, "ops: %s\n", error.what());
        return 1;
    }
}
