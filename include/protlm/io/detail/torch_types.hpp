#pragma once

#include <protlm/io/data_type.hpp>

#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// The type of a storage's or tensor's elements as torch names it.
struct TorchType {
    DataType dtype = DataType::other;
    index_t bytes = 1;  // of one element; 0 where nobody knows
    std::string name{}; // of `other` types

    bool operator==(TorchType const &) const = default;
};

/// The type behind "torch.FloatStorage", "torch.cuda.FloatStorage" or "torch.float32".
inline TorchType torch_type(std::string_view full) {
    struct Row {
        std::string_view storage, dtype;
        DataType type;
        index_t bytes;
    };
    constexpr Row rows[] = {{"DoubleStorage", "float64", DataType::f64, 8},
                            {"FloatStorage", "float32", DataType::f32, 4},
                            {"HalfStorage", "float16", DataType::f16, 2},
                            {"BFloat16Storage", "bfloat16", DataType::bf16, 2},
                            {"LongStorage", "int64", DataType::i64, 8},
                            {"IntStorage", "int32", DataType::i32, 4},
                            {"ShortStorage", "int16", DataType::i16, 2},
                            {"CharStorage", "int8", DataType::i8, 1},
                            {"ByteStorage", "uint8", DataType::u8, 1},
                            {"BoolStorage", "bool", DataType::boolean, 1},
                            {"UntypedStorage", "", DataType::u8, 1},
                            {"", "uint16", DataType::u16, 2},
                            {"", "uint32", DataType::u32, 4},
                            {"", "uint64", DataType::u64, 8},
                            {"", "float8_e4m3fn", DataType::f8_e4m3, 1},
                            {"", "float8_e5m2", DataType::f8_e5m2, 1},
                            {"ComplexHalfStorage", "complex32", DataType::other, 4},
                            {"ComplexFloatStorage", "complex64", DataType::other, 8},
                            {"ComplexDoubleStorage", "complex128", DataType::other, 16},
                            {"QInt32Storage", "qint32", DataType::other, 4}};
    auto const name = full.substr(full.rfind('.') + 1);
    for (auto const &row : rows)
        if (!name.empty() && (name == row.storage || name == row.dtype))
            return {row.type, row.bytes, row.type == DataType::other ? std::string(name) : std::string()};
    return {DataType::other, 1, std::string(name)}; // QInt8Storage, float8_e8m0fnu and their like
}

/// What a function of torch rebuilds that is no array of numbers.
inline std::string tensor_kind(std::string_view function) {
    auto const has = [&](std::string_view part) { return function.find(part) != function.npos; };
    return has("qtensor")                      ? "a quantised tensor of torch"
           : has("sparse")                     ? "a sparse tensor"
           : has("nested")                     ? "a nested tensor"
           : has("meta")                       ? "a tensor without values (of the device meta)"
           : has("subclass") || has("type_v2") ? "a tensor of a class of its own"
                                               : "a tensor that torch rebuilds with " + std::string(function);
}

} // namespace protlm::inline v0::detail
