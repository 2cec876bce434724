#pragma once

#include <protlm/io/safetensors.hpp>
#include <protlm/io/torch_file.hpp>

#include <algorithm>
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
    /// @throws Error as `SafetensorsFile` and `TorchFile` do
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
    template <class T>
    void read_range_once(TensorInfo const &tensor, index_t first, T *destination, index_t count) const {
        auto const part = bytes_of(tensor, first, count);
        mapping().expect(part);
        read_range(tensor, first, destination, count);
        mapping().release(part);
    }

  private:
    using Content = std::variant<SafetensorsFile, TorchFile>;

    static Content open(std::filesystem::path const &path) {
        auto const ending = path.extension();
        bool const named = ending == ".bin" || ending == ".pt" || ending == ".pth" || ending == ".ckpt";
        if (named || TorchFile::recognise(MappedFile(path).bytes()))
            return TorchFile(path);
        return SafetensorsFile(path);
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
