#pragma once

#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/find_model.hpp>
#include <protlm/io/quantisation.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

namespace detail {

/// Words that programs put into names where they wrap a model or a part of it: torch.compile, DistributedDataParallel,
/// FSDP, activation checkpointing, Opacus. No model of the families has a module of such a name.
inline constexpr std::array wrapper_words{
    "_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module", "_module"};

/// `name` without the wrappers' words; each that is found is added to `found`.
inline std::string without_wrappers(std::string_view name, std::set<std::string> &found) {
    std::string result;
    while (!name.empty()) {
        auto const end = std::min(name.find('.'), name.size());
        auto const word = name.substr(0, end);
        bool const last = end == name.size();
        if (!last && std::find(wrapper_words.begin(), wrapper_words.end(), word) != wrapper_words.end())
            found.insert(std::string(word));
        else
            result.append(word).append(last ? "" : ".");
        name.remove_prefix(last ? end : end + 1);
    }
    return result;
}

/// What stands before the model's names: the beginnings of all names that end in one of `roots`, without the model's
/// own prefix.
inline std::set<std::string> prefixes_before(std::vector<std::string> const &names, std::string_view own,
                                             std::vector<std::string_view> const &roots) {
    std::set<std::string> result;
    for (std::string_view const name : names)
        for (auto const root : roots) {
            if (!name.ends_with(root) || (name.size() > root.size() && name[name.size() - root.size() - 1] != '.'))
                continue;
            auto before = name.substr(0, name.size() - root.size());
            if (!own.empty() && before.ends_with(own) &&
                (before.size() == own.size() || before[before.size() - own.size() - 1] == '.'))
                before.remove_suffix(own.size());
            result.insert(std::string(before));
        }
    return result;
}

/// Leaves out of all names what programs put before or into them, and notes it.
inline void drop_prefixes(CheckpointFolder &checkpoint, std::string_view own,
                          std::vector<std::string_view> const &roots) {
    std::set<std::string> words;
    std::vector<std::string> names;
    for (auto const &[file, tensor] : checkpoint.tensors())
        names.push_back(without_wrappers(tensor->name, words));
    auto const prefixes = prefixes_before(names, own, roots);
    auto const quoted = [](std::string const &prefix) { return prefix.empty() ? "no prefix" : '"' + prefix + '"'; };
    check(prefixes.size() < 2, checkpoint.path().string(), ": holds more than one model: tensors with ",
          quoted(prefixes.empty() ? "" : *prefixes.begin()), " and with ",
          quoted(prefixes.empty() ? "" : *prefixes.rbegin()),
          " before their names; save the one that is meant by itself");
    std::string const prefix = prefixes.empty() ? std::string() : *prefixes.begin();
    if (words.empty() && prefix.empty())
        return;
    std::set<std::string> ignored;
    checkpoint.rename([&](std::string_view name) {
        auto result = without_wrappers(name, ignored);
        return result.starts_with(prefix) ? result.substr(prefix.size()) : result;
    });
    std::string list = prefix.empty() ? std::string() : '"' + prefix + '"';
    for (auto const &word : words)
        list += (list.empty() ? "\"" : ", \"") + word + ".\"";
    checkpoint.note(checkpoint.path().string() + ": tensors are read without " + list + " in their names");
}

} // namespace detail

/// Opens the weights of a model for reading: a file of weights, or whatever `find_model` takes. What wrappers and
/// training programs put before names ("module.", "_orig_mod.", "model.", ...) is left out, and the checkpoint's notes
/// say so.
/// @param own the prefix of the family's own names, for example "bert." @param roots names, without it, of which a
/// checkpoint has at least one
/// @throws Error where there are no weights, they are an adapter's or quantised, or there is more than one model in
/// them
inline CheckpointFolder open_checkpoint(std::filesystem::path const &path, std::string_view own,
                                        std::vector<std::string_view> const &roots) {
    std::error_code ignored;
    bool const given = std::filesystem::is_regular_file(path, ignored) || CheckpointFolder::has_weights(path);
    CheckpointFolder checkpoint(given ? path : find_model(path));
    refuse_adapter(checkpoint);
    refuse_quantised(checkpoint);
    detail::drop_prefixes(checkpoint, own, roots);
    return checkpoint;
}

} // namespace protlm::inline v0
