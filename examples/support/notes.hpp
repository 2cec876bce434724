// What a library function wants its user to know.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace examples {

/// Prints each note as a line "PROGRAM: note: TEXT" of standard error, however quiet the program is to be.
inline void print_notes(char const *program, std::vector<std::string> const &notes) {
    for (auto const &note : notes)
        std::fprintf(stderr, "%s: note: %s\n", program, note.c_str());
}

} // namespace examples
