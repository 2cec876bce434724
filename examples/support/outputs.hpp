// Rules for what drivers write, alike in all of them.
#pragma once

#include <support/command_line.hpp>

#include <protlm/core/file.hpp>
#include <protlm/core/output.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// Refuses standard output, and a name that promises another kind of file than `what`, so that nobody opens it as that.
/// @param expected  how it could be named, for the message
/// @throws WrongUsage
inline void check_ending(std::string const &output, std::vector<std::string_view> const &wrong, std::string const &what,
                         std::string const &expected) {
    if (output == "-")
        throw WrongUsage("the output cannot go to standard output: name a file");
    auto name = output;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    for (auto const &end : wrong)
        if (name.ends_with(end))
            throw WrongUsage(output + ": ends in " + std::string(end) + ", but is to be " + what + "; name it " +
                             expected);
}

/// Text for one field of a table that is separated by tabs: tab, line feed, carriage return and backslash become \t,
/// \n, \r and \\, any other control character \xHH, so that a line has as many fields as the first and nothing is lost.
inline std::string field(std::string_view text) {
    std::string result;
    for (char const c : text) {
        auto const code = static_cast<unsigned char>(c);
        char hex[8] = "";
        if (code < 0x20 || code == 0x7f)
            std::snprintf(hex, sizeof(hex), "\\x%02X", code);
        result += c == '\t'   ? "\\t"
                  : c == '\n' ? "\\n"
                  : c == '\r' ? "\\r"
                  : c == '\\' ? "\\\\"
                  : *hex      ? hex
                              : std::string(1, c);
    }
    return result;
}

/// Text for people, on one line: control characters become spaces.
inline std::string one_line(std::string text) {
    for (char &c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            c = ' ';
    return text;
}

/// Writes a whole table into a file, or to standard output where that is "-".
inline void write_text(std::string const &output, std::string const &text) {
    if (output == "-") {
        std::fwrite(text.data(), 1, text.size(), stdout); // failures are told when the program ends
        return;
    }
    protlm::AtomicFile file(output);
    file.write(text);
    file.commit();
}

} // namespace examples
