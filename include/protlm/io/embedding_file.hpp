#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/version.hpp>
#include <protlm/io/detail/folders.hpp>
#include <protlm/io/hdf5_file.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What the embeddings of a file are; stored as attributes of its root group. docs/formats.md describes the layout.
struct EmbeddingInfo {
    std::string model;                  ///< for people: the model's name or folder
    std::string model_sha256;           ///< of the weights
    index_t layer = 0;                  ///< the hidden state that was taken, 0 for the embedding layer's output
    std::string pooling = "mean";       ///< how a protein's vector comes from its residues'
    DataType precision = DataType::f32; ///< f32 or f16, on disk
    index_t width = 0;                  ///< C
    bool per_residue = true;            ///< whether the file holds residues beside proteins
    int gzip = 0;                       ///< when writing: 0, or 1 (fast) to 9 (small)

    bool operator==(EmbeddingInfo const &) const = default;
};

/// Writes an embedding file, proteins in any order, each into its place in the input's order. The file appears under
/// its name with `close`; its mark `complete` is set last.
class EmbeddingWriter {
  public:
    /// @param path     the file; FILE.partial until `close`
    /// @param ids      P identifiers as given, kept byte by byte; no zero bytes
    /// @param lengths  P numbers of residues
    /// @param places   for a part file: P places of these proteins in the whole, ascending; empty otherwise
    /// @throws Error when the arguments disagree or the file cannot be created
    EmbeddingWriter(std::filesystem::path path, EmbeddingInfo info, std::span<std::string const> ids,
                    std::span<index_t const> lengths, std::span<index_t const> places = {})
        : path_(std::move(path)), partial_(path_.string() + ".partial"), info_(std::move(info)) {
        check_arguments(ids, lengths, places);
        offsets_.push_back(0);
        for (index_t const length : lengths) {
            index_t end = 0;
            check(length >= 0 && !__builtin_add_overflow(offsets_.back(), length, &end), path_.string(), ": length ",
                  length, " of protein ", offsets_.size() - 1, " is negative or too large");
            offsets_.push_back(end);
        }
        written_.resize(ids.size());
        try {
            make_file(ids, lengths, places);
        } catch (...) {
            discard();
            throw;
        }
    }
    EmbeddingWriter(EmbeddingWriter const &) = delete;
    EmbeddingWriter &operator=(EmbeddingWriter const &) = delete;
    ~EmbeddingWriter() { discard(); }

    /// Writes protein `protein` (0 to P-1): its residues (length, C) row-major, which files without residues ignore,
    /// and its vector (C), host.
    /// @throws Error for a protein written before, a value that is not finite or does not fit float16, a full disk
    void write(index_t protein, float const *residues, float const *vector) {
        check(protein >= 0 && protein < size(), path_.string(), ": protein ", protein, " of ", size());
        auto const index = static_cast<std::size_t>(protein);
        check(!written_[index], path_.string(), ": protein ", protein, " is written twice");
        if (info_.per_residue)
            write_rows(residues_, protein, offsets_[index], offsets_[index + 1] - offsets_[index], residues);
        write_rows(proteins_, protein, protein, 1, vector);
        written_[index] = true;
    }

    /// Writes the mark `complete`, syncs the file and gives it its name. @throws Error naming a protein that is missing
    void close() {
        auto const missing = std::find(written_.begin(), written_.end(), false);
        check(missing == written_.end(), path_.string(), ": protein ", missing - written_.begin(), " of ", size(),
              " was not written");
        residues_.close();
        proteins_.close();
        file_.flush();
        root_.set_attribute("complete", std::uint8_t(1));
        root_.close();
        file_.flush();
        file_.close();
        detail::sync_file(partial_);
        detail::rename_path(partial_, path_);
        closed_ = true;
        sync_folder(path_.parent_path());
    }

    /// Number of proteins, P.
    index_t size() const { return static_cast<index_t>(written_.size()); }

  private:
    void check_arguments(std::span<std::string const> ids, std::span<index_t const> lengths,
                         std::span<index_t const> places) const {
        auto const name = path_.string();
        check(ids.size() == lengths.size(), name, ": ", ids.size(), " ids and ", lengths.size(), " lengths");
        check(places.empty() || places.size() == ids.size(), name, ": ", ids.size(), " ids and ", places.size(),
              " places");
        check(info_.width >= 1, name, ": width is ", info_.width, ", expected at least 1");
        check(info_.precision == DataType::f32 || info_.precision == DataType::f16, name, ": precision is ",
              data_type_name(info_.precision), ", expected F32 or F16");
        check(std::adjacent_find(places.begin(), places.end(), std::greater_equal<>()) == places.end() &&
                  (places.empty() || places.front() >= 0),
              name, ": places must ascend from 0");
    }

    void make_file(std::span<std::string const> ids, std::span<index_t const> lengths,
                   std::span<index_t const> places) {
        file_ = Hdf5File::create(partial_);
        root_ = file_.root();
        root_.set_attribute("complete", std::uint8_t(0));
        root_.set_attribute("format", std::string("protlm embeddings"));
        root_.set_attribute("format_version", std::int64_t(1));
        root_.set_attribute("model", info_.model);
        root_.set_attribute("model_sha256", info_.model_sha256);
        root_.set_attribute("layer", std::int64_t(info_.layer));
        root_.set_attribute("pooling", info_.pooling);
        root_.set_attribute("precision", std::string(info_.precision == DataType::f16 ? "float16" : "float32"));
        root_.set_attribute("protlm_version", std::string(PROTLM_VERSION_STRING));
        root_.make_strings("ids", size()).write_strings(0, ids);
        root_.make_dataset("lengths", DataType::u64, {size()}).write(0, size(), lengths.data());
        root_.make_dataset("offsets", DataType::u64, {size() + 1}).write(0, size() + 1, offsets_.data());
        if (!places.empty() || size() == 0) // a part may have no proteins at all
            root_.make_dataset("places", DataType::u64, {size()}).write(0, size(), places.data());
        if (info_.per_residue)
            residues_ = make_rows("residues", offsets_.back());
        proteins_ = make_rows("proteins", size());
    }

    Hdf5Dataset make_rows(std::string const &name, index_t rows) const {
        index_t const chunk = std::max<index_t>(1, (1 << 18) / (info_.width * data_type_size(info_.precision)));
        return root_.make_dataset(name, info_.precision, {rows, info_.width},
                                  {.chunk_rows = info_.gzip ? chunk : 0, .gzip = info_.gzip});
    }

    void write_rows(Hdf5Dataset const &dataset, index_t protein, index_t first, index_t rows, float const *values) {
        index_t const count = rows * info_.width;
        bool const small = info_.precision == DataType::f16;
        // Rounding brings what is below 65520 to float16's largest number, 65504.
        float const bound = small ? 65520.0f : std::numeric_limits<float>::infinity();
        auto const *bad = std::find_if_not(values, values + count, [bound](float v) { return std::abs(v) < bound; });
        if (bad != values + count)
            fail(path_.string(), ": protein ", protein, ": the value ", *bad,
                 std::isfinite(*bad) ? " is too large for float16; write float32" : " is not finite");
        if (!small)
            return dataset.write(first, rows, values);
        halves_.resize(static_cast<std::size_t>(count));
        std::transform(values, values + count, halves_.begin(), [](float value) { return half(value); });
        dataset.write(first, rows, halves_.data());
    }

    /// Removes the file unless `close` was successful.
    void discard() {
        if (closed_)
            return;
        residues_ = {}, proteins_ = {}, root_ = {}, file_ = {};
        std::error_code ignored;
        std::filesystem::remove(partial_, ignored);
    }

    std::filesystem::path path_, partial_;
    EmbeddingInfo info_;
    Hdf5File file_;
    Hdf5Group root_;
    Hdf5Dataset residues_, proteins_;
    std::vector<index_t> offsets_;
    std::vector<bool> written_;
    std::vector<half> halves_;
    bool closed_ = false;
};

/// Reads an embedding file; ids, lengths and offsets are in memory, vectors are read when asked for.
class EmbeddingReader {
  public:
    /// @throws Error when the file is missing, of another kind, incomplete (interrupted while written) or inconsistent
    explicit EmbeddingReader(std::filesystem::path const &path)
        : file_(Hdf5File::open(path)), root_(file_.root()), name_(path.string()) {
        check(root_.has_attribute("format") && root_.attribute<std::string>("format") == "protlm embeddings", name_,
              ": is not a protlm embedding file");
        auto const version = root_.attribute<index_t>("format_version");
        check(version == 1, name_, ": format_version is ", version, ", this program reads 1");
        check(root_.has_attribute("complete") && root_.attribute<int>("complete") == 1, name_,
              ": is incomplete, its writing was interrupted");
        read_info();
        ids_ = root_.dataset("ids").read_strings();
        lengths_ = root_.dataset("lengths").read_all<index_t>();
        offsets_ = root_.dataset("offsets").read_all<index_t>();
        if (root_.contains("places"))
            places_ = root_.dataset("places").read_all<index_t>();
        check_shapes();
    }

    EmbeddingInfo const &info() const { return info_; }
    index_t size() const { return static_cast<index_t>(ids_.size()); } ///< P
    std::vector<std::string> const &ids() const { return ids_; }
    std::vector<index_t> const &lengths() const { return lengths_; } ///< P, residues
    std::vector<index_t> const &offsets() const { return offsets_; } ///< P+1, rows of the residues
    std::vector<index_t> const &places() const { return places_; }   ///< of a part file, else empty
    std::string const &name() const { return name_; }

    /// The first protein with that id, or nothing; a scan, so keep your own table for many.
    std::optional<index_t> find(std::string_view id) const {
        auto const place = std::find(ids_.begin(), ids_.end(), id);
        return place == ids_.end() ? std::nullopt : std::optional<index_t>(place - ids_.begin());
    }

    /// The vectors (count, C) of proteins [first, first + count). @throws Error
    std::vector<float> proteins(index_t first, index_t count) const {
        bool const inside = first >= 0 && count >= 0 && count <= size() - std::min(first, size());
        check(inside, name_, ": proteins ", first, " to ", first, " + ", count, " of ", size());
        std::vector<float> values(elements(count));
        proteins_.read(first, count, values.data());
        return values;
    }
    /// The vector (C) of one protein. @throws Error
    std::vector<float> protein(index_t protein) const { return proteins(protein, 1); }

    /// The residues (length, C) of one protein. @throws Error; also when the file holds none
    std::vector<float> residues(index_t protein) const {
        check(info_.per_residue, name_, ": holds proteins only, no residues");
        check(protein >= 0 && protein < size(), name_, ": protein ", protein, " of ", size());
        auto const index = static_cast<std::size_t>(protein);
        std::vector<float> values(elements(lengths_[index]));
        residues_.read(offsets_[index], lengths_[index], values.data());
        return values;
    }

  private:
    std::size_t elements(index_t rows) const { return static_cast<std::size_t>(rows * info_.width); }

    void read_info() {
        info_.model = root_.attribute<std::string>("model");
        info_.model_sha256 = root_.attribute<std::string>("model_sha256");
        info_.layer = root_.attribute<index_t>("layer");
        info_.pooling = root_.attribute<std::string>("pooling");
        auto const precision = root_.attribute<std::string>("precision");
        check(precision == "float32" || precision == "float16", name_, ": precision is neither float32 nor float16");
        info_.precision = precision == "float16" ? DataType::f16 : DataType::f32;
        proteins_ = root_.dataset("proteins");
        info_.width = proteins_.columns();
        info_.per_residue = root_.contains("residues");
        if (info_.per_residue)
            residues_ = root_.dataset("residues");
    }

    void check_shapes() const {
        auto const count = ids_.size();
        check(lengths_.size() == count && offsets_.size() == count + 1 && proteins_.rows() == size() &&
                  proteins_.rank() == 2 && (places_.empty() || places_.size() == count),
              name_, ": ids, lengths, offsets and proteins disagree in number");
        for (std::size_t i = 0; i < count; ++i)
            check(lengths_[i] >= 0 && offsets_[i] >= 0 && offsets_[i + 1] - offsets_[i] == lengths_[i], name_,
                  ": length and offsets of protein ", i, " disagree");
        check(offsets_.front() == 0, name_, ": offsets begin with ", offsets_.front(), ", expected 0");
        check(!info_.per_residue ||
                  (residues_.rank() == 2 && residues_.rows() == offsets_.back() && residues_.columns() == info_.width),
              name_, ": residues have ", residues_.rows(), " rows of ", residues_.columns(), ", expected ",
              offsets_.back(), " of ", info_.width);
    }

    Hdf5File file_;
    Hdf5Group root_;
    std::string name_;
    EmbeddingInfo info_;
    Hdf5Dataset residues_, proteins_;
    std::vector<std::string> ids_;
    std::vector<index_t> lengths_, offsets_, places_;
};

} // namespace protlm::inline v0
