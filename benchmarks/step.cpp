// Training steps and embeddings of BERT: tokens/s on a real mix of lengths, and the share of the machine's own peak of
// matrix products. FLOPs are those of the model: 2 a weight and token in the forward plus attention's 4 L C a layer and
// token, three times that in training; what a backward computes again does not count.
//
//   step [--lengths FILE] [--tokens N] [--models small,medium,protbert] [Google Benchmark's options]
//
// FILE: protein lengths, one a line; without it, a built-in mix like UniProt's.

#include "support.hpp"

#include <protlm/core/philox.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/gradient_step.hpp>

#include <cstring>
#include <map>
#include <numbers>
#include <span>

namespace protlm::bench {

struct Settings {
    std::string lengths, models = "small,medium";
    index_t tokens = 0; // 0: by model
};

/// A packed micro-batch with labels.
struct LabelledBatch {
    std::vector<std::int32_t> tokens, labels;
    std::vector<index_t> rows;
    std::vector<std::int64_t> offsets{0};
    index_t size() const { return static_cast<index_t>(tokens.size()); }
};

/// Lengths with two special tokens, up to `total` tokens in all.
std::vector<index_t> read_lengths(std::string const &file, index_t total, index_t limit) {
    std::vector<index_t> lengths;
    std::ifstream stream(file);
    check(file.empty() || stream.good(), file, ": cannot read lengths");
    index_t sum = 0;
    CounterRandom const random{1, Purpose::sample, 0};
    for (std::uint64_t i = 0; sum < total; ++i) {
        index_t length = 0;
        if (file.empty()) { // log-normal, median 300
            auto const bits = random(i, 0);
            double const normal = std::sqrt(-2 * std::log1p(-uniform_double(bits[0], bits[1]))) *
                                  std::cos(2 * std::numbers::pi * uniform_double(bits[2], bits[3]));
            length = static_cast<index_t>(std::clamp(300 * std::exp(0.75 * normal), 20.0, 8000.0));
        } else if (!(stream >> length)) {
            break;
        }
        lengths.push_back(std::min(length + 2, limit));
        sum += lengths.back();
    }
    check(sum > 0, file, ": holds no lengths");
    return lengths;
}

/// Batches of at most 4,096 tokens; 15 % of the tokens have labels.
std::vector<LabelledBatch> make_batches(std::vector<index_t> const &lengths) {
    std::vector<LabelledBatch> batches(1);
    CounterRandom const random{2, Purpose::mask, 0};
    std::uint64_t number = 0;
    for (index_t length : lengths) {
        if (batches.back().size() > 0 && batches.back().size() + length > 4096)
            batches.emplace_back();
        auto &batch = batches.back();
        for (index_t i = 0; i < length; ++i) {
            auto const bits = random(number++, 0);
            auto const token = static_cast<std::int32_t>(5 + uniform_below(bits[0], 25));
            if (uniform_float(bits[1]) < 0.15f) {
                batch.rows.push_back(batch.size());
                batch.labels.push_back(token);
            }
            batch.tokens.push_back(token);
        }
        batch.offsets.push_back(batch.size());
    }
    return batches;
}

BertConfig shape(std::string const &name) {
    BertConfig config;
    config.max_position_embeddings = 40000;
    static std::map<std::string, std::array<index_t, 4>> const shapes{
        {"small", {256, 6, 8, 1024}}, {"medium", {512, 8, 8, 2048}}, {"protbert", {1024, 30, 16, 4096}}};
    auto const found = shapes.find(name);
    check(found != shapes.end(), "--models: \"", name, "\" is none of small, medium, protbert");
    config.hidden_size = found->second[0];
    config.num_hidden_layers = found->second[1];
    config.num_attention_heads = found->second[2];
    config.intermediate_size = found->second[3];
    return config;
}

/// FLOPs of one forward over sequences of these lengths.
double forward_flops(BertConfig const &c, std::vector<index_t> const &lengths) {
    double const width = static_cast<double>(c.hidden_size), inner = static_cast<double>(c.intermediate_size);
    double sum = 0;
    for (index_t length : lengths) {
        double const l = static_cast<double>(length);
        sum += 2 * l * (4 * width * width + 2 * width * inner) + 4 * l * l * width;
    }
    return sum * static_cast<double>(c.num_hidden_layers);
}

/// Runs `pass` over all batches once an iteration and reports tokens/s and the share of the peak.
template <class Pass>
void measure(benchmark::State &state, Pass const &pass, index_t tokens, double flops) {
    double const peak = measured_peak();
    double seconds = 0;
    for (auto _ : state) {
        Exec().fence();
        auto const start = std::chrono::steady_clock::now();
        pass();
        Exec().fence();
        double const elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        state.SetIterationTime(elapsed);
        seconds += elapsed;
    }
    double const runs = static_cast<double>(state.iterations());
    state.counters["tokens_per_second"] = static_cast<double>(tokens) * runs / seconds;
    state.counters["GFLOPS"] = flops * runs / seconds * 1e-9;
    state.counters["peak_GFLOPS"] = peak * 1e-9;
    state.counters["share"] = flops * runs / seconds / peak;
}

void train(benchmark::State &state, std::string const &name, Settings const &settings) {
    index_t const wanted = settings.tokens    ? settings.tokens
                           : name == "small"  ? 60000
                           : name == "medium" ? 25000
                                              : 4096;
    auto const lengths = read_lengths(settings.lengths, wanted, 512);
    auto const batches = make_batches(lengths);
    Bert<float, Exec> model(shape(name));
    model.initialise(1);
    model.parameters().enable_gradients();
    AdamW<float, Exec> optimizer(model.parameters(), {});
    GradientStep<float, Exec> step(model.parameters(), 1.0);
    Training<Exec> context;
    NoExchange exchange;
    index_t number = 0, tokens = 0;
    auto const loss = [&](auto &c, LabelledBatch const &batch) {
        auto const packed = make_packed(c, {batch.tokens, {}, batch.offsets});
        return model.token_loss(c, gather_rows(c, model.encode(c, packed), c.template upload<index_t>(batch.rows)), c.template upload<std::int32_t>(batch.labels));
    };
    auto const run = [&](LabelledBatch const &batch) {
        step(context, std::span(&batch, 1), loss, optimizer, exchange, ++number, 1e-4, [] { return RankNews{}; });
    };
    for (auto const &batch : batches)
        tokens += batch.size();
    run(batches.front());
    run(batches[batches.size() / 2]);
    measure(
        state, [&] { std::for_each(batches.begin(), batches.end(), run); }, tokens,
        3 * forward_flops(model.config(), lengths));
    state.counters["activations_MB"] = static_cast<double>(context.pool().statistics().peak_bytes) * 1e-6;
}

template <Scalar S>
void embed(benchmark::State &state, std::string const &name, Settings const &settings) {
    index_t const wanted = settings.tokens    ? settings.tokens
                           : name == "small"  ? 120000
                           : name == "medium" ? 50000
                                              : 6000;
    auto lengths = read_lengths(settings.lengths, wanted, 1 << 30);
    std::sort(lengths.rbegin(), lengths.rend());
    auto const batches = make_batches(lengths);
    Bert<S, Exec> model(shape(name), {.masked = false});
    model.initialise(1);
    Inference<Exec> context;
    index_t tokens = 0;
    auto const run = [&](LabelledBatch const &batch) {
        auto const packed = make_packed(context, {batch.tokens, {}, batch.offsets});
        auto const hidden = model.encode(context, packed);
        benchmark::DoNotOptimize(hidden.value().data);
    };
    for (auto const &batch : batches)
        tokens += batch.size();
    run(batches.front());
    measure(
        state, [&] { std::for_each(batches.begin(), batches.end(), run); }, tokens,
        forward_flops(model.config(), lengths));
}

/// Takes this program's own options out of the command line.
Settings read_settings(int &argc, char **argv) {
    Settings settings;
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
        std::string const option = argv[i];
        bool const own = option == "--lengths" || option == "--tokens" || option == "--models";
        check(!own || i + 1 < argc, option, ": needs a value");
        if (option == "--lengths")
            settings.lengths = argv[++i];
        else if (option == "--tokens")
            settings.tokens = std::stoll(argv[++i]);
        else if (option == "--models")
            settings.models = argv[++i];
        else
            argv[kept++] = argv[i];
    }
    argc = kept;
    return settings;
}

void add_benchmarks(Settings const &settings) {
    std::istringstream models(settings.models);
    for (std::string name; std::getline(models, name, ',');) {
        auto const add = [&](std::string const &task, auto run) {
            benchmark::RegisterBenchmark((task + '/' + name).c_str(),
                                         [=](benchmark::State &state) { run(state, name, settings); })
                ->UseManualTime()
                ->Iterations(1)
                ->Unit(benchmark::kSecond);
        };
        shape(name);
        add("train", train);
        add("embed", embed<float>);
        add("embed_bfloat16_weights", embed<bfloat16>);
    }
}

} // namespace protlm::bench

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const guard(argc, argv);
    try {
        auto const settings = protlm::bench::read_settings(argc, argv);
        protlm::bench::add_machine_context();
        protlm::bench::add_benchmarks(settings);
        benchmark::Initialize(&argc, argv);
        if (benchmark::ReportUnrecognizedArguments(argc, argv))
            return 1;
        benchmark::RunSpecifiedBenchmarks();
    } catch (std::exception const &error) {
        std::fprintf(stderr, "step: %s\n", error.what());
        return 1;
    }
}
