// libFuzzer target: whatever the bytes of a spiece.model, an Error that names it, or pieces that make a sound
// vocabulary.

#include <protlm/data/sentencepiece_model.hpp>
#include <protlm/data/vocabulary.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

namespace {

void require(bool valid) {
    if (!valid)
        std::abort();
}

void use(protlm::SentencePieceModel model) {
    std::size_t const count = model.pieces.size();
    require(count > 0 && model.unknown >= -1 && model.unknown < static_cast<std::int32_t>(count));
    protlm::SpecialTokens named;
    if (model.unknown >= 0)
        named.unknown = model.pieces[static_cast<std::size_t>(model.unknown)];
    auto vocabulary = protlm::Vocabulary::from_pieces(std::move(model.pieces), "fuzz", named, false);
    for (char const *family : {"albert", "t5", "xlnet"})
        vocabulary.frame_as(family, named, "fuzz");
    require(vocabulary.size() == static_cast<std::int32_t>(count) && !vocabulary.residues.empty());
    for (std::uint8_t const token : vocabulary.residue_table)
        require(token == protlm::Vocabulary::not_a_residue || token < vocabulary.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    try {
        use(protlm::parse_sentencepiece_model(std::as_bytes(std::span(data, size)), "fuzz"));
    } catch (protlm::Error const &error) {
        require(std::string_view(error.what()).starts_with("fuzz: "));
    }
    return 0;
}
