#pragma once

#include <protlm/core/file.hpp>
#include <protlm/io/detail/safetensors_header.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// A tensor that is going to be written.
struct TensorSpec {
    std::string name;
    DataType dtype = DataType::f32;
    std::vector<index_t> shape;
};

/// Writes a safetensors file piece by piece, so that a model need not be held twice: all tensors are declared first,
/// then their elements are appended in that order, converted where the source has another type. The file appears under
/// its name only with `commit`.
///
///     SafetensorsWriter file("model.safetensors", {{"weight", DataType::bf16, {2, 3}}});
///     file.append("weight", floats, 6);
///     file.commit();
class SafetensorsWriter {
  public:
    /// @param path   the file; an old one of that name stands until `commit`
    /// @param specs  tensors in the order of their data; wide types before narrow ones where types differ, because
    ///               readers expect elements at multiples of their size
    /// @param metadata  `__metadata__`; "format" is what transformers asks for
    /// @throws Error for repeated names, sizes that overflow, a misaligned order, or a file that cannot be created
    SafetensorsWriter(std::filesystem::path const &path, std::vector<TensorSpec> specs,
                      std::map<std::string, std::string> const &metadata = {{"format", "pt"}})
        : name_(path.string()), specs_(std::move(specs)), file_(path) {
        std::string const header = make_header(metadata);
        auto const size = static_cast<std::uint64_t>(header.size());
        file_.write(&size, sizeof size);
        file_.write(header);
        skip_finished();
    }

    /// Appends the next `count` elements of tensor `name` from `source` (host), converting as
    /// `SafetensorsFile::read_into` does. A tensor may be appended in any number of pieces.
    /// @throws Error when another tensor is next, more elements come than declared, a value has no exact integer, or
    /// the disk is full
    template <class T>
    void append(std::string_view name, T const *source, index_t count) {
        if (count == 0)
            return;
        check(next_ < specs_.size(), name_, ": tensor \"", name, "\" appended, but all tensors are complete");
        auto const &spec = specs_[next_];
        check(spec.name == name, name_, ": tensor \"", name, "\" appended, but \"", spec.name, "\" is next");
        check(count > 0 && count <= counts_[next_] - done_, name_, ": tensor \"", name, "\": ", count,
              " elements appended, ", counts_[next_] - done_, " of ", counts_[next_], " are missing");
        if (data_type_of<T>() == spec.dtype && !std::is_same_v<T, bool>)
            file_.write(source, static_cast<std::size_t>(count) * sizeof(T));
        else
            append_converted(spec, source, count);
        done_ += count;
        skip_finished();
    }

    /// Syncs the file and gives it its name. @throws Error naming the first incomplete tensor, or when syncing fails
    void commit() {
        check(next_ == specs_.size(), name_, ": tensor \"", next_ < specs_.size() ? specs_[next_].name : "",
              "\" is not complete");
        file_.commit();
    }

  private:
    std::string make_header(std::map<std::string, std::string> const &metadata) {
        nlohmann::ordered_json header = nlohmann::ordered_json::object();
        if (!metadata.empty())
            header["__metadata__"] = metadata;
        std::set<std::string_view> names{"__metadata__"};
        index_t end = 0;
        for (auto const &spec : specs_) {
            check(names.insert(spec.name).second, name_, ": tensor \"", spec.name, "\" is declared twice");
            index_t const count = detail::shape_count(spec.shape), begin = end;
            index_t bytes = 0;
            bool const fits = count >= 0 && !__builtin_mul_overflow(count, data_type_size(spec.dtype), &bytes) &&
                              !__builtin_add_overflow(end, bytes, &end);
            check(fits, name_, ": tensor \"", spec.name, "\": the shape ", detail::shape_text(spec.shape),
                  " is negative or overflows");
            check(count == 0 || begin % data_type_size(spec.dtype) == 0, name_, ": tensor \"", spec.name, "\" of ",
                  data_type_name(spec.dtype), " would be misaligned; declare the tensors of wider types first");
            counts_.push_back(count);
            // operator[] searches an ordered_json from the front; appending keeps thousands of tensors linear.
            nlohmann::ordered_json const entry = {
                {"dtype", data_type_name(spec.dtype)}, {"shape", spec.shape}, {"data_offsets", {begin, end}}};
            header.get_ref<nlohmann::ordered_json::object_t &>().push_back({spec.name, entry});
        }
        return pad(header);
    }

    std::string pad(nlohmann::ordered_json const &header) const {
        std::string text;
        try {
            text = header.dump();
        } catch (nlohmann::json::exception const &error) { // a name that is not UTF-8
            fail(name_, ": the header cannot be written: ", error.what());
        }
        text.resize((text.size() + 7) / 8 * 8, ' ');
        check(text.size() <= 100'000'000, name_, ": the header needs ", text.size(),
              " bytes, the format allows 100000000");
        return text;
    }

    template <class T>
    void append_converted(TensorSpec const &spec, T const *source, index_t count) {
        std::array<std::byte, 1 << 16> buffer;
        index_t const step = static_cast<index_t>(buffer.size()) / 8;
        for (index_t i = 0; i < count; i += step) {
            index_t const piece = std::min(step, count - i);
            index_t const converted = convert_to_bytes(spec.dtype, source + i, buffer.data(), piece);
            check(converted == piece, name_, ": tensor \"", spec.name, "\": element ", done_ + i + converted,
                  " has no exact value of type ", data_type_name(spec.dtype));
            file_.write(buffer.data(), static_cast<std::size_t>(piece * data_type_size(spec.dtype)));
        }
    }

    /// Moves on to the next tensor that still misses elements; empty tensors need no append.
    void skip_finished() {
        for (; next_ < specs_.size() && done_ == counts_[next_]; done_ = 0)
            ++next_;
    }

    std::string name_;
    std::vector<TensorSpec> specs_;
    std::vector<index_t> counts_;
    AtomicFile file_;
    std::size_t next_ = 0;
    index_t done_ = 0;
};

} // namespace protlm::inline v0
