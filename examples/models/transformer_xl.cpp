#include <models/open_family.hpp>
#include <protlm/embed/transformer_xl.hpp>
#include <protlm/model/transformer_xl.hpp>

namespace examples {

Encoder open_transformer_xl(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::TransformerXl>(folder, "transfo-xl", options);
}

} // namespace examples
