#pragma once

#include <protlm/io/hdf5_dataset.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Thin wrappers of the HDF5 library: what protlm writes and reads, with every return code checked and HDF5's reason in
// the message. HDF5 itself is not made for several threads: use one file from one thread at a time.

namespace protlm::inline v0 {

/// How a dataset lies in its file.
struct Hdf5Layout {
    index_t chunk_rows = 0; ///< 0: one contiguous block, which is written in any order at no cost
    int gzip = 0;           ///< 1 (fast) to 9 (small); needs chunks
    bool early = false;     ///< its place in the file is chosen now, not with the first write: see file_offset
};

/// A group: datasets, attributes and groups by name.
class Hdf5Group : public Hdf5Object {
  public:
    Hdf5Group() = default;
    Hdf5Group(detail::Hdf5Handle handle, std::string name) : Hdf5Object(std::move(handle), std::move(name)) {}

    bool contains(std::string_view key) const {
        return detail::hdf5_call(name(), std::string("look up ").append(key),
                                 [&] { return H5Lexists(id(), std::string(key).c_str(), H5P_DEFAULT); }) > 0;
    }

    Hdf5Group make_group(std::string const &key) const {
        return {detail::hdf5_open(name(), "make group " + key, H5Gclose,
                                  [&] { return H5Gcreate2(id(), key.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT); }),
                name() + key + '/'};
    }
    Hdf5Group group(std::string const &key) const {
        check(contains(key), name(), ": has no group ", key);
        return {detail::hdf5_open(name(), "open group " + key, H5Gclose,
                                  [&] { return H5Gopen2(id(), key.c_str(), H5P_DEFAULT); }),
                name() + key + '/'};
    }

    /// A new dataset of numbers. @param shape one or two extents; 0 is allowed  @throws Error
    Hdf5Dataset make_dataset(std::string const &key, DataType type, std::vector<index_t> const &shape,
                             Hdf5Layout layout = {}) const {
        auto const properties = make_properties(key, shape, layout);
        if (layout.early)
            detail::hdf5_call(name(), "set the allocation time",
                              [&] { return H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_EARLY); });
        // Every row is written anyway; filling first would write the file twice.
        detail::hdf5_call(name(), "set the fill time",
                          [&] { return H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER); });
        return make_dataset(key, detail::hdf5_type(type), shape, properties);
    }

    /// A new dataset of `count` variable-length UTF-8 strings. @throws Error
    Hdf5Dataset make_strings(std::string const &key, index_t count) const {
        return make_dataset(key, detail::hdf5_string_type(), {count}, make_properties(key, {count}, {}));
    }

    /// An existing dataset. @throws Error when there is none of that name
    Hdf5Dataset dataset(std::string const &key) const {
        check(contains(key), name(), ": has no dataset ", key);
        return {detail::hdf5_open(name(), "open dataset " + key, H5Dclose,
                                  [&] { return H5Dopen2(id(), key.c_str(), H5P_DEFAULT); }),
                name() + key};
    }

  private:
    static std::vector<hsize_t> extents_of(std::vector<index_t> const &shape) { return {shape.begin(), shape.end()}; }

    detail::Hdf5Handle make_properties(std::string const &key, std::vector<index_t> const &shape,
                                       Hdf5Layout layout) const {
        bool const valid = (shape.size() == 1 || shape.size() == 2) && shape.front() >= 0 && shape.back() >= 0;
        check(valid, name(), key, ": a dataset has one or two extents of at least 0");
        check(layout.gzip >= 0 && layout.gzip <= 9 && layout.chunk_rows >= 0, name(), key, ": gzip ", layout.gzip,
              " with chunks of ", layout.chunk_rows, " rows, expected 0 to 9 and at least 0");
        check(layout.gzip == 0 || layout.chunk_rows > 0, name(), key, ": gzip needs chunks");
        auto properties =
            detail::hdf5_open(name(), "make properties", H5Pclose, [] { return H5Pcreate(H5P_DATASET_CREATE); });
        auto extents = extents_of(shape);
        if (layout.chunk_rows == 0 || std::find(extents.begin(), extents.end(), hsize_t(0)) != extents.end())
            return properties;
        extents[0] = std::min(extents[0], static_cast<hsize_t>(layout.chunk_rows));
        detail::hdf5_call(name(), "set chunks", [&] {
            return H5Pset_chunk(properties.id(), static_cast<int>(extents.size()), extents.data());
        });
        if (layout.gzip > 0)
            detail::hdf5_call(name(), "compress", [&] {
                bool const set = H5Pset_shuffle(properties.id()) >= 0 &&
                                 H5Pset_deflate(properties.id(), static_cast<unsigned>(layout.gzip)) >= 0;
                return set ? 0 : -1;
            });
        return properties;
    }

    Hdf5Dataset make_dataset(std::string const &key, detail::Hdf5Handle const &type, std::vector<index_t> const &shape,
                             detail::Hdf5Handle const &properties) const {
        auto const extents = extents_of(shape);
        auto const action = "make dataset " + key;
        auto const space = detail::hdf5_open(name(), action, H5Sclose, [&] {
            return H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr);
        });
        return {detail::hdf5_open(name(), action, H5Dclose,
                                  [&] {
                                      return H5Dcreate2(id(), key.c_str(), type.id(), space.id(), H5P_DEFAULT,
                                                        properties.id(), H5P_DEFAULT);
                                  }),
                name() + key};
    }
};

/// An HDF5 file. Moves only; closed on destruction, but only `close` can report what went wrong then.
class Hdf5File {
  public:
    Hdf5File() = default;

    /// Makes a new file; one of that name is lost. @throws Error naming the path and HDF5's reason
    static Hdf5File create(std::filesystem::path const &path) {
        return open(path, "create",
                    [&](hid_t access) { return H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access); });
    }

    /// Opens a file for reading. @throws Error naming the path and HDF5's reason
    static Hdf5File open(std::filesystem::path const &path) {
        return open(path, "open", [&](hid_t access) { return H5Fopen(path.c_str(), H5F_ACC_RDONLY, access); });
    }
    /// Opens a file for reading and writing. @throws Error naming the path and HDF5's reason
    static Hdf5File open_writable(std::filesystem::path const &path) {
        return open(path, "open", [&](hid_t access) { return H5Fopen(path.c_str(), H5F_ACC_RDWR, access); });
    }

    Hdf5Group root() const {
        return {detail::hdf5_open(name_, "open the root group", H5Gclose,
                                  [&] { return H5Gopen2(handle_.id(), "/", H5P_DEFAULT); }),
                name_ + ": /"};
    }

    /// Hands all data to the operating system. @throws Error, for example when the disk is full
    void flush() const {
        detail::hdf5_call(name_, "flush", [&] { return H5Fflush(handle_.id(), H5F_SCOPE_LOCAL); });
    }

    /// Closes the file; groups and datasets must have been closed before. @throws Error
    void close() { handle_.close(name_); }

    std::string const &name() const { return name_; }

  private:
    template <class Function>
    static Hdf5File open(std::filesystem::path const &path, std::string_view action, Function &&function) {
        Hdf5File file;
        file.name_ = path.string();
        auto const access = detail::hdf5_open(file.name_, action, H5Pclose, [] { return H5Pcreate(H5P_FILE_ACCESS); });
#if H5_VERSION_GE(1, 10, 7)
        // Many parallel file systems cannot lock; that must not keep anybody from reading.
        H5Pset_file_locking(access.id(), true, true);
#endif
        file.handle_ = detail::hdf5_open(file.name_, action, H5Fclose, [&] { return function(access.id()); });
        return file;
    }

    detail::Hdf5Handle handle_;
    std::string name_;
};

} // namespace protlm::inline v0
