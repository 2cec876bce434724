#pragma once

#include <protlm/core/floating_point.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/detail/crc32.hpp>
#include <protlm/io/quantisation.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Copies one tensor in pieces of elements of type T, which holds what both sides can.
template <class T>
void convert_tensor(CheckpointFolder::Entry const &entry, DataType type, SafetensorsWriter &writer) {
    constexpr index_t most = 1 << 20;
    auto const &tensor = *entry.info;
    auto const where = [&] { return entry.file->name() + ": tensor \"" + excerpt(tensor.name) + "\": "; };
    auto const stretch = entry.file->checked(tensor);
    std::uint32_t crc32 = 0;
    auto const piece = std::make_unique<T[]>(static_cast<std::size_t>(most));
    for (index_t first = 0, count = tensor.count(); first < count; first += most) {
        index_t const size = std::min(most, count - first);
        std::uint32_t part = 0;
        entry.file->read_range_once(tensor, first, piece.get(), size, stretch.is_tensor ? &part : nullptr);
        crc32 = crc32_joined(crc32, part, static_cast<std::size_t>(size * data_type_size(tensor.dtype)));
        if constexpr (std::is_floating_point_v<T>)
            for (index_t i = 0; i < size; ++i) { // the largest number of float16 is 65504, of float32 about 3.4e38
                double const magnitude = std::abs(static_cast<double>(piece[i]));
                bool const fits = !(type == DataType::f16 && magnitude >= 65520) &&
                                  !(type != DataType::f64 && magnitude > 3.4028235677973362e38);
                check(fits || !is_finite(piece[i]), where(), piece[i], " does not fit into ", data_type_name(type),
                      type == DataType::f16 ? "; bfloat16 has the range of float32" : "");
            }
        writer.append(tensor.name, piece.get(), size);
    }
    check(stretch.crc32 == 0 || stretch.crc32 == (stretch.is_tensor ? crc32 : crc32_of(stretch.bytes)), where(),
          "its bytes are damaged (their CRC-32 is not that of the zip directory)");
}

/// A link may lead to another place of the model's folder, and in a hub's cache to where that keeps the files of all
/// revisions: into no other folder, from which it would carry a file that was never meant to be copied.
inline void check_stays_inside(std::filesystem::path const &file, std::filesystem::path const &folder) {
    namespace fs = std::filesystem;
    std::error_code failed;
    if (!fs::is_symlink(file, failed))
        return;
    auto const root = fs::canonical(folder, failed), target = fs::canonical(file, failed);
    auto const place = target.parent_path();
    check(!failed && (place == root || place == root.parent_path().parent_path() / "blobs"), file.string(),
          ": is a link that leads out of the model's folder, to ", failed ? "nothing" : target.string(),
          "; copy the file there");
}

} // namespace detail

/// Writes all tensors of a checkpoint into one safetensors file, piece by piece.
/// @param precision  of the floating-point tensors; without it every tensor keeps its type. Integers always do
/// @param progress   called with the number of elements that are written, now and then
/// @throws Error where the weights are quantised or an adapter's, a value is out of the new type's range, bytes are not
/// those of the file's checksum, a type cannot be converted, or the file cannot be written
inline void convert_weights(
    CheckpointFolder const &checkpoint, std::filesystem::path const &file, std::optional<DataType> precision,
    std::function<void(index_t)> const &progress = [](index_t) {}) {
    refuse_adapter(checkpoint);
    refuse_quantised(checkpoint);
    auto entries = checkpoint.tensors();
    auto const type_of = [&](auto const &entry) {
        auto const type = entry.info->dtype;
        return precision && is_float_type(type) ? *precision : type;
    };
    for (auto const &entry : entries)
        entry.info->require_readable(entry.file->name());
    std::stable_sort(entries.begin(), entries.end(), [&](auto const &a, auto const &b) { // wide types come first
        return data_type_size(type_of(a)) > data_type_size(type_of(b));
    });
    std::vector<TensorSpec> specs;
    for (auto const &entry : entries)
        specs.push_back({entry.info->name, type_of(entry), entry.info->shape});
    SafetensorsWriter writer(file, specs);
    index_t done = 0;
    for (auto const &entry : entries) {
        auto const type = type_of(entry);
        detail::visit_data_type(
            type == entry.info->dtype ? type : DataType::f64, // double holds every floating-point value
            [&]<class T>(std::type_identity<T>) { detail::convert_tensor<T>(entry, type, writer); });
        progress(done += entry.info->count());
    }
    for (auto const &source : checkpoint.files())
        source.check_unchanged();
    writer.commit();
}

/// Copies config.json and the files of tokens of a model's folder into a checkpoint. Those in JSON must be JSON; links
/// are followed inside the folder and into the hub's cache that it is in. config.json gets the precision of the
/// weights, which is what transformers loads them in.
/// @throws Error naming the file
inline void copy_model_files(std::filesystem::path const &folder, CheckpointWriter const &into,
                             std::optional<DataType> precision) {
    for (std::string const name :
         {"config.json", "vocab.txt", "spiece.model", "tokenizer.json", "tokenizer_config.json",
          "special_tokens_map.json", "added_tokens.json", "generation_config.json"}) {
        auto const path = folder / name;
        std::error_code ignored;
        if (!std::filesystem::exists(path, ignored))
            continue;
        detail::check_stays_inside(path, folder);
        MappedFile const file(path);
        auto const text = detail::text_of(file.bytes());
        refuse_web_page(file.bytes(), path.string());
        if (name.ends_with(".json"))
            parse_json(text, path.string(), {.bytes = std::size_t(64) << 20});
        if (name != "config.json" || !precision) {
            into.write(name, text);
            continue;
        }
        auto config = nlohmann::ordered_json::parse(text.substr(text.starts_with("\xef\xbb\xbf") ? 3 : 0));
        check(config.is_object(), path.string(), ": expected an object {...}");
        auto const *type = *precision == DataType::f32   ? "float32"
                           : *precision == DataType::f16 ? "float16"
                                                         : "bfloat16";
        if (config.contains("dtype"))
            config["dtype"] = type;
        if (config.contains("torch_dtype") || !config.contains("dtype"))
            config["torch_dtype"] = type;
        into.write(name, config.dump(2) + '\n');
    }
}

} // namespace protlm::inline v0
