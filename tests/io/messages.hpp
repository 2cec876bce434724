#pragma once

#include <protlm/core/check.hpp>

#include <string>

namespace protlm::test {

/// The message of the Error that `action` throws, or a text that no message contains when it throws none.
template <class Action>
std::string message_of(Action &&action) {
    try {
        action();
    } catch (Error const &error) {
        return error.what();
    }
    return "(no error)";
}

/// True when `text` contains `part`.
inline bool has(std::string const &text, std::string const &part) { return text.find(part) != text.npos; }

} // namespace protlm::test
