// Whatever bytes a zip file has: an Error, or members that lie in it.

#include <protlm/io/zip_archive.hpp>

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    auto const bytes = std::as_bytes(std::span(data, size));
    try {
        protlm::ZipArchive const archive(bytes, "fuzz");
        std::size_t zeros = 0;
        for (auto const &member : archive.members()) {
            if (archive.find(member.name) != &member)
                std::abort(); // names lead back to their member
            for (auto const byte : member.bytes.first(std::min<std::size_t>(member.bytes.size(), 4096)))
                zeros += byte == std::byte{0};
            if (!member.bytes.empty() && (member.bytes.data() < bytes.data() ||
                                          member.bytes.data() + member.bytes.size() > bytes.data() + bytes.size()))
                std::abort();
        }
        if (zeros > size * archive.members().size())
            std::abort();
    } catch (protlm::Error const &) {
    }
    return 0;
}
