#pragma once

#include <protlm/io/detail/weight_index.hpp>
#include <protlm/io/weight_file.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// The tensors of a model as released: a folder with model.safetensors or pytorch_model.bin (of either layout of
/// `torch.save`), or with the index of one of them and its shards; or one such file. Mapped, nothing is read before it
/// is asked for. Where a folder has both formats, safetensors are taken, and a note says so.
class CheckpointFolder {
  public:
    /// @param path  a folder, or a file of weights
    /// @throws Error when there is no such file, a file stands beside shards of its format (which is old?), the index
    /// names files outside the folder or tensors that its shards do not hold, or a file is malformed
    explicit CheckpointFolder(std::filesystem::path const &path) : path_(path) { open(path); }

    /// One tensor and the file it lies in.
    struct Entry {
        WeightFile const *file;
        TensorInfo const *info;
    };

    /// Whether a folder holds weights of a format that is read.
    static bool has_weights(std::filesystem::path const &folder) {
        std::error_code ignored;
        for (auto const *name : formats)
            if (std::filesystem::exists(folder / name, ignored) ||
                std::filesystem::exists(index_of(folder, name), ignored))
                return true;
        return false;
    }

    /// All tensors, in the order of the files' names and of their data.
    std::vector<Entry> const &tensors() const { return tensors_; }

    /// The tensor of that name, or nullptr.
    TensorInfo const *find(std::string_view name) const {
        auto const place = index_.find(name);
        return place == index_.end() ? nullptr : tensors_[place->second].info;
    }
    bool contains(std::string_view name) const { return find(name) != nullptr; }

    /// The tensor's description. @throws Error naming the checkpoint when there is none
    TensorInfo const &info(std::string_view name) const { return *entry(name).info; }

    /// Reads the whole tensor into `destination` (count elements, host), converting element by element: to
    /// floating-point types with rounding to the nearest, to integers only where the value is exact.
    /// @throws Error when there is no such tensor, it has another number of elements, or a value has no exact integer
    template <class T>
    void read_into(std::string_view name, T *destination, index_t count) const {
        auto const &[file, tensor] = entry(name);
        check(tensor->count() == count, file->name(), ": tensor \"", detail::excerpt(name), "\" has ", tensor->count(),
              " elements of shape ", detail::shape_text(tensor->shape), ", expected ", count);
        file->read_range(*tensor, 0, destination, count);
    }

    /// The whole tensor as a vector. @throws Error
    template <class T>
    std::vector<T> read(std::string_view name) const {
        info(name).require_readable(entry(name).file->name());
        std::vector<T> result(static_cast<std::size_t>(info(name).count()));
        read_into(name, result.data(), static_cast<index_t>(result.size()));
        return result;
    }

    /// The tensor of that name with its file. @throws Error naming the checkpoint when there is none
    Entry const &entry(std::string_view name) const {
        auto const place = index_.find(name);
        check(place != index_.end(), path_.string(), ": has no tensor \"", detail::excerpt(name), '"');
        return tensors_[place->second];
    }

    /// True when both tensors are there with one shape and equal values. Reads both.
    /// @throws Error when their type cannot be converted
    bool same_values(std::string_view a, std::string_view b) const {
        if (!contains(a) || !contains(b))
            return false;
        auto const &one = entry(a), &other = entry(b);
        if (one.info == other.info || one.info->shape != other.info->shape)
            return one.info == other.info;
        constexpr index_t most = 1 << 16;
        std::vector<double> left(most), right(most);
        for (index_t first = 0, count = one.info->count(); first < count; first += most) {
            index_t const size = std::min(most, count - first);
            one.file->read_range(*one.info, first, left.data(), size);
            other.file->read_range(*other.info, first, right.data(), size);
            // by their bits: a NaN equals itself
            if (std::memcmp(left.data(), right.data(), static_cast<std::size_t>(size) * sizeof(double)) != 0)
                return false;
        }
        return true;
    }

    /// The files that hold the tensors, in the order of their names.
    std::vector<WeightFile> const &files() const { return files_; }

    std::filesystem::path const &path() const { return path_; }

    /// What its user should be told: which of two formats was taken, and what `rename` left out of names.
    std::vector<std::string> const &notes() const { return notes_; }
    void note(std::string text) { notes_.push_back(std::move(text)); }

    /// Lets tensors be found under other names from now on; `TensorInfo::name` stays what the file says.
    /// @param renamed gives the new name of a name @throws Error when two tensors get one name
    template <class Renamed>
    void rename(Renamed &&renamed) {
        std::map<std::string, std::size_t, std::less<>> index;
        for (auto const &[name, place] : index_) {
            auto const [other, fresh] = index.emplace(renamed(name), place);
            check(fresh, path_.string(), ": holds both \"", detail::excerpt(tensors_[other->second].info->name),
                  "\" and \"", detail::excerpt(tensors_[place].info->name),
                  "\", which are one tensor but for what stands before it; save one of the two models by itself");
        }
        index_ = std::move(index);
    }

  private:
    void open(std::filesystem::path const &path) {
        namespace fs = std::filesystem;
        std::error_code ignored;
        check(fs::exists(path, ignored), path.string(), ": no such checkpoint folder or file");
        if (!fs::is_directory(path, ignored))
            return open_single(path);
        std::vector<fs::path> found;
        for (auto const *name : formats) {
            bool const whole = fs::exists(path / name, ignored), shards = fs::exists(index_of(path, name), ignored);
            check(!whole || !shards, path.string(), ": holds both ", name, " and ",
                  index_of(path, name).filename().string(), "; one of them is old: move it away");
            if (whole || shards)
                found.push_back(whole ? path / name : index_of(path, name));
        }
        if (found.empty())
            refuse_without_weights(path);
        if (found.size() > 1)
            note(path.string() + ": holds " + found[0].filename().string() + " and " + found[1].filename().string() +
                 "; the former is read");
        found[0].extension() == ".json" ? open_sharded(found[0]) : open_single(found[0]);
    }

    static constexpr char const *formats[] = {"model.safetensors", "pytorch_model.bin"};
    static std::filesystem::path index_of(std::filesystem::path const &folder, char const *name) {
        return folder / (std::string(name) + ".index.json");
    }
    [[noreturn]] static void refuse_without_weights(std::filesystem::path const &path) {
        std::error_code ignored;
        std::string hint;
        for (auto const &[name, what] :
             {std::pair<char const *, char const *>{"adapter_config.json", "an adapter of PEFT, to be merged first"},
              {"tf_model.h5", "weights of TensorFlow"},
              {"flax_model.msgpack", "weights of Flax"}})
            if (hint.empty() && std::filesystem::exists(path / name, ignored))
                hint = std::string("; ") + name + " is there: " + what;
        fail(path.string(), ": has neither model.safetensors nor pytorch_model.bin, nor the .index.json of one", hint);
    }

    void open_single(std::filesystem::path const &file) {
        files_.emplace_back(file);
        for (auto const &tensor : files_.front().tensors())
            add(files_.front(), tensor);
    }

    void open_sharded(std::filesystem::path const &index_path) {
        auto const shards = detail::weight_shards(read_json(index_path), index_path.string());
        files_.reserve(shards.size()); // entries point into it
        for (auto const &[shard, names] : shards) {
            std::error_code ignored;
            check(std::filesystem::exists(path_ / shard, ignored), index_path.string(), ": the shard ", shard,
                  " is missing from the folder");
            auto const &file = files_.emplace_back(path_ / shard);
            for (auto const &name : names)
                check(file.contains(name), file.name(), ": has no tensor \"", detail::excerpt(name), "\", although ",
                      index_path.filename().string(), " says so");
            for (auto const &tensor : file.tensors())
                if (names.contains(tensor.name))
                    add(file, tensor);
        }
    }

    void add(WeightFile const &file, TensorInfo const &tensor) {
        index_.emplace(tensor.name, tensors_.size());
        tensors_.push_back({&file, &tensor});
    }

    std::filesystem::path path_;
    std::vector<WeightFile> files_;
    std::vector<Entry> tensors_;
    std::map<std::string, std::size_t, std::less<>> index_;
    std::vector<std::string> notes_;
};

} // namespace protlm::inline v0
