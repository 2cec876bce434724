#pragma once

#include "support/temporary_folder.hpp"
#include "train/bigram.hpp"

#include <protlm/data/store_writer.hpp>
#include <protlm/train/trainer.hpp>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace protlm::test {

using Host = Kokkos::DefaultHostExecutionSpace;

/// A store of 300 proteins in which a residue says much about the next one; a tenth is held out.
/// @param backward  the same proteins in the opposite order
inline void write_small_store(std::filesystem::path const &path, bool backward = false) {
    auto const vocabulary = Vocabulary::protbert();
    StoreWriter writer(path, vocabulary, {.held_out = 0.1});
    auto sequences = bigram_sequences(300, 11);
    if (backward)
        std::reverse(sequences.begin(), sequences.end());
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        std::vector<std::uint8_t> tokens(sequences[i].tokens.begin(), sequences[i].tokens.end());
        writer.add("protein " + std::to_string(i), tokens);
    }
    writer.commit();
}

/// Twelve steps with a checkpoint and an evaluation at every third.
inline TrainingOptions small_options() {
    TrainingOptions options;
    options.steps = 12;
    options.tokens_per_step = 400;
    options.micro_batch = 150;
    options.max_length = 32;
    options.learning_rate = 2e-2;
    options.evaluate_every = 3;
    options.evaluate_tokens = 500;
    options.checkpoint_every = 3;
    options.keep = 10;
    return options;
}

/// A run of the bigram model: what it leaves behind.
struct SmallRun {
    TrainingOutcome outcome;
    std::vector<float> weights;
    std::map<std::string, std::vector<float>> state; // of the optimizer
    Cursor cursor;
};

/// What a run is told beside its options.
struct Told {
    nlohmann::json model;             // the fields of its configuration, for the record
    std::vector<std::string> allowed; // that may differ at a resume
};

/// @param at_step  called with the number of the step that a training loss is computed for
template <class X>
SmallRun small_run(TrainingOptions const &options, TokenStore const &store, std::filesystem::path const &output,
                   std::string const &resume, X &&make_exchange,
                   std::function<void(index_t, Bigram<float, Host> &)> const &at_step = {}, Told const &told = {}) {
    Bigram<float, Host> model;
    auto exchange = make_exchange(model.parameters());
    Trainer trainer(options, store, output, model.parameters(), exchange, true);
    if (!told.model.is_null())
        trainer.record("model", told.model);
    trainer.resume(resume, told.allowed);
    auto const loss = [&](auto &context, Batch const &batch, std::uint64_t) {
        if constexpr (std::remove_reference_t<decltype(context)>::training)
            if (at_step)
                at_step(trainer.state().step + 1, model);
        return model.loss(context, batch);
    };
    SmallRun run;
    run.outcome = trainer.run(loss, [&](CheckpointWriter &folder) { model.write(folder); });
    auto const copy = [](auto const &view) { return std::vector<float>(view.data(), view.data() + view.extent(0)); };
    run.weights = copy(model.parameters().values());
    for (auto const &array : trainer.optimizer().state())
        run.state[array.name] = copy(array.values);
    run.cursor = trainer.state().cursor;
    return run;
}

inline SmallRun serial_run(TrainingOptions const &options, TokenStore const &store, std::filesystem::path const &output,
                           std::string const &resume = "auto",
                           std::function<void(index_t, Bigram<float, Host> &)> const &at_step = {},
                           Told const &told = {}) {
    return small_run(
        options, store, output, resume, [](auto &) { return NoExchange(); }, at_step, told);
}

/// The lines of a run's log.
inline std::vector<nlohmann::json> read_log(std::filesystem::path const &output, char const *name = "log.jsonl") {
    std::ifstream file(output / name);
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);)
        lines.push_back(nlohmann::json::parse(line));
    return lines;
}

inline std::vector<double> column(std::vector<nlohmann::json> const &log, char const *name) {
    std::vector<double> values;
    for (auto const &line : log)
        if (line.contains(name))
            values.push_back(line[name].get<double>());
    return values;
}

} // namespace protlm::test
