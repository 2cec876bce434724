#pragma once

#include <protlm/io/hdf5_object.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// A dataset of one or two dimensions, read and written by blocks of rows.
class Hdf5Dataset : public Hdf5Object {
  public:
    Hdf5Dataset() = default;
    Hdf5Dataset(detail::Hdf5Handle handle, std::string name) : Hdf5Object(std::move(handle), std::move(name)) {
        auto const space = file_space();
        int const rank =
            detail::hdf5_call(this->name(), "read the shape", [&] { return H5Sget_simple_extent_ndims(space.id()); });
        check(rank == 1 || rank == 2, this->name(), ": has ", rank, " dimensions, expected 1 or 2");
        std::array<hsize_t, 2> extents{0, 1};
        H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
        rank_ = rank;
        for (hsize_t const extent : extents)
            check(std::in_range<index_t>(extent), this->name(), ": an extent of ", extent, " is too large");
        rows_ = static_cast<index_t>(extents[0]);
        columns_ = static_cast<index_t>(extents[1]);
        index_t elements = 0;
        check(!__builtin_mul_overflow(rows_, columns_, &elements), this->name(), ": the shape overflows");
        check_plain();
    }

    int rank() const { return rank_; }
    index_t rows() const { return rows_; }
    index_t columns() const { return columns_; } ///< 1 for one dimension

    /// Bytes from the start of the file to the first element of a contiguous dataset whose place is chosen; -1: none.
    index_t file_offset() const {
        haddr_t const offset = H5Dget_offset(id());
        return offset == HADDR_UNDEF ? index_t(-1) : static_cast<index_t>(offset);
    }

    /// What kind of elements there are.
    bool is_float() const { return element_class() == H5T_FLOAT; }
    bool is_integer() const { return element_class() == H5T_INTEGER; }
    /// Bytes of an element in memory.
    std::size_t element_bytes() const { return H5Tget_size(element_type().id()); }

    /// Checks that the file stores what the shape claims, so that nobody makes room for what is not there: all of it
    /// without compression; else the shape may claim 64 times what is stored, or 16 MiB. @throws Error
    void check_stored() const {
        if (stored_)
            return;
        auto const bytes = static_cast<index_t>(element_bytes());
        index_t claimed = 0;
        check(!__builtin_mul_overflow(rows_ * columns_, bytes, &claimed), name(), ": the shape overflows");
        if (claimed == 0)
            return;
        // Counting chunks takes HDF5 a walk over all of them: once a dataset, not once a protein.
        check(is_written(), name(), ": claims ", claimed, " bytes, but not all of them were written");
        auto const stored = H5Dget_storage_size(id());
        auto const most = compressed_ ? std::max<hsize_t>(hsize_t(16) << 20, stored * 64) : stored;
        check(static_cast<hsize_t>(claimed) <= most && stored <= file_bytes(), name(), ": claims ", claimed,
              " bytes, but the file stores ", stored, compressed_ ? "; at most 64 times as much is taken" : "");
        stored_ = true;
    }

    /// Writes rows [first, first + count) from `values` (count, columns), host, row-major. @throws Error
    template <class T>
    void write(index_t first, index_t count, T const *values) const {
        transfer(first, count, "write", detail::hdf5_type(data_type_of<T>()),
                 [&](hid_t type, hid_t memory, hid_t file) {
                     return H5Dwrite(id(), type, memory, file, H5P_DEFAULT, values);
                 });
    }

    /// Reads rows [first, first + count) into `values` (count, columns), converting to T. @throws Error
    template <class T>
    void read(index_t first, index_t count, T *values) const {
        transfer(first, count, "read", detail::hdf5_type(data_type_of<T>()), [&](hid_t type, hid_t memory, hid_t file) {
            return H5Dread(id(), type, memory, file, H5P_DEFAULT, values);
        });
    }

    /// All elements, row-major.
    template <class T>
    std::vector<T> read_all() const {
        check_stored();
        std::vector<T> values(static_cast<std::size_t>(rows_ * columns_));
        read(0, rows_, values.data());
        return values;
    }

    /// Writes strings into rows [first, first + strings.size()) of a string dataset. @throws Error; a zero byte is one
    void write_strings(index_t first, std::span<std::string const> strings) const {
        std::vector<char const *> pointers;
        for (auto const &string : strings) {
            check(string.find('\0') == string.npos, name(), ": string ", first + static_cast<index_t>(pointers.size()),
                  " holds a zero byte");
            pointers.push_back(string.c_str());
        }
        transfer(first, static_cast<index_t>(strings.size()), "write", detail::hdf5_string_type(),
                 [&](hid_t type, hid_t memory, hid_t file) {
                     return H5Dwrite(id(), type, memory, file, H5P_DEFAULT, pointers.data());
                 });
    }

    /// All strings of a one-dimensional dataset of variable-length strings. They lie in a heap whose damage crashes
    /// HDF5 1.10: only for files that are known to be whole, or in a process that may crash. @throws Error
    std::vector<std::string> read_strings() const {
        check_stored();
        auto const stored = element_type();
        auto const is_text = [&] { return H5Tis_variable_str(stored.id()); };
        bool const text = detail::hdf5_call(name(), "read the type", is_text) > 0;
        check(text && rank_ == 1, name(), ": is no list of variable-length strings");
        std::vector<std::string> result;
        constexpr index_t block = 1 << 14; // bounds what HDF5 keeps beside the result
        std::vector<char *> pointers(static_cast<std::size_t>(std::min(block, rows_)));
        for (index_t first = 0; first < rows_; first += block) {
            index_t const count = std::min(block, rows_ - first);
            transfer(first, count, "read", detail::hdf5_string_type(), [&](hid_t type, hid_t memory, hid_t file) {
                return H5Dread(id(), type, memory, file, H5P_DEFAULT, pointers.data());
            });
            for (index_t i = 0; i < count; ++i) {
                char *const string = pointers[static_cast<std::size_t>(i)];
                result.emplace_back(string ? string : "");
                H5free_memory(string);
            }
        }
        return result;
    }

  private:
    detail::Hdf5Handle element_type() const {
        return detail::hdf5_open(name(), "read the type", H5Tclose, [&] { return H5Dget_type(id()); });
    }
    H5T_class_t element_class() const { return H5Tget_class(element_type().id()); }
    /// Whether there is a place in the file for every element; what has none reads as zeros.
    bool is_written() const {
        if (chunk_.empty()) {
            H5D_space_status_t status = H5D_SPACE_STATUS_ERROR;
            detail::hdf5_call(name(), "read its size", [&] { return H5Dget_space_status(id(), &status); });
            return status == H5D_SPACE_STATUS_ALLOCATED;
        }
        auto const pieces = [](index_t rows, hsize_t chunk) { return (static_cast<hsize_t>(rows) - 1) / chunk + 1; };
        hsize_t const expected = pieces(rows_, chunk_[0]) * (rank_ == 2 ? pieces(columns_, chunk_[1]) : 1);
        hsize_t count = 0;
        auto const space = file_space();
        detail::hdf5_call(name(), "count its chunks", [&] { return H5Dget_num_chunks(id(), space.id(), &count); });
        return count == expected;
    }
    hsize_t file_bytes() const {
        auto const file =
            detail::hdf5_open(name(), "read its file's size", H5Fclose, [&] { return H5Iget_file_id(id()); });
        hsize_t bytes = 0;
        detail::hdf5_call(name(), "read its file's size", [&] { return H5Fget_filesize(file.id(), &bytes); });
        return bytes;
    }

    /// Data come out of this file alone, and only by what HDF5 itself can do: a file that somebody else made must not
    /// read others, nor load a library.
    void check_plain() {
        auto const properties =
            detail::hdf5_open(name(), "read its layout", H5Pclose, [&] { return H5Dget_create_plist(id()); });
        auto const layout = H5Pget_layout(properties.id());
        check(layout != H5D_VIRTUAL, name(), ": is a virtual dataset, made of other ones");
        check(layout != H5D_CONTIGUOUS || H5Pget_external_count(properties.id()) == 0, name(),
              ": keeps its data in another file");
        int const filters = H5Pget_nfilters(properties.id());
        for (int i = 0; i < filters; ++i) {
            unsigned flags = 0, config = 0;
            std::size_t none = 0;
            auto const filter =
                H5Pget_filter2(properties.id(), static_cast<unsigned>(i), &flags, &none, nullptr, 0, nullptr, &config);
            check(filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE || filter == H5Z_FILTER_FLETCHER32,
                  name(), ": is compressed by filter ", filter, "; only gzip is read (h5repack -f GZIP=1 converts it)");
        }
        compressed_ = filters > 0;
        if (layout == H5D_CHUNKED) {
            chunk_.resize(static_cast<std::size_t>(rank_));
            detail::hdf5_call(name(), "read its chunks",
                              [&] { return H5Pget_chunk(properties.id(), rank_, chunk_.data()); });
            check(std::find(chunk_.begin(), chunk_.end(), hsize_t(0)) == chunk_.end(), name(), ": has empty chunks");
        }
    }

    detail::Hdf5Handle file_space() const {
        return detail::hdf5_open(name(), "read the shape", H5Sclose, [&] { return H5Dget_space(id()); });
    }

    template <class Function>
    void transfer(index_t first, index_t count, std::string_view action, detail::Hdf5Handle const &type,
                  Function &&function) const {
        check(first >= 0 && count >= 0 && count <= rows_ - std::min(first, rows_), name(), ": cannot ", action,
              " rows ", first, " to ", first, " + ", count, " of ", rows_);
        if (count == 0 || columns_ == 0)
            return;
        std::array<hsize_t, 2> const start{static_cast<hsize_t>(first), 0};
        std::array<hsize_t, 2> const size{static_cast<hsize_t>(count), static_cast<hsize_t>(columns_)};
        auto const file = file_space();
        auto const memory =
            detail::hdf5_open(name(), action, H5Sclose, [&] { return H5Screate_simple(rank_, size.data(), nullptr); });
        detail::hdf5_call(name(), action, [&] {
            return H5Sselect_hyperslab(file.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
        });
        detail::hdf5_call(name(), action, [&] { return function(type.id(), memory.id(), file.id()); });
    }

    int rank_ = 1;
    bool compressed_ = false;
    mutable bool stored_ = false; ///< check_stored has found all of it
    std::vector<hsize_t> chunk_;  ///< extents of a chunk, where there are any
    index_t rows_ = 0, columns_ = 1;
};

} // namespace protlm::inline v0
