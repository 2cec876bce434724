// Whatever an index of shards says: an Error, or names of files that lie in its folder, with every tensor of the map.

#include <protlm/io/detail/weight_index.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const *>(data), size);
    try {
        auto const document = protlm::parse_json(text, "fuzz");
        auto const shards = protlm::detail::weight_shards(document, "fuzz");
        std::size_t tensors = 0;
        for (auto const &[file, names] : shards) {
            if (std::filesystem::path(file).filename() != file || file == ".." || file == ".")
                std::abort();
            tensors += names.size();
        }
        if (tensors != document["weight_map"].size())
            std::abort();
    } catch (protlm::Error const &) {
    }
    return 0;
}
