#pragma once

#include <protlm/io/detail/json_sax.hpp>
#include <protlm/io/tensor_info.hpp>

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace protlm::inline v0::detail {

/// Reads a safetensors header event by event, without a document in memory: its depth is 3 at most, and memory grows
/// with the tensors only. Refuses whatever the format does not allow.
class SafetensorsHeader {
  public:
    using json = nlohmann::json;

    /// @param data_size bytes that follow the header
    SafetensorsHeader(std::string_view text, std::string const &name, index_t data_size)
        : text_(text), name_(name), data_size_(data_size) {}

    std::vector<TensorInfo> tensors;
    std::map<std::string, std::string> metadata;

    bool null() { return unexpected("null"); }
    bool boolean(bool) { return unexpected("a boolean"); }
    bool number_float(json::number_float_t, std::string const &text) {
        return unexpected("the number " + excerpt(text));
    }
    bool number_integer(json::number_integer_t v) { fail(where(), ": negative number ", v); }
    bool number_unsigned(json::number_unsigned_t v) {
        if (level_ != Level::shape && level_ != Level::offsets)
            return unexpected("a number");
        check(std::in_range<index_t>(v), where(), ": ", v, " is past the largest file");
        if (level_ == Level::offsets) {
            check(offsets_ < 2, where(), ": has more than two numbers");
            (offsets_++ ? tensor_.end : tensor_.begin) = static_cast<index_t>(v);
        } else {
            check(tensor_.shape.size() < 64, where(), ": has more than 64 dimensions");
            tensor_.shape.push_back(static_cast<index_t>(v));
        }
        return true;
    }
    bool string(std::string &v) {
        if (level_ == Level::metadata) {
            check(metadata.emplace(key_, std::move(v)).second, where(), ": appears twice");
            return true;
        }
        if (level_ != Level::tensor || key_ != "dtype")
            return unexpected("the string \"" + excerpt(v) + '"');
        auto const type = parse_data_type(v);
        check(type.has_value() || is_later_type(v), where(), ": unknown data type \"", excerpt(v), '"');
        tensor_.dtype = type.value_or(DataType::other);
        if (!type)
            tensor_.type = std::move(v);
        return true;
    }
    bool binary(json::binary_t &) { return false; }

    bool start_object(std::size_t) {
        if (level_ == Level::outside)
            level_ = Level::top;
        else if (level_ == Level::top)
            level_ = name_key_ == "__metadata__" ? Level::metadata : Level::tensor;
        else
            return unexpected("an object");
        return true;
    }
    bool end_object() {
        if (level_ == Level::tensor)
            finish_tensor();
        level_ = level_ == Level::top ? Level::outside : Level::top;
        return true;
    }
    bool start_array(std::size_t) {
        bool const shape = level_ == Level::tensor && key_ == "shape";
        if (!shape && !(level_ == Level::tensor && key_ == "data_offsets"))
            return unexpected("an array");
        level_ = shape ? Level::shape : Level::offsets;
        return true;
    }
    bool end_array() {
        check(level_ != Level::offsets || offsets_ == 2, where(), ": has ", offsets_, " numbers, expected 2");
        level_ = Level::tensor;
        return true;
    }
    bool key(std::string &k) {
        if (level_ == Level::top) {
            name_key_ = std::move(k);
            key_.clear();
            check(names_.emplace(name_key_, 0).second, where(), ": the name appears twice");
            tensor_ = {};
            offsets_ = 0;
            seen_[0] = seen_[1] = seen_[2] = false;
        } else {
            key_ = std::move(k);
            if (level_ == Level::tensor)
                note_field();
        }
        return true;
    }
    bool parse_error(std::size_t position, std::string const &, nlohmann::detail::exception const &error) {
        fail(name_, ": the header is not JSON: ", json_syntax_message(text_, position, error.what()));
    }

  private:
    enum class Level { outside, top, metadata, tensor, shape, offsets };
    static constexpr std::string_view fields_[] = {"dtype", "shape", "data_offsets"};

    /// Types that the format got later, or will get: F8_E8M0, F4, C64, I4 and their like.
    static bool is_later_type(std::string_view name) {
        auto const letters = name.starts_with("BF") ? 2u : name.find_first_of("FIUC") == 0 ? 1u : 0u;
        return letters > 0 && name.size() > letters && name.size() <= 16 && name[letters] >= '1' &&
               name[letters] <= '9' && name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == name.npos;
    }
    std::string where() const {
        std::string text = name_ + ": ";
        text += level_ == Level::outside ? "header" : "tensor \"" + excerpt(name_key_) + '"';
        return key_.empty() ? text : text + ": " + excerpt(key_);
    }
    bool unexpected(std::string const &what) const {
        constexpr std::string_view expected[] = {"an object of tensors",
                                                 "an object with dtype, shape and data_offsets",
                                                 "a string",
                                                 "a string or an array of integers",
                                                 "an integer",
                                                 "an integer"};
        fail(where(), ": found ", what, ", expected ", expected[static_cast<int>(level_)]);
    }
    void note_field() {
        for (int i = 0; i < 3; ++i)
            if (key_ == fields_[i]) {
                check(!seen_[i], where(), ": appears twice");
                seen_[i] = true;
                return;
            }
        fail(where(), ": is not a field of the format (dtype, shape, data_offsets)");
    }
    void finish_tensor() {
        key_.clear();
        for (int i = 0; i < 3; ++i)
            check(seen_[i], where(), ": has no ", fields_[i]);
        check(tensor_.begin <= tensor_.end, where(), ": data_offsets run backwards, from ", tensor_.begin, " to ",
              tensor_.end);
        check(tensor_.end <= data_size_, where(), ": ends at byte ", tensor_.end,
              " of the data, but the file has only ", data_size_, "; it is truncated or damaged");
        if (tensor_.dtype == DataType::other) {
            index_t const count = shape_count(tensor_.shape);
            check(count >= 0 && count / 8 <= tensor_.end - tensor_.begin, where(), ": the shape ",
                  shape_text(tensor_.shape), " needs more than ", tensor_.end - tensor_.begin, " bytes");
            return finish();
        }
        index_t bytes = shape_count(tensor_.shape);
        bool const fits = bytes >= 0 && !__builtin_mul_overflow(bytes, data_type_size(tensor_.dtype), &bytes);
        check(fits, where(), ": the shape ", shape_text(tensor_.shape), " overflows");
        check(bytes == tensor_.end - tensor_.begin, where(), ": the shape ", shape_text(tensor_.shape), " of ",
              data_type_name(tensor_.dtype), " needs ", bytes, " bytes, data_offsets give ",
              tensor_.end - tensor_.begin);
        finish();
    }
    void finish() {
        tensor_.name = name_key_;
        tensors.push_back(std::move(tensor_));
    }

    std::string_view text_;
    std::string const &name_;
    index_t data_size_;
    Level level_ = Level::outside;
    std::string name_key_, key_;
    TensorInfo tensor_;
    int offsets_ = 0;
    bool seen_[3] = {};
    std::unordered_map<std::string, int> names_;
};

} // namespace protlm::inline v0::detail
