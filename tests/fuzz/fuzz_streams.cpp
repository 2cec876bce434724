// libFuzzer target: whatever the bytes of a gzip, zstd, xz or bzip2 file, reading it as FASTA ends in sound records or
// a protlm::Error that names it, and a pipe gives what the file gives. The last byte of an input says what to do with
// the rest: read it as it is, or compress it and damage one byte, so that the decompressors get beyond their headers.

#include <protlm/data/fasta.hpp>

#include <sys/mman.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

namespace {

void require(bool valid) {
    if (!valid)
        std::abort();
}

void write_all(int file, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t const written = ::write(file, bytes.data(), bytes.size());
        if (written <= 0)
            return; // the reader found an error and closed its end
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

/// Headers and letters one after the other, or the error behind the file's name.
std::string read(std::string const &path) {
    static protlm::Vocabulary const vocabulary = protlm::Vocabulary::protbert();
    std::string text;
    try {
        protlm::FastaReader reader({path}, vocabulary, {protlm::InvalidLetters::mask});
        std::uint64_t residues = 0;
        while (auto const record = reader.next()) {
            for (std::uint8_t const token : record->tokens)
                require(!vocabulary.is_special(token));
            require(record->header.size() <= 2 * protlm::detail::most_header_bytes);
            residues += record->tokens.size();
            text.append(record->header).append("\n");
            if (text.size() < 1'000'000) // what a small file blows up to takes time enough to read
                text.append(protlm::decode(vocabulary, record->tokens));
        }
        require(reader.counts().residues == residues);
    } catch (protlm::Error const &error) {
        std::string_view const message = error.what();
        require(message.starts_with(path + ":"));
        text.append("error").append(message.substr(path.size()));
    }
    return text;
}

std::string gzip(std::string_view text) {
    std::string out(text.size() + 100, '\0');
    z_stream stream{};
    deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef *>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string zstd(std::string_view text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
    return out;
}

std::string xz(std::string_view text) {
#ifdef PROTLM_HAVE_LZMA
    std::string out(lzma_stream_buffer_bound(text.size()), '\0');
    std::size_t size = 0;
    lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<std::uint8_t const *>(text.data()),
                            text.size(), reinterpret_cast<std::uint8_t *>(out.data()), &size, out.size());
    out.resize(size);
    return out;
#else
    return std::string(text);
#endif
}

std::string content(std::string_view bytes, unsigned how) {
    std::string text = how % 4 == 0   ? std::string(bytes)
                       : how % 4 == 1 ? gzip(bytes)
                       : how % 4 == 2 ? zstd(bytes)
                                      : xz(bytes);
    if (how % 4 != 0 && how >= 8 && !text.empty()) // below 8 it is whole
        text[(how * 2654435761u >> 8) % text.size()] ^= static_cast<char>(1u << (how / 4 % 8));
    return text;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    if (size == 0)
        return 0;
    unsigned const how = data[size - 1];
    std::string const bytes = content({reinterpret_cast<char const *>(data), size - 1}, how);
    static int const file = ::memfd_create("fasta", MFD_CLOEXEC);
    require(::ftruncate(file, 0) == 0 && ::lseek(file, 0, SEEK_SET) == 0);
    write_all(file, bytes);
    std::string const path = "/proc/self/fd/" + std::to_string(file);
    std::string const expected = read(path);
    int ends[2];
    require(::pipe(ends) == 0);
    std::thread writer([&] {
        write_all(ends[1], bytes);
        ::close(ends[1]);
    });
    std::string const piped = read("/proc/self/fd/" + std::to_string(ends[0]));
    char rest[4096];
    while (::read(ends[0], rest, sizeof(rest)) > 0)
        continue;
    writer.join();
    ::close(ends[0]);
    // The pointer file of a clone without Git LFS is named as one, where it is a file.
    require(piped == expected || expected.find("Git LFS") != std::string::npos);
    return 0;
}
