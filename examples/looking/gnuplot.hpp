// What pictures by gnuplot have in common.
#pragma once

#include <support/outputs.hpp>

#include <cstdlib>
#include <string>

namespace looking {

/// In a string of gnuplot's in double quotes.
inline std::string quoted(std::string const &text) {
    std::string result = "\"";
    for (char const c : examples::one_line(text))
        result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    return result + '"';
}

/// @throws protlm::Error when gnuplot fails
inline void run_gnuplot(std::string const &script) {
    int const status = std::system(("gnuplot '" + script + "'").c_str());
    protlm::check(status == 0, "gnuplot failed: is it installed (Debian: gnuplot-nox)? Its script is ", script);
}

} // namespace looking
