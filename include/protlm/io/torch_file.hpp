#pragma once

#include <protlm/core/file.hpp>
#include <protlm/io/detail/crc32.hpp>
#include <protlm/io/detail/torch_state.hpp>
#include <protlm/io/zip_archive.hpp>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace protlm::inline v0 {

/// A dictionary of tensors that `torch.save` wrote (pytorch_model.bin, .pt), memory-mapped: a zip file since torch 1.6,
/// a row of pickles and raw storages before. Tensors may be Parameters, lie at strides and share storages; dictionaries
/// may be nested, and what is no tensor is passed over. Nothing in the file is ever executed: see `Pickle`.
class TorchFile {
  public:
    /// @throws Error naming the file and what is wrong with it: neither layout, truncated, big-endian, compressed, a
    /// pickle that names anything but tensors, tensors that leave their storages
    explicit TorchFile(std::filesystem::path const &path) : file_(path), name_(path.string()), bytes_(file_.bytes()) {
        parse();
        file_.release(bytes_); // a look at one number may have brought 2 MB of the page cache
    }
    /// Reads from `bytes`, which must stay valid; `name` stands for the file in messages. @throws Error as above
    TorchFile(std::span<std::byte const> bytes, std::string name) : name_(std::move(name)), bytes_(bytes) { parse(); }

    /// True when `bytes` begin as one of the two layouts does.
    static bool recognise(std::span<std::byte const> bytes) {
        std::string_view const text(reinterpret_cast<char const *>(bytes.data()), bytes.size());
        return text.starts_with("PK\x03\x04") || text.starts_with("\x80\x02\x8a\x0a"); // the magic number's pickle
    }

    /// All tensors in the order of the dictionary. `begin` is the first element's place in the file, and `end` as if
    /// all followed it.
    std::vector<TensorInfo> const &tensors() const { return tensors_; }

    /// The tensor of that name, or nullptr.
    TensorInfo const *find(std::string_view name) const {
        auto const place = index_.find(name);
        return place == index_.end() ? nullptr : &tensors_[place->second];
    }

    /// Reads the elements [first, first + count) in row-major order, converting as `SafetensorsFile::read_into`.
    /// @param tensor one of this file's @throws Error when a value has no exact integer
    template <class T>
    void read_range(TensorInfo const &tensor, index_t first, T *destination, index_t count) const {
        check(first >= 0 && count >= 0 && count <= tensor.count() - std::min(first, tensor.count()), name_,
              ": tensor \"", tensor.name, "\": elements ", first, " to ", first, " + ", count, " of ", tensor.count());
        tensor.require_readable(name_);
        index_t done = 0;
        if (auto const *source = contiguous(tensor))
            done = convert_from_bytes(tensor.dtype, source + first * data_type_size(tensor.dtype), destination, count);
        else
            done = read_strided(tensor, first, destination, count);
        check(done == count, name_, ": tensor \"", tensor.name, "\": element ", first + done, " of type ",
              data_type_name(tensor.dtype), " has no exact value of type ", data_type_name(data_type_of<T>()));
    }

    /// The bytes of a tensor whose elements follow each other in row-major order, or nullptr.
    std::byte const *contiguous(TensorInfo const &tensor) const {
        auto const &strides = strides_[static_cast<std::size_t>(&tensor - tensors_.data())];
        return strides.empty() ? bytes_.data() + tensor.begin : nullptr;
    }

    /// The member of a zip file that a tensor's elements lie in, with its checksum; nothing in other files.
    ZipArchive::Member const &stored(TensorInfo const &tensor) const {
        return stored_[static_cast<std::size_t>(&tensor - tensors_.data())];
    }

    /// The path, or the name given for bytes.
    std::string const &name() const { return name_; }
    MappedFile const &mapping() const { return file_; }

  private:
    using Storages = std::unordered_map<std::string_view, std::span<std::byte const>>;
    static constexpr std::span<std::string_view const> functions{detail::TorchState::functions};

    void parse() {
        std::string_view const text(reinterpret_cast<char const *>(bytes_.data()), bytes_.size());
        check(!text.empty(), name_, ": is empty, expected a file of torch.save");
        if (text.starts_with("PK\x03\x04"))
            parse_zip();
        else if (text.starts_with('\x80'))
            parse_pickles();
        else
            fail(name_, ": is neither a zip file nor a pickle; no file of torch.save");
        for (std::size_t i = 0; i < tensors_.size(); ++i)
            index_.emplace(tensors_[i].name, i);
    }

    void parse_zip() {
        ZipArchive const archive(bytes_, name_);
        ZipArchive::Member const *pickle = nullptr;
        for (auto const &member : archive.members())
            if (member.name == "data.pkl" ||
                (member.name.ends_with("/data.pkl") && member.name.find('/') == member.name.size() - 9))
                pickle = &member;
        for (auto const &member : archive.members())
            check(pickle || (!member.name.ends_with("config.json") && !member.name.ends_with(".safetensors")), name_,
                  ": is a zip archive of a whole model folder; unpack it and give the folder");
        check(pickle, name_, ": the zip file has no data.pkl; no file of torch.save");
        std::string const folder(pickle->name.substr(0, pickle->name.size() - 8));
        if (auto const *order = archive.find(folder + "byteorder"))
            check(order->bytes.empty() || order->bytes[0] != std::byte{'b'}, name_, ": was written big-endian");
        check(pickle->crc32 == 0 || pickle->crc32 == detail::crc32_of(pickle->bytes), name_, ": ",
              detail::excerpt(pickle->name), " is damaged: its CRC-32 is not that of the zip directory");
        Pickle const document(pickle->bytes, name_ + ": " + detail::excerpt(pickle->name), functions);
        detail::TorchState state(document, name_);
        add(state.take_tensors(), [&](detail::TorchTensor const &tensor) {
            auto const *member = archive.find(folder + "data/" + std::string(tensor.storage.key));
            check(member, name_, ": tensor \"", detail::excerpt(tensor.name), "\": its storage ", folder, "data/",
                  detail::excerpt(tensor.storage.key), " is missing");
            return *member;
        });
    }

    /// Five pickles (magic number, version, properties of the machine, tensors, keys of the storages), then for each
    /// key the number of elements (int64) and the elements.
    void parse_pickles() {
        std::size_t position = 0;
        auto const next = [&](char const *what) {
            Pickle pickle(bytes_.subspan(position), name_ + ": " + what, functions);
            position += pickle.size();
            return pickle;
        };
        constexpr std::string_view magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
        auto const first = next("the magic number");
        check(first.text(first.root()) == magic, name_,
              ": does not begin with torch's magic number; no file of "
              "torch.save");
        auto const version = next("the version");
        check(version.root().number == 1001, name_, ": has version ", version.root().number, ", expected 1001");
        auto const machine = next("the machine's properties");
        for (std::size_t i = 0; i + 1 < machine.count(machine.root()); i += 2)
            if (machine.text(machine.child(machine.root(), i)) == "little_endian")
                check(machine.child(machine.root(), i + 1).number == 1, name_, ": was written big-endian");
        auto const document = next("the tensors");
        detail::TorchState state(document, name_);
        auto const keys = next("the storages' keys");
        auto const storages = find_storages(state, keys, position);
        add(state.take_tensors(), [&](detail::TorchTensor const &tensor) {
            auto const place = storages.find(tensor.storage.key);
            check(place != storages.end(), name_, ": tensor \"", detail::excerpt(tensor.name), "\": its storage ",
                  detail::excerpt(tensor.storage.key), " is missing");
            return ZipArchive::Member{{}, place->second};
        });
    }

    Storages find_storages(detail::TorchState const &state, Pickle const &keys, std::size_t position) const {
        auto const known = state.storages();
        Storages result;
        for (std::size_t i = 0; i < keys.count(keys.root()); ++i) {
            auto const place = known.find(keys.text(keys.child(keys.root(), i)));
            check(place != known.end(), name_, ": lists a storage that no tensor mentions");
            auto const &storage = place->second;
            index_t size = storage.count;
            bool const fits = !__builtin_mul_overflow(size, storage.type.bytes, &size);
            check(fits && bytes_.size() - position >= 8 &&
                      static_cast<std::uint64_t>(size) <= bytes_.size() - position - 8,
                  name_, ": storage ", detail::excerpt(storage.key), " of ", storage.count, " elements at byte ",
                  position, " leaves the file of ", bytes_.size(), " bytes; it is truncated");
            auto const count = detail::load_little<std::int64_t>(bytes_.data() + position);
            check(count == storage.count, name_, ": storage ", detail::excerpt(storage.key), " has ", count,
                  " elements, the tensors expect ", storage.count);
            result.emplace(storage.key, bytes_.subspan(position + 8, static_cast<std::size_t>(size)));
            position += 8 + static_cast<std::size_t>(size);
        }
        return result;
    }

    /// Lists the tensors; `bytes_of` finds a tensor's storage.
    template <class BytesOf>
    void add(std::vector<detail::TorchTensor> found, BytesOf bytes_of) {
        for (auto &tensor : found) {
            if (!tensor.kind.empty()) {
                strides_.emplace_back();
                stored_.emplace_back();
                tensors_.push_back({std::move(tensor.name), DataType::other, {0}, 0, 0, std::move(tensor.kind)});
                continue;
            }
            ZipArchive::Member const &member = stored_.emplace_back(bytes_of(tensor));
            std::span<std::byte const> const storage = member.bytes;
            auto const &type = tensor.storage.type;
            index_t const element = type.bytes;
            check(
                static_cast<std::uint64_t>(tensor.storage.count) <= storage.size() / static_cast<std::size_t>(element),
                name_, ": tensor \"", detail::excerpt(tensor.name), "\": its storage ",
                detail::excerpt(tensor.storage.key), " has ", storage.size(), " bytes, ", tensor.storage.count,
                " elements of ", type.dtype == DataType::other ? type.name : data_type_name(type.dtype), " need more");
            index_t const count = detail::shape_count(tensor.shape);
            index_t const begin = storage.data() - bytes_.data() + (tensor.storage.begin + tensor.offset) * element;
            strides_.push_back(is_contiguous(tensor) ? std::vector<index_t>() : std::move(tensor.strides));
            tensors_.push_back({std::move(tensor.name), type.dtype, std::move(tensor.shape), begin,
                                begin + count * element, type.name});
        }
    }

    static bool is_contiguous(detail::TorchTensor const &tensor) {
        index_t expected = 1;
        for (std::size_t i = tensor.shape.size(); i-- > 0; expected *= tensor.shape[i])
            if (tensor.shape[i] > 1 && tensor.strides[i] != expected)
                return detail::shape_count(tensor.shape) == 0;
        return true;
    }

    template <class T>
    index_t read_strided(TensorInfo const &tensor, index_t first, T *destination, index_t count) const {
        auto const &strides = strides_[static_cast<std::size_t>(&tensor - tensors_.data())];
        auto const *origin = bytes_.data() + tensor.begin;
        index_t const element = data_type_size(tensor.dtype);
        for (index_t i = 0; i < count; ++i) {
            index_t place = 0, rest = first + i;
            for (std::size_t d = strides.size(); d-- > 0; rest /= tensor.shape[d])
                place += rest % tensor.shape[d] * strides[d];
            if (convert_from_bytes(tensor.dtype, origin + place * element, destination + i, 1) != 1)
                return i;
        }
        return count;
    }

    MappedFile file_;
    std::string name_;
    std::span<std::byte const> bytes_;
    std::vector<TensorInfo> tensors_;
    std::vector<ZipArchive::Member> stored_;    // of each tensor
    std::vector<std::vector<index_t>> strides_; // of each tensor; empty where its elements follow each other
    std::unordered_map<std::string_view, std::size_t> index_; // keys lie in tensors_
};

} // namespace protlm::inline v0
