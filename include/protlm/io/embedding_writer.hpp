#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/utf8.hpp>
#include <protlm/io/detail/embedding_index.hpp>
#include <protlm/io/detail/embedding_values.hpp>
#include <protlm/io/detail/file_descriptor.hpp>
#include <protlm/io/detail/folders.hpp>
#include <protlm/io/embedding_info.hpp>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// One layer's datasets of a packed file; those that the file does not hold stay closed.
struct PackedVectors {
    Hdf5Dataset residues, proteins;
};

/// @throws Error for what cannot be written: see check_info; and ids that are no UTF-8 or hold a zero byte
inline void check_new(EmbeddingInfo const &info, std::span<std::string const> ids, std::string const &name) {
    check_info(info, name);
    check(info.layout != EmbeddingLayout::flat, name, ": the layout flat is one of other programs, not written");
    for (auto const &id : ids)
        check(id.find('\0') == id.npos && is_valid_utf8(id), name, ": id ", &id - ids.data() + 1, ", \"", id, "\", ",
              id.find('\0') == id.npos ? "is no UTF-8" : "holds a zero byte");
}

/// Bytes of all vectors of a file without compression.
inline index_t all_vector_bytes(EmbeddingInfo const &info, index_t proteins, index_t residues) {
    index_t const rows = (info.per_residue ? residues : 0) + (info.per_protein() ? proteins : 0);
    index_t bytes = info.slots() * info.width * data_type_size(info.precision);
    check(!__builtin_mul_overflow(rows, bytes, &bytes), "vectors of ", rows, " rows are too large");
    return bytes;
}

/// Everything of a packed file but its vectors' values. @param early  see Hdf5Layout
inline std::vector<PackedVectors> make_packed(Hdf5File const &file, EmbeddingInfo const &info,
                                              std::span<std::string const> ids, std::span<index_t const> lengths,
                                              std::vector<index_t> const &offsets, bool early) {
    auto const root = file.root();
    auto const count = static_cast<index_t>(ids.size());
    write_info(root, info);
    write_ids(root, ids);
    root.make_dataset("lengths", DataType::u64, {count}).write(0, count, lengths.data());
    root.make_dataset("offsets", DataType::u64, {count + 1}).write(0, count + 1, offsets.data());
    index_t const chunk = std::max<index_t>(1, (1 << 18) / (info.width * data_type_size(info.precision)));
    Hdf5Layout const layout{.chunk_rows = info.gzip ? chunk : 0, .gzip = info.gzip, .early = early};
    std::vector<PackedVectors> layers;
    for (index_t slot = 0; slot < info.slots(); ++slot) {
        auto const group = layer_group(file, info, slot, true);
        auto &vectors = layers.emplace_back();
        if (info.per_residue)
            vectors.residues = make_vectors(group, "residues", info, {offsets.back(), info.width}, layout);
        if (info.per_protein())
            vectors.proteins = make_vectors(group, "proteins", info, {count, info.width}, layout);
    }
    return layers;
}

/// One layer's groups of a per-id file, and datasets in them.
struct GroupedVectors {
    Hdf5Group residues, proteins;
};

/// Everything of a per-id file but the datasets of vectors: nothing that other programs would take for a protein.
inline std::vector<GroupedVectors> make_per_id(Hdf5File const &file, EmbeddingInfo const &info, index_t proteins) {
    write_info(file.root(), info);
    file.root().set_attribute("proteins", std::int64_t(proteins));
    bool const both = info.per_residue && info.per_protein();
    std::vector<GroupedVectors> layers;
    for (index_t slot = 0; slot < info.slots(); ++slot) {
        auto layer = layer_group(file, info, slot, true);
        if (both)
            layers.push_back({layer.make_group("residues"), layer.make_group("proteins")});
        else if (info.per_residue)
            layers.push_back({std::move(layer), {}});
        else
            layers.push_back({{}, std::move(layer)});
    }
    return layers;
}

} // namespace detail

/// Writes an embedding file in either layout, proteins in any order, each into its place in the input's order. The file
/// appears under its name with `close`; its mark `complete` is set last.
class EmbeddingWriter {
  public:
    /// @param path     the file; FILE.partial until `close`
    /// @param ids      P identifiers, kept byte by byte; UTF-8 without zero bytes
    /// @param lengths  P numbers of residues
    /// @throws Error when the arguments disagree or the file cannot be created
    EmbeddingWriter(std::filesystem::path path, EmbeddingInfo info, std::span<std::string const> ids,
                    std::span<index_t const> lengths)
        : path_(std::move(path)), partial_(path_.string() + ".partial"), info_(std::move(info)),
          ids_(ids.begin(), ids.end()), encode_(info_.precision) {
        check(ids.size() == lengths.size(), path_.string(), ": ", ids.size(), " ids and ", lengths.size(), " lengths");
        detail::check_new(info_, ids, path_.string());
        offsets_ = detail::residue_offsets(lengths, path_.string());
        written_.resize(ids.size() * info_.layers.size());
        try {
            detail::try_disk(partial_, info_.gzip ? 0 : detail::all_vector_bytes(info_, size(), offsets_.back()));
            file_ = Hdf5File::create(partial_);
            if (info_.layout == EmbeddingLayout::packed) {
                packed_ = detail::make_packed(file_, info_, ids, lengths, offsets_, false);
            } else {
                names_ = detail::dataset_names(ids);
                grouped_ = detail::make_per_id(file_, info_, size());
                make_datasets();
            }
        } catch (...) {
            discard();
            throw;
        }
    }
    EmbeddingWriter(EmbeddingWriter const &) = delete;
    EmbeddingWriter &operator=(EmbeddingWriter const &) = delete;
    ~EmbeddingWriter() { discard(); }

    /// Writes protein `protein` (0 to P-1): its residues (length, C) row-major and its vector (C), host, each ignored
    /// where the file holds none. @param slot  which of the file's layers
    /// @throws Error for a protein written before, a value that is not finite or does not fit, a full disk
    void write(index_t protein, float const *residues, float const *vector, index_t slot = 0) {
        check(protein >= 0 && protein < size(), path_.string(), ": protein ", protein, " of ", size());
        check(slot >= 0 && slot < info_.slots(), path_.string(), ": layer number ", slot, " of ", info_.slots());
        auto const index = static_cast<std::size_t>(slot * size() + protein);
        check(!written_[index], path_.string(), ": protein ", protein, " is written twice");
        auto const layer = static_cast<std::size_t>(slot);
        auto const first = offsets_[static_cast<std::size_t>(protein)];
        auto const rows = length(protein);
        if (info_.layout == EmbeddingLayout::packed) {
            write_rows(packed_[layer].residues, protein, first, rows, residues, info_.per_residue);
            write_rows(packed_[layer].proteins, protein, protein, 1, vector, info_.per_protein());
        } else {
            if (info_.per_residue)
                write_dataset(grouped_[layer].residues, protein, rows, rows * info_.width, residues);
            if (info_.per_protein())
                write_dataset(grouped_[layer].proteins, protein, info_.width, info_.width, vector);
        }
        written_[index] = true;
    }

    /// Writes the mark `complete`, syncs the file and gives it its name. @throws Error naming a protein that is missing
    void close() {
        auto const missing = std::find(written_.begin(), written_.end(), false);
        check(missing == written_.end(), path_.string(), ": protein ",
              (missing - written_.begin()) % std::max<index_t>(1, size()), " of ", size(), " was not written");
        packed_.clear();
        grouped_.clear();
        file_.flush();
        file_.root().set_attribute("complete", std::uint8_t(1));
        file_.flush();
        file_.close();
        detail::sync_file(partial_);
        detail::rename_path(partial_, path_);
        closed_ = true;
        sync_folder(path_.parent_path());
    }

    /// Number of proteins, P.
    index_t size() const { return static_cast<index_t>(ids_.size()); }

  private:
    std::string who(index_t protein) const {
        return path_.string() + ": protein " + ids_[static_cast<std::size_t>(protein)];
    }

    void write_rows(Hdf5Dataset const &dataset, index_t protein, index_t first, index_t rows, float const *values,
                    bool wanted) {
        if (!wanted)
            return;
        auto const bytes = encode_(values, rows * info_.width, who(protein));
        detail::as_stored(info_.precision, bytes.data(), [&](auto *stored) { dataset.write(first, rows, stored); });
    }

    /// All datasets of a per-id file: made at once, because others list them in the order in which they were made.
    void make_datasets() {
        for (auto const &[residues, proteins] : grouped_)
            for (index_t protein = 0; protein < size(); ++protein) {
                if (info_.per_residue)
                    make_dataset(residues, protein, {length(protein), info_.width});
                if (info_.per_protein())
                    make_dataset(proteins, protein, {info_.width});
            }
    }
    void make_dataset(Hdf5Group const &group, index_t protein, std::vector<index_t> const &shape) {
        auto const place = static_cast<std::size_t>(protein);
        index_t const rows = shape[0], row = shape.size() == 2 ? shape[1] : 1;
        index_t const chunk = std::max<index_t>(1, (1 << 18) / row);
        Hdf5Layout const layout{.chunk_rows = std::min(rows, chunk), .gzip = info_.gzip};
        auto const dataset =
            detail::make_vectors(group, names_[place], info_, shape, rows > 0 && info_.gzip ? layout : Hdf5Layout{});
        dataset.set_heap_text("original_id", ids_[place]); // for other programs; ours takes the dataset's name
        dataset.set_attribute("length", std::int64_t(length(protein)));
    }
    void write_dataset(Hdf5Group const &group, index_t protein, index_t rows, index_t count, float const *values) {
        auto const bytes = encode_(values, count, who(protein));
        auto const dataset = group.dataset(names_[static_cast<std::size_t>(protein)]);
        detail::as_stored(info_.precision, bytes.data(), [&](auto *stored) { dataset.write(0, rows, stored); });
    }
    index_t length(index_t protein) const {
        auto const place = static_cast<std::size_t>(protein);
        return offsets_[place + 1] - offsets_[place];
    }

    /// Removes the file unless `close` was successful.
    void discard() {
        if (closed_)
            return;
        std::error_code ignored;
        std::filesystem::resize_file(partial_, 0, ignored); // HDF5 needs a little room to close the file
        packed_.clear(), grouped_.clear(), file_ = {};
        std::filesystem::remove(partial_, ignored);
    }

    std::filesystem::path path_, partial_;
    EmbeddingInfo info_;
    std::vector<std::string> ids_, names_;
    Hdf5File file_;
    std::vector<detail::PackedVectors> packed_;
    std::vector<detail::GroupedVectors> grouped_;
    std::vector<index_t> offsets_;
    std::vector<bool> written_;
    detail::ValueEncoder encode_;
    bool closed_ = false;
};

} // namespace protlm::inline v0
