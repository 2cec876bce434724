#pragma once

#include <protlm/core/check.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0::detail {

/// At most `limit` characters of untrusted text, made printable, for error messages.
inline std::string excerpt(std::string_view text, std::size_t limit = 80) {
    std::string result(text.substr(0, limit));
    for (char &c : result)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            c = '?';
    return text.size() > limit ? result + "..." : result;
}

/// "line L, column C: reason" from the parser's exception; its own prefix and positions are dropped.
inline std::string json_syntax_message(std::string_view text, std::size_t position, std::string_view what) {
    std::string_view const before = text.substr(0, std::min(position ? position - 1 : 0, text.size()));
    auto const lines = std::count(before.begin(), before.end(), '\n');
    auto const last_line = before.rfind('\n');
    std::size_t const column = last_line == before.npos ? before.size() : before.size() - last_line - 1;
    if (auto const reason = what.find(": ", std::min(what.find("column "), what.size())); reason != what.npos)
        what.remove_prefix(reason + 2);
    else if (auto const bracket = what.find("] "); bracket != what.npos)
        what.remove_prefix(bracket + 2);
    return "line " + std::to_string(lines + 1) + ", column " + std::to_string(column + 1) + ": " + excerpt(what, 200);
}

/// The text with Python's NaN, Infinity and -Infinity, which are no JSON, as strings of these names, so that they do
/// no harm where nobody asks for them, and are no numbers where somebody does.
inline std::string quote_python_numbers(std::string_view text) {
    std::string result;
    bool inside = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"')
            inside = !inside;
        else if (inside && text[i] == '\\' && i + 1 < text.size())
            result += text[i++];
        std::string_view number;
        for (std::string_view const name : {"NaN", "Infinity", "-Infinity"})
            if (!inside && text.substr(i).starts_with(name))
                number = name;
        if (number.empty()) {
            result += text[i];
            continue;
        }
        result.append("\"").append(number).append("\"");
        i += number.size() - 1;
    }
    return result;
}

/// Parser events into a document; refuses deep nesting and repeated keys, which nlohmann::json::parse lets pass.
class JsonBuilder {
  public:
    using json = nlohmann::json;

    JsonBuilder(std::string_view text, std::string const &name, int max_depth)
        : text_(text), name_(name), max_depth_(max_depth) {}

    json take() { return std::move(root_); }

    bool null() { return value(nullptr); }
    bool boolean(bool v) { return value(v); }
    bool number_integer(json::number_integer_t v) { return value(v); }
    bool number_unsigned(json::number_unsigned_t v) { return value(v); }
    bool number_float(json::number_float_t v, std::string const &) { return value(v); }
    bool string(std::string &v) { return value(std::move(v)); }
    bool binary(json::binary_t &) { return false; }
    bool start_object(std::size_t) { return open(json::object()); }
    bool start_array(std::size_t) { return open(json::array()); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool key(std::string &k) {
        auto const [place, fresh] = stack_.back()->get_ref<json::object_t &>().emplace(std::move(k), nullptr);
        check(fresh, name_, ": the key \"", excerpt(place->first), "\" appears twice in one object");
        member_ = &place->second;
        return true;
    }
    bool parse_error(std::size_t position, std::string const &, nlohmann::detail::exception const &error) {
        fail(name_, ": ", json_syntax_message(text_, position, error.what()));
    }

  private:
    json *put(json &&v) {
        if (stack_.empty()) {
            root_ = std::move(v);
            return &root_;
        }
        if (stack_.back()->is_object()) {
            *member_ = std::move(v);
            return member_;
        }
        auto &array = stack_.back()->get_ref<json::array_t &>();
        return &array.emplace_back(std::move(v));
    }
    template <class T>
    bool value(T &&v) {
        put(json(std::forward<T>(v)));
        return true;
    }
    bool open(json &&v) {
        check(static_cast<int>(stack_.size()) < max_depth_, name_, ": nested deeper than ", max_depth_, " levels");
        stack_.push_back(put(std::move(v)));
        return true;
    }
    bool close() {
        stack_.pop_back();
        return true;
    }

    std::string_view text_;
    std::string const &name_;
    int max_depth_;
    json root_;
    json *member_ = nullptr;
    std::vector<json *> stack_; // the open objects and arrays; only the innermost one grows, so the others stay put
};

} // namespace protlm::inline v0::detail
