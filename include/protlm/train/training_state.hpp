#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/data/sampling.hpp>
#include <protlm/data/tokenizer_writer.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/safetensors.hpp>
#include <protlm/io/safetensors_writer.hpp>
#include <protlm/train/fingerprint.hpp>
#include <protlm/train/optimizer.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace protlm::inline v0 {

/// Where a run stands, beside weights and moments: integers and the time, valid on any number of ranks.
struct TrainingState {
    index_t step = 0;                   ///< steps that are done
    Cursor cursor;                      ///< where the next step's data begin
    index_t tokens = 0;                 ///< seen so far, all ranks
    double seconds = 0;                 ///< of training so far
    std::uint64_t data = 0;             ///< fingerprint of the store's counts and of what a cursor's position means
    std::optional<std::uint64_t> store; ///< of what the store holds; format 1 did not say
    nlohmann::json options;             ///< all settings of the run: training, objective and model
    index_t optimizer_steps = 0;        ///< as the optimizer counts them
    std::uint64_t tensors = 0;          ///< fingerprint of the parameter table
    index_t skipped = 0;                ///< steps that changed nothing because something was not finite
    index_t skipped_in_a_row = 0;       ///< of these, the last ones without any other between
};

namespace detail {

inline constexpr char const *state_file = "training_state.json";
inline constexpr char const *optimizer_file = "optimizer.safetensors";

/// 64-bit numbers as text: JSON numbers of many readers are doubles.
inline std::uint64_t read_number(Fields const &fields, char const *name) {
    auto const text = fields.required<std::string>(name);
    check(!text.empty() && text.size() <= 20 && text.find_first_not_of("0123456789") == text.npos, fields.name(), ": ",
          name, ": is \"", text, "\", expected a number in quotes");
    errno = 0;
    auto const value = std::strtoull(text.c_str(), nullptr, 10);
    check(errno == 0, fields.name(), ": ", name, ": ", text, " has more than 64 bits");
    return value;
}

/// One flat array, through the host where it lies elsewhere.
template <class View>
auto host_copy(View const &view) {
    return Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
}

template <class View>
void read_flat(SafetensorsFile const &file, std::string const &name, View const &view) {
    auto host = Kokkos::create_mirror_view(view);
    using T = typename View::non_const_value_type;
    auto const &info = file.info(name);
    check(info.dtype == data_type_of<T>(), file.name(), ": ", name, " has type ", data_type_name(info.dtype),
          ", expected ", data_type_name(data_type_of<T>()), "; was the run made in another precision?");
    file.read_into(name, host.data(), static_cast<index_t>(host.extent(0)));
    copy_from_host(typename View::execution_space(), view, host.data());
}

} // namespace detail

/// Writes what a resume needs beside the model's own files: training_state.json and optimizer.safetensors, which holds
/// the optimizer's flat arrays and the weights in the layout of the parameter table, bit for bit.
/// @throws Error, for example when the disk is full
template <Scalar S, ExecutionSpace Exec, Optimizer<S, Exec> O>
void write_training_state(CheckpointWriter const &checkpoint, TrainingState const &state, O const &optimizer,
                          Parameters<S, Exec> const &parameters) {
    auto const arrays = optimizer.state();
    std::vector<TensorSpec> specs;
    for (auto const &array : arrays)
        specs.push_back({array.name, data_type_of<accumulate_t<S>>(), {static_cast<index_t>(array.values.extent(0))}});
    specs.push_back({"weights", data_type_of<S>(), {parameters.table().extent()}});
    SafetensorsWriter file(checkpoint / detail::optimizer_file, specs);
    for (auto const &array : arrays) {
        auto const host = detail::host_copy(array.values);
        file.append(array.name, host.data(), static_cast<index_t>(host.extent(0)));
    }
    auto const weights = detail::host_copy(parameters.values());
    file.append("weights", weights.data(), parameters.table().extent());
    file.commit();
    check(state.store.has_value(), "write_training_state: the state does not say which store");
    write_json(checkpoint / detail::state_file, {{"format", "protlm training state"},
                                                 {"format_version", 2},
                                                 {"step", state.step},
                                                 {"optimizer_steps", optimizer.steps()},
                                                 {"tokens", state.tokens},
                                                 {"seconds", state.seconds},
                                                 {"seed", std::to_string(state.cursor.seed)},
                                                 {"epoch", std::to_string(state.cursor.epoch)},
                                                 {"position", std::to_string(state.cursor.position)},
                                                 {"data", std::to_string(state.data)},
                                                 {"store", std::to_string(*state.store)},
                                                 {"skipped", state.skipped},
                                                 {"skipped_in_a_row", state.skipped_in_a_row},
                                                 {"tensors", std::to_string(fingerprint(parameters.table()))},
                                                 {"options", state.options}});
}

/// Writes what our drivers and transformers need to make tokens of a protein into the checkpoint, and beside each model
/// where it holds several.
inline void write_vocabulary(CheckpointWriter const &checkpoint, Vocabulary const &vocabulary) {
    auto const top = (checkpoint / "vocab.txt").parent_path();
    std::vector<std::string> folders{""};
    for (auto const &entry : std::filesystem::directory_iterator(top))
        if (entry.is_directory())
            folders.push_back(entry.path().filename().string() + '/');
    for (auto const &folder : folders) {
        auto const write = [&](std::string const &name, std::string const &text) {
            checkpoint.write(folder + name, text);
        };
        if (auto const config = top / folder / "config.json"; std::filesystem::exists(config))
            write_tokenizer(vocabulary, read_fields(config), write);
        else
            write("vocab.txt", vocabulary_text(vocabulary));
    }
}

/// Reads the training_state.json of a checkpoint; format 1 as well, which had neither store nor model.
/// @throws Error when it is missing, damaged or of a newer format
inline TrainingState read_training_state(std::filesystem::path const &folder) {
    auto const path = folder / detail::state_file;
    std::error_code ignored;
    check(std::filesystem::exists(path, ignored), folder.string(), ": has no ", detail::state_file,
          ": the model can be used, but this run cannot be resumed");
    Fields const fields = read_fields(path);
    auto const version = fields.required("format_version", at_least<index_t>(1));
    check(version <= 2, path.string(), ": format_version: is ", version,
          ", this program reads 1 and 2; a newer version of protlm wrote it");
    TrainingState state;
    state.step = fields.required("step", at_least<index_t>(0));
    state.tokens = fields.required("tokens", at_least<index_t>(0));
    state.seconds = fields.required("seconds", between(0.0, std::numeric_limits<double>::max()));
    state.cursor = {detail::read_number(fields, "seed"), detail::read_number(fields, "epoch"),
                    detail::read_number(fields, "position")};
    state.data = detail::read_number(fields, "data");
    if (version > 1)
        state.store = detail::read_number(fields, "store");
    state.options = fields.object("options").json();
    state.optimizer_steps = fields.required("optimizer_steps", at_least<index_t>(0));
    state.tensors = detail::read_number(fields, "tensors");
    state.skipped = fields.optional<index_t>("skipped", 0, at_least<index_t>(0));
    state.skipped_in_a_row = fields.optional<index_t>("skipped_in_a_row", 0, at_least<index_t>(0));
    return state;
}

/// Reads the optimizer.safetensors of a checkpoint into an optimizer of the same kind and parameters of the same table.
/// @param state  of that checkpoint
/// @throws Error when something is missing, damaged or belongs to another model, optimizer or precision
template <Scalar S, ExecutionSpace Exec, Optimizer<S, Exec> O>
void read_training_arrays(std::filesystem::path const &folder, TrainingState const &state, O &optimizer,
                          Parameters<S, Exec> &parameters) {
    check(state.tensors == fingerprint(parameters.table()), (folder / detail::state_file).string(),
          ": belongs to a model of other tensors");
    SafetensorsFile const file(folder / detail::optimizer_file);
    auto const arrays = optimizer.state();
    check(file.tensors().size() == arrays.size() + 1, file.name(), ": has ", file.tensors().size(),
          " arrays, expected ", arrays.size() + 1, "; was the run made with another optimizer?");
    for (auto const &array : arrays)
        detail::read_flat(file, array.name, array.values);
    detail::read_flat(file, "weights", parameters.values());
    optimizer.set_steps(state.optimizer_steps);
}

} // namespace protlm::inline v0
