// libFuzzer target: whatever the bytes of a table of labels, reading it ends in a table of as many proteins as it has
// lines, or in a protlm::Error that names it; line ends as other systems write them are the same table.

#include <protlm/embed/label_table.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

void require(bool valid) {
    if (!valid)
        std::abort();
}

struct Outcome {
    std::vector<std::string> columns;
    protlm::index_t proteins = -1;
    std::string error;
    bool operator==(Outcome const &) const = default;
};

Outcome read(std::string_view text) {
    Outcome outcome;
    try {
        auto const table = protlm::LabelTable::parse(text, "table");
        outcome.columns = table.columns();
        outcome.proteins = table.size();
        require(outcome.columns.size() >= 2);
        require(outcome.proteins <= std::count(text.begin(), text.end(), '\n') +
                                        std::count(text.begin(), text.end(), '\r')); // both end a line
    } catch (protlm::Error const &error) {
        outcome.error = error.what();
        require(outcome.error.starts_with("table"));
    }
    return outcome;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const *>(data), size);
    Outcome const outcome = read(text);
    // In quotation marks a line end may be a letter of the field, and stays as it is.
    if (text.find_first_of("\r\"") == std::string_view::npos) {
        std::string crlf;
        for (char const letter : text)
            crlf.append(letter == '\n' ? "\r\n" : std::string(1, letter));
        require(read(crlf) == outcome);
    }
    return 0;
}
