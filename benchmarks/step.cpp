// Training steps and embeddings of all six families: tokens/s on a real mix of lengths, and the share of the machine's
// own peak of matrix products, measured in the same process. flops.hpp says what counts as work.
//
//   step [--lengths FILE] [--tokens N] [--models bert_small,t5_medium] [--layers N] [--configs FOLDER]
//        [Google Benchmark's options]
//
// FILE: protein lengths, one a line; without it, a built-in mix like UniProt's. Models are the presets of
// examples/configs/, by default every family's small and medium one. N layers instead of a preset's own make embedding
// with the wide ones (protbert, prott5_xl) short: all layers cost the same. Micro-batches have at most 4,096 tokens,
// and each is a step of its own with AdamW and clipping.

#include "flops.hpp"
#include "support.hpp"

#include <protlm/core/philox.hpp>
#include <protlm/model/albert.hpp>
#include <protlm/model/bert.hpp>
#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/model/transformer_xl.hpp>
#include <protlm/model/xlnet.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/replaced.hpp>
#include <protlm/objective/span_corruption.hpp>
#include <protlm/train/adamw.hpp>
#include <protlm/train/pretraining.hpp>

#include <numbers>
#include <span>

namespace protlm::bench {

struct Settings {
    std::string lengths, configs = PROTLM_CONFIGS, models;
    index_t tokens = 0; // 0: by model
    index_t layers = 0; // 0: the preset's
};

/// Lengths of proteins, cut at `limit` tokens with two special ones, until there are `total` tokens.
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
        lengths.push_back(std::min(length, limit - 2));
        sum += lengths.back() + 2;
    }
    check(sum > 0, file, ": holds no lengths");
    return lengths;
}

/// Proteins of these lengths and random residues, in batches of at most 4,096 tokens.
std::vector<Batch> make_batches(std::vector<index_t> const &lengths, Vocabulary const &vocabulary) {
    std::vector<Batch> batches(1);
    CounterRandom const random{2, Purpose::sample, 0};
    std::uint64_t sample = 0;
    for (index_t length : lengths) {
        if (batches.back().size() > 0 && batches.back().size() + length + 2 > 4096)
            batches.emplace_back();
        std::vector<std::uint8_t> protein;
        for (index_t i = 0; i < length; ++i) {
            auto const bits = random(sample, static_cast<std::uint32_t>(i));
            protein.push_back(
                vocabulary.residues[uniform_below(bits[0], static_cast<std::uint32_t>(vocabulary.residues.size()))]);
        }
        append_sequence(batches.back(), vocabulary, protein, {}, sample++);
    }
    return batches;
}

// ---- the families: config, objective, work -----------------------------------------------------------------------

struct BertFamily {
    static constexpr char const *name = "bert";
    template <Scalar S = float>
    using Model = Bert<S, Exec>;
    BertConfig config;
    MaskedLanguageModel objective;
    explicit BertFamily(Fields const &fields) : config(bert_config(fields)) {}

    Model<> model() const { return Model<>(config); }
    double training_flops(Batch const &batch, Vocabulary const &vocabulary) const {
        return encoder_flops(config, batch) +
               head_flops(config, number(objective.apply(batch, vocabulary, 1).rows.size()));
    }
    double embedding_flops(Batch const &batch) const { return encoder_flops(config, batch); }
    template <Scalar S = float>
    Model<S> encoder() const {
        return Model<S>(config, {.masked = false});
    }
};

struct AlbertFamily {
    static constexpr char const *name = "albert";
    AlbertConfig config;
    MaskedLanguageModel objective;
    explicit AlbertFamily(Fields const &fields) : config(albert_config(fields)) {}

    Albert<float, Exec> model() const { return Albert<float, Exec>(config); }
    double training_flops(Batch const &batch, Vocabulary const &vocabulary) const {
        return encoder_flops(config, batch) +
               head_flops(config, number(objective.apply(batch, vocabulary, 1).rows.size()));
    }
    double embedding_flops(Batch const &batch) const { return encoder_flops(config, batch); }
    template <Scalar S = float>
    auto encoder() const {
        return model();
    }
};

/// The generator runs over all tokens, with logits of the masked ones; the discriminator judges every residue.
struct ElectraFamily {
    static constexpr char const *name = "electra";
    ElectraPairConfig config;
    ReplacedTokenDetection objective;
    explicit ElectraFamily(Fields const &fields) : config(electra_pair_config(fields)) {}

    auto model() const {
        return GeneratorDiscriminator<Electra<float, Exec>, Electra<float, Exec>>(config.generator,
                                                                                  config.discriminator);
    }
    double training_flops(Batch const &batch, Vocabulary const &vocabulary) const {
        auto const counts = objective.counts(batch, vocabulary, 1);
        return encoder_flops(config.generator, batch) + head_flops(config.generator, number(counts[1])) +
               encoder_flops(config.discriminator, batch) + detection_flops(config.discriminator, number(counts[0]));
    }
    double embedding_flops(Batch const &batch) const { return encoder_flops(config.discriminator, batch); }
    template <Scalar S = float>
    auto encoder() const {
        return Electra<float, Exec>(config.discriminator);
    }
};

struct T5Family {
    static constexpr char const *name = "t5";
    T5Config config;
    ProteinDenoising objective;
    explicit T5Family(Fields const &fields) : config(t5_config(fields)) {}

    T5<float, Exec> model() const { return T5<float, Exec>(config); }
    double training_flops(Batch const &batch, Vocabulary const &) const {
        return encoder_flops(config, batch) + decoder_flops(config, batch);
    }
    double embedding_flops(Batch const &batch) const { return encoder_flops(config, batch); }
    template <Scalar S = float>
    auto encoder() const {
        return T5<S, Exec>(config, {.decoder = false});
    }
};

struct XlnetFamily {
    static constexpr char const *name = "xlnet";
    XlnetConfig config;
    PermutationLanguageModel objective;
    explicit XlnetFamily(Fields const &fields) : config(xlnet_config(fields)) {}

    Xlnet<float, Exec> model() const { return Xlnet<float, Exec>(config); }
    double training_flops(Batch const &batch, Vocabulary const &vocabulary) const {
        return two_stream_flops(config, batch, objective.apply(batch, vocabulary, 1));
    }
    double embedding_flops(Batch const &batch) const { return encoder_flops(config, batch); }
    template <Scalar S = float>
    auto encoder() const {
        return model();
    }
};

struct TransformerXlFamily {
    static constexpr char const *name = "transfo-xl";
    TransformerXlConfig config;
    CausalLanguageModel objective;
    explicit TransformerXlFamily(Fields const &fields) : config(transformer_xl_config(fields)) {
        objective.segment_length = fields.object("objective").optional<index_t>("segment_length", 0);
    }

    TransformerXl<float, Exec> model() const { return TransformerXl<float, Exec>(config); }
    double training_flops(Batch const &batch, Vocabulary const &vocabulary) const {
        return segments_flops(config, objective.apply(batch, vocabulary));
    }
    double embedding_flops(Batch const &batch) const {
        CausalSegment whole;
        whole.tokens = batch.tokens;
        whole.offsets = batch.offsets;
        whole.samples = batch.samples;
        return segments_flops(config, {whole}) - map_flops(batch.size(), config.d_embed, config.vocab_size);
    }
    template <Scalar S = float>
    auto encoder() const {
        return model();
    }
};

// ---- measuring ---------------------------------------------------------------------------------------------------

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

/// Tokens of one run: some seconds.
index_t tokens_for(Settings const &settings, std::string const &model, index_t small) {
    return settings.tokens              ? settings.tokens
           : model.ends_with("_small")  ? small
           : model.ends_with("_medium") ? small * 5 / 12
                                        : 4096;
}

Fields preset(Settings const &settings, std::string const &model) {
    return read_fields(settings.configs + '/' + model + ".json");
}

/// Sums of tokens and work over all batches.
template <class F>
std::pair<index_t, double> total(std::vector<Batch> const &batches, F const &flops) {
    std::pair<index_t, double> sum{0, 0.0};
    for (auto const &batch : batches) {
        sum.first += batch.size();
        sum.second += flops(batch);
    }
    return sum;
}

template <class Family>
void train(benchmark::State &state, std::string const &name, Settings const &settings) {
    Family const family(preset(settings, name));
    auto const vocabulary = Vocabulary::of(Family::name);
    auto const batches =
        make_batches(read_lengths(settings.lengths, tokens_for(settings, name, 60000), 512), vocabulary);
    auto model = family.model();
    model.initialise(1);
    AdamW<float, Exec> optimizer(model.parameters(), {});
    GradientStep<float, Exec> step(model.parameters(), 1.0);
    Training<Exec> context;
    NoExchange exchange;
    index_t number = 0;
    using Model = decltype(model);
    ObjectiveLoss<decltype(family.objective), Model> loss{family.objective, model, vocabulary};
    KeyedLoss<decltype(loss)> const keyed{loss, 1};
    auto const run = [&](Batch const &batch) {
        step(context, std::span(&batch, 1), keyed, optimizer, exchange, ++number, 1e-4, [] { return RankNews{}; });
    };
    run(batches.front());
    run(batches[batches.size() / 2]);
    auto const [tokens, flops] =
        total(batches, [&](Batch const &batch) { return family.training_flops(batch, vocabulary); });
    measure(
        state, [&] { std::for_each(batches.begin(), batches.end(), run); }, tokens, 3 * flops);
    state.counters["activations_MB"] = static_cast<double>(context.pool().statistics().peak_bytes) * 1e-6;
}

/// Puts `layers` in the place of an encoder's own, unless 0.
template <class Config>
void set_layers(Config &config, index_t layers) {
    if (layers == 0)
        return;
    if constexpr (requires { config.num_hidden_layers; })
        config.num_hidden_layers = layers;
    else if constexpr (std::same_as<Config, T5Config>)
        config.num_layers = layers;
    else
        fail("--layers: only for bert, albert and t5");
}

/// Small values without a pattern that matters: drawing hundreds of millions of normals takes longer than the run.
template <Scalar S>
void fill_weights(Parameters<S, Exec> const &parameters) {
    S *const values = parameters.values().data();
    Kokkos::parallel_for("fill", range(Exec(), 0, parameters.table().extent()), [=](index_t i) {
        auto const bits = static_cast<std::uint32_t>(i) * 2654435761u >> 16;
        values[i] = static_cast<S>(1e-6f * (static_cast<float>(bits) - 32767.5f));
    });
}

template <class Family, Scalar S = float>
void embed(benchmark::State &state, std::string const &name, Settings const &settings) {
    Family family(preset(settings, name));
    set_layers(family.config, settings.layers);
    auto lengths = read_lengths(settings.lengths, tokens_for(settings, name, 120000), 1 << 30);
    std::sort(lengths.rbegin(), lengths.rend());
    auto const batches = make_batches(lengths, Vocabulary::of(Family::name));
    auto model = family.template encoder<S>();
    fill_weights(model.parameters());
    Inference<Exec> context;
    auto const run = [&](Batch const &batch) {
        auto const packed = make_packed(context, {batch.tokens, {}, batch.offsets, batch.samples});
        auto const hidden = model.encode(context, packed);
        benchmark::DoNotOptimize(hidden.value().data);
    };
    run(batches.front());
    auto const [tokens, flops] = total(batches, [&](Batch const &batch) { return family.embedding_flops(batch); });
    measure(
        state, [&] { std::for_each(batches.begin(), batches.end(), run); }, tokens, flops);
}

/// Takes this program's own options out of the command line.
Settings read_settings(int &argc, char **argv) {
    Settings settings;
    for (char const *size : {"small", "medium"})
        for (char const *family : {"bert", "albert", "electra", "t5", "xlnet", "transformer_xl"})
            settings.models.append(settings.models.empty() ? "" : ",").append(family).append("_").append(size);
    int kept = 1;
    for (int i = 1; i < argc; ++i) {
        std::string const option = argv[i];
        bool const own = option == "--lengths" || option == "--tokens" || option == "--models" ||
                         option == "--layers" || option == "--configs";
        check(!own || i + 1 < argc, option, ": needs a value");
        if (option == "--lengths")
            settings.lengths = argv[++i];
        else if (option == "--tokens")
            settings.tokens = std::stoll(argv[++i]);
        else if (option == "--layers")
            settings.layers = std::stoll(argv[++i]);
        else if (option == "--models")
            settings.models = argv[++i];
        else if (option == "--configs")
            settings.configs = argv[++i];
        else
            argv[kept++] = argv[i];
    }
    argc = kept;
    return settings;
}

template <class Family>
void add_family(std::string const &name, Settings const &settings) {
    auto const add = [&](std::string const &task, auto run) {
        benchmark::RegisterBenchmark((task + '/' + name).c_str(),
                                     [=](benchmark::State &state) { run(state, name, settings); })
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kSecond);
    };
    Family const checked(preset(settings, name)); // a name that is none is an error now
    add("train", train<Family>);
    add("embed", embed<Family>);
    if constexpr (std::same_as<Family, BertFamily> || std::same_as<Family, T5Family>)
        add("bfloat16", embed<Family, bfloat16>); // embedding with weights of bfloat16
}

void add_benchmarks(Settings const &settings) {
    std::istringstream models(settings.models);
    for (std::string name; std::getline(models, name, ',');) {
        auto const fields = preset(settings, name);
        auto const family = fields.has("generator") ? "electra" : fields.required<std::string>("model_type");
        if (family == "bert")
            add_family<BertFamily>(name, settings);
        else if (family == "albert")
            add_family<AlbertFamily>(name, settings);
        else if (family == "electra")
            add_family<ElectraFamily>(name, settings);
        else if (family == "t5")
            add_family<T5Family>(name, settings);
        else if (family == "xlnet")
            add_family<XlnetFamily>(name, settings);
        else
            add_family<TransformerXlFamily>(name, settings);
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
