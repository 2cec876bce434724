#pragma once

// What the benchmarks share: the machine in the context of every report, and its measured peak.

#include <protlm/core/version.hpp>
#include <protlm/ops/detail/host_product.hpp>

#include <benchmark/benchmark.h>

#include <Eigen/Core>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

namespace protlm::bench {

using Exec = Kokkos::DefaultHostExecutionSpace;

/// The processor's name as Linux gives it.
inline std::string processor_name() {
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("model name"))
            return line.substr(line.find(':') + 2);
    return "unknown";
}

/// What the compiler was allowed to use.
inline std::string instruction_set() {
#if defined(__AVX512BF16__)
    return "AVX-512 with bfloat16";
#elif defined(__AVX512F__)
    return "AVX-512";
#elif defined(__AVX2__)
    return "AVX2";
#else
    return "baseline";
#endif
}

/// Describes machine and build in every report.
inline void add_machine_context() {
    benchmark::AddCustomContext("protlm", PROTLM_VERSION_STRING);
    benchmark::AddCustomContext("processor", processor_name());
    benchmark::AddCustomContext("compiled for", instruction_set());
    benchmark::AddCustomContext("compiler", __VERSION__);
    benchmark::AddCustomContext("Kokkos", std::to_string(KOKKOS_VERSION) + " " + Exec::name());
    benchmark::AddCustomContext("threads", std::to_string(concurrency(Exec())));
}

/// Seconds of the fastest of several calls of `work`, at least 0.3 s of them.
template <class F>
double best_seconds(F const &work) {
    double best = 1e30, total = 0;
    for (int run = 0; run < 3 || total < 0.3; ++run) {
        Exec().fence();
        auto const start = std::chrono::steady_clock::now();
        work();
        Exec().fence();
        double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        best = std::min(best, seconds);
        total += seconds;
    }
    return best;
}

using EigenMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// FLOP/s of protlm's packed product, packing included, n-cubed on all threads.
inline double packed_product_rate(index_t n) {
    Inference<Exec> context;
    EigenMatrix const a = EigenMatrix::Random(n, n), w = EigenMatrix::Random(n, n);
    EigenMatrix c(n, n);
    Rows<float const> const ra{a.data(), n, n, n}, rw{w.data(), n, n, n};
    Rows<float> const rc{c.data(), n, n, n};
    double const seconds =
        best_seconds([&] { detail::product(context, ra, detail::pack<true, float>(context, rw), rc, false); });
    return 2.0 * static_cast<double>(n * n * n) / seconds;
}

/// FLOP/s of Eigen's product n-cubed, row blocks handed out over all threads.
inline double eigen_product_rate(index_t n) {
    EigenMatrix const a = EigenMatrix::Random(n, n), w = EigenMatrix::Random(n, n);
    EigenMatrix c(n, n);
    index_t const block = (n + concurrency(Exec()) - 1) / concurrency(Exec());
    double const seconds = best_seconds([&] {
        Kokkos::parallel_for("eigen", dynamic_range(Exec(), 0, (n + block - 1) / block), [&](index_t i) {
            index_t const rows = std::min(block, n - i * block);
            c.middleRows(i * block, rows).noalias() = a.middleRows(i * block, rows) * w.transpose();
        });
    });
    return 2.0 * static_cast<double>(n * n * n) / seconds;
}

/// The machine's own peak for matrix products in float: the best back end at 2,048 cubed on all threads. Measured once
/// a process.
inline double measured_peak() {
    static double const peak = std::max(packed_product_rate(2048), eigen_product_rate(2048));
    return peak;
}

} // namespace protlm::bench
