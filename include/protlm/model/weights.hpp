#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/safetensors_writer.hpp>
#include <protlm/model/detail/read_weights.hpp>
#include <protlm/model/open_checkpoint.hpp>

#include <string>
#include <vector>

namespace protlm::inline v0 {

/// The tensors of a model that is a part of a larger table, named as in a checkpoint of its own.
/// @param own the model's table by itself @param prefixes of its names in `joint`, tried in this order: its own, then
/// that of the model whose tensors it shares
/// @throws Error naming a tensor that the larger table does not have
inline std::vector<ParameterEntry> part_of_table(ParameterTable const &joint, ParameterTable const &own,
                                                 std::vector<std::string> const &prefixes) {
    std::vector<ParameterEntry> part = own.entries();
    for (auto &entry : part) {
        ParameterId id = -1;
        for (std::size_t i = 0; id < 0 && i < prefixes.size(); ++i)
            id = joint.find(prefixes[i] + entry.name);
        check(id >= 0, "part_of_table: no tensor ", prefixes.empty() ? "" : prefixes[0], entry.name);
        entry.offset = joint[id].offset;
    }
    return part;
}

/// Compares a table with a checkpoint before memory is taken for it. @param prefix as for load_weights
/// @throws Error as load_weights does where they do not fit
inline void require_tensors(ParameterTable const &table, CheckpointFolder const &checkpoint,
                            std::string const &prefix) {
    detail::WeightPlan(table.entries(), checkpoint, prefix).require_fit();
}

/// Fills tensors of `parameters` from a checkpoint, converting pieces of a few MB, on hosts straight into their place:
/// memory peaks at the model, the file's pages are given back behind each piece.
/// @param entries names in the checkpoint, and where each tensor lies: a table's, or `part_of_table`
/// @param prefix the model's own, for example "bert.", which some checkpoints leave out
/// The checkpoint's notes become the parameters'.
/// @returns names of the checkpoint's tensors that the model does not have
/// @throws Error that says how many tensors are missing or have another shape or type, and lists them beside those that
/// the model does not have; where one tensor of the model has two names in the checkpoint and two values; where a value
/// is not finite, or not in the range of S; where bytes are not those of the file's checksum
template <Scalar S, class Exec>
std::vector<std::string> load_weights(Parameters<S, Exec> &parameters, std::vector<ParameterEntry> const &entries,
                                      CheckpointFolder const &checkpoint, std::string const &prefix) {
    detail::WeightPlan const plan(entries, checkpoint, prefix);
    plan.require_fit();
    auto const reports = detail::read_pieces<S, Exec>(plan.pieces(), parameters.values().data());
    for (auto const &file : checkpoint.files())
        file.check_unchanged();
    detail::require_checksums(plan.pieces(), reports);
    detail::require_finite<S>(plan.pieces(), reports);
    for (auto const &note : checkpoint.notes())
        parameters.note(note);
    std::vector<std::string> surplus;
    for (auto const *tensor : plan.surplus())
        surplus.push_back(tensor->name);
    return surplus;
}

/// Fills all tensors of `parameters`: see above.
template <Scalar S, class Exec>
std::vector<std::string> load_weights(Parameters<S, Exec> &parameters, CheckpointFolder const &checkpoint,
                                      std::string const &prefix) {
    return load_weights(parameters, parameters.table().entries(), checkpoint, prefix);
}

/// Writes tensors of `parameters` as a safetensors file that transformers reads, in the order of `entries`.
/// @param type how elements are stored @throws Error, for example when the disk is full
template <Scalar S, class Exec>
void save_weights(Parameters<S, Exec> const &parameters, std::vector<ParameterEntry> const &entries,
                  std::filesystem::path const &file, DataType type = DataType::f32) {
    std::vector<TensorSpec> specs;
    for (auto const &entry : entries) {
        specs.push_back({entry.name, type, entry.shape});
        for (auto const &name : entry.substitutes)
            specs.push_back({name, type, entry.shape});
    }
    SafetensorsWriter writer(file, specs);
    std::vector<S> piece;
    for (auto const &entry : entries) {
        piece.resize(static_cast<std::size_t>(entry.size()));
        copy_to_host(Exec(), piece.data(),
                     VectorView<S const, Exec>(parameters.values().data() + entry.offset, piece.size()));
        writer.append(entry.name, piece.data(), entry.size());
        for (auto const &name : entry.substitutes)
            writer.append(name, piece.data(), entry.size());
    }
    writer.commit();
}

/// Writes all tensors of `parameters`: see above.
template <Scalar S, class Exec>
void save_weights(Parameters<S, Exec> const &parameters, std::filesystem::path const &file,
                  DataType type = DataType::f32) {
    save_weights(parameters, parameters.table().entries(), file, type);
}

} // namespace protlm::inline v0
