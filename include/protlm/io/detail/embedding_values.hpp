#pragma once

#include <protlm/core/checksum.hpp>
#include <protlm/core/floating_point.hpp>
#include <protlm/io/data_type.hpp>
#include <protlm/io/embedding_info.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace protlm::inline v0::detail {

/// Turns float values into those of a file. The result is valid until the next call.
class ValueEncoder {
  public:
    explicit ValueEncoder(DataType precision = DataType::f32) : precision_(precision) {}

    /// @param values (count), host  @param who  named in messages, as "FILE: protein ID"
    /// @throws Error when a value is not finite, or too large for the precision
    std::span<std::byte const> operator()(float const *values, index_t count, std::string const &who) {
        switch (precision_) {
        case DataType::f16:
            return convert<half>(values, count, who);
        case DataType::bf16:
            return convert<bfloat16>(values, count, who);
        default:
            for (index_t i = 0; i < count; ++i)
                check(is_finite(values[i]), who, ": the value ", values[i], " is not finite");
            return std::as_bytes(std::span(values, static_cast<std::size_t>(count)));
        }
    }

  private:
    template <class T>
    std::span<std::byte const> convert(float const *values, index_t count, std::string const &who) {
        bytes_.resize(static_cast<std::size_t>(count) * sizeof(T));
        for (index_t i = 0; i < count; ++i) {
            auto const value = static_cast<T>(values[i]);
            if (!is_finite(static_cast<float>(value))) [[unlikely]]
                fail(who, ": the value ", values[i],
                     is_finite(values[i]) ? " is too large for " + precision_name(precision_) + "; write float32"
                                          : " is not finite");
            std::memcpy(bytes_.data() + static_cast<std::size_t>(i) * sizeof(T), static_cast<void const *>(&value),
                        sizeof(T));
        }
        return bytes_;
    }

    DataType precision_;
    std::vector<std::byte> bytes_;
};

/// Calls `function(pointer)` with `bytes` as elements of the type that files of this precision hold.
template <class Function>
void as_stored(DataType precision, std::byte const *bytes, Function &&function) {
    if (precision == DataType::f32)
        function(reinterpret_cast<float const *>(bytes));
    else if (precision == DataType::f16)
        function(reinterpret_cast<half const *>(bytes));
    else
        function(reinterpret_cast<std::uint16_t const *>(bytes));
}

} // namespace protlm::inline v0::detail
