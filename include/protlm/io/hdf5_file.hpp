#pragma once

#include <protlm/io/detail/file_descriptor.hpp>
#include <protlm/io/hdf5_dataset.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Thin wrappers of the HDF5 library: what protlm writes and reads, with every return code checked and the reason in the
// message. HDF5 itself is not made for several threads: use one file from one thread at a time.

namespace protlm::inline v0 {

/// How a dataset lies in its file.
struct Hdf5Layout {
    index_t chunk_rows = 0; ///< 0: one contiguous block, which is written in any order at no cost
    int gzip = 0;           ///< 1 (fast) to 9 (small); needs chunks
    bool early = false;     ///< its place in the file is chosen now, not with the first write: see file_offset
};

namespace detail {

/// The version of an HDF5 file's superblock, which its metadata follow: since 2 they have checksums.
/// @throws Error for a file that cannot be opened, is no regular file, is empty or is no HDF5 file
inline int hdf5_superblock(std::filesystem::path const &path) {
    FileDescriptor const file(path, O_RDONLY | O_NONBLOCK); // a FIFO must not make us wait for its writer
    struct stat status {};
    check(::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode), path.string(), ": is no regular file");
    check(status.st_size > 0, path.string(), ": is empty");
    std::array<std::byte, 9> bytes{};
    for (off_t at = 0; at + 9 <= status.st_size; at = at == 0 ? 512 : 2 * at)
        if (read_at(file, bytes, at, path.string()) == 9 && std::memcmp(bytes.data(), "\x89HDF\r\n\x1a\n", 8) == 0)
            return static_cast<int>(bytes[8]);
    fail(path.string(), ": is no HDF5 file");
}

} // namespace detail

/// A group: datasets, attributes and groups by name.
class Hdf5Group : public Hdf5Object {
  public:
    Hdf5Group() = default;
    Hdf5Group(detail::Hdf5Handle handle, std::string name) : Hdf5Object(std::move(handle), std::move(name)) {}

    bool contains(std::string_view key) const {
        return detail::hdf5_call(name(), std::string("look up ").append(key),
                                 [&] { return H5Lexists(id(), std::string(key).c_str(), H5P_DEFAULT); }) > 0;
    }

    /// Names of all that is in the group, in the order in which it came where the file keeps that, else by name.
    /// @throws Error for links to other places or files
    std::vector<std::string> names() const {
        auto const properties = detail::hdf5_open(name(), "list", H5Pclose, [&] { return H5Gget_create_plist(id()); });
        unsigned order = 0;
        detail::hdf5_call(name(), "list", [&] { return H5Pget_link_creation_order(properties.id(), &order); });
        std::pair<std::vector<std::string>, std::string> found; // names; one that is no hard link
        auto const take = [](hid_t, char const *key, H5L_info_t const *link, void *result) -> herr_t {
            auto &[names, other] = *static_cast<decltype(found) *>(result);
            (link->type == H5L_TYPE_HARD ? names.emplace_back() : other) = key;
            return link->type == H5L_TYPE_HARD ? 0 : 1;
        };
        hsize_t at = 0;
        detail::hdf5_call(name(), "list", [&] {
            return H5Literate(id(), order & H5P_CRT_ORDER_TRACKED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME, H5_ITER_INC,
                              &at, take, &found);
        });
        check(found.second.empty(), name(), found.second, ": is a link to another place or file");
        return std::move(found.first);
    }
    /// Whether `key` is a group. @throws Error when there is none of that name
    bool is_group(std::string const &key) const {
        check_here(key, "object");
        auto const object =
            detail::hdf5_open(name(), "open " + key, H5Oclose, [&] { return H5Oopen(id(), key.c_str(), H5P_DEFAULT); });
        return H5Iget_type(object.id()) == H5I_GROUP;
    }

    /// A new group, which keeps the order in which things come into it.
    Hdf5Group make_group(std::string const &key) const {
        auto const properties =
            detail::hdf5_open(name(), "make properties", H5Pclose, [] { return H5Pcreate(H5P_GROUP_CREATE); });
        H5Pset_link_creation_order(properties.id(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
        auto const link = link_properties();
        return {
            detail::hdf5_open(name(), "make group " + key, H5Gclose,
                              [&] { return H5Gcreate2(id(), key.c_str(), link.id(), properties.id(), H5P_DEFAULT); }),
            name() + key + '/'};
    }
    /// An existing group. @throws Error when there is none of that name, or a link to elsewhere
    Hdf5Group group(std::string const &key) const {
        check_here(key, "group");
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

    /// An existing dataset. @throws Error when there is none of that name, or one whose data come from elsewhere
    Hdf5Dataset dataset(std::string const &key) const {
        check_here(key, "dataset");
        return {detail::hdf5_open(name(), "open dataset " + key, H5Dclose,
                                  [&] { return H5Dopen2(id(), key.c_str(), H5P_DEFAULT); }),
                name() + key};
    }

  private:
    /// Links that lead elsewhere are not followed: they may lead out of the file.
    void check_here(std::string const &key, char const *what) const {
        check(key.find('/') == key.npos && key != ".", name(), ": \"", key, "\" is no name in this group");
        H5L_info_t link{};
        herr_t found = -1;
        {
            detail::Hdf5Silence const silence;
            found = H5Lget_info(id(), key.c_str(), &link, H5P_DEFAULT);
        }
        check(found >= 0 || contains(key), name(), ": has no ", what, ' ', key);
        check(found >= 0, name(), ": cannot look up ", key);
        check(link.type == H5L_TYPE_HARD, name(), key, ": is a link to another place or file");
    }
    /// Names are UTF-8.
    detail::Hdf5Handle link_properties() const {
        auto properties =
            detail::hdf5_open(name(), "make properties", H5Pclose, [] { return H5Pcreate(H5P_LINK_CREATE); });
        H5Pset_char_encoding(properties.id(), H5T_CSET_UTF8);
        return properties;
    }
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
        auto const link = link_properties();
        return {detail::hdf5_open(name(), action, H5Dclose,
                                  [&] {
                                      return H5Dcreate2(id(), key.c_str(), type.id(), space.id(), link.id(),
                                                        properties.id(), H5P_DEFAULT);
                                  }),
                name() + key};
    }
};

/// An HDF5 file. Moves only; closed on destruction, but only `close` can report what went wrong then.
class Hdf5File {
  public:
    Hdf5File() = default;

    /// Makes a new file; one of that name is lost. Its metadata have checksums, which HDF5 compares, and are those of
    /// HDF5 1.8, which all programs can read. @throws Error naming the path and the reason
    static Hdf5File create(std::filesystem::path const &path) {
        auto const properties =
            detail::hdf5_open(path.string(), "create", H5Pclose, [] { return H5Pcreate(H5P_FILE_CREATE); });
        H5Pset_link_creation_order(properties.id(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
        return open(path, "create", [&](hid_t access) {
            H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
            return H5Fcreate(path.c_str(), H5F_ACC_TRUNC, properties.id(), access);
        });
    }

    /// Opens a file for reading. @throws Error naming the path and the reason
    static Hdf5File open(std::filesystem::path const &path) {
        detail::hdf5_superblock(path);
        return open(path, "open", [&](hid_t access) { return H5Fopen(path.c_str(), H5F_ACC_RDONLY, access); });
    }
    /// Opens a file for reading and writing. @throws Error naming the path and the reason
    static Hdf5File open_writable(std::filesystem::path const &path) {
        detail::hdf5_superblock(path);
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
