#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Names under which checkpoints may hold a tensor: its own and its aliases, with and without the model's prefix, and
/// LayerNorm's names of 2018.
inline std::vector<std::string> checkpoint_names(ParameterEntry const &entry, std::string const &prefix) {
    std::vector<std::string> names{entry.name};
    names.insert(names.end(), entry.aliases.begin(), entry.aliases.end());
    for (std::size_t i = 0, count = names.size(); i < count; ++i)
        if (!prefix.empty() && names[i].starts_with(prefix))
            names.push_back(names[i].substr(prefix.size()));
    for (std::size_t i = 0, count = names.size(); i < count; ++i)
        for (auto const &[now, then] : {std::pair<std::string, std::string>{"LayerNorm.weight", "LayerNorm.gamma"},
                                        {"LayerNorm.bias", "LayerNorm.beta"}})
            if (names[i].ends_with(now))
                names.push_back(names[i].substr(0, names[i].size() - now.size()) + then);
    return names;
}

} // namespace detail

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

/// Fills tensors of `parameters` from a checkpoint, converting one tensor at a time.
/// @param entries names in the checkpoint, and where each tensor lies: a table's, or `part_of_table`
/// @param prefix the model's own, for example "bert.", which some checkpoints leave out
/// @returns names of the checkpoint's tensors that the model does not have
/// @throws Error that lists every missing tensor and every one of another shape, with both shapes
template <Scalar S, class Exec>
std::vector<std::string> load_weights(Parameters<S, Exec> &parameters, std::vector<ParameterEntry> const &entries,
                                      CheckpointFolder const &checkpoint, std::string const &prefix) {
    std::string problems;
    std::set<std::string, std::less<>> used;
    std::vector<std::pair<ParameterEntry const *, TensorInfo const *>> found;
    for (auto const &entry : entries) {
        TensorInfo const *info = nullptr;
        for (auto const &name : detail::checkpoint_names(entry, prefix))
            if (auto const *candidate = checkpoint.find(name)) {
                used.insert(name);
                info = info ? info : candidate;
            }
        if (!info)
            problems += "\n  missing: " + entry.name + ' ' + detail::shape_text(entry.shape);
        else if (info->shape != entry.shape)
            problems += "\n  " + info->name + " has shape " + detail::shape_text(info->shape) + ", expected " +
                        detail::shape_text(entry.shape);
        found.emplace_back(&entry, info);
    }
    check(problems.empty(), checkpoint.path().string(), ": does not fit the model:", problems);
    std::vector<S> piece; // one tensor at a time: memory peaks at the model and its largest tensor
    for (auto const &[entry, info] : found) {
        piece.resize(static_cast<std::size_t>(entry->size()));
        checkpoint.read_into(info->name, piece.data(), entry->size());
        VectorView<S, Exec> target(parameters.values().data() + entry->offset, piece.size());
        copy_from_host(Exec(), target, piece.data());
    }
    std::vector<std::string> surplus;
    for (auto const &tensor : checkpoint.tensors())
        if (!used.contains(tensor.info->name))
            surplus.push_back(tensor.info->name);
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
    for (auto const &entry : entries)
        specs.push_back({entry.name, type, entry.shape});
    SafetensorsWriter writer(file, specs);
    std::vector<S> piece;
    for (auto const &entry : entries) {
        piece.resize(static_cast<std::size_t>(entry.size()));
        copy_to_host(Exec(), piece.data(),
                     VectorView<S const, Exec>(parameters.values().data() + entry.offset, piece.size()));
        writer.append(entry.name, piece.data(), entry.size());
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
