#pragma once

#include <protlm/io/detail/torch_types.hpp>
#include <protlm/io/pickle.hpp>
#include <protlm/io/tensor_info.hpp>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

/// A storage as a pickle refers to it: elements that lie elsewhere in the file.
struct TorchStorage {
    std::string_view key;
    TorchType type;
    index_t count = 0;           // elements of the whole storage
    index_t begin = 0, size = 0; // the part of it that is meant; all, but for the views of old files

    /// Bytes as elements of another type.
    void retype(TorchType other) {
        count /= other.bytes;
        size /= other.bytes;
        type = std::move(other);
    }
};

/// A tensor as a pickle describes it: elements of a storage at strides.
struct TorchTensor {
    std::string name;
    TorchStorage storage;
    index_t offset = 0; // of the first element in the storage
    std::vector<index_t> shape, strides;
    std::string kind{}; // of a tensor that is no array of numbers; it has no storage here
};

/// Finds the tensors in the pickle of a torch file. What `torch.save` calls when it loads is read as data: the layout
/// is that of torch/_utils.py and torch/serialization.py.
class TorchState {
  public:
    using Value = Pickle::Value;
    using Kind = Pickle::Kind;

    /// All names that a dictionary of tensors may mention.
    static constexpr std::array<std::string_view, 16> functions{"collections.OrderedDict",
                                                                "torch._utils._rebuild_tensor_v2",
                                                                "torch._utils._rebuild_tensor",
                                                                "torch._utils._rebuild_parameter",
                                                                "torch._utils._rebuild_parameter_with_state",
                                                                "torch.Size",
                                                                "torch.DoubleStorage",
                                                                "torch.FloatStorage",
                                                                "torch.HalfStorage",
                                                                "torch.BFloat16Storage",
                                                                "torch.LongStorage",
                                                                "torch.IntStorage",
                                                                "torch.ShortStorage",
                                                                "torch.CharStorage",
                                                                "torch.ByteStorage",
                                                                "torch.BoolStorage"};

    /// @param name of the file, for messages
    TorchState(Pickle const &pickle, std::string const &name) : pickle_(pickle), name_(name) {
        Value const &root = find_state(pickle.root());
        collect(root, "", 0);
        check(!tensors_.empty(), name_, ": the pickle holds no dictionary with tensors", first_object(root));
    }

    std::vector<TorchTensor> take_tensors() { return std::move(tensors_); }

    /// Every storage that the pickle mentions, whether or not a tensor of its dictionary uses it.
    std::map<std::string_view, TorchStorage> storages() const {
        std::map<std::string_view, TorchStorage> result;
        for (auto const &value : pickle_.values())
            if (value.kind == Kind::reference && !is_module(value)) {
                auto const found = storage(value, "a storage");
                auto const [place, fresh] = result.emplace(found.key, found);
                check(fresh || (place->second.type == found.type && place->second.count == found.count), name_,
                      ": storage ", excerpt(found.key), " is described in two ways");
            }
        return result;
    }

  private:
    static constexpr int most_depth = 16;
    static constexpr std::size_t most_tensors = 50'000, most_visits = 1'000'000, most_name = 500, most_extents = 16;

    /// Whatever torch rebuilds: arrays, parameters, and tensors that this reader cannot read.
    bool is_tensor(Value const &value) const {
        if (value.kind != Kind::call)
            return false;
        auto const function = callee(value);
        return function.starts_with("torch._utils._rebuild") || function.starts_with("torch._tensor._rebuild");
    }
    std::string callee(Value const &call) const { return pickle_.name(pickle_.child(call, 0)); }
    Value const &argument(Value const &call, std::size_t i, std::string const &what) const {
        return part(pickle_.child(call, 1), i, what);
    }
    Value const &part(Value const &arguments, std::size_t i, std::string const &what) const {
        check(arguments.kind == Kind::tuple && i < pickle_.count(arguments), name_, ": tensor \"", excerpt(what),
              "\": has only ", pickle_.count(arguments), " arguments");
        return pickle_.child(arguments, i);
    }
    /// Old files of whole modules refer to their sources.
    bool is_module(Value const &reference) const {
        Value const &parts = pickle_.child(reference, 0);
        return parts.kind == Kind::tuple && pickle_.count(parts) > 0 &&
               pickle_.text(pickle_.child(parts, 0)) == "module";
    }

    /// Whether `value` is a dictionary with tensors in it, or in dictionaries in it.
    bool holds_tensors(Value const &value, int depth = 0) {
        check(++visits_ <= most_visits, name_, ": the pickle's dictionaries have more than ", most_visits, " members");
        if (value.kind != Kind::dict || depth >= most_depth)
            return false;
        for (std::size_t i = 1; i < pickle_.count(value); i += 2)
            if (pickle_.child(value, i - 1).kind == Kind::text &&
                (is_tensor(pickle_.child(value, i)) || holds_tensors(pickle_.child(value, i), depth + 1)))
                return true;
        return false;
    }

    /// The dictionary of the model itself: training programs wrap it in others, beside the optimizer's state and
    /// tensors such as the state of random numbers. The names that they give it come first; else it is the only
    /// dictionary with tensors, where no tensor lies beside it.
    Value const &find_state(Value const &root) {
        Value const *state = &root;
        for (int depth = 0; depth < most_depth && state->kind == Kind::dict; ++depth) {
            Value const *named = nullptr, *only = nullptr;
            std::string_view name;
            std::size_t candidates = 0, tensors = 0;
            for (std::size_t i = 1; i < pickle_.count(*state); i += 2) {
                Value const &inner = pickle_.child(*state, i);
                auto const key = pickle_.text(pickle_.child(*state, i - 1));
                tensors += is_tensor(inner);
                if (!holds_tensors(inner))
                    continue;
                only = &inner;
                ++candidates;
                if (key != "model" && key != "state_dict" && key != "model_state_dict" && key != "module")
                    continue;
                check(!named || named == &inner, name_, ": both \"", name, "\" and \"", key,
                      "\" hold tensors; save the one that is meant by itself");
                named = &inner;
                name = key;
            }
            if (!named && (candidates != 1 || tensors > 0))
                break;
            state = named ? named : only;
        }
        check(state->kind == Kind::dict, name_, ": the pickle is no dictionary of tensors", described(*state));
        return *state;
    }
    /// Of an object, which class: most often somebody saved the model and not its state.
    std::string described(Value const &value) const {
        if (value.kind != Kind::call)
            return {};
        if (is_tensor(value))
            return ", but one tensor";
        return ", but an object of " + excerpt(callee(value)) +
               "; save its state with torch.save(model.state_dict(), ...)";
    }
    /// Where no dictionary has tensors: the first object in it that may be a whole model.
    std::string first_object(Value const &dict) const {
        for (std::size_t i = 1; i < pickle_.count(dict); i += 2)
            if (pickle_.child(dict, i).kind == Kind::call)
                return "; \"" + excerpt(pickle_.text(pickle_.child(dict, i - 1))) + "\" is no dictionary" +
                       described(pickle_.child(dict, i));
        return {};
    }

    /// Tensors of `dict` and of dictionaries in it, whose names are joined by dots.
    void collect(Value const &dict, std::string const &prefix, int depth) {
        check(depth < most_depth, name_, ": dictionaries are nested more than ", most_depth, " deep");
        for (std::size_t i = 0; i + 1 < pickle_.count(dict); i += 2) {
            check(++visits_ <= most_visits, name_, ": the pickle's dictionaries have more than ", most_visits,
                  " members");
            Value const &key = pickle_.child(dict, i), &value = pickle_.child(dict, i + 1);
            if (key.kind != Kind::text || (value.kind != Kind::dict && !is_tensor(value)))
                continue;
            auto const text = pickle_.text(key);
            check(prefix.size() + text.size() <= most_name, name_, ": the name \"", excerpt(text), "\" has more than ",
                  most_name, " bytes");
            std::string name = prefix + std::string(text);
            if (value.kind == Kind::dict) {
                collect(value, name + '.', depth + 1);
            } else {
                check(names_.insert(name).second, name_, ": tensor \"", excerpt(name), "\": the name appears twice");
                check(tensors_.size() < most_tensors, name_, ": has more than ", most_tensors, " tensors");
                tensors_.push_back(tensor(value, std::move(name), 0));
            }
        }
    }

    TorchTensor tensor(Value const &call, std::string name, int depth) const {
        check(call.kind == Kind::call && depth < most_depth, name_, ": tensor \"", excerpt(name), "\": is no tensor");
        auto const function = callee(call);
        if (function.starts_with("torch._utils._rebuild_parameter"))
            return tensor(argument(call, 0, name), std::move(name), depth + 1);
        // a subclass of tensors: the function that makes it and its arguments
        if (function == "torch._tensor._rebuild_from_type_v2")
            return array(pickle_.name(argument(call, 0, name)), argument(call, 2, name), std::move(name));
        return array(function, pickle_.child(call, 1), std::move(name));
    }

    /// Storage, offset, shape, strides, and in the third version a type that no storage has.
    TorchTensor array(std::string const &function, Value const &arguments, std::string name) const {
        TorchTensor result{std::move(name), {}, 0, {}, {}};
        bool const typed = function == "torch._utils._rebuild_tensor_v3";
        if (!typed && function != "torch._utils._rebuild_tensor_v2" && function != "torch._utils._rebuild_tensor") {
            check(function.starts_with("torch."), name_, ": tensor \"", excerpt(result.name), "\": ", excerpt(function),
                  " makes no tensor");
            result.kind = tensor_kind(function);
            return result;
        }
        result.storage = storage(part(arguments, 0, result.name), result.name);
        if (typed && result.storage.type.bytes == 1)
            result.storage.retype(torch_type(pickle_.name(part(arguments, 6, result.name))));
        result.offset = integer(part(arguments, 1, result.name), result.name, "storage offset");
        result.shape = integers(part(arguments, 2, result.name), result.name, "shape");
        result.strides = integers(part(arguments, 3, result.name), result.name, "strides");
        check_extent_of(result);
        return result;
    }

    /// Every element must lie in the storage, and no more than it has: so nothing that is read exceeds the file.
    void check_extent_of(TorchTensor const &tensor) const {
        auto const complain = [&](auto const &...parts) {
            protlm::fail(name_, ": tensor \"", excerpt(tensor.name), "\": ", parts...);
        };
        if (tensor.shape.size() != tensor.strides.size())
            complain(tensor.shape.size(), " extents, but ", tensor.strides.size(), " strides");
        index_t const count = shape_count(tensor.shape);
        if (count < 0)
            complain("the shape ", shape_text(tensor.shape), " overflows");
        index_t last = tensor.offset;
        bool fits = last <= tensor.storage.size;
        for (std::size_t i = 0; fits && count > 0 && i < tensor.shape.size(); ++i) {
            index_t step = 0;
            fits = !__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) &&
                   !__builtin_add_overflow(last, step, &last);
        }
        if (!fits || (count > 0 && last >= tensor.storage.size) || count > tensor.storage.size)
            complain("the shape ", shape_text(tensor.shape), " with strides ", shape_text(tensor.strides),
                     " at element ", tensor.offset, " leaves its storage ", excerpt(tensor.storage.key), " of ",
                     tensor.storage.size, " elements");
    }

    /// ("storage", type, key, device, elements), in old files with None or (key, begin, size) of a view behind.
    TorchStorage storage(Value const &reference, std::string const &what) const {
        auto const valid = [&](bool good) {
            check(good, name_, ": tensor \"", excerpt(what), "\": the reference to its storage is malformed");
        };
        valid(reference.kind == Kind::reference);
        Value const &parts = pickle_.child(reference, 0);
        valid(parts.kind == Kind::tuple && pickle_.count(parts) >= 5 &&
              pickle_.text(pickle_.child(parts, 0)) == "storage" && pickle_.child(parts, 2).kind == Kind::text);
        TorchStorage result;
        result.key = pickle_.text(pickle_.child(parts, 2));
        auto const type = pickle_.name(pickle_.child(parts, 1));
        valid(type.ends_with("Storage"));
        result.type = torch_type(type);
        result.count = result.size = integer(pickle_.child(parts, 4), what, "storage size");
        if (pickle_.count(parts) > 5 && pickle_.child(parts, 5).kind == Kind::tuple) {
            Value const &view = pickle_.child(parts, 5);
            valid(pickle_.count(view) == 3);
            result.begin = integer(pickle_.child(view, 1), what, "view offset");
            result.size = integer(pickle_.child(view, 2), what, "view size");
            valid(result.begin <= result.count && result.size <= result.count - result.begin);
        }
        return result;
    }
    index_t integer(Value const &value, std::string const &what, char const *field) const {
        check(value.kind == Kind::integer && value.number >= 0, name_, ": tensor \"", excerpt(what), "\": ", field,
              value.kind == Kind::integer ? " is negative: " : " is no integer",
              value.kind == Kind::integer ? std::to_string(value.number) : "");
        return value.number;
    }
    std::vector<index_t> integers(Value const &given, std::string const &what, char const *field) const {
        bool const wrapped = given.kind == Kind::call && callee(given) == "torch.Size"; // once: it is no tower
        Value const &value = wrapped ? argument(given, 0, what) : given;
        check(value.kind == Kind::tuple || value.kind == Kind::list, name_, ": tensor \"", excerpt(what), "\": ", field,
              " are no tuple");
        check(pickle_.count(value) <= most_extents, name_, ": tensor \"", excerpt(what), "\": has ",
              pickle_.count(value), " dimensions, at most ", most_extents, " are read");
        std::vector<index_t> result;
        for (std::size_t i = 0; i < pickle_.count(value); ++i)
            result.push_back(integer(pickle_.child(value, i), what, field));
        return result;
    }

    Pickle const &pickle_;
    std::string const &name_;
    std::vector<TorchTensor> tensors_;
    std::unordered_set<std::string> names_;
    std::size_t visits_ = 0;
};

} // namespace protlm::inline v0::detail
