#pragma once

#include <protlm/core/parameter_table.hpp>
#include <protlm/io/checkpoint_folder.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0::detail {

/// Names under which checkpoints may hold a tensor: its own and its aliases, with and without the model's prefix, and
/// LayerNorm's names of 2018.
inline std::vector<std::string> checkpoint_names(ParameterEntry const &entry, std::string const &prefix) {
    std::vector<std::string> names{entry.name};
    names.insert(names.end(), entry.aliases.begin(), entry.aliases.end());
    for (std::size_t i = 0, count = names.size(); i < count; ++i)
        if (!prefix.empty() && names[i].starts_with(prefix))
            names.push_back(names[i].substr(prefix.size()));
    for (std::size_t i = 0, count = names.size(); i < count; ++i)
        for (auto const &[now, then] : {std::pair<std::string, std::string>{"LayerNorm.weight", "LayerNorm.gamma"},
                                        {"LayerNorm.bias", "LayerNorm.beta"}})
            if (names[i].ends_with(now))
                names.push_back(names[i].substr(0, names[i].size() - now.size()) + then);
    return names;
}

/// A part of a tensor of a few MB.
struct WeightPiece {
    WeightFile const *file;
    TensorInfo const *tensor;
    index_t first, count, target; // elements in the tensor, and where they lie in the flat buffer
};

/// How a model's table and a checkpoint fit: where each tensor is found, and what does not fit.
class WeightPlan {
  public:
    /// @param entries tensors of the model @param prefix as `checkpoint_names`
    WeightPlan(std::vector<ParameterEntry> const &entries, CheckpointFolder const &checkpoint,
               std::string const &prefix)
        : checkpoint_(checkpoint), entries_(entries) {
        for (auto const &entry : entries)
            place(entry, prefix);
        for (auto const &tensor : checkpoint.tensors())
            if (!used_.contains(tensor.info))
                surplus_.push_back(tensor.info);
    }

    std::vector<WeightPiece> const &pieces() const { return pieces_; }
    /// Tensors of the checkpoint that the model does not have.
    std::vector<TensorInfo const *> const &surplus() const { return surplus_; }

    /// @throws Error that says how much does not fit, then which tensors, with names that may be meant side by side
    void require_fit() const {
        if (wrong_.empty() && missing_.empty())
            return;
        std::string text;
        auto const list = [&](auto const &tensors, auto line) {
            constexpr std::size_t most = 10;
            for (std::size_t i = 0; i < tensors.size() && i < most; ++i)
                text += "\n  " + line(tensors[i]);
            if (tensors.size() > most)
                text += "\n  and " + std::to_string(tensors.size() - most) + " more";
        };
        list(wrong_, [](std::string const &line) { return line; });
        list(missing_, [&](ParameterEntry const *entry) {
            auto const *other = meant(*entry);
            return "missing: " + entry->name + ' ' + shape_text(entry->shape) +
                   (other ? "; has " + excerpt(other->name, 200) : "");
        });
        if (!missing_.empty()) // which of them may be meant
            list(surplus_, [](TensorInfo const *tensor) {
                return "surplus: " + excerpt(tensor->name, 200) + ' ' + shape_text(tensor->shape);
            });
        fail(checkpoint_.path().string(), ": does not fit the model: ", summary(), text);
    }

  private:
    void place(ParameterEntry const &entry, std::string const &prefix) {
        CheckpointFolder::Entry found{};
        for (auto const &name : checkpoint_names(entry, prefix)) {
            if (!checkpoint_.contains(name))
                continue;
            auto const &candidate = checkpoint_.entry(name);
            used_.insert(candidate.info);
            if (!found.info)
                found = candidate, found_name_ = name;
            // one tensor of the model cannot have two values: to take the first would be a guess
            else if (found.info->is_readable() && candidate.info->is_readable() &&
                     !checkpoint_.same_values(found_name_, name))
                wrong_.push_back(found.info->name + " and " + candidate.info->name +
                                 " have different values, but they are one tensor of this model (tied weights)");
        }
        for (auto const &name : entry.substitutes)
            if (checkpoint_.contains(name)) {
                used_.insert(checkpoint_.entry(name).info);
                found = found.info ? found : checkpoint_.entry(name);
            }
        if (!found.info)
            missing_.push_back(&entry);
        else if (auto fault = fault_of(*found.info, entry); !fault.empty())
            wrong_.push_back(found.info->name + ' ' + fault);
        else
            cut(entry, found);
    }
    static std::string fault_of(TensorInfo const &tensor, ParameterEntry const &entry) {
        if (tensor.is_readable() && tensor.shape != entry.shape)
            return "has shape " + shape_text(tensor.shape) + ", expected " + shape_text(entry.shape);
        if (!tensor.is_readable())
            return "has elements of type " + std::string(tensor.type_name()) +
                   ", which cannot be converted; save the model in float32, float16 or bfloat16";
        // integers in a weight's place are those of a quantised model, whose scales lie elsewhere
        if (!is_float_type(tensor.dtype))
            return "has integers (" + std::string(data_type_name(tensor.dtype)) +
                   "), expected floating-point numbers; is the model quantised? Save it in float32, float16 or "
                   "bfloat16";
        return {};
    }
    void cut(ParameterEntry const &entry, CheckpointFolder::Entry const &found) {
        constexpr index_t most = 1 << 20;
        for (index_t first = 0; first < entry.size(); first += most)
            pieces_.push_back(
                {found.file, found.info, first, std::min(most, entry.size() - first), entry.offset + first});
    }

    std::string summary() const {
        std::string const all = std::to_string(entries_.size());
        if (missing_.size() == entries_.size())
            return "none of its " + all + " tensors is there by its name; is this a checkpoint of another family?";
        std::string text;
        if (!missing_.empty())
            text = std::to_string(missing_.size()) + " of " + all +
                   (missing_.size() == 1 ? " tensors is missing" : " tensors are missing");
        if (!wrong_.empty())
            text += (text.empty() ? "" : ", ") + std::to_string(wrong_.size()) + " cannot be taken";
        return text;
    }
    /// A surplus tensor of the same shape whose name ends in the same words, the more the better.
    TensorInfo const *meant(ParameterEntry const &entry) const {
        TensorInfo const *best = nullptr;
        std::size_t most = 1;
        for (auto const *tensor : surplus_) {
            if (tensor->shape != entry.shape)
                continue;
            auto const &a = tensor->name, &b = entry.name;
            std::size_t common = 0, words = 0;
            for (; common < a.size() && common < b.size() && a[a.size() - common - 1] == b[b.size() - common - 1];
                 ++common)
                words += a[a.size() - common - 1] == '.';
            if (words > most) {
                most = words;
                best = tensor;
            }
        }
        return best;
    }

    CheckpointFolder const &checkpoint_;
    std::vector<ParameterEntry> const &entries_;
    std::vector<WeightPiece> pieces_;
    std::string found_name_;
    std::set<TensorInfo const *> used_;
    std::vector<std::string> wrong_;
    std::vector<ParameterEntry const *> missing_;
    std::vector<TensorInfo const *> surplus_;
};

} // namespace protlm::inline v0::detail
