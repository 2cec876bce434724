#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>
#include <protlm/io/detail/json_sax.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What a JSON document may be at most; configs and indices of any model stay far below.
struct JsonLimits {
    std::size_t bytes = std::size_t(8) << 20;
    int depth = 64;
};

/// Parses `text`; `name` stands for it in messages. Python's NaN and Infinity are read as strings.
/// @throws Error "NAME: line L, column C: reason"; also for a repeated key, deep nesting, invalid UTF-8
inline nlohmann::json parse_json(std::string_view text, std::string const &name, JsonLimits limits = {}) {
    check(text.size() <= limits.bytes, name, ": ", text.size(), " bytes, but a JSON document may have at most ",
          limits.bytes);
    std::string quoted;
    if (text.find("NaN") != text.npos || text.find("Infinity") != text.npos)
        text = quoted = detail::quote_python_numbers(text);
    detail::JsonBuilder builder(text, name, limits.depth);
    bool const parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
    check(parsed, name, ": is not JSON");
    return builder.take();
}

/// Reads and parses a JSON file. @throws Error naming the path, line and column
inline nlohmann::json read_json(std::filesystem::path const &path, JsonLimits limits = {}) {
    MappedFile const file(path);
    auto const bytes = file.bytes();
    std::string const name = path.string();
    check(!bytes.empty(), name, ": is empty, expected JSON");
    refuse_web_page(bytes, name);
    return parse_json({reinterpret_cast<char const *>(bytes.data()), bytes.size()}, name, limits);
}

/// Writes `document` indented to `path`, atomically. @throws Error; the old file then still stands
inline void write_json(std::filesystem::path const &path, nlohmann::json const &document) {
    std::string text;
    try {
        text = document.dump(2);
    } catch (nlohmann::json::exception const &error) { // text that is not UTF-8
        fail(path.string(), ": cannot be written as JSON: ", error.what());
    }
    AtomicFile file(path);
    file.write(text += '\n');
    file.commit();
}

/// The values that a number may have, both ends included.
template <class T>
struct Range {
    T least = std::numeric_limits<T>::lowest();
    T most = std::numeric_limits<T>::max();
};

/// Numbers from `least` up. Example: `fields.required<index_t>("hidden_size", at_least<index_t>(1))`.
template <class T>
Range<T> at_least(T least) {
    return {least, std::numeric_limits<T>::max()};
}

/// Numbers from `least` to `most`, both included.
template <class T>
Range<T> between(T least, T most) {
    return {least, most};
}

/// Typed access to the members of one JSON object. Every message names file, field, what was found and what was
/// expected: "config.json: hidden_size: is a string, expected an integer of at least 1". Remembers which fields were
/// asked for, so that `unknown` can report misspelt ones. A null member counts as absent.
///
/// `T` may be bool, an integer type, float, double, std::string, or a std::vector of these.
class Fields {
  public:
    /// @param name the file, and where in it this object stands; begins every message
    /// @throws Error when `object` is no JSON object
    Fields(nlohmann::json object, std::string name) : object_(std::move(object)), name_(std::move(name)) {
        check(object_.is_object(), name_, ": is ", kind(object_), ", expected an object {...}");
    }

    /// True when the field is there and not null.
    bool has(std::string_view key) const { return find(key) != nullptr; }

    /// A field that must be there. @throws Error when it is missing, of another type or outside `range`
    template <class T>
    T required(std::string_view key, Range<T> range = {}) const {
        auto const *value = find(key);
        check(value, name_, ": ", key, ": is missing, expected ", expected(range));
        return convert(key, *value, range);
    }

    /// A field that may be missing; `fallback` is returned as it is then.
    template <class T>
    T optional(std::string_view key, T fallback, Range<T> range = {}) const {
        auto const *value = find(key);
        return value ? convert(key, *value, range) : fallback;
    }
    std::string optional(std::string_view key, char const *fallback) const {
        return optional<std::string>(key, fallback);
    }

    /// A field that may be missing and has no default.
    template <class T>
    std::optional<T> maybe(std::string_view key, Range<T> range = {}) const {
        auto const *value = find(key);
        return value ? std::optional<T>(convert(key, *value, range)) : std::nullopt;
    }

    /// A string field that must be one of `choices`; missing means `fallback`, or an error where that is empty.
    std::string choice(std::string_view key, std::initializer_list<std::string_view> choices,
                       std::string_view fallback = {}) const {
        std::string list;
        for (auto const name : choices)
            list += (list.empty() ? "\"" : ", \"") + std::string(name) + '"';
        auto const *value = find(key);
        check(value || !fallback.empty(), name_, ": ", key, ": is missing, expected one of ", list);
        if (!value)
            return std::string(fallback);
        auto const text = convert(key, *value, Range<std::string>{});
        for (auto const name : choices)
            if (name == text)
                return text;
        fail(name_, ": ", key, ": is \"", detail::excerpt(text), "\", expected one of ", list);
    }

    /// The object in field `key`; an empty one where it is missing.
    Fields object(std::string_view key) const {
        auto const *value = find(key);
        return Fields(value ? *value : nlohmann::json::object(), name_ + ": " + std::string(key));
    }

    /// The fields that nobody asked for, in alphabetical order.
    std::vector<std::string> unknown() const {
        std::vector<std::string> result;
        for (auto const &[key, value] : object_.items())
            if (!asked_.contains(key))
                result.push_back(key);
        return result;
    }

    /// @throws Error naming the first unknown field; for option files, where a misspelt field must not pass silently
    void refuse_unknown() const {
        auto const keys = unknown();
        check(keys.empty(), name_, ": ", keys.empty() ? "" : detail::excerpt(keys.front()), ": is not a known field");
    }

    nlohmann::json const &json() const { return object_; }
    std::string const &name() const { return name_; }

  private:
    nlohmann::json const *find(std::string_view key) const {
        auto const place = object_.find(asked_.emplace(key).first->c_str());
        return place == object_.end() || place->is_null() ? nullptr : &*place;
    }

    static std::string kind(nlohmann::json const &value) {
        switch (value.type()) {
        case nlohmann::json::value_t::object:
            return "an object";
        case nlohmann::json::value_t::array:
            return "an array";
        case nlohmann::json::value_t::string:
            return value == "NaN" || value == "Infinity" || value == "-Infinity" ? value.get<std::string>()
                                                                                 : "a string";
        case nlohmann::json::value_t::null:
            return "null";
        default:
            return value.dump(); // numbers and booleans say more by their value
        }
    }

    template <class T>
    static std::string expected(Range<T> const &range) {
        if constexpr (std::is_same_v<T, bool>) {
            return "true or false";
        } else if constexpr (std::is_arithmetic_v<T>) {
            std::string const number = std::is_integral_v<T> ? "an integer" : "a number";
            bool const low = std::is_unsigned_v<T> || range.least != std::numeric_limits<T>::lowest();
            bool const high = range.most != std::numeric_limits<T>::max();
            auto const text = [](T bound) { return nlohmann::json(bound).dump(); };
            if (low && high)
                return number + " from " + text(range.least) + " to " + text(range.most);
            return number + (low ? " of at least " + text(range.least) : high ? " of at most " + text(range.most) : "");
        } else if constexpr (std::is_same_v<T, std::string>) {
            return "a string";
        } else {
            return std::string("an array, each element ").append(expected(Range<typename T::value_type>{}));
        }
    }

    template <class T>
    T convert(std::string_view key, nlohmann::json const &value, Range<T> const &range) const {
        std::optional<T> result;
        if constexpr (std::is_same_v<T, bool>) {
            if (value.is_boolean())
                result = value.get<bool>();
        } else if constexpr (std::is_integral_v<T>) {
            result = integer<T>(value);
        } else if constexpr (std::is_floating_point_v<T>) {
            if (value.is_number())
                result = value.get<T>();
        } else if constexpr (std::is_same_v<T, std::string>) {
            if (value.is_string())
                result = value.get<T>();
        } else if (value.is_array()) {
            result.emplace();
            for (std::size_t i = 0; i < value.size(); ++i)
                result->push_back(convert(std::string(key) + '[' + std::to_string(i) + ']', value[i],
                                          Range<typename T::value_type>{}));
        }
        bool valid = result.has_value();
        if constexpr (std::is_arithmetic_v<T>)
            valid = valid && *result >= range.least && *result <= range.most;
        check(valid, name_, ": ", key, ": is ", kind(value), ", expected ", expected(range));
        return *std::move(result);
    }

    /// Integers; also 1e6 and 3.0, which people write for step counts.
    template <class T>
    static std::optional<T> integer(nlohmann::json const &value) {
        if (value.is_number_unsigned()) {
            auto const number = value.get<std::uint64_t>();
            return std::in_range<T>(number) ? std::optional<T>(static_cast<T>(number)) : std::nullopt;
        }
        if (value.is_number_integer()) {
            auto const number = value.get<std::int64_t>();
            return std::in_range<T>(number) ? std::optional<T>(static_cast<T>(number)) : std::nullopt;
        }
        if (!value.is_number_float())
            return std::nullopt;
        double const number = value.get<double>();
        bool const exact = std::trunc(number) == number && std::abs(number) <= 9007199254740992.0;
        bool const fits = exact && std::in_range<T>(static_cast<std::int64_t>(number));
        return fits ? std::optional<T>(static_cast<T>(number)) : std::nullopt;
    }

    nlohmann::json object_;
    std::string name_;
    mutable std::set<std::string, std::less<>> asked_;
};

/// Reads a JSON file that holds one object. @throws Error
inline Fields read_fields(std::filesystem::path const &path) { return Fields(read_json(path), path.string()); }

} // namespace protlm::inline v0
