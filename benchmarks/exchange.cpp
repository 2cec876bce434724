// The gradient exchange: time of the slowest rank for tables of BERT's shape, alone and while a backward of about the
// same length runs ("exposed" is what the exchange adds to it).
//
//     mpirun -n 4 --bind-to none exchange [--benchmark_...]

#include "support.hpp"

#include <protlm/distributed.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <string>

namespace {

using protlm::index_t;
using protlm::bench::Exec;
using Clock = std::chrono::steady_clock;

/// Layers of an encoder `width` wide: twelve and more tensors each, of very different sizes.
protlm::ParameterTable encoder_table(index_t width, index_t layers) {
    protlm::ParameterTable table;
    auto const zeros = protlm::Initialiser::zeros();
    table.add("embeddings", {2048, width}, zeros);
    for (index_t n = 0; n < layers; ++n) {
        std::string const name = "layer." + std::to_string(n) + '.';
        for (char const *part : {"query", "key", "value", "output"}) {
            table.add(name + part + ".weight", {width, width}, zeros);
            table.add(name + part + ".bias", {width}, zeros);
        }
        table.add(name + "inner.weight", {4 * width, width}, zeros);
        table.add(name + "inner.bias", {4 * width}, zeros);
        table.add(name + "outer.weight", {width, 4 * width}, zeros);
        table.add(name + "outer.bias", {width}, zeros);
    }
    return table;
}

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The longest time of all ranks.
double slowest(protlm::Communicator const &world, double seconds) {
    protlm::check_mpi(MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, world.get()), "MPI_Allreduce");
    return seconds;
}

struct Case {
    protlm::Communicator world = protlm::Communicator::duplicate(MPI_COMM_WORLD);
    protlm::Parameters<float, Exec> parameters;
    protlm::GradientExchange<float, Exec> exchange;
    std::vector<protlm::ParameterId> ids;

    Case(index_t width, index_t layers, index_t bucket_bytes)
        : parameters(encoder_table(width, layers)),
          exchange(protlm::Communicator::duplicate(MPI_COMM_WORLD), parameters, {.bucket_bytes = bucket_bytes}) {
        for (std::size_t id = 0; id < parameters.table().entries().size(); ++id)
            ids.push_back(static_cast<protlm::ParameterId>(id));
    }

    /// Seconds of one step in which each tensor takes `seconds_a_tensor` to become ready, last first.
    double step(double seconds_a_tensor) {
        world.barrier();
        auto const start = Clock::now();
        exchange.begin(ids);
        for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
            auto const began = Clock::now();
            while (since(began) < seconds_a_tensor) {
            }
            exchange.ready(*id);
        }
        exchange.finish();
        return slowest(world, since(start));
    }
};

void report(benchmark::State &state, Case const &it, double seconds) {
    double const bytes = static_cast<double>(it.parameters.table().extent()) * 4;
    state.counters["parameters"] = static_cast<double>(it.parameters.table().parameter_count());
    state.counters["buckets"] = static_cast<double>(it.exchange.buckets());
    state.counters["bytes/s"] =
        benchmark::Counter(bytes / seconds, benchmark::Counter::kDefaults, benchmark::Counter::kIs1000);
}

void exchange_alone(benchmark::State &state) {
    Case it(state.range(0), state.range(1), state.range(2) << 20);
    double total = it.step(0) * 0; // the first sets up connections
    for (auto _ : state) {
        double const seconds = it.step(0);
        state.SetIterationTime(seconds);
        total += seconds;
    }
    report(state, it, total / static_cast<double>(state.iterations()));
}

void exchange_under_backward(benchmark::State &state) {
    Case it(state.range(0), state.range(1), state.range(2) << 20);
    it.step(0);
    double const alone = std::min(it.step(0), it.step(0));
    double const compute = std::max(alone, 1e-3), a_tensor = compute / static_cast<double>(it.ids.size());
    double total = 0;
    for (auto _ : state) {
        double const seconds = it.step(a_tensor);
        state.SetIterationTime(seconds);
        total += seconds;
    }
    double const mean = total / static_cast<double>(state.iterations());
    report(state, it, mean);
    state.counters["alone_ms"] = 1e3 * alone;
    state.counters["exposed_ms"] = 1e3 * (mean - compute);
}

void cases(benchmark::internal::Benchmark *it) {
    it->ArgNames({"width", "layers", "bucket_MiB"})->UseManualTime()->Unit(benchmark::kMillisecond)->Iterations(20);
    for (auto const &[width, layers] : {std::pair(256, 6), std::pair(512, 8)})
        for (int bucket : {1, 4, 16, 1024})
            it->Args({width, layers, bucket});
}
BENCHMARK(exchange_alone)->Apply(cases);
BENCHMARK(exchange_under_backward)->Apply(cases);

/// Ranks other than the first take part without a word.
struct Silent : benchmark::BenchmarkReporter {
    bool ReportContext(Context const &) override { return true; }
    void ReportRuns(std::vector<Run> const &) override {}
};

} // namespace

int main(int argc, char **argv) {
    protlm::MpiSession const mpi(argc, argv);
    return mpi.run_guarded("exchange", [&] {
        Kokkos::ScopeGuard const kokkos(argc, argv);
        benchmark::Initialize(&argc, argv);
        protlm::bench::add_machine_context();
        benchmark::AddCustomContext("ranks", std::to_string(mpi.size()));
        Silent silent;
        if (mpi.rank() == 0)
            benchmark::RunSpecifiedBenchmarks();
        else
            benchmark::RunSpecifiedBenchmarks(&silent);
        return 0;
    });
}
