#pragma once

#include <protlm/core/check.hpp>
#include <protlm/core/file.hpp>
#include <protlm/data/detail/compressed_streams.hpp>
#include <protlm/data/detail/descriptor.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace protlm::inline v0::detail {

/// Bytes as they are: pipes and standard input.
class PlainStream {
  public:
    explicit PlainStream(Descriptor input) : input_(std::move(input)) {}
    Bytes read() { return input_.read(); }
    std::uint64_t consumed() const { return input_.consumed(); }

  private:
    Descriptor input_;
};

/// A mapped file (or memory of the caller), handed out in slices that adjoin, each brought into memory in one call.
class MappedSlices {
  public:
    static constexpr std::size_t slice_bytes = std::size_t(1) << 22;

    explicit MappedSlices(MappedFile file) : file_(std::move(file)) {
        rest_ = {reinterpret_cast<std::uint8_t const *>(file_.bytes().data()), file_.size()};
        if (!rest_.empty())
            ::madvise(const_cast<std::byte *>(file_.bytes().data()), file_.size(), MADV_SEQUENTIAL);
    }
    explicit MappedSlices(Bytes memory) : rest_(memory) {}

    Bytes read() {
        file_.check_unchanged(); // at the end too, so that nothing was read of a file that others write into
        Bytes const slice = rest_.first(std::min(rest_.size(), slice_bytes));
#ifdef MADV_POPULATE_READ // one call instead of a fault a page; older kernels refuse it, and the pages fault in
        if (file_.size() != 0 && !slice.empty())
            ::madvise(const_cast<std::uint8_t *>(slice.data()), slice.size(), MADV_POPULATE_READ);
#endif
        rest_ = rest_.subspan(slice.size());
        consumed_ += slice.size();
        return slice;
    }
    std::uint64_t consumed() const { return consumed_; }

  private:
    MappedFile file_;
    Bytes rest_;
    std::uint64_t consumed_ = 0;
};

using ByteSource = std::variant<MappedSlices, PlainStream, GzipStream, ZstdStream
#ifdef PROTLM_HAVE_LZMA
                                ,
                                XzStream
#endif
#ifdef PROTLM_HAVE_BZIP2
                                ,
                                Bzip2Stream
#endif
                                >;

/// True when `bytes` begin as `magic` does.
inline bool begins_with(Bytes bytes, std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

inline constexpr std::string_view xz_magic{"\xFD"
                                           "7zXZ\0",
                                           6};

/// What a file is that is certainly no text of FASTA, by its first bytes after decompression; empty where it may be.
/// @param packed  the bytes are already out of a compressed file
inline std::string_view other_kind(Bytes bytes, bool packed) {
    if (bytes.size() >= 262 && std::memcmp(bytes.data() + 257, "ustar", 5) == 0)
        return "a tar archive; unpack it first, or give the output of 'tar -xOf' as standard input";
    if (begins_with(bytes, "PK\x03\x04") || begins_with(bytes, "PK\x05\x06"))
        return "a zip archive; give the output of 'unzip -p' as standard input";
    if (begins_with(bytes, "PLMSTORE"))
        return "a token store, which was made of FASTA files already";
    if (begins_with(bytes, "\x89HDF\r\n\x1A\n"))
        return "an HDF5 file";
    if (packed && (begins_with(bytes, "\x1F\x8B") || begins_with(bytes, "\x28\xB5\x2F\xFD") ||
                   begins_with(bytes, xz_magic) || begins_with(bytes, "BZh")))
        return "compressed twice; decompress it once";
    return {};
}

/// @throws Error where protlm was built without what reads it
inline ByteSource open_xz(Descriptor input) {
#ifdef PROTLM_HAVE_LZMA
    return ByteSource(std::in_place_type<XzStream>, std::move(input));
#else
    fail(input.name(), ": is compressed by xz, and protlm was built without liblzma; give the output of 'xz -dc' as "
                       "standard input");
#endif
}
inline ByteSource open_bzip2(Descriptor input) {
#ifdef PROTLM_HAVE_BZIP2
    return ByteSource(std::in_place_type<Bzip2Stream>, std::move(input));
#else
    fail(input.name(),
         ": is compressed by bzip2, and protlm was built without libbz2; give the output of 'bzip2 -dc' as "
         "standard input");
#endif
}

/// Opens a file, a pipe or standard input ("-"); what it holds is told by its first bytes, not by its name.
/// @throws Error when it cannot be opened, or is compressed in a way that is not supported
inline ByteSource open_source(std::string const &path) {
    Descriptor input(path);
    Bytes const head = input.peek(6);
    bool const skippable_frame = head.size() >= 4 && (head[0] & 0xF0) == 0x50 &&
                                 begins_with(head.subspan(1), "\x2A\x4D\x18"); // pzstd begins with one
    if (begins_with(head, "\x1F\x8B"))
        return ByteSource(std::in_place_type<GzipStream>, std::move(input));
    if (skippable_frame || begins_with(head, "\x28\xB5\x2F\xFD"))
        return ByteSource(std::in_place_type<ZstdStream>, std::move(input));
    if (begins_with(head, xz_magic))
        return open_xz(std::move(input));
    if (begins_with(head, "BZh"))
        return open_bzip2(std::move(input));
    if (input.is_regular() && path != "-")
        return ByteSource(std::in_place_type<MappedSlices>, MappedFile(path));
    return ByteSource(std::in_place_type<PlainStream>, std::move(input));
}

} // namespace protlm::inline v0::detail
