#pragma once

#include <protlm/core/file.hpp>
#include <protlm/io/detail/safetensors_header.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace protlm::inline v0 {

/// A safetensors file, memory-mapped: opening reads the header only, tensors are read when asked for.
/// Format: https://huggingface.co/docs/safetensors; 8 bytes header size, JSON header, data without gaps.
///
/// The header is checked completely when the file is opened, so that `bytes` and `read_into` never leave the file.
class SafetensorsFile {
  public:
    /// @throws Error naming the file and what is wrong with it: too short, header past the end or above 100 MB, not
    /// JSON, repeated names, unknown data types, shapes that are negative, overflow or do not match their bytes, ranges
    /// that run backwards, overlap, leave holes or end elsewhere than the file
    explicit SafetensorsFile(std::filesystem::path const &path)
        : file_(path), name_(path.string()), bytes_(file_.bytes()) {
        parse();
    }

    /// Reads from `bytes`, which must stay valid; `name` stands for the file in messages.
    /// @throws Error as above
    SafetensorsFile(std::span<std::byte const> bytes, std::string name) : name_(std::move(name)), bytes_(bytes) {
        parse();
    }

    /// True when `bytes` begin as the format does: a size that can be one, and an object.
    static bool recognise(std::span<std::byte const> bytes) {
        std::uint64_t size = max_header + 1;
        if (bytes.size() > 8)
            std::memcpy(&size, bytes.data(), 8);
        return size <= max_header && bytes[8] == std::byte{'{'};
    }

    /// All tensors in the order in which their data lie in the file.
    std::vector<TensorInfo> const &tensors() const { return tensors_; }

    /// The tensor of that name, or nullptr.
    TensorInfo const *find(std::string_view name) const {
        auto const place = index_.find(name);
        return place == index_.end() ? nullptr : &tensors_[place->second];
    }
    bool contains(std::string_view name) const { return find(name) != nullptr; }

    /// The tensor of that name. @throws Error naming file and tensor when there is none
    TensorInfo const &info(std::string_view name) const {
        auto const *tensor = find(name);
        check(tensor, name_, ": has no tensor \"", detail::excerpt(name), "\" (it has ", tensors_.size(), ")");
        return *tensor;
    }

    /// The tensor's bytes as they lie in the file, at any alignment; valid as long as this object. @throws Error
    std::span<std::byte const> bytes(std::string_view name) const { return bytes(info(name)); }
    std::span<std::byte const> bytes(TensorInfo const &tensor) const {
        return data_.subspan(static_cast<std::size_t>(tensor.begin),
                             static_cast<std::size_t>(tensor.end - tensor.begin));
    }

    /// All tensors' bytes, one behind the other: what a checksum of the weights covers, whatever the header says.
    std::span<std::byte const> data() const { return data_; }

    /// The `__metadata__` entries, for example {"format", "pt"}.
    std::map<std::string, std::string> const &metadata() const { return metadata_; }

    /// The path, or the name given for bytes.
    std::string const &name() const { return name_; }
    MappedFile const &mapping() const { return file_; }

    /// Reads the whole tensor into `destination` (count elements, host), converting element by element: to
    /// floating-point types with rounding to the nearest, to integers only where the value is exact.
    /// @throws Error when there is no such tensor, it has another number of elements, or a value has no exact integer
    template <class T>
    void read_into(std::string_view name, T *destination, index_t count) const {
        auto const &tensor = info(name);
        check(tensor.count() == count, name_, ": tensor \"", name, "\" has ", tensor.count(), " elements of shape ",
              detail::shape_text(tensor.shape), ", expected ", count);
        read_range(tensor, 0, destination, count);
    }

    /// Reads the elements [first, first + count) in row-major order, converting as `read_into`; for pieces of tensors
    /// that are too large to be held twice. `tensor` is one of this file's.
    template <class T>
    void read_range(TensorInfo const &tensor, index_t first, T *destination, index_t count) const {
        check(first >= 0 && count >= 0 && count <= tensor.count() - std::min(first, tensor.count()), name_,
              ": tensor \"", tensor.name, "\": elements ", first, " to ", first, " + ", count, " of ", tensor.count());
        tensor.require_readable(name_);
        auto const *source = bytes(tensor).data() + first * data_type_size(tensor.dtype);
        index_t const done = convert_from_bytes(tensor.dtype, source, destination, count);
        check(done == count, name_, ": tensor \"", tensor.name, "\": element ", first + done, " of type ",
              data_type_name(tensor.dtype), " has no exact value of type ", data_type_name(data_type_of<T>()));
    }

    /// The whole tensor as a vector, converted as `read_into`.
    template <class T>
    std::vector<T> read(std::string_view name) const {
        info(name).require_readable(name_);
        std::vector<T> result(static_cast<std::size_t>(info(name).count()));
        read_into(name, result.data(), static_cast<index_t>(result.size()));
        return result;
    }

  private:
    static constexpr std::uint64_t max_header = 100'000'000; // the format's own limit

    void parse() {
        check(bytes_.size() >= 8, name_, ": ", bytes_.size(), " bytes are too short for a safetensors file");
        std::uint64_t size = 0;
        std::memcpy(&size, bytes_.data(), 8);
        check(size <= max_header, name_, ": the header claims ", size, " bytes, the format allows ", max_header,
              "; is this a safetensors file?");
        check(size <= bytes_.size() - 8, name_, ": the header claims ", size, " bytes, but only ", bytes_.size() - 8,
              " follow; the file is truncated");
        std::string_view const text(reinterpret_cast<char const *>(bytes_.data()) + 8, size);
        check(!text.empty() && text.front() == '{', name_, ": the header is not a JSON object");
        data_ = bytes_.subspan(8 + size);
        detail::SafetensorsHeader header(text, name_, static_cast<index_t>(data_.size()));
        bool const parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &header);
        check(parsed, name_, ": the header is not JSON");
        tensors_ = std::move(header.tensors);
        metadata_ = std::move(header.metadata);
        check_ranges();
        for (std::size_t i = 0; i < tensors_.size(); ++i)
            index_.emplace(tensors_[i].name, i);
    }

    /// The tensors must follow each other without overlap or hole, from the end of the header to that of the file.
    void check_ranges() {
        std::stable_sort(tensors_.begin(), tensors_.end(), [](TensorInfo const &a, TensorInfo const &b) {
            return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
        });
        auto const size = static_cast<index_t>(data_.size());
        index_t end = 0;
        for (auto const &tensor : tensors_) {
            check(tensor.begin >= end, name_, ": tensor \"", detail::excerpt(tensor.name), "\" begins at byte ",
                  tensor.begin, " and overlaps the one before, which ends at ", end);
            check(tensor.begin == end, name_, ": bytes ", end, " to ", tensor.begin, " before tensor \"",
                  detail::excerpt(tensor.name), "\" belong to no tensor (a hole)");
            end = tensor.end;
        }
        check(end == size, name_, ": ", size - end, " bytes after the last tensor belong to no tensor");
    }

    MappedFile file_;
    std::string name_;
    std::span<std::byte const> bytes_, data_;
    std::vector<TensorInfo> tensors_;
    std::map<std::string, std::string> metadata_;
    std::unordered_map<std::string_view, std::size_t> index_; // keys lie in tensors_
};

} // namespace protlm::inline v0
