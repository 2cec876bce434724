#pragma once

#include <protlm/core/kokkos.hpp>
#include <protlm/io/detail/hdf5_handle.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace protlm::inline v0 {

/// Attributes of a group or dataset: one number or string each. Strings have a fixed length and lie in the object's
/// header: variable-length ones lie in a heap whose damage crashes HDF5 1.10.
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
    /// Writes a text of fixed length; one of that name is overwritten.
    /// @param room  bytes to keep at least, so that a longer text can be written in place later
    void set_attribute(std::string_view key, std::string const &value, std::size_t room = 0) const {
        check(value.find('\0') == value.npos, name_, ": attribute ", key, " holds a zero byte");
        std::string padded = value;
        padded.resize(std::max({padded.size(), room, std::size_t(1)}));
        if (has_attribute(key)) {
            auto const there = attribute_type(open_attribute(key));
            if (is_fixed_text(there) && H5Tget_size(there.id()) >= padded.size())
                padded.resize(H5Tget_size(there.id()));
            else
                detail::hdf5_call(name_, "replace an attribute",
                                  [&] { return H5Adelete(id(), std::string(key).c_str()); });
        }
        write_attribute(key, detail::hdf5_text_type(padded.size()), padded.data());
    }
    /// Writes a text of variable length, which h5py gives as str: for other programs, protlm does not read it back.
    void set_heap_text(std::string_view key, std::string const &value) const {
        check(value.find('\0') == value.npos, name_, ": attribute ", key, " holds a zero byte");
        char const *text = value.c_str();
        write_attribute(key, detail::hdf5_string_type(), &text);
    }

    /// Reads a number (converted to T) or a text of fixed length. @throws Error when it is missing or of another kind
    template <class T>
    T attribute(std::string_view key) const {
        auto const attribute = open_attribute(key);
        auto const action = std::string("read attribute ").append(key);
        check_single(attribute, key);
        if constexpr (std::is_same_v<T, std::string>) {
            auto const type = attribute_type(attribute);
            check(is_fixed_text(type), name_, ": attribute ", key, " is no text of fixed length");
            auto const size = H5Tget_size(type.id());
            check(size <= longest_text, name_, ": attribute ", key, " claims ", size, " bytes");
            std::string text(size, '\0');
            detail::hdf5_call(name_, action, [&] { return H5Aread(attribute.id(), type.id(), text.data()); });
            return text.substr(0, text.find('\0'));
        } else {
            T value{};
            auto const memory = detail::hdf5_type(data_type_of<T>());
            detail::hdf5_call(name_, action, [&] { return H5Aread(attribute.id(), memory.id(), &value); });
            return value;
        }
    }
    /// Reads a text of either length. Only for files that are known to be whole, or in a process that may crash.
    std::string heap_text(std::string_view key) const {
        auto const attribute = open_attribute(key);
        auto const type = attribute_type(attribute);
        if (is_fixed_text(type))
            return this->attribute<std::string>(key);
        check_single(attribute, key);
        auto const is_text = [&] { return H5Tis_variable_str(type.id()); };
        check(detail::hdf5_call(name_, "read a type", is_text) > 0, name_, ": attribute ", key, " is no text");
        auto const memory = detail::hdf5_string_type();
        char *value = nullptr;
        detail::hdf5_call(name_, std::string("read attribute ").append(key),
                          [&] { return H5Aread(attribute.id(), memory.id(), &value); });
        std::string result = value ? value : "";
        H5free_memory(value);
        return result;
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
    static constexpr std::size_t longest_text = 1 << 20;

    detail::Hdf5Handle open_attribute(std::string_view key) const {
        check(has_attribute(key), name_, ": has no attribute ", key);
        return detail::hdf5_open(name_, "open an attribute", H5Aclose,
                                 [&] { return H5Aopen(id(), std::string(key).c_str(), H5P_DEFAULT); });
    }
    detail::Hdf5Handle attribute_type(detail::Hdf5Handle const &attribute) const {
        return detail::hdf5_open(name_, "read a type", H5Tclose, [&] { return H5Aget_type(attribute.id()); });
    }
    bool is_fixed_text(detail::Hdf5Handle const &type) const {
        return H5Tget_class(type.id()) == H5T_STRING &&
               detail::hdf5_call(name_, "read a type", [&] { return H5Tis_variable_str(type.id()); }) == 0;
    }
    void check_single(detail::Hdf5Handle const &attribute, std::string_view key) const {
        auto const space =
            detail::hdf5_open(name_, "read a shape", H5Sclose, [&] { return H5Aget_space(attribute.id()); });
        auto const count = detail::hdf5_call(name_, "read a shape", [&] { //
            return H5Sget_simple_extent_npoints(space.id());
        });
        check(count == 1, name_, ": attribute ", key, " has ", count, " values, expected 1");
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

} // namespace protlm::inline v0
