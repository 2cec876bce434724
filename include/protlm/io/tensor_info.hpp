#pragma once

#include <protlm/io/data_type.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0::detail {

/// Number of elements of `shape`, or a negative number when it does not fit into 64 bits or an extent is negative.
inline index_t shape_count(std::vector<index_t> const &shape) {
    index_t count = 1;
    for (index_t const extent : shape)
        if (extent < 0 || __builtin_mul_overflow(count, extent, &count))
            return -1;
    return count;
}

/// "(2, 3)" for messages; only the first extents of a long shape.
inline std::string shape_text(std::vector<index_t> const &shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size() && i < 8; ++i)
        text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + (shape.size() > 8 ? ", ...)" : ")");
}

} // namespace protlm::inline v0::detail

namespace protlm::inline v0 {

/// One tensor of a file of weights.
struct TensorInfo {
    std::string name;
    DataType dtype = DataType::f32;
    std::vector<index_t> shape; ///< row-major; empty for a scalar
    index_t begin = 0, end = 0; ///< bytes, counted from the end of the header
    std::string type{};         ///< where `dtype` is `other`: what the file says that it is

    /// Number of elements.
    index_t count() const {
        return dtype == DataType::other ? detail::shape_count(shape) : (end - begin) / data_type_size(dtype);
    }
    /// The type's name for people.
    std::string_view type_name() const { return dtype == DataType::other ? type : data_type_name(dtype); }
    /// True when its values can be read as numbers.
    bool is_readable() const {
        return dtype != DataType::other && dtype != DataType::f8_e4m3 && dtype != DataType::f8_e5m2;
    }
    /// @throws Error naming file and tensor where its values cannot be read as numbers
    void require_readable(std::string_view file) const {
        check(is_readable(), file, ": tensor \"", name, "\": elements of type ", type_name(), " cannot be converted");
    }
};

} // namespace protlm::inline v0
