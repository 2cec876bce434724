// Whatever bytes a pickle has, alone or in a file of torch.save: an Error, or tensors that can be read without leaving
// the file, and no more numbers than its storages hold.

#include <protlm/io/torch_file.hpp>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

void read_everything(protlm::TorchFile const &file, std::size_t size) {
    for (auto const &tensor : file.tensors()) {
        if (file.find(tensor.name) != &tensor)
            std::abort(); // the table must lead back to the same tensor
        if (tensor.count() < 0 || static_cast<std::size_t>(tensor.count()) > size)
            std::abort();
        std::vector<float> values(static_cast<std::size_t>(tensor.count()));
        file.read_range(tensor, 0, values.data(), tensor.count());
    }
}

/// A zip file of one stored pickle and one storage of 64 bytes.
std::vector<std::byte> zip_of(std::span<std::byte const> pickle) {
    std::vector<std::byte> bytes, directory;
    auto const number = [](std::vector<std::byte> &to, std::uint64_t value, int width) {
        for (int i = 0; i < width; ++i)
            to.push_back(i < 8 ? static_cast<std::byte>(value >> (8 * i)) : std::byte{0});
    };
    auto const add = [&](std::string_view name, std::span<std::byte const> content) {
        auto const offset = bytes.size();
        auto const header = [&](std::vector<std::byte> &to) {
            number(to, 0, 2 + 2 + 2 + 4 + 4); // flags, method, time, date, checksum
            number(to, content.size(), 4);
            number(to, content.size(), 4);
            number(to, name.size(), 2);
            number(to, 0, 2);
        };
        number(bytes, 0x04034b50, 4);
        number(bytes, 0, 2);
        header(bytes);
        auto const text = std::as_bytes(std::span(name));
        bytes.insert(bytes.end(), text.begin(), text.end());
        bytes.insert(bytes.end(), content.begin(), content.end());
        number(directory, 0x02014b50, 4);
        number(directory, 0, 4);
        header(directory);
        number(directory, 0, 2 + 2 + 2 + 4); // comment, disk, attributes
        number(directory, offset, 4);
        directory.insert(directory.end(), text.begin(), text.end());
    };
    add("x/data.pkl", pickle);
    add("x/data/0", std::vector<std::byte>(64));
    auto const offset = bytes.size();
    bytes.insert(bytes.end(), directory.begin(), directory.end());
    number(bytes, 0x06054b50, 4);
    number(bytes, 0, 4);
    number(bytes, 2, 2);
    number(bytes, 2, 2);
    number(bytes, directory.size(), 4);
    number(bytes, offset, 4);
    number(bytes, 0, 2);
    return bytes;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    auto const bytes = std::as_bytes(std::span(data, size));
    try {
        read_everything(protlm::TorchFile(bytes, "fuzz"), size);
    } catch (protlm::Error const &) {
    }
    auto const zip = zip_of(bytes);
    try {
        read_everything(protlm::TorchFile(zip, "fuzz"), zip.size());
    } catch (protlm::Error const &error) {
        if (std::string_view(error.what()).find("has no zip directory") != std::string_view::npos)
            std::abort(); // the frame itself is sound
    }
    return 0;
}
