#pragma once

#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace protlm::inline v0 {

/// A setting that decides about an error, and its values that would avoid it.
struct Setting {
    std::string_view name;   ///< as the library calls it: "on_long"
    std::string_view values; ///< "cut, skip or windows"
};

/// Every error that protlm reports at run time; `what()` says function or file, what was found and what was expected.
/// Where a setting decides, `what()` ends with "; on_long decides: cut, skip or windows"; a program whose users know
/// that setting under another name makes its own end from `message()` and `setting()`.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
    Error(std::string const &message, Setting const &setting)
        : std::runtime_error(message + "; " + std::string(setting.name) + " decides: " + std::string(setting.values)),
          parts_(
              std::make_shared<Parts const>(Parts{message, std::string(setting.name), std::string(setting.values)})) {}

    /// What is wrong, without the setting.
    std::string message() const { return parts_ ? parts_->message : what(); }
    /// The setting that decides, if there is one; its texts live as long as this error.
    std::optional<Setting> setting() const {
        return parts_ ? std::optional(Setting{parts_->name, parts_->values}) : std::nullopt;
    }

  private:
    struct Parts {
        std::string message, name, values;
    };
    std::shared_ptr<Parts const> parts_; // shared, because copies of an exception must not throw
};

namespace detail {

/// A part of a message as one of a few types, so that messages of a kind share one function.
template <class T>
decltype(auto) message_part(T const &part) {
    if constexpr (std::is_convertible_v<T const &, std::string_view> && !std::is_pointer_v<T>)
        return std::string_view(part);
    else if constexpr (std::is_integral_v<T> && sizeof(T) > 2)
        return static_cast<std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>>(part);
    else if constexpr (std::is_floating_point_v<T>)
        return static_cast<double>(part);
    else
        return (part);
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(Parts const &...parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str());
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail_by_setting(Setting const &setting, Parts const &...parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str(), setting);
}

} // namespace detail

/// Throws Error with the concatenated `parts` (anything that streams). Use for conditions that are always wrong.
template <class... Parts>
[[noreturn]] void fail(Parts const &...parts) {
    detail::fail(detail::message_part(parts)...);
}

/// The same where a setting decides. @throws Error
template <class... Parts>
[[noreturn]] void fail(Setting const &setting, Parts const &...parts) {
    detail::fail_by_setting(setting, detail::message_part(parts)...);
}

/// `valid` is what must hold; the message is built only when it does not.
///
///     check(size <= limit, "pack: ", size, " tokens, but at most ", limit);
///
/// @throws Error
template <class... Parts>
void check(bool valid, Parts const &...parts) {
    if (!valid) [[unlikely]]
        fail(parts...);
}

/// The same where a setting decides:
///
///     check(length <= limit, Setting{"on_long", "cut or skip"}, "protein ", id, " has ", length, " residues");
///
/// @throws Error whose message ends with "; on_long decides: cut or skip"
template <class... Parts>
void check(bool valid, Setting const &setting, Parts const &...parts) {
    if (!valid) [[unlikely]]
        fail(setting, parts...);
}

/// Checks one extent of one argument: message "attention: keys has 12 columns, expected 16".
/// @throws Error
template <class Actual, class Expected>
void check_extent(std::string_view function, std::string_view parameter, std::string_view extent, Actual actual,
                  Expected expected) {
    check(static_cast<long long>(actual) == static_cast<long long>(expected), function, ": ", parameter, " has ",
          static_cast<long long>(actual), " ", extent, ", expected ", static_cast<long long>(expected));
}

} // namespace protlm::inline v0
