#pragma once

#include <protlm/core/file.hpp>
#include <protlm/io/detail/sha256_block.hpp>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>

namespace protlm::inline v0 {

/// SHA-256 (FIPS 180-4) of bytes that come piece by piece.
class Sha256 {
  public:
    void update(std::span<std::byte const> bytes) {
        length_ += bytes.size();
        if (filled_ > 0) {
            auto const piece = std::min(bytes.size(), block_.size() - filled_);
            std::copy_n(bytes.data(), piece, block_.data() + filled_);
            filled_ += piece;
            bytes = bytes.subspan(piece);
            if (filled_ < block_.size())
                return;
            detail::sha256_blocks(state_, block_.data(), 1);
            filled_ = 0;
        }
        detail::sha256_blocks(state_, bytes.data(), bytes.size() / 64);
        filled_ = bytes.size() % 64;
        std::copy_n(bytes.data() + (bytes.size() - filled_), filled_, block_.data());
    }

    /// All bytes of a mapped file; its pages are given back on the way, so that a large file takes no memory.
    void update(MappedFile const &file) {
        constexpr std::size_t most = std::size_t(4) << 20;
        for (auto rest = file.bytes(); !rest.empty();) {
            auto const piece = rest.first(std::min(rest.size(), most));
            file.expect(piece);
            update(piece);
            file.release(piece);
            rest = rest.subspan(piece.size());
        }
    }

    /// The digest of all bytes so far as 64 hexadecimal digits; more bytes may follow.
    std::string hex() const {
        Sha256 last = *this;
        std::array<std::byte, 72> padding{std::byte{0x80}};
        std::size_t const size = (filled_ < 56 ? 56 : 120) - filled_ + 8;
        for (std::size_t i = 0; i < 8; ++i)
            padding[size - 1 - i] = static_cast<std::byte>((length_ * 8) >> (8 * i));
        last.update(std::span(padding).first(size));
        std::string text;
        for (std::uint32_t const word : last.state_)
            for (int shift = 28; shift >= 0; shift -= 4)
                text += "0123456789abcdef"[(word >> shift) & 15];
        return text;
    }

  private:
    detail::Sha256State state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::byte, 64> block_{};
    std::size_t filled_ = 0;
    std::uint64_t length_ = 0;
};

/// SHA-256 of `bytes` as 64 hexadecimal digits.
inline std::string sha256(std::span<std::byte const> bytes) {
    Sha256 hash;
    hash.update(bytes);
    return hash.hex();
}

/// SHA-256 of a file's bytes, as `sha256sum` prints it. @throws Error when it cannot be read
inline std::string sha256_file(std::filesystem::path const &path) {
    Sha256 hash;
    hash.update(MappedFile(path));
    return hash.hex();
}

} // namespace protlm::inline v0
