#pragma once

#include <protlm/io/detail/embedding_values.hpp>
#include <protlm/io/embedding_info.hpp>

#include <algorithm>
#include <bit>
#include <filesystem>
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
        auto const root = Hdf5File::open(path).root();
        if (root.attribute<int>("complete") != 1)
            return std::nullopt;
        return detail::read_info(root, path.string());
    } catch (Error const &) {
        return std::nullopt;
    }
}

/// Reads an embedding file of either layout and any precision; ids, lengths and offsets are in memory, vectors are read
/// when asked for. Where a file has several layers, `slot` is the number of one in `info().layers`.
class EmbeddingReader {
  public:
    /// @throws Error when the file is missing, of another kind, incomplete (interrupted while written) or inconsistent
    explicit EmbeddingReader(std::filesystem::path const &path) : EmbeddingReader(path, true) {}

    /// The same for a file whose mark `complete` is not set yet; the caller knows that all is in it.
    static EmbeddingReader without_mark(std::filesystem::path const &path) { return EmbeddingReader(path, false); }

    EmbeddingInfo const &info() const { return info_; }
    index_t size() const { return static_cast<index_t>(ids_.size()); } ///< P
    std::vector<std::string> const &ids() const { return ids_; }
    std::vector<index_t> const &lengths() const { return lengths_; } ///< P, residues
    std::vector<index_t> const &offsets() const { return offsets_; } ///< P+1, rows of the residues
    std::string const &name() const { return name_; }

    /// The first protein with that id, or nothing; a scan, so keep your own table for many.
    std::optional<index_t> find(std::string_view id) const {
        auto const place = std::find(ids_.begin(), ids_.end(), id);
        return place == ids_.end() ? std::nullopt : std::optional<index_t>(place - ids_.begin());
    }

    /// The number of `layer` in info().layers. @throws Error naming those that the file has
    index_t slot_of(index_t layer) const {
        auto const place = std::find(info_.layers.begin(), info_.layers.end(), layer);
        check(place != info_.layers.end(), name_, ": has no layer ", layer, ", only ",
              detail::layers_text(info_.layers));
        return place - info_.layers.begin();
    }

    /// The vectors (count, C) of proteins [first, first + count). @throws Error; also when the file holds none
    std::vector<float> proteins(index_t first, index_t count, index_t slot = 0) const {
        check(info_.per_protein(), name_, ": holds residues only, no proteins (pooling is none)");
        bool const inside = first >= 0 && count >= 0 && count <= size() - std::min(first, size());
        check(inside, name_, ": proteins ", first, " to ", first, " + ", count, " of ", size());
        auto const layer = layer_at(slot);
        std::vector<float> values(elements(count));
        if (packed())
            read_rows(packed_[layer].second, first, count, values.data());
        for (index_t i = 0; !packed() && i < count; ++i)
            read_whole(grouped_[layer].second, first + i, {info_.width}, values.data() + i * info_.width);
        return values;
    }
    /// The vector (C) of one protein. @throws Error
    std::vector<float> protein(index_t protein, index_t slot = 0) const { return proteins(protein, 1, slot); }

    /// The residues (length, C) of one protein. @throws Error; also when the file holds none
    std::vector<float> residues(index_t protein, index_t slot = 0) const {
        check(info_.per_residue, name_, ": holds proteins only, no residues");
        check(protein >= 0 && protein < size(), name_, ": protein ", protein, " of ", size());
        auto const layer = layer_at(slot);
        auto const index = static_cast<std::size_t>(protein);
        std::vector<float> values(elements(lengths_[index]));
        if (packed())
            read_rows(packed_[layer].first, offsets_[index], lengths_[index], values.data());
        else
            read_whole(grouped_[layer].first, protein, {lengths_[index], info_.width}, values.data());
        return values;
    }

  private:
    EmbeddingReader(std::filesystem::path const &path, bool marked)
        : file_(Hdf5File::open(path)), name_(path.string()) {
        auto const root = file_.root();
        check(root.has_attribute("format") && root.attribute<std::string>("format") == "protlm embeddings", name_,
              ": is not a protlm embedding file");
        check(!marked || (root.has_attribute("complete") && root.attribute<int>("complete") == 1), name_,
              ": is incomplete, its writing was interrupted; the same command again goes on with it");
        info_ = detail::read_info(root, name_);
        if (packed())
            open_packed(root);
        else
            open_per_id(root);
    }

    bool packed() const { return info_.layout == EmbeddingLayout::packed; }
    std::size_t elements(index_t rows) const { return static_cast<std::size_t>(rows * info_.width); }
    std::size_t layer_at(index_t slot) const {
        check(slot >= 0 && slot < info_.slots(), name_, ": layer number ", slot, " of ", info_.slots());
        return static_cast<std::size_t>(slot);
    }

    void open_packed(Hdf5Group const &root) {
        ids_ = root.dataset("ids").read_strings();
        lengths_ = root.dataset("lengths").read_all<index_t>();
        offsets_ = root.dataset("offsets").read_all<index_t>();
        check_lengths();
        for (index_t slot = 0; slot < info_.slots(); ++slot) {
            auto const group = detail::layer_group(file_, info_, slot);
            auto &[residues, proteins] = packed_.emplace_back();
            if (info_.per_residue)
                check_shape(residues = group.dataset("residues"), offsets_.back());
            if (info_.per_protein())
                check_shape(proteins = group.dataset("proteins"), size());
        }
    }

    void open_per_id(Hdf5Group const &root) {
        auto const index = root.group("_index");
        ids_ = index.dataset("ids").read_strings();
        names_ = index.dataset("names").read_strings();
        lengths_ = index.dataset("lengths").read_all<index_t>();
        check(names_.size() == ids_.size() && lengths_.size() == ids_.size(), name_,
              ": ids, names and lengths disagree in number");
        offsets_ = {0};
        for (index_t const length : lengths_)
            offsets_.push_back(offsets_.back() + length);
        check_lengths();
        bool const both = info_.per_residue && info_.per_protein();
        for (index_t slot = 0; slot < info_.slots(); ++slot) {
            auto const layer = [&] { return detail::layer_group(file_, info_, slot); };
            auto &[residues, proteins] = grouped_.emplace_back();
            if (info_.per_residue)
                residues = both ? layer().group("residues") : layer();
            if (info_.per_protein())
                proteins = both ? layer().group("proteins") : layer();
        }
    }

    void check_lengths() const {
        auto const count = ids_.size();
        check(lengths_.size() == count && offsets_.size() == count + 1, name_,
              ": ids, lengths and offsets disagree in number");
        for (std::size_t i = 0; i < count; ++i)
            check(lengths_[i] >= 0 && offsets_[i] >= 0 && offsets_[i + 1] - offsets_[i] == lengths_[i], name_,
                  ": length and offsets of protein ", i, " disagree");
        check(offsets_.front() == 0, name_, ": offsets begin with ", offsets_.front(), ", expected 0");
    }
    void check_shape(Hdf5Dataset const &dataset, index_t rows) const {
        check(dataset.rank() == 2 && dataset.rows() == rows && dataset.columns() == info_.width, dataset.name(),
              ": has ", dataset.rows(), " rows of ", dataset.columns(), ", expected ", rows, " of ", info_.width);
    }

    void read_rows(Hdf5Dataset const &dataset, index_t first, index_t rows, float *values) const {
        if (info_.precision != DataType::bf16)
            return dataset.read(first, rows, values);
        std::vector<std::uint16_t> bits(static_cast<std::size_t>(rows * dataset.columns()));
        dataset.read(first, rows, bits.data());
        std::transform(bits.begin(), bits.end(), values,
                       [](std::uint16_t word) { return std::bit_cast<float>(std::uint32_t(word) << 16); });
    }
    void read_whole(Hdf5Group const &group, index_t protein, std::vector<index_t> const &shape, float *values) const {
        auto const dataset = group.dataset(names_[static_cast<std::size_t>(protein)]);
        bool const agrees = dataset.rank() == static_cast<int>(shape.size()) && dataset.rows() == shape[0] &&
                            (shape.size() == 1 || dataset.columns() == shape[1]);
        check(agrees, dataset.name(), ": has ", dataset.rows(), " rows of ", dataset.columns(),
              ", which is not what length and width say");
        read_rows(dataset, 0, shape[0], values);
    }

    Hdf5File file_;
    std::string name_;
    EmbeddingInfo info_;
    std::vector<std::pair<Hdf5Dataset, Hdf5Dataset>> packed_;
    std::vector<std::pair<Hdf5Group, Hdf5Group>> grouped_;
    std::vector<std::string> ids_, names_;
    std::vector<index_t> lengths_, offsets_;
};

} // namespace protlm::inline v0
