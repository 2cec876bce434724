// Whatever bytes a safetensors file has: an Error, or tensors that can be read without leaving the file.

#include <protlm/io/safetensors.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

/// Touches every byte of every tensor, as bytes and as numbers.
void read_everything(protlm::SafetensorsFile const &file) {
    std::size_t bytes = 0;
    for (auto const &tensor : file.tensors()) {
        for (std::byte const byte : file.bytes(tensor))
            bytes += byte == std::byte{0} ? 1 : 1;
        if (file.find(tensor.name) != &tensor)
            std::abort(); // the table must lead back to the same tensor
        try {
            auto const values = file.read<float>(tensor.name);
            if (static_cast<protlm::index_t>(values.size()) != tensor.count())
                std::abort();
            file.read<std::int32_t>(tensor.name);
        } catch (protlm::Error const &) { // 8-bit floats, or no exact integers
        }
    }
    if (bytes != file.data().size())
        std::abort(); // tensors cover the data exactly
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    try {
        read_everything(protlm::SafetensorsFile(std::as_bytes(std::span(data, size)), "fuzz"));
    } catch (protlm::Error const &) {
    }
    // Again with a header size that fits, which random bytes rarely have.
    std::uint64_t const header = size / 2;
    std::vector<std::uint8_t> framed(8 + size);
    std::memcpy(framed.data(), &header, 8);
    std::copy_n(data, size, framed.data() + 8);
    try {
        read_everything(protlm::SafetensorsFile(std::as_bytes(std::span(framed)), "fuzz"));
    } catch (protlm::Error const &) {
    }
    return 0;
}
