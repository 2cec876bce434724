#pragma once

#include <protlm/io/detail/embedding_index.hpp>

#include <cstdint>
#include <filesystem>
#include <new>
#include <string>
#include <utility>

namespace protlm::inline v0::detail {

inline Parcel pack_index(EmbeddingIndex const &index) {
    auto const &info = index.info;
    Parcel parcel;
    for (auto const &text :
         {info.model, info.model_sha256, layers_text(info.layers), info.pooling, info.on_long, info.job})
        parcel.put(text);
    for (index_t const number : {index_t(info.precision), info.width, index_t(info.per_residue), index_t(info.layout),
                                 info.window, info.overlap, std::ssize(index.ids), std::ssize(index.names)})
        parcel.put(static_cast<std::uint64_t>(number));
    for (std::size_t i = 0; i < index.ids.size(); ++i)
        parcel.put(index.ids[i]), parcel.put(static_cast<std::uint64_t>(index.lengths[i]));
    for (auto const &name : index.names)
        parcel.put(name);
    return parcel;
}

inline EmbeddingIndex unpack_index(Parcel parcel, std::string const &name) {
    EmbeddingIndex index;
    auto &info = index.info;
    info.model = parcel.text(), info.model_sha256 = parcel.text();
    info.layers = parse_layers(parcel.text(), name);
    info.pooling = parcel.text(), info.on_long = parcel.text(), info.job = parcel.text();
    auto const number = [&] { return static_cast<index_t>(parcel.number()); };
    info.precision = static_cast<DataType>(number());
    info.width = number(), info.per_residue = number() != 0;
    info.layout = static_cast<EmbeddingLayout>(number());
    info.window = number(), info.overlap = number();
    index_t const ids = number(), names = number();
    for (index_t i = 0; i < ids; ++i) {
        index.ids.push_back(parcel.text());
        index.lengths.push_back(number());
    }
    for (index_t i = 0; i < names; ++i)
        index.names.push_back(parcel.text());
    return index;
}

/// Whether HDF5 can read the index without any part that has no checksum: version 3 and later, as protlm writes it.
inline bool is_checked_file(std::filesystem::path const &path) {
    if (hdf5_superblock(path) < 2)
        return false;
    auto const root = Hdf5File::open(path).root();
    return root.has_attribute("format_version") && root.attribute<std::int64_t>("format_version") >= 3;
}

/// What a complete file of version 3 or later is, read without its index. @throws Error
inline EmbeddingInfo read_checked_info(std::filesystem::path const &path) {
    auto const root = Hdf5File::open(path).root();
    check(root.attribute<int>("complete") == 1, path.string(), ": is incomplete");
    return read_info(root, path.string());
}

/// The index of an embedding file. Files of earlier versions and of other programs keep ids where damage crashes HDF5
/// 1.10 or keeps it busy for ever, and it crashes when it lists a damaged group, so a process of its own reads all but
/// packed files of today first. @throws Error
inline EmbeddingIndex load_index(std::filesystem::path const &path, bool marked) {
    std::filesystem::path const partial = path.string() + ".partial";
    std::error_code ignored;
    check(std::filesystem::exists(path, ignored) || !std::filesystem::exists(partial, ignored), path.string(),
          ": is not complete yet; the command that began ", partial.string(), " goes on with it");
    try {
        bool const checked = is_checked_file(path);
        if (checked && Hdf5File::open(path).root().attribute<std::string>("layout") == "packed")
            return read_index(path, marked);
        auto const bytes = static_cast<std::uint64_t>(std::filesystem::file_size(path));
        auto parcel = in_child_process(path.string(), 2 + (bytes >> 22), (std::uint64_t(64) << 20) + 4 * bytes,
                                       [&] { return pack_index(read_index(path, marked)); });
        return unpack_index(std::move(parcel), path.string());
    } catch (std::bad_alloc const &) {
        fail(path.string(), ": there is not enough memory for its ids");
    }
}

} // namespace protlm::inline v0::detail
