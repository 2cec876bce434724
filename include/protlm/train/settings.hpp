#pragma once

#include <protlm/core/check.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// Settings of a run by name: those of training, of the objective and of the model; a model of two parts has names such
/// as "generator.hidden_act".
using Settings = std::map<std::string, nlohmann::json>;

/// Flattens what a checkpoint keeps: training options, with those of "objective" and "model" in objects of these names.
inline Settings flat_settings(nlohmann::json const &options) {
    Settings settings;
    auto const add = [&](auto const &self, nlohmann::json const &object, std::string const &prefix) -> void {
        for (auto const &[name, value] : object.items())
            if (value.is_object())
                self(self, value, prefix + name + '.');
            else
                settings[prefix + name] = value;
    };
    for (auto const &[name, value] : options.items())
        if (value.is_object())
            add(add, value, "");
        else
            settings[name] = value;
    return settings;
}

/// What a resume may do with a setting that differs from the checkpoint's.
enum class SettingRule {
    free,    ///< changes no result: nothing to say
    told,    ///< people change it on purpose: goes on and says so
    refused, ///< another function, objective or optimizer: goes on only where it is named
    never    ///< the checkpoint would have no meaning
};

/// The rule of a setting by its name. What is not known is refused.
inline SettingRule setting_rule(std::string_view name) {
    static constexpr std::array<std::string_view, 23> free{
        "steps", "minutes", "micro_batch", "recompute", "evaluate_every", "evaluate_tokens", "checkpoint_every", "keep",
        "skip_non_finite",
        // of a config.json: names for other readers, and how weights are drawn
        "architectures", "torch_dtype", "dtype", "transformers_version", "_name_or_path", "use_cache", "adaptive",
        "use_mems_eval", "use_mems_train", "initializer_range", "initializer_factor", "init", "init_range", "init_std"};
    static constexpr std::array<std::string_view, 6> told{"learning_rate", "warmup",      "schedule",
                                                          "hold_warmup",   "final_ratio", "tokens_per_step"};
    static constexpr std::array<std::string_view, 5> never{"optimizer", "precision", "seed", "max_length",
                                                           "proteins_per_example"};
    auto const in = [&](auto const &names, std::string_view it) {
        return std::find(names.begin(), names.end(), it) != names.end();
    };
    auto const last = name.substr(name.rfind('.') + 1); // of "generator.init_std"
    return in(free, last) || last == "proj_init_std" ? SettingRule::free
           : in(told, name)                          ? SettingRule::told
           : in(never, name)                         ? SettingRule::never
                                                     : SettingRule::refused;
}

/// A setting that differs: its name, and both values as text.
struct ChangedSetting {
    std::string name, before, now;
    std::string text() const { return name + " was " + before + ", now it is " + now; }
};

/// True where `name` has an effect under the optimizer of `settings`.
inline bool counts_for_optimizer(std::string_view name, Settings const &settings) {
    auto const at = settings.find("optimizer");
    if (at == settings.end())
        return true;
    bool const adafactor = at->second == "adafactor";
    return adafactor ? name != "beta2" && name != "epsilon" : !name.starts_with("adafactor_");
}

/// The settings of both that differ and matter, in the order of their names. A setting of training that only one of
/// them has came with another version of protlm and is left out; one of the model or the objective is not.
/// @param training_names  those of training
inline std::vector<ChangedSetting> changed_settings(Settings const &before, Settings const &now,
                                                    std::vector<std::string> const &training_names = {}) {
    std::vector<ChangedSetting> changed;
    Settings all = now;
    all.insert(before.begin(), before.end());
    auto const is_training = [&](std::string const &name) {
        return std::find(training_names.begin(), training_names.end(), name) != training_names.end();
    };
    auto const text = [](Settings const &settings, std::string const &name) {
        auto const at = settings.find(name);
        return at == settings.end() || at->second.is_null() ? std::string("not given") : at->second.dump();
    };
    for (auto const &[name, value] : all) {
        auto const old = before.find(name), fresh = now.find(name);
        bool const both = old != before.end() && fresh != now.end();
        if ((both && old->second == fresh->second) || (!both && is_training(name)) ||
            setting_rule(name) == SettingRule::free || !counts_for_optimizer(name, now))
            continue;
        if (std::string a = text(before, name), b = text(now, name); a != b)
            changed.push_back({name, std::move(a), std::move(b)});
    }
    return changed;
}

/// All of them in one line.
inline std::string text_of(std::vector<ChangedSetting> const &changed) {
    std::string text;
    for (auto const &setting : changed)
        text += (text.empty() ? "" : "; ") + setting.text();
    return text;
}

/// Checks what differs between a checkpoint and the run that goes on from it.
/// @param name     of the checkpoint, for messages
/// @param allowed  names of refused settings that may differ, as the user said
/// @returns what differs and is allowed, for a line that tells it
/// @throws Error naming every setting that may not differ, with both values
inline std::vector<ChangedSetting> accept_changes(std::vector<ChangedSetting> const &changed, std::string const &name,
                                                  std::vector<std::string> const &allowed) {
    std::vector<ChangedSetting> never, refused, told;
    std::string names;
    for (auto const &setting : changed) {
        auto const rule = setting_rule(setting.name);
        bool const named = std::find(allowed.begin(), allowed.end(), setting.name) != allowed.end();
        auto &list = rule == SettingRule::never ? never : rule == SettingRule::refused && !named ? refused : told;
        list.push_back(setting);
        if (rule == SettingRule::refused && !named)
            names += (names.empty() ? "" : ",") + setting.name;
    }
    check(never.empty(), name, ": ", text_of(never),
          "; a run cannot change this, but another run can begin with its weights");
    check(refused.empty(), Setting{"change", names}, name, ": ", text_of(refused));
    return told;
}

/// @throws Error when a name in `allowed` is that of no setting
inline void check_setting_names(std::vector<std::string> const &allowed, Settings const &settings) {
    for (auto const &name : allowed)
        check(settings.contains(name), "change: \"", name,
              "\" is no setting of the model, the objective or the training of this run");
}

} // namespace protlm::inline v0
