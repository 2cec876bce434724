#include <models/open_family.hpp>
#include <protlm/embed/xlnet.hpp>
#include <protlm/model/xlnet.hpp>

namespace examples {

Encoder open_xlnet(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::Xlnet>(folder, "xlnet", options);
}

} // namespace examples
