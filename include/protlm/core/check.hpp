#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

/// Every error that protlm reports at run time; `what()` says function or file, what was found and what was expected.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Throws Error with the concatenated `parts` (anything that streams). Use for conditions that are always wrong.
template <class... Parts>
[[noreturn]] void fail(Parts const &...parts) {
    std::ostringstream message;
    (message << ... << parts);
    throw Error(message.str());
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
