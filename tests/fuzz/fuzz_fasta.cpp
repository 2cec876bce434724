// libFuzzer target: whatever the bytes, the FASTA reader gives records or a protlm::Error, and what it gives is sound.

#include <protlm/data/fasta.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Outcome {
    std::vector<std::string> records; // headers and letters
    std::string error;
    bool operator==(Outcome const &) const = default;
};

void require(bool valid) {
    if (!valid)
        std::abort();
}

Outcome read(std::string_view text, protlm::InvalidLetters invalid) {
    static protlm::Vocabulary const vocabulary = protlm::Vocabulary::protbert();
    Outcome outcome;
    std::uint64_t residues = 0;
    std::optional<protlm::FastaReader> opened;
    try {
        auto &reader = opened.emplace(protlm::FastaReader::from_memory(text, vocabulary, {invalid}));
        while (auto const record = reader.next()) {
            require(record->header.starts_with(record->id) && record->id.find(' ') == std::string_view::npos);
            for (std::uint8_t const token : record->tokens)
                require(!vocabulary.is_special(token));
            residues += record->tokens.size();
            outcome.records.push_back(std::string(record->header) + "\n" + protlm::decode(vocabulary, record->tokens));
        }
    } catch (protlm::Error const &error) {
        outcome.error = error.what();
        require(outcome.error.starts_with("memory:"));
    }
    if (opened) // else the first bytes are those of another kind of file
        require(opened->counts().residues == residues && opened->counts().records == outcome.records.size());
    return outcome;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const *>(data), size);
    Outcome const strict = read(text, protlm::InvalidLetters::error);
    Outcome const lenient = read(text, protlm::InvalidLetters::mask);
    // Masking changes nothing before the first invalid letter, and nothing at all without one.
    require(lenient.records.size() >= strict.records.size());
    for (std::size_t i = 0; i < strict.records.size(); ++i)
        require(strict.records[i] == lenient.records[i]);
    require(!strict.error.empty() || strict == lenient);
    // Line ends as other systems write them are the same text.
    if (text.find('\r') == std::string_view::npos && lenient.error.empty()) {
        std::string crlf;
        for (char const letter : text)
            crlf.append(letter == '\n' ? "\r\n" : std::string(1, letter));
        require(read(crlf, protlm::InvalidLetters::mask) == lenient);
    }
    return 0;
}
