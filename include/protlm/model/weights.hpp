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

/// A part of a tensor of a few MB.
struct WeightPiece {
    WeightFile const *file;
    TensorInfo const *tensor;
    index_t first, count, target; // elements in the tensor, and where they lie in the flat buffer
};

/// Where each tensor is found in the checkpoint, in pieces; `problems` gets a line for each that is not.
inline std::vector<WeightPiece> plan_pieces(std::vector<ParameterEntry> const &entries,
                                            CheckpointFolder const &checkpoint, std::string const &prefix,
                                            std::set<std::string, std::less<>> &used, std::string &problems) {
    constexpr index_t most = 1 << 20;
    std::vector<WeightPiece> pieces;
    for (auto const &entry : entries) {
        TensorInfo const *info = nullptr;
        for (auto const &name : checkpoint_names(entry, prefix))
            if (auto const *candidate = checkpoint.find(name)) {
                used.insert(name);
                info = info ? info : candidate;
                // one tensor of the model cannot have two values: to take the first would be a guess
                if (info->shape == entry.shape && !checkpoint.same_values(info->name, name))
                    problems += "\n  " + info->name + " and " + name +
                                " have different values, but they are one tensor of this model (tied weights)";
            }
        if (!info)
            problems += "\n  missing: " + entry.name + ' ' + shape_text(entry.shape);
        else if (info->shape != entry.shape)
            problems +=
                "\n  " + info->name + " has shape " + shape_text(info->shape) + ", expected " + shape_text(entry.shape);
        else if (info->dtype == DataType::f8_e4m3 || info->dtype == DataType::f8_e5m2)
            problems += "\n  " + info->name + " has elements of type " + std::string(data_type_name(info->dtype)) +
                        ", which cannot be converted";
        else
            for (index_t first = 0; first < entry.size(); first += most)
                pieces.push_back({checkpoint.entry(info->name).file, info, first, std::min(most, entry.size() - first),
                                  entry.offset + first});
    }
    return pieces;
}

/// Reads all pieces into the flat buffer: on hosts in parallel and without a copy between, else through one piece.
template <Scalar S, class Exec>
void read_pieces(std::vector<WeightPiece> const &pieces, S *values) {
    using Memory = typename Exec::memory_space;
    if constexpr (Kokkos::SpaceAccessibility<Kokkos::HostSpace, Memory>::accessible) {
        using Host = Kokkos::DefaultHostExecutionSpace;
        using Policy = Kokkos::RangePolicy<Host, Kokkos::Schedule<Kokkos::Dynamic>, Kokkos::IndexType<index_t>>;
        auto const *piece = pieces.data();
        // No piece can fail: ranges and types are checked, and every number has a nearest S.
        Kokkos::parallel_for("protlm::load_weights", Policy(0, static_cast<index_t>(pieces.size())).set_chunk_size(1),
                             [=](index_t i) {
                                 auto const &p = piece[i];
                                 p.file->read_range_once(*p.tensor, p.first, values + p.target, p.count);
                             });
        Host().fence();
    } else {
        std::vector<S> staged;
        for (auto const &p : pieces) {
            staged.resize(static_cast<std::size_t>(p.count));
            p.file->read_range_once(*p.tensor, p.first, staged.data(), p.count);
            copy_from_host(Exec(), VectorView<S, Exec>(values + p.target, staged.size()), staged.data());
        }
    }
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

/// Fills tensors of `parameters` from a checkpoint, converting pieces of a few MB, on hosts straight into their place:
/// memory peaks at the model, the file's pages are given back behind each piece.
/// @param entries names in the checkpoint, and where each tensor lies: a table's, or `part_of_table`
/// @param prefix the model's own, for example "bert.", which some checkpoints leave out
/// @returns names of the checkpoint's tensors that the model does not have
/// @throws Error that lists every missing tensor, every one of another shape with both shapes, and the checkpoint's
/// tensors that the model does not have
template <Scalar S, class Exec>
std::vector<std::string> load_weights(Parameters<S, Exec> &parameters, std::vector<ParameterEntry> const &entries,
                                      CheckpointFolder const &checkpoint, std::string const &prefix) {
    std::set<std::string, std::less<>> used;
    std::string problems;
    auto const pieces = detail::plan_pieces(entries, checkpoint, prefix, used, problems);
    std::vector<std::string> surplus;
    std::string others;
    for (auto const &tensor : checkpoint.tensors())
        if (!used.contains(tensor.info->name)) {
            surplus.push_back(tensor.info->name);
            if (surplus.size() <= 50)
                others += "\n  surplus: " + tensor.info->name + ' ' + detail::shape_text(tensor.info->shape);
        }
    if (surplus.size() > 50)
        others += "\n  and " + std::to_string(surplus.size() - 50) + " more";
    check(problems.empty(), checkpoint.path().string(), ": does not fit the model:", problems, others);
    detail::read_pieces<S, Exec>(pieces, parameters.values().data());
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
