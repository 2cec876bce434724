#include <models/open_family.hpp>
#include <protlm/embed/bert.hpp>
#include <protlm/model/bert.hpp>

namespace examples {

Encoder open_bert(std::filesystem::path const &folder, EncoderOptions const &options) {
    return open_family<protlm::Bert>(folder, "bert", options);
}

} // namespace examples
