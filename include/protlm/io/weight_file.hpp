#pragma once

#include <protlm/io/safetensors.hpp>
#include <protlm/io/torch_file.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace protlm::inline v0 {

/// One file of named tensors, memory-mapped: safetensors, or what `torch.save` writes.
class WeightFile {
  public:
    /// Which of the two it is, is told by its first bytes, and by its name (.bin, .pt, .pth, .ckpt) where these do not.
    /// @throws Error naming what else lies in the file's place (nothing, a Git LFS pointer, a web page, an archive),
    /// and as `SafetensorsFile` and `TorchFile` do
    explicit WeightFile(std::filesystem::path const &path) : content_(open(path)) {}

    std::string const &name() const {
        return std::visit(
            [](auto const &file) -> auto const & { return file.name(); }, content_);
    }
    /// "safetensors", or "torch" for either layout of `torch.save`.
    char const *format() const { return std::holds_alternative<TorchFile>(content_) ? "torch" : "safetensors"; }

    std::vector<TensorInfo> const &tensors() const {
        return std::visit(
            [](auto const &file) -> auto const & { return file.tensors(); }, content_);
    }
    /// The tensor of that name, or nullptr.
    TensorInfo const *find(std::string_view name) const {
        return std::visit([&](auto const &file) { return file.find(name); }, content_);
    }
    bool contains(std::string_view name) const { return find(name) != nullptr; }

    /// Reads the elements [first, first + count) of one of this file's tensors in row-major order, converting as
    /// `SafetensorsFile::read_into`. @throws Error when a value has no exact integer or the type cannot be converted
    template <class T>
    void read_range(TensorInfo const &tensor, index_t first, T *destination, index_t count) const {
        std::visit([&](auto const &file) { file.read_range(tensor, first, destination, count); }, content_);
    }

    /// Reads a range as above that is needed once: its pages are fetched together and given back behind it, so that
    /// memory holds no more of the file than the range.
    /// @param crc32 where it is given, gets the checksum of the range's bytes, if they follow each other
    template <class T>
    void read_range_once(TensorInfo const &tensor, index_t first, T *destination, index_t count,
                         std::uint32_t *crc32 = nullptr) const {
        auto const part = bytes_of(tensor, first, count);
        mapping().expect(part);
        read_range(tensor, first, destination, count);
        if (crc32)
            *crc32 = detail::crc32_of(part);
        mapping().release(part);
    }

    /// @throws Error when somebody has written to the file since it was opened
    void check_unchanged() const { mapping().check_unchanged(); }

    /// A stretch of the file that has a checksum.
    struct Checked {
        std::span<std::byte const> bytes{};
        std::uint32_t crc32 = 0; ///< 0 where there is none
        bool is_tensor = false;  ///< whether it is the tensor's elements in their order, and no more
    };
    /// The stretch that a tensor lies in, in files of torch 1.6 and later.
    Checked checked(TensorInfo const &tensor) const {
        auto const *torch = std::get_if<TorchFile>(&content_);
        if (!torch || !tensor.is_readable())
            return {};
        auto const &member = torch->stored(tensor);
        auto const own = bytes_of(tensor, 0, tensor.count());
        return {member.bytes, member.crc32, own.data() == member.bytes.data() && own.size() == member.bytes.size()};
    }

  private:
    using Content = std::variant<SafetensorsFile, TorchFile>;

    static Content open(std::filesystem::path const &path) {
        auto const ending = path.extension();
        bool torch = ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt";
        {
            MappedFile const file(path);
            auto const bytes = file.bytes();
            refuse_web_page(bytes, path.string());
            refuse_other_formats(bytes, path.string());
            if (SafetensorsFile::recognise(bytes))
                torch = false;
            else
                torch = torch || TorchFile::recognise(bytes);
        }
        if (torch)
            return TorchFile(path);
        return SafetensorsFile(path);
    }
    static void refuse_other_formats(std::span<std::byte const> bytes, std::string const &name) {
        check(!bytes.empty(), name, ": is empty: it was not written or downloaded to its end");
        auto const begins = [&](std::string_view magic, std::size_t at = 0) {
            return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
        };
        check(!begins("\x89HDF\r\n"), name, ": is an HDF5 file (of TensorFlow?); expected safetensors or torch.save");
        check(!begins("GGUF"), name, ": is a GGUF file; expected safetensors or torch.save");
        bool const packed = begins("\x1f\x8b") || begins("\x28\xb5\x2f\xfd") || begins("\xfd\x37zXZ") || begins("BZh");
        check(!packed && !begins("ustar", 257), name, ": is compressed or an archive; unpack it");
    }
    MappedFile const &mapping() const {
        return std::visit(
            [](auto const &file) -> auto const & { return file.mapping(); }, content_);
    }
    /// Where elements lie that follow each other; nothing for those at strides.
    std::span<std::byte const> bytes_of(TensorInfo const &tensor, index_t first, index_t count) const {
        if (!tensor.is_readable())
            return {};
        auto const *torch = std::get_if<TorchFile>(&content_);
        std::byte const *begin =
            torch ? torch->contiguous(tensor) : std::get<SafetensorsFile>(content_).bytes(tensor).data();
        index_t const element = data_type_size(tensor.dtype);
        return begin ? std::span(begin + first * element, static_cast<std::size_t>(count * element))
                     : std::span<std::byte const>();
    }

    Content content_;
};

} // namespace protlm::inline v0
