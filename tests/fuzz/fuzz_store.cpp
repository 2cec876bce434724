// libFuzzer target: whatever the bytes, opening and reading a token store ends in sound proteins or a protlm::Error.
// Random bytes never have matching checksums, so a second try mends them: then the checks behind them are tested too.

#include <protlm/data/store.hpp>
#include <protlm/data/store_writer.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

void require(bool valid) {
    if (!valid)
        std::abort();
}

void use(std::string const &bytes, protlm::StoreCheck check) {
    try {
        auto const store = protlm::TokenStore::from_memory(std::as_bytes(std::span(bytes)), check);
        std::uint64_t residues = 0, letters = 0;
        for (std::uint64_t i = 0; i < store.size() && i < 10'000; ++i) {
            for (std::uint8_t const token : store.tokens(i))
                letters += token < store.vocabulary().size();
            residues += store.length(i);
            letters += store.id(i).size() == bytes.size() + 1;
        }
        require(check != protlm::StoreCheck::full || store.size() > 10'000 ||
                (residues == store.residues() && letters == residues));
    } catch (protlm::Error const &) {
    }
}

/// Makes the sizes, checksums and marks of a store right that are wrong only there.
std::string mend(std::string bytes) {
    using namespace protlm::detail;
    StoreHeader header;
    if (bytes.size() < sizeof(header) + store_end_mark.size())
        return bytes;
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::memcpy(header.magic.data(), store_magic.data(), store_magic.size());
    header.version = store_version;
    header.header_bytes = sizeof(header);
    header.file_bytes = bytes.size();
    for (StoreSection &section : header.section)
        if (section.offset <= bytes.size() && section.bytes <= bytes.size() - section.offset &&
            section.offset >= sizeof(header))
            section.checksum = xxh64(bytes.data() + section.offset, section.bytes);
    header.checksum = header_checksum(header);
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + bytes.size() - store_end_mark.size(), store_end_mark.data(), store_end_mark.size());
    return bytes;
}

} // namespace

/// Without a corpus the fuzzer would rarely find a header: every input is also laid over a store that is good.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    static std::string const good = [] {
        std::string name = (std::filesystem::temp_directory_path() / "protlm-fuzz-XXXXXX").string();
        require(::mkdtemp(name.data()) != nullptr);
        std::filesystem::path const path = std::filesystem::path(name) / "store";
        auto const vocabulary = protlm::Vocabulary::protbert();
        protlm::StoreWriter writer(path, vocabulary, {.held_out = 0.3});
        for (char const *protein : {"MKTAYIAKQR", "GAVLI", "", "WWXX", "MKT"})
            writer.add(std::string("id/") + protein, protlm::encode(vocabulary, protein));
        writer.commit();
        std::ifstream file(path, std::ios::binary);
        std::string bytes{std::istreambuf_iterator<char>(file), {}};
        std::filesystem::remove_all(name);
        return bytes;
    }();
    std::string const plain(reinterpret_cast<char const *>(data), size);
    std::string changed = good;
    for (std::size_t at = 0; at + 3 <= size; at += 3) { // two bytes say where, one what
        std::size_t const place = (data[at] + 256u * data[at + 1]) % changed.size();
        changed[place] = static_cast<char>(data[at + 2]);
    }
    for (std::string const &bytes : {plain, changed, mend(plain), mend(changed)})
        for (protlm::StoreCheck const check : {protlm::StoreCheck::quick, protlm::StoreCheck::full})
            use(bytes, check);
    return 0;
}
