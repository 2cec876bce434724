#pragma once

#include <protlm/core/check.hpp>
#include <protlm/io/data_type.hpp>

#include <hdf5.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace protlm::inline v0::detail {

/// While this lives, HDF5 prints no error stack: the messages go into the Error instead.
class Hdf5Silence {
  public:
    Hdf5Silence() {
        H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
        H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    }
    Hdf5Silence(Hdf5Silence const &) = delete;
    Hdf5Silence &operator=(Hdf5Silence const &) = delete;
    ~Hdf5Silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

  private:
    H5E_auto2_t function_ = nullptr;
    void *data_ = nullptr;
};

/// The innermost description on HDF5's error stack, which names the cause.
inline std::string hdf5_error_text() {
    std::string text;
    auto const take = [](unsigned, H5E_error2_t const *error, void *result) -> herr_t {
        auto &first = *static_cast<std::string *>(result);
        if (first.empty() && error->desc)
            first = error->desc;
        return 0;
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take, &text);
    if (text.empty())
        return "HDF5 gives no reason";
    if (text.starts_with("truncated file"))
        return "the file is truncated, its end is missing";
    // Of a system call that failed HDF5 lists addresses and sizes; the system's own words are enough.
    std::string_view const mark = "error message = '";
    auto const begin = text.find(mark);
    if (begin == text.npos)
        return "HDF5 says: " + text;
    auto const rest = text.substr(begin + mark.size());
    return rest.substr(0, rest.find('\''));
}

/// Calls `function`, whose negative result is HDF5's sign of failure, and gives the result.
/// @throws Error "NAME: cannot ACTION: reason"
template <class Function>
auto hdf5_call(std::string_view name, std::string_view action, Function &&function) {
    Hdf5Silence const silence;
    auto const result = function();
    if (result < 0) [[unlikely]]
        fail(name, ": cannot ", action, ": ", hdf5_error_text());
    return result;
}

/// An HDF5 identifier that is closed on destruction. Moves only.
class Hdf5Handle {
  public:
    using Close = herr_t (*)(hid_t);

    Hdf5Handle() = default;
    Hdf5Handle(hid_t id, Close closer) : id_(id), close_(closer) {}
    Hdf5Handle(Hdf5Handle &&other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
    Hdf5Handle &operator=(Hdf5Handle &&other) noexcept {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~Hdf5Handle() {
        if (id_ >= 0) {
            Hdf5Silence const silence;
            close_(id_); // nothing can be done about a failure here; `close` reports it
        }
    }

    hid_t id() const { return id_; }
    explicit operator bool() const { return id_ >= 0; }

    /// Closes now. @throws Error when HDF5 reports a failure, for example of the last write
    void close(std::string_view name) {
        if (id_ >= 0)
            hdf5_call(name, "close", [id = std::exchange(id_, H5I_INVALID_HID), this] { return close_(id); });
    }

  private:
    hid_t id_ = H5I_INVALID_HID;
    Close close_ = nullptr;
};

/// `hdf5_call` for functions that give an identifier.
template <class Function>
Hdf5Handle hdf5_open(std::string_view name, std::string_view action, Hdf5Handle::Close closer, Function &&function) {
    return Hdf5Handle(hdf5_call(name, action, std::forward<Function>(function)), closer);
}

/// IEEE 754 binary16, little-endian: HDF5 has it by name only since 1.14. h5py reads it as float16.
inline Hdf5Handle hdf5_half_type() {
    auto type = hdf5_open("HDF5", "copy a type", H5Tclose, [] { return H5Tcopy(H5T_IEEE_F32LE); });
    hdf5_call("HDF5", "define float16", [&] {
        // Sign at bit 15, exponent of 5 bits at 10, mantissa of 10 bits at 0; before the size, which must hold them.
        bool const defined = H5Tset_fields(type.id(), 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type.id(), 2) >= 0 &&
                             H5Tset_ebias(type.id(), 15) >= 0;
        return defined ? 0 : -1;
    });
    return type;
}

/// The HDF5 type of `type`, in files and in memory (both little-endian).
inline Hdf5Handle hdf5_type(DataType type) {
    if (type == DataType::f16)
        return hdf5_half_type();
    return hdf5_open("HDF5", "copy a type", H5Tclose, [type]() -> hid_t {
        switch (type) {
        case DataType::f64:
            return H5Tcopy(H5T_IEEE_F64LE);
        case DataType::f32:
            return H5Tcopy(H5T_IEEE_F32LE);
        case DataType::i64:
            return H5Tcopy(H5T_STD_I64LE);
        case DataType::i32:
            return H5Tcopy(H5T_STD_I32LE);
        case DataType::i16:
            return H5Tcopy(H5T_STD_I16LE);
        case DataType::i8:
            return H5Tcopy(H5T_STD_I8LE);
        case DataType::u64:
            return H5Tcopy(H5T_STD_U64LE);
        case DataType::u32:
            return H5Tcopy(H5T_STD_U32LE);
        case DataType::u16:
            return H5Tcopy(H5T_STD_U16LE);
        case DataType::u8:
            return H5Tcopy(H5T_STD_U8LE);
        default:
            fail("hdf5_type: elements of type ", data_type_name(type), " have no HDF5 type");
        }
    });
}

/// UTF-8 strings of `size` bytes, filled up with zero bytes.
inline Hdf5Handle hdf5_text_type(std::size_t size) {
    auto type = hdf5_open("HDF5", "copy a type", H5Tclose, [] { return H5Tcopy(H5T_C_S1); });
    hdf5_call("HDF5", "define strings", [&] {
        bool const defined = H5Tset_size(type.id(), size) >= 0 && H5Tset_cset(type.id(), H5T_CSET_UTF8) >= 0 &&
                             H5Tset_strpad(type.id(), H5T_STR_NULLPAD) >= 0;
        return defined ? 0 : -1;
    });
    return type;
}

/// Variable-length UTF-8 strings, which h5py reads as str.
inline Hdf5Handle hdf5_string_type() {
    auto type = hdf5_open("HDF5", "copy a type", H5Tclose, [] { return H5Tcopy(H5T_C_S1); });
    hdf5_call("HDF5", "define strings", [&] {
        bool const defined = H5Tset_size(type.id(), H5T_VARIABLE) >= 0 && H5Tset_cset(type.id(), H5T_CSET_UTF8) >= 0;
        return defined ? 0 : -1;
    });
    return type;
}

} // namespace protlm::inline v0::detail
