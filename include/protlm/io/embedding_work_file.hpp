#pragma once

#include <protlm/io/detail/embedding_index_load.hpp>
#include <protlm/io/detail/file_descriptor.hpp>
#include <protlm/io/embedding_writer.hpp>

#include <array>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A packed embedding file without compression while several processes fill it: the places of all vectors are fixed
/// when it is made, and each process writes its proteins there by the system's own calls, any order, disjoint places.
/// The file system must let processes write disjoint parts of a file at the same time.
class EmbeddingWorkFile {
  public:
    /// Makes the file, all but the vectors' values; in one process. `info.layout` and `info.gzip` do not matter.
    /// @param ids, lengths  (P)  @throws Error, for example when the disk has not that much room
    static void create(std::filesystem::path const &path, EmbeddingInfo info, std::span<std::string const> ids,
                       std::span<index_t const> lengths) {
        info.layout = EmbeddingLayout::packed;
        info.gzip = 0;
        detail::check_new(info, ids, path.string());
        auto const offsets = detail::residue_offsets(lengths, path.string());
        try {
            detail::try_disk(path, detail::all_vector_bytes(info, std::ssize(lengths), offsets.back()));
            auto file = Hdf5File::create(path);
            detail::make_packed(file, info, ids, lengths, offsets, true);
            file.close();
            detail::reserve_disk(path);
        } catch (...) {
            std::error_code ignored;
            std::filesystem::remove(path, ignored);
            throw;
        }
    }

    /// Opens a file that `create` made, to write vectors. @throws Error
    explicit EmbeddingWorkFile(std::filesystem::path const &path) : name_(path.string()) {
        {
            check(detail::is_checked_file(path), name_, ": was begun by an earlier version of protlm");
            auto const file = Hdf5File::open(path);
            info_ = detail::read_info(file.root(), name_);
            check(info_.layout == EmbeddingLayout::packed, name_, ": is no work file");
            offsets_ = detail::residue_offsets(file.root().dataset("lengths").read_all<index_t>(), name_);
            for (index_t slot = 0; slot < info_.slots(); ++slot) {
                auto const group = detail::layer_group(file, info_, slot);
                places_.push_back({info_.per_residue ? place(group.dataset("residues"), offsets_.back()) : -1,
                                   info_.per_protein() ? place(group.dataset("proteins"), size()) : -1});
            }
        }
        file_ = detail::FileDescriptor(path, O_RDWR);
        encode_ = detail::ValueEncoder(info_.precision);
    }

    EmbeddingInfo const &info() const { return info_; }
    index_t size() const { return static_cast<index_t>(offsets_.size()) - 1; } ///< P
    std::string const &name() const { return name_; }

    /// Writes one layer of one protein: residues (length, C) row-major, vector (C), host, each ignored where the file
    /// holds none. @param who  names the protein in messages  @param checksum  of the protein's layers before, 0 first
    /// @returns the checksum with this layer
    /// @throws Error when a value is not finite or does not fit the precision, or the disk is full
    std::uint64_t write(index_t protein, index_t slot, float const *residues, float const *vector,
                        std::string const &who, std::uint64_t checksum) {
        for (auto const &[first, rows, is_vector, wanted] : blocks(protein, slot)) {
            if (!wanted)
                continue;
            auto const bytes = encode_(is_vector ? vector : residues, rows * info_.width, name_ + ": protein " + who);
            detail::write_at(file_, bytes, first, name_);
            checksum = checksum64(bytes, checksum);
        }
        return checksum;
    }

    /// The checksum of what the file holds for a protein, as `write` gave it for all layers. @throws Error
    std::uint64_t checksum(index_t protein) {
        std::uint64_t sum = 0;
        for (index_t slot = 0; slot < info_.slots(); ++slot)
            for (auto const &[first, rows, is_vector, wanted] : blocks(protein, slot)) {
                if (!wanted)
                    continue;
                buffer_.resize(static_cast<std::size_t>(rows * row_bytes()));
                std::size_t const count = detail::read_at(file_, buffer_, first, name_);
                sum = checksum64(std::span(buffer_).first(count), sum);
            }
        return sum;
    }

    /// Hands everything written to the disk. @throws Error
    void sync() const { detail::sync_data(file_, name_); }

    /// Fills in what was not known at first, sets the mark `complete` and syncs; when every process is done.
    static void complete(std::filesystem::path const &path, std::string const &model_sha256, std::string const &job) {
        auto file = Hdf5File::open_writable(path);
        {
            auto const root = file.root();
            root.set_attribute("model_sha256", model_sha256);
            root.set_attribute("job", job);
            file.flush();
            root.set_attribute("complete", std::uint8_t(1));
        }
        file.flush();
        file.close();
        detail::sync_file(path);
    }

  private:
    struct Block {
        index_t first, rows; ///< byte in the file; rows of C
        bool is_vector;      ///< the protein's own vector
        bool wanted;
    };
    /// Where a dataset's values begin; all of them lie in the file.
    index_t place(Hdf5Dataset const &dataset, index_t rows) const {
        bool const agrees = dataset.rank() == 2 && dataset.rows() == rows && dataset.columns() == info_.width &&
                            std::cmp_equal(dataset.element_bytes(), data_type_size(info_.precision));
        check(agrees, dataset.name(), ": has ", dataset.rows(), " rows of ", dataset.columns(), ", expected ", rows,
              " of ", info_.width);
        dataset.check_stored();
        check(rows == 0 || dataset.file_offset() >= 0, dataset.name(), ": does not lie in one piece");
        return dataset.file_offset();
    }
    index_t row_bytes() const { return info_.width * data_type_size(info_.precision); }
    std::array<Block, 2> blocks(index_t protein, index_t slot) const {
        check(protein >= 0 && protein < size() && slot >= 0 && slot < info_.slots(), name_, ": protein ", protein,
              " of ", size(), ", layer number ", slot, " of ", info_.slots());
        auto const [residues, proteins] = places_[static_cast<std::size_t>(slot)];
        auto const first = offsets_[static_cast<std::size_t>(protein)];
        auto const rows = offsets_[static_cast<std::size_t>(protein) + 1] - first;
        return {Block{residues + first * row_bytes(), rows, false, info_.per_residue && rows > 0},
                Block{proteins + protein * row_bytes(), 1, true, info_.per_protein()}};
    }

    std::string name_;
    EmbeddingInfo info_;
    std::vector<index_t> offsets_;
    std::vector<std::pair<index_t, index_t>> places_; ///< of each layer: residues, proteins
    detail::FileDescriptor file_;
    detail::ValueEncoder encode_;
    std::vector<std::byte> buffer_;
};

} // namespace protlm::inline v0
