#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/scalar.hpp>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace protlm::inline v0 {

static_assert(std::endian::native == std::endian::little, "protlm's files are little-endian and read without swapping");

/// Element types of tensors in files, named as safetensors names them ("F32"). The 8-bit floats can be listed and
/// copied as bytes, but not converted. `other` stands for types that came later (F4, C64 and so on) and for tensors
/// that are no plain arrays: they can be listed and no more.
enum class DataType { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u64, u32, u16, u8, boolean, other };

namespace detail {

struct DataTypeRow {
    DataType type;
    std::string_view name;
    index_t bytes;
};

inline constexpr std::array data_type_table{
    DataTypeRow{DataType::f64, "F64", 8},         DataTypeRow{DataType::f32, "F32", 4},
    DataTypeRow{DataType::f16, "F16", 2},         DataTypeRow{DataType::bf16, "BF16", 2},
    DataTypeRow{DataType::f8_e4m3, "F8_E4M3", 1}, DataTypeRow{DataType::f8_e5m2, "F8_E5M2", 1},
    DataTypeRow{DataType::i64, "I64", 8},         DataTypeRow{DataType::i32, "I32", 4},
    DataTypeRow{DataType::i16, "I16", 2},         DataTypeRow{DataType::i8, "I8", 1},
    DataTypeRow{DataType::u64, "U64", 8},         DataTypeRow{DataType::u32, "U32", 4},
    DataTypeRow{DataType::u16, "U16", 2},         DataTypeRow{DataType::u8, "U8", 1},
    DataTypeRow{DataType::boolean, "BOOL", 1}};

template <class T>
inline constexpr bool is_small_float = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;

template <class T>
inline constexpr bool is_any_float = std::is_floating_point_v<T> || is_small_float<T>;

/// Calls `function(std::type_identity<T>{})` with the C++ type of `type`; false for types that have none.
template <class Function>
bool visit_data_type(DataType type, Function &&function) {
    switch (type) {
    case DataType::f64:
        return function(std::type_identity<double>{}), true;
    case DataType::f32:
        return function(std::type_identity<float>{}), true;
    case DataType::f16:
        return function(std::type_identity<half>{}), true;
    case DataType::bf16:
        return function(std::type_identity<bfloat16>{}), true;
    case DataType::i64:
        return function(std::type_identity<std::int64_t>{}), true;
    case DataType::i32:
        return function(std::type_identity<std::int32_t>{}), true;
    case DataType::i16:
        return function(std::type_identity<std::int16_t>{}), true;
    case DataType::i8:
        return function(std::type_identity<std::int8_t>{}), true;
    case DataType::u64:
        return function(std::type_identity<std::uint64_t>{}), true;
    case DataType::u32:
        return function(std::type_identity<std::uint32_t>{}), true;
    case DataType::u16:
        return function(std::type_identity<std::uint16_t>{}), true;
    case DataType::u8:
        return function(std::type_identity<std::uint8_t>{}), true;
    case DataType::boolean:
        return function(std::type_identity<bool>{}), true;
    case DataType::f8_e4m3:
    case DataType::f8_e5m2:
    case DataType::other:
        break;
    }
    return false;
}

/// One element at any address; a bool byte other than 0 counts as true.
template <class T>
T load_element(std::byte const *address) {
    if constexpr (std::is_same_v<T, bool>) {
        return *address != std::byte{0};
    } else {
        T value;
        std::memcpy(static_cast<void *>(&value), address, sizeof(T));
        return value;
    }
}

/// Floats round to the nearest; an integer or bool that cannot hold the value exactly gives false.
template <class To, class From>
bool convert_element(From value, To &result) {
    if constexpr (std::is_same_v<To, From>) {
        result = value;
        return true;
    } else if constexpr (is_small_float<From>) {
        return convert_element(static_cast<float>(value), result);
    } else if constexpr (is_small_float<To>) {
        result = static_cast<To>(static_cast<float>(value));
        return true;
    } else if constexpr (is_any_float<To>) {
        result = static_cast<To>(value);
        return true;
    } else if constexpr (std::is_same_v<To, bool>) {
        result = value != From(0);
        return value == From(0) || value == From(1);
    } else if constexpr (std::is_same_v<From, bool>) {
        result = static_cast<To>(value);
        return true;
    } else if constexpr (std::is_floating_point_v<From>) {
        // The upper bound is exclusive: the largest integer itself is often no floating-point number.
        From const bound = std::ldexp(From(1), std::numeric_limits<To>::digits);
        bool const fits =
            std::trunc(value) == value && value < bound && value >= static_cast<From>(std::numeric_limits<To>::min());
        result = fits ? static_cast<To>(value) : To(0);
        return fits;
    } else {
        result = static_cast<To>(value);
        return std::in_range<To>(value);
    }
}

} // namespace detail

/// The name that safetensors files use, for example "BF16".
constexpr std::string_view data_type_name(DataType type) {
    return type == DataType::other ? "other" : detail::data_type_table[static_cast<std::size_t>(type)].name;
}

/// The name that torch and config.json use for the floating-point types of weights: "bfloat16"; else empty.
inline std::string torch_name(DataType type) {
    return type == DataType::f64    ? "float64"
           : type == DataType::f32  ? "float32"
           : type == DataType::f16  ? "float16"
           : type == DataType::bf16 ? "bfloat16"
                                    : "";
}

/// Bytes of one element; 1 for `other`, whose elements are not looked at.
constexpr index_t data_type_size(DataType type) {
    return type == DataType::other ? 1 : detail::data_type_table[static_cast<std::size_t>(type)].bytes;
}

/// True for floating-point types of 16 bits and more: what weights that a model computes with are stored as.
constexpr bool is_float_type(DataType type) {
    return type == DataType::f64 || type == DataType::f32 || type == DataType::f16 || type == DataType::bf16;
}

/// The type of that name, or nothing.
constexpr std::optional<DataType> parse_data_type(std::string_view name) {
    for (auto const &row : detail::data_type_table)
        if (row.name == name)
            return row.type;
    return std::nullopt;
}

/// The DataType of a C++ element type: float, double, half, bfloat16, bool and the integers of 8 to 64 bits.
template <class T>
constexpr DataType data_type_of() {
    if constexpr (std::is_same_v<T, half>)
        return DataType::f16;
    else if constexpr (std::is_same_v<T, bfloat16>)
        return DataType::bf16;
    else if constexpr (std::is_same_v<T, bool>)
        return DataType::boolean;
    else if constexpr (std::is_floating_point_v<T>) {
        static_assert(sizeof(T) <= 8, "data_type_of: long double has no data type in files");
        return sizeof(T) == 8 ? DataType::f64 : DataType::f32;
    } else {
        static_assert(std::is_integral_v<T>, "data_type_of: elements are floating-point numbers, integers or bool");
        constexpr int log = std::countr_zero(sizeof(T));
        constexpr std::array with_sign{DataType::i8, DataType::i16, DataType::i32, DataType::i64};
        constexpr std::array without{DataType::u8, DataType::u16, DataType::u32, DataType::u64};
        return std::is_signed_v<T> ? with_sign[log] : without[log];
    }
}

/// Reads `count` elements of type `type` at `source` (any alignment) into `destination` (count), converting one by one:
/// to a floating-point type with rounding to the nearest, to an integer or bool only where the value is exact.
/// @returns the number of elements converted; less than `count` where an element has no exact integer value
/// @throws Error when `type` cannot be converted (8-bit floats, other)
template <class T>
index_t convert_from_bytes(DataType type, std::byte const *source, T *destination, index_t count) {
    if (type == data_type_of<T>() && !std::is_same_v<T, bool>) {
        if (count > 0)
            std::memcpy(static_cast<void *>(destination), source, static_cast<std::size_t>(count) * sizeof(T));
        return count;
    }
    index_t done = 0;
    bool const known = detail::visit_data_type(type, [&]<class From>(std::type_identity<From>) {
        auto const element = [&](index_t i) { return detail::load_element<From>(source + i * index_t(sizeof(From))); };
        if constexpr (detail::is_any_float<T>) // cannot fail, so nothing stands in the way of vector instructions
            for (; done < count; ++done)
                detail::convert_element(element(done), destination[done]);
        else
            while (done < count && detail::convert_element(element(done), destination[done]))
                ++done;
    });
    check(known, "convert_from_bytes: elements of type ", data_type_name(type), " cannot be converted");
    return done;
}

/// Writes `count` elements of `source` as elements of type `type` to `destination` (count * size bytes, any alignment);
/// conversion and result as in `convert_from_bytes`.
template <class T>
index_t convert_to_bytes(DataType type, T const *source, std::byte *destination, index_t count) {
    index_t done = 0;
    bool const known = detail::visit_data_type(type, [&]<class To>(std::type_identity<To>) {
        for (To value{}; done < count && detail::convert_element(source[done], value); ++done)
            std::memcpy(destination + done * index_t(sizeof(To)), static_cast<void const *>(&value), sizeof(To));
    });
    check(known, "convert_to_bytes: elements of type ", data_type_name(type), " cannot be converted");
    return done;
}

} // namespace protlm::inline v0
