#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace protlm::inline v0 {

/// Every error that protlm reports at run time; `what()` says function or file, what was found and what was expected.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
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

} // namespace detail

/// Throws Error with the concatenated `parts` (anything that streams). Use for conditions that are always wrong.
template <class... Parts>
[[noreturn]] void fail(Parts const &...parts) {
    detail::fail(detail::message_part(parts)...);
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

/// Checks one extent of one argument: message "attention: keys has 12 columns, expected 16".
/// @throws Error
template <class Actual, class Expected>
void check_extent(std::string_view function, std::string_view parameter, std::string_view extent, Actual actual,
                  Expected expected) {
    check(static_cast<long long>(actual) == static_cast<long long>(expected), function, ": ", parameter, " has ",
          static_cast<long long>(actual), " ", extent, ", expected ", static_cast<long long>(expected));
}

} // namespace protlm::inline v0
