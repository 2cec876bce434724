#include <embed/models.hpp>

#include <protlm/embed/forecast.hpp>
#include <support/temporary_folder.hpp>

#include <filesystem>
#include <limits>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

struct Shape {
    index_t width, layers, heads, inner;
};

/// What the pool holds after one batch of proteins of `length` residues, and its forecast.
template <class S>
std::pair<double, double> measured_and_forecast(Shape shape, index_t length, index_t count) {
    BertConfig config;
    config.hidden_size = shape.width;
    config.num_hidden_layers = shape.layers;
    config.num_attention_heads = shape.heads;
    config.intermediate_size = shape.inner;
    Bert<S, Exec> model(config);
    model.initialise(1);
    auto const proteins = random_proteins(std::vector<index_t>(static_cast<std::size_t>(count), length));
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = count * (length + 2)});
    auto const forecast = forecast_embedding(embedder, proteins, model.parameters().table().extent());
    BOOST_TEST(forecast.weights == static_cast<double>(model.parameters().values().span() * sizeof(S)));
    embedder(proteins, [](auto const &) {});
    return {static_cast<double>(embedder.context().pool().statistics().reserved_bytes), forecast.activations};
}

BOOST_AUTO_TEST_SUITE(forecast)

// A forecast a quarter off still tells whether a batch fits; the pool's rounding alone makes up to an eighth.
BOOST_AUTO_TEST_CASE(the_forecast_is_within_a_quarter_of_what_the_pool_holds) {
    for (Shape const shape :
         {Shape{64, 3, 4, 256}, Shape{96, 2, 3, 100}, Shape{128, 2, 1, 1024}, Shape{128, 3, 8, 512}})
        for (auto const &[length, count] : {std::pair<index_t, index_t>{100, 40}, {1000, 2}, {2000, 1}, {30, 300}}) {
            auto const [peak, forecast] = measured_and_forecast<float>(shape, length, count);
            BOOST_TEST((forecast > 0.8 * peak && forecast < 1.25 * peak),
                       shape.width << " wide, length " << length << ": " << forecast << ", measured " << peak);
        }
    auto const [peak, forecast] = measured_and_forecast<bfloat16>({128, 3, 8, 512}, 500, 8);
    BOOST_TEST(std::abs(forecast / peak - 1) < 0.25);
}

// What a process takes is what the pool has from the system, used or kept: proteins of many lengths, long ones first.
BOOST_AUTO_TEST_CASE(all_that_the_pool_takes_is_within_the_forecast) {
    for (auto const &lengths : {std::vector<index_t>{9000}, std::vector<index_t>{9000, 5900, 3900, 2560, 1660, 1040},
                                std::vector<index_t>{7700, 7690, 4900, 30, 20}}) {
        auto const model = small_bert();
        auto const proteins = random_proteins(lengths);
        Embedder embedder(model, Vocabulary::protbert(), {.token_budget = 300});
        auto const forecast = forecast_embedding(embedder, proteins, model.parameters().table().extent()).activations;
        double taken = 0;
        embedder(proteins, [&](auto const &) {
            taken = std::max(taken, static_cast<double>(embedder.context().pool().statistics().reserved_bytes));
        });
        BOOST_TEST_MESSAGE("forecast " << forecast << ", taken " << taken);
        // the pool keeps a little of shorter batches, whose blocks become smaller by a third at least each time
        BOOST_TEST(taken <= forecast + 3.0 * MemoryPool<Exec::memory_space>::kept_anyway);
        if (lengths.size() == 1)
            BOOST_TEST(taken <= forecast);
        BOOST_TEST(forecast < 1.5 * taken);
    }
}

BOOST_AUTO_TEST_CASE(the_largest_batch_counts) {
    auto const model = small_bert();
    auto const parameters = model.parameters().table().extent();
    auto const of = [&](index_t budget, std::vector<index_t> const &lengths) {
        Embedder embedder(model, Vocabulary::protbert(), {.token_budget = budget});
        return forecast_embedding(embedder, random_proteins(lengths), parameters).activations;
    };
    std::vector<index_t> const many(50, 98);
    BOOST_TEST(of(100, {98}) == of(100000, {98})); // no more than there is
    BOOST_TEST(of(100, many) < of(1000, many));
    BOOST_TEST(of(100, {1000}) == of(1002, {1000})); // a long protein is a batch of its own
    BOOST_TEST(of(5000, many) == of(1000000, many));
}

// Batch systems and containers give a job less than the machine has.
BOOST_AUTO_TEST_CASE(memory_is_what_control_groups_leave) {
    TemporaryFolder const root;
    auto const write = [&](char const *name, std::string const &text) {
        std::filesystem::create_directories((root / name).parent_path());
        root.write(name, text);
    };
    auto const left = [&] { return available_memory(root.path()); };
    BOOST_TEST(left() == std::numeric_limits<double>::infinity());
    write("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable:   32000000 kB\n");
    BOOST_TEST(left() == 32000000 * 1024.0);
    // version 2: a limit of a group above counts, pages of files that can be dropped do not
    write("proc/self/cgroup", "0::/slurm/job_7/step_0\n");
    write("sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n");
    write("sys/fs/cgroup/slurm/job_7/step_0/memory.current", "900000\n");
    BOOST_TEST(left() == 32000000 * 1024.0);
    write("sys/fs/cgroup/slurm/job_7/memory.max", "4000000000\n");
    write("sys/fs/cgroup/slurm/job_7/memory.current", "1500000000\n");
    BOOST_TEST(left() == 2.5e9);
    write("sys/fs/cgroup/slurm/job_7/memory.stat", "anon 500000000\ninactive_file 1000000000\nactive_file 5\n");
    BOOST_TEST(left() == 3.5e9);
    write("sys/fs/cgroup/slurm/job_7/memory.current", "5000000001\n"); // just above the limit
    BOOST_TEST(left() == 0.0);
    // in a container the path is that of the machine, and only the mount can be seen
    write("proc/self/cgroup", "0::/docker/0123\n");
    BOOST_TEST(left() == 32000000 * 1024.0);
    write("sys/fs/cgroup/memory.max", "1000000000\n");
    write("sys/fs/cgroup/memory.current", "250000000\n");
    BOOST_TEST(left() == 7.5e8);
    // version 1
    write("proc/self/cgroup", "12:cpu,cpuacct:/a\n4:memory:/slurm/uid_1\n0::/\n");
    std::filesystem::remove(root / "sys/fs/cgroup/memory.max");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n");
    BOOST_TEST(left() == 32000000 * 1024.0);
    write("sys/fs/cgroup/memory/slurm/uid_1/memory.limit_in_bytes", "2000000000\n");
    write("sys/fs/cgroup/memory/slurm/uid_1/memory.usage_in_bytes", "700000000\n");
    write("sys/fs/cgroup/memory/slurm/uid_1/memory.stat", "inactive_file 7\ntotal_inactive_file 200000000\n");
    BOOST_TEST(left() == 1.5e9);
}

BOOST_AUTO_TEST_CASE(forecasts_are_for_people) {
    MemoryForecast const forecast{.weights = 1.6e9, .activations = 4e8, .results = 0, .proteins = 3e6};
    BOOST_TEST(forecast.total() == 2.003e9);
    BOOST_TEST(forecast.text() == "2.00 GB (weights 1.60 GB, largest batch 400 MB, proteins 3.00 MB)");
    BOOST_TEST(available_memory() > 1e6);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
