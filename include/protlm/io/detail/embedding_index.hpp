#pragma once

#include <protlm/core/checksum.hpp>
#include <protlm/io/detail/child_process.hpp>
#include <protlm/io/detail/dataset_names.hpp>
#include <protlm/io/embedding_info.hpp>

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

/// All of an embedding file but its vectors.
struct EmbeddingIndex {
    EmbeddingInfo info;
    std::vector<std::string> ids;   ///< (P)
    std::vector<std::string> names; ///< (P) of the datasets, where each protein has one
    std::vector<index_t> lengths;   ///< (P) residues; 0 where a flat file does not say
};

/// The rows of each protein among all residues (P+1). @throws Error for a length that is negative or too large
inline std::vector<index_t> residue_offsets(std::span<index_t const> lengths, std::string const &name) {
    std::vector<index_t> offsets{0};
    for (index_t const length : lengths) {
        index_t end = 0;
        check(length >= 0 && !__builtin_add_overflow(offsets.back(), length, &end), name, ": length ", length,
              " of protein ", offsets.size() - 1, " is negative or too large");
        offsets.push_back(end);
    }
    return offsets;
}

/// A checksum of ids as they lie in a file: all their bytes, and where each ends.
inline std::uint64_t ids_checksum(std::span<char const> bytes, std::span<index_t const> ends) {
    return checksum64(std::as_bytes(ends), checksum64(std::as_bytes(bytes)));
}

/// Writes ids as bytes, ends and a checksum, and for other programs as a dataset of strings, which protlm does not
/// read.
inline void write_ids(Hdf5Group const &root, std::span<std::string const> ids) {
    auto const count = static_cast<index_t>(ids.size());
    std::string bytes;
    std::vector<index_t> ends;
    for (auto const &id : ids)
        ends.push_back(static_cast<index_t>(bytes.append(id).size()));
    root.make_strings("ids", count).write_strings(0, ids);
    auto const size = static_cast<index_t>(bytes.size());
    root.make_dataset("id_ends", DataType::u64, {count}).write(0, count, ends.data());
    auto const dataset = root.make_dataset("id_bytes", DataType::u8, {size});
    dataset.write(0, size, reinterpret_cast<std::uint8_t const *>(bytes.data()));
    dataset.set_attribute("checksum", ids_checksum(bytes, ends));
}

/// @throws Error when the checksum or the ends are not right
inline std::vector<std::string> read_ids(Hdf5Group const &root) {
    auto const dataset = root.dataset("id_bytes");
    auto const bytes = dataset.read_all<std::uint8_t>();
    auto const ends = root.dataset("id_ends").read_all<index_t>();
    std::string_view const text(reinterpret_cast<char const *>(bytes.data()), bytes.size());
    check(dataset.attribute<std::uint64_t>("checksum") == ids_checksum(text, ends), root.name(),
          ": the ids are damaged: their checksum differs");
    std::vector<std::string> ids;
    std::size_t begin = 0;
    for (index_t const end : ends) {
        check(end >= static_cast<index_t>(begin) && end <= std::ssize(text), root.name(), ": id ", ids.size(),
              " ends at byte ", end, " of ", text.size());
        ids.emplace_back(text.substr(begin, static_cast<std::size_t>(end) - begin));
        begin = static_cast<std::size_t>(end);
    }
    return ids;
}

/// The group of one layer of a per-id file that holds residues, or proteins.
inline Hdf5Group vectors_group(Hdf5File const &file, EmbeddingInfo const &info, index_t slot, bool residues) {
    auto layer = layer_group(file, info, slot);
    return info.per_residue && info.per_protein() ? layer.group(residues ? "residues" : "proteins") : std::move(layer);
}

inline void read_packed_index(Hdf5Group const &root, bool old, EmbeddingIndex &index) {
    index.ids = old ? root.dataset("ids").read_strings() : read_ids(root);
    index.lengths = root.dataset("lengths").read_all<index_t>();
    auto const offsets = root.dataset("offsets").read_all<index_t>();
    auto const count = index.ids.size();
    check(index.lengths.size() == count && offsets.size() == count + 1, root.name(),
          ": ids, lengths and offsets disagree in number");
    auto const expected = residue_offsets(index.lengths, root.name());
    auto const wrong = std::mismatch(offsets.begin(), offsets.end(), expected.begin()).first - offsets.begin();
    check(wrong == std::ssize(offsets), root.name(), ": offset ", wrong, " is ",
          wrong < std::ssize(offsets) ? offsets[static_cast<std::size_t>(wrong)] : 0,
          ", which is not what the lengths add up to");
}

inline void read_per_id_index(Hdf5File const &file, bool old, EmbeddingIndex &index) {
    auto const root = file.root();
    if (old) {
        auto const list = root.group("_index");
        index.ids = list.dataset("ids").read_strings();
        index.names = list.dataset("names").read_strings();
        index.lengths = list.dataset("lengths").read_all<index_t>();
    } else {
        auto const group = vectors_group(file, index.info, 0, index.info.per_residue);
        index.names = group.names();
        for (auto const &name : index.names) {
            index.ids.push_back(id_of_name(name));
            index.lengths.push_back(group.dataset(name).attribute<index_t>("length"));
        }
        auto const count = root.attribute<index_t>("proteins");
        check(count == std::ssize(index.ids), group.name(), ": has ", index.ids.size(), " datasets, expected ", count);
    }
    check(index.names.size() == index.ids.size() && index.lengths.size() == index.ids.size(), file.name(),
          ": ids, names and lengths disagree in number");
    residue_offsets(index.lengths, file.name());
}

/// One dataset of a file of another program.
inline Hdf5Dataset flat_dataset(Hdf5Group const &root, std::string const &name) {
    try {
        return root.dataset(name);
    } catch (Error const &) {
        check(!root.is_group(name), root.name(), name, " is a group: of other programs only files are read that hold ",
              "one dataset a protein and nothing else");
        throw;
    }
}

/// A file of another program: one dataset of floating-point numbers for each protein, under its id, or with the id as
/// attribute `original_id`; all of them vectors, (C) or (1, C), or all residues, (L, C).
inline EmbeddingIndex read_flat_index(Hdf5Group const &root, std::string const &file) {
    EmbeddingIndex index;
    index.info.layout = EmbeddingLayout::flat;
    index.names = root.names();
    check(!index.names.empty(), file, ": is no embedding file: there is nothing in it");
    index_t vectors = -1, residues = -1; // a protein of which there can only be that
    std::size_t bytes = 2;
    for (auto const &name : index.names) {
        auto const dataset = flat_dataset(root, name);
        check(dataset.is_float(), dataset.name(), ": holds no floating-point numbers, so this is no embedding file");
        index_t const width = dataset.rank() == 1 ? dataset.rows() : dataset.columns();
        if (index.ids.empty())
            index.info.width = width;
        check(width >= 1 && width == index.info.width, dataset.name(), ": has vectors of ", width, ", those of ",
              index.names.front(), " are of ", index.info.width);
        if (dataset.rank() == 1)
            vectors = std::ssize(index.ids);
        else if (dataset.rows() != 1)
            residues = std::ssize(index.ids);
        bytes = std::max(bytes, dataset.element_bytes());
        index.lengths.push_back(dataset.rank() == 1 ? 0 : dataset.rows());
        index.ids.push_back(dataset.has_attribute("original_id") ? dataset.heap_text("original_id") : name);
    }
    check(vectors < 0 || residues < 0, file, ": holds one vector of ",
          index.names[static_cast<std::size_t>(std::max<index_t>(vectors, 0))], ", but residues of ",
          index.names[static_cast<std::size_t>(std::max<index_t>(residues, 0))]);
    index.info.per_residue = residues >= 0;
    index.info.pooling = residues >= 0 ? "none" : "not known";
    index.info.precision = bytes == 2 ? DataType::f16 : DataType::f32;
    if (root.has_attribute("model_name"))
        index.info.model = root.heap_text("model_name");
    if (residues < 0)
        std::fill(index.lengths.begin(), index.lengths.end(), 0);
    residue_offsets(index.lengths, file);
    return index;
}

/// Reads the index of an embedding file. @param marked  whether its mark `complete` must be set
inline EmbeddingIndex read_index(std::filesystem::path const &path, bool marked) {
    auto const file = Hdf5File::open(path);
    auto const root = file.root();
    auto const name = path.string();
    if (!root.has_attribute("format"))
        return read_flat_index(root, name);
    auto const version = root.has_attribute("format_version") ? root.attribute<std::int64_t>("format_version") : 0;
    check(read_text(root, "format", version) == "protlm embeddings", name, ": is not a protlm embedding file");
    check(!marked || (root.has_attribute("complete") && root.attribute<int>("complete") == 1), name,
          ": is incomplete, its writing was interrupted; the same command again goes on with it");
    EmbeddingIndex index;
    index.info = read_info(root, name);
    if (index.info.layout == EmbeddingLayout::packed)
        read_packed_index(root, version < 3, index);
    else
        read_per_id_index(file, version < 3, index);
    return index;
}

} // namespace protlm::inline v0::detail
