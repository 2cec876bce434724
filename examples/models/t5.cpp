#include <models/open_family.hpp>
#include <protlm/embed/t5.hpp>
#include <protlm/model/t5.hpp>

namespace examples {

Encoder open_t5(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::T5>(folder, "t5", options);
}

} // namespace examples
