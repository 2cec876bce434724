#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/io/detail/hdf5_handle.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Attributes of a group or dataset: one number or string each.
class Hdf5Object {
  public:
    bool has_attribute(std::string_view key) const {
        return detail::hdf5_call(name_, "look up attributes",
                                 [&] { return H5Aexists(id(), std::string(key).c_str()); }) > 0;
    }

    /// Writes a number; one of that name and type is overwritten. @throws Error
    template <class T>
        requires std::is_arithmetic_v<T>
    void set_attribute(std::string_view key, T value) const {
        write_attribute(key, detail::hdf5_type(data_type_of<T>()), &value);
    }
    void set_attribute(std::string_view key, std::string const &value) const {
        check(value.find('\0') == value.npos, name_, ": attribute ", key, " holds a zero byte");
        char const *text = value.c_str();
        write_attribute(key, detail::hdf5_string_type(), &text);
    }

    /// Reads a number (converted to T) or a variable-length string. @throws Error when it is missing or of another kind
    template <class T>
    T attribute(std::string_view key) const {
        auto const attribute = open_attribute(key);
        auto const action = std::string("read attribute ").append(key);
        auto const space = detail::hdf5_open(name_, action, H5Sclose, [&] { return H5Aget_space(attribute.id()); });
        auto const count = detail::hdf5_call(name_, action, [&] { return H5Sget_simple_extent_npoints(space.id()); });
        check(count == 1, name_, ": attribute ", key, " has ", count, " values, expected 1");
        if constexpr (std::is_same_v<T, std::string>) {
            auto const type = detail::hdf5_open(name_, action, H5Tclose, [&] { return H5Aget_type(attribute.id()); });
            bool const text = detail::hdf5_call(name_, action, [&] { return H5Tis_variable_str(type.id()); }) > 0;
            check(text, name_, ": attribute ", key, " is no variable-length string");
            auto const memory = detail::hdf5_string_type();
            char *value = nullptr;
            detail::hdf5_call(name_, action, [&] { return H5Aread(attribute.id(), memory.id(), &value); });
            std::string result = value ? value : "";
            H5free_memory(value);
            return result;
        } else {
            T value{};
            auto const memory = detail::hdf5_type(data_type_of<T>());
            detail::hdf5_call(name_, action, [&] { return H5Aread(attribute.id(), memory.id(), &value); });
            return value;
        }
    }

    /// "FILE: /path", which begins every message.
    std::string const &name() const { return name_; }
    hid_t id() const { return handle_.id(); }

    /// Closes now instead of on destruction. @throws Error
    void close() { handle_.close(name_); }

  protected:
    Hdf5Object() = default;
    Hdf5Object(detail::Hdf5Handle handle, std::string name) : handle_(std::move(handle)), name_(std::move(name)) {}

  private:
    detail::Hdf5Handle open_attribute(std::string_view key) const {
        check(has_attribute(key), name_, ": has no attribute ", key);
        return detail::hdf5_open(name_, "open an attribute", H5Aclose,
                                 [&] { return H5Aopen(id(), std::string(key).c_str(), H5P_DEFAULT); });
    }
    void write_attribute(std::string_view key, detail::Hdf5Handle const &type, void const *value) const {
        auto const action = std::string("write attribute ").append(key);
        auto const create = [&] {
            auto const space = detail::hdf5_open(name_, action, H5Sclose, [] { return H5Screate(H5S_SCALAR); });
            return detail::hdf5_open(name_, action, H5Aclose, [&] {
                return H5Acreate2(id(), std::string(key).c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT);
            });
        };
        auto const attribute = has_attribute(key) ? open_attribute(key) : create();
        detail::hdf5_call(name_, action, [&] { return H5Awrite(attribute.id(), type.id(), value); });
    }

    detail::Hdf5Handle handle_;
    std::string name_;
};

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
    }

    int rank() const { return rank_; }
    index_t rows() const { return rows_; }
    index_t columns() const { return columns_; } ///< 1 for one dimension

    /// Bytes from the start of the file to the first element of a contiguous dataset whose place is chosen; -1: none.
    index_t file_offset() const {
        haddr_t const offset = H5Dget_offset(id());
        return offset == HADDR_UNDEF ? index_t(-1) : static_cast<index_t>(offset);
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

    /// All strings of a one-dimensional dataset of variable-length strings. @throws Error
    std::vector<std::string> read_strings() const {
        auto const stored = detail::hdf5_open(name(), "read the type", H5Tclose, [&] { return H5Dget_type(id()); });
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
    index_t rows_ = 0, columns_ = 1;
};

} // namespace protlm::inline v0
