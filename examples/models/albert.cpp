#include <models/open_family.hpp>
#include <protlm/embed/albert.hpp>
#include <protlm/model/albert.hpp>

namespace examples {

Encoder open_albert(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::Albert>(folder, "albert", options);
}

} // namespace examples
