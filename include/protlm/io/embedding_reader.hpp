#pragma once

#include <protlm/core/floating_point.hpp>
#include <protlm/io/detail/embedding_index_load.hpp>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Whether `path` is an embedding file that is complete, and what it holds; nothing for any other file and for none.
inline std::optional<EmbeddingInfo> complete_embedding_file(std::filesystem::path const &path) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored))
        return std::nullopt;
    try {
        if (detail::is_checked_file(path))
            return detail::read_checked_info(path);
        auto info = detail::load_index(path, true).info;
        return info.layout == EmbeddingLayout::flat ? std::nullopt : std::optional(std::move(info));
    } catch (Error const &) {
        return std::nullopt;
    }
}

/// Reads an embedding file of either layout and any precision, and files of other programs that hold one dataset a
/// protein (EmbeddingLayout::flat). Ids, lengths and offsets are in memory, vectors are read when asked for. Where a
/// file has several layers, `slot` is the number of one in `info().layers`.
///
/// Files may be damaged or made by anybody: what they claim is checked against what they store before there is room
/// made for it, no data are taken from other files, and HDF5's heap is read in a process of its own.
class EmbeddingReader {
  public:
    /// @throws Error when the file is missing, of another kind, incomplete (interrupted while written) or inconsistent
    explicit EmbeddingReader(std::filesystem::path const &path) : EmbeddingReader(path, true) {}

    /// The same for a file whose mark `complete` is not set yet; the caller knows that all is in it.
    static EmbeddingReader without_mark(std::filesystem::path const &path) { return EmbeddingReader(path, false); }

    EmbeddingInfo const &info() const { return index_.info; }
    index_t size() const { return static_cast<index_t>(ids().size()); } ///< P
    std::vector<std::string> const &ids() const { return index_.ids; }
    std::vector<index_t> const &lengths() const { return index_.lengths; } ///< P, residues; 0 where a file says nothing
    std::vector<index_t> const &offsets() const { return offsets_; }       ///< P+1, rows of the residues
    std::string const &name() const { return name_; }

    /// The first protein with that id, or nothing; a scan, so keep your own table for many.
    std::optional<index_t> find(std::string_view id) const {
        auto const place = std::find(ids().begin(), ids().end(), id);
        return place == ids().end() ? std::nullopt : std::optional<index_t>(place - ids().begin());
    }

    /// The number of `layer` in info().layers. @throws Error naming those that the file has
    index_t slot_of(index_t layer) const {
        check(info().layout != EmbeddingLayout::flat, name_, ": does not say of which layer its vectors are");
        auto const place = std::find(info().layers.begin(), info().layers.end(), layer);
        check(place != info().layers.end(), name_, ": has no layer ", layer, ", only ",
              detail::layers_text(info().layers));
        return place - info().layers.begin();
    }

    /// The vectors (count, C) of proteins [first, first + count).
    /// @throws Error for a value that is not finite, naming its protein; also when the file holds none
    std::vector<float> proteins(index_t first, index_t count, index_t slot = 0) const {
        check(info().per_protein(), name_, ": holds residues only, no proteins (pooling is none)");
        bool const inside = first >= 0 && count >= 0 && count <= size() - std::min(first, size());
        check(inside, name_, ": proteins ", first, " to ", first, " + ", count, " of ", size());
        auto const layer = layer_at(slot);
        if (packed())
            packed_[layer].second.check_stored();
        auto values = make_room(count);
        if (packed())
            read_rows(packed_[layer].second, first, count, values.data());
        for (index_t i = 0; !packed() && i < count; ++i) {
            auto const dataset = whole_dataset(grouped_[layer].second, first + i, 1, 1);
            read_rows(dataset, 0, dataset.rows(), values.data() + i * info().width);
        }
        check_finite(values, info().width, first);
        return values;
    }
    /// The vector (C) of one protein. @throws Error
    std::vector<float> protein(index_t protein, index_t slot = 0) const { return proteins(protein, 1, slot); }

    /// The residues (length, C) of one protein.
    /// @throws Error for a value that is not finite, naming the protein; also when the file holds none
    std::vector<float> residues(index_t protein, index_t slot = 0) const {
        check(info().per_residue, name_, ": holds proteins only, no residues");
        check(protein >= 0 && protein < size(), name_, ": protein ", protein, " of ", size());
        auto const layer = layer_at(slot);
        auto const place = static_cast<std::size_t>(protein);
        index_t const length = lengths()[place];
        if (packed() && length > 0)
            packed_[layer].first.check_stored();
        std::vector<float> values;
        if (packed()) {
            values = make_room(length);
            read_rows(packed_[layer].first, offsets_[place], length, values.data());
        } else {
            auto const dataset = whole_dataset(grouped_[layer].first, protein, 2, length);
            values = make_room(length);
            read_rows(dataset, 0, length, values.data());
        }
        check_finite(values, std::max<index_t>(1, std::ssize(values)), protein);
        return values;
    }

  private:
    EmbeddingReader(std::filesystem::path const &path, bool marked)
        : name_(path.string()), index_(detail::load_index(path, marked)), file_(Hdf5File::open(path)) {
        offsets_ = detail::residue_offsets(index_.lengths, name_);
        for (index_t slot = 0; slot < info().slots(); ++slot)
            packed() ? open_packed(slot) : open_grouped(slot);
    }

    bool packed() const { return info().layout == EmbeddingLayout::packed; }
    std::size_t layer_at(index_t slot) const {
        check(slot >= 0 && slot < info().slots(), name_, ": layer number ", slot, " of ", info().slots());
        return static_cast<std::size_t>(slot);
    }
    /// Zeros for so many vectors, which the file stores.
    std::vector<float> make_room(index_t rows) const {
        index_t elements = 0;
        check(!__builtin_mul_overflow(rows, info().width, &elements), name_, ": ", rows, " vectors of ", info().width,
              " are too many");
        try {
            return std::vector<float>(static_cast<std::size_t>(elements));
        } catch (std::exception const &) { // bad_alloc, length_error
            fail(name_, ": there is not enough memory for ", rows, " vectors of ", info().width);
        }
    }

    void open_packed(index_t slot) {
        auto const group = detail::layer_group(file_, info(), slot);
        auto &[residues, proteins] = packed_.emplace_back();
        if (info().per_residue)
            check_shape(residues = group.dataset("residues"), offsets_.back());
        if (info().per_protein())
            check_shape(proteins = group.dataset("proteins"), size());
    }
    void open_grouped(index_t slot) {
        auto &[residues, proteins] = grouped_.emplace_back();
        if (info().per_residue)
            residues = detail::vectors_group(file_, info(), slot, true);
        if (info().per_protein())
            proteins = detail::vectors_group(file_, info(), slot, false);
    }

    void check_type(Hdf5Dataset const &dataset) const {
        bool const bits = info().precision == DataType::bf16;
        check(bits ? dataset.is_integer() && dataset.element_bytes() == 2 : dataset.is_float(), dataset.name(),
              ": its elements are no ", bits ? "bfloat16 in uint16" : "floating-point numbers");
    }
    void check_shape(Hdf5Dataset const &dataset, index_t rows) const {
        check(dataset.rank() == 2 && dataset.rows() == rows && dataset.columns() == info().width, dataset.name(),
              ": has ", dataset.rows(), " rows of ", dataset.columns(), ", expected ", rows, " of ", info().width);
        check_type(dataset);
    }

    void read_rows(Hdf5Dataset const &dataset, index_t first, index_t rows, float *values) const {
        if (info().precision != DataType::bf16)
            return dataset.read(first, rows, values);
        std::vector<std::uint16_t> bits(static_cast<std::size_t>(rows * dataset.columns()));
        dataset.read(first, rows, bits.data());
        std::transform(bits.begin(), bits.end(), values,
                       [](std::uint16_t word) { return std::bit_cast<float>(std::uint32_t(word) << 16); });
    }
    /// One protein's dataset, whose shape is (rows, C), or for `rank` 1 also (C), and which is stored in whole.
    Hdf5Dataset whole_dataset(Hdf5Group const &group, index_t protein, int rank, index_t rows) const {
        auto dataset = group.dataset(index_.names[static_cast<std::size_t>(protein)]);
        bool const vector = dataset.rank() == 1;
        bool const agrees = vector ? rank == 1 && dataset.rows() == info().width
                                   : (rank == 2 || info().layout == EmbeddingLayout::flat) && dataset.rows() == rows &&
                                         dataset.columns() == info().width;
        check(agrees, dataset.name(), ": has ", dataset.rows(), " rows of ", dataset.columns(),
              ", which is not what length and width say");
        check_type(dataset);
        dataset.check_stored();
        return dataset;
    }
    void check_finite(std::vector<float> const &values, index_t each, index_t first) const {
        for (std::size_t i = 0; i < values.size(); ++i)
            if (!is_finite(values[i])) [[unlikely]]
                fail(name_, ": protein ", ids()[static_cast<std::size_t>(first) + i / static_cast<std::size_t>(each)],
                     ": the value ", values[i], " is not finite");
    }

    std::string name_;
    detail::EmbeddingIndex index_;
    Hdf5File file_;
    std::vector<std::pair<Hdf5Dataset, Hdf5Dataset>> packed_; ///< of each layer: residues, proteins
    std::vector<std::pair<Hdf5Group, Hdf5Group>> grouped_;
    std::vector<index_t> offsets_;
};

} // namespace protlm::inline v0
