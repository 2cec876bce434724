// libFuzzer target: whatever a tokenizer.json holds, an Error that names it, or pieces and special tokens that make a
// sound vocabulary.

#include <protlm/data/tokenizer_json.hpp>
#include <protlm/data/vocabulary.hpp>
#include <protlm/io/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool valid) {
    if (!valid)
        std::abort();
}

void use(protlm::TokenizerJson content) {
    std::size_t const count = content.pieces.size();
    require(count > 0);
    for (auto const &piece : content.pieces)
        require(!piece.empty());
    protlm::SpecialTokens named;
    named.unknown = content.unknown;
    auto vocabulary = protlm::Vocabulary::from_pieces(std::move(content.pieces), "fuzz", named, false);
    if (content.frame)
        vocabulary.frame_as(*content.frame, "fuzz");
    require(vocabulary.size() == static_cast<std::int32_t>(count) && !vocabulary.residues.empty());
    for (std::int32_t const token : {vocabulary.begin, vocabulary.separator, vocabulary.end})
        require(token >= -1 && token < vocabulary.size());
    for (std::uint8_t const token : vocabulary.residue_table)
        require(token == protlm::Vocabulary::not_a_residue || token < vocabulary.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    try {
        std::string_view const text(reinterpret_cast<char const *>(data), size);
        use(protlm::parse_tokenizer_json(protlm::parse_json(text, "fuzz"), "fuzz"));
    } catch (protlm::Error const &error) {
        require(std::string_view(error.what()).starts_with("fuzz: "));
    }
    return 0;
}
