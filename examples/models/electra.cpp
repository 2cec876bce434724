#include <models/open_family.hpp>
#include <protlm/embed/electra.hpp>
#include <protlm/model/electra.hpp>

namespace examples {

Encoder open_electra(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::Electra>(folder, "electra", options);
}

} // namespace examples
