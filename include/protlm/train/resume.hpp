#pragma once

#include <protlm/train/exchange.hpp>
#include <protlm/train/run_folder.hpp>
#include <protlm/train/run_notes.hpp>
#include <protlm/train/settings.hpp>
#include <protlm/train/training_options.hpp>
#include <protlm/train/training_state.hpp>

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// Tells all ranks which checkpoint rank 0 has chosen. Collective.
/// @param chosen  by rank 0  @param from  what the user said, see RunFolder::starting_point
template <Exchange X>
StartingPoint shared_starting_point(StartingPoint chosen, std::string const &from, std::filesystem::path const &output,
                                    X &exchange) {
    constexpr double named = 1, below = 2; // below: a checkpoint of the run that `from` names
    auto const itself = detail::without_slash(from);
    std::array<double, 2> message{};
    if (exchange.rank() == 0 && !chosen.folder.empty()) {
        bool const is_named = chosen.folder == itself;
        auto const step = detail::parse_step(chosen.folder.filename().string());
        message = {is_named ? named : below, is_named ? 0.0 : static_cast<double>(step.value_or(0))};
    }
    exchange.sum(message);
    if (exchange.rank() > 0 && message[0] == named)
        chosen.folder = itself;
    if (exchange.rank() > 0 && message[0] == below)
        chosen.folder = (from == "auto" ? output : std::filesystem::path(from)) /
                        step_folder_name(static_cast<index_t>(message[1]));
    return chosen;
}

/// Checks that a run may go on from a checkpoint, and tells what differs and may.
/// @param old      of the checkpoint  @param now  of the run, before its first step
/// @param name     of the checkpoint, for messages
/// @param allowed  names of settings that may differ, see setting_rule
/// @throws Error naming what differs, with both values
inline void check_resume(TrainingState const &old, TrainingState const &now, std::string const &name,
                         std::string const &store, std::vector<std::string> const &allowed, RunNotes const &notes) {
    auto const before = flat_settings(old.options), current = flat_settings(now.options);
    std::vector<std::string> training;
    TrainingOptions options;
    TrainingOptions::for_each(options, [&](char const *option, auto const &...) { training.push_back(option); });
    auto changed = changed_settings(before, current, training);
    bool const knows_model = old.options.contains("model") || !now.options.contains("model");
    if (!knows_model)
        std::erase_if(changed, [&](ChangedSetting const &it) { return !before.contains(it.name); });
    auto const told = accept_changes(changed, name, allowed);
    if (!told.empty())
        notes.warn("changed at this resume: " + text_of(told));
    check(old.cursor.seed == now.cursor.seed, name, ": has seed ", old.cursor.seed, ", now it is ", now.cursor.seed);
    check(old.data == now.data, name, ": was trained on another store than ", store,
          ", or with another vocabulary; another run can begin with its weights");
    check(!old.store || old.store == now.store, name, ": was trained on another store than ", store,
          ": as many proteins and residues, but others, or in another order; another run can begin with its weights");
    if (!knows_model || !old.store)
        notes.warn(name + ": an older version of protlm wrote it and kept neither the model's configuration nor the "
                          "checksums of the store: both are taken to be those of now");
}

/// Where `old` stands, with the settings of `now`.
inline TrainingState continued(TrainingState const &old, TrainingState const &now) {
    TrainingState state = old;
    state.data = now.data;
    state.store = now.store;
    state.options = now.options;
    return state;
}

/// Checks that all ranks were told the same. Collective. @throws Error naming what differs, and on which ranks
template <Exchange X>
void require_agreement(TrainingState const &state, X &exchange) {
    auto const compare = [&](std::string const &what, std::string const &text) {
        exchange.require_agreement(what, fingerprint(std::string_view(text)));
    };
    auto options = state.options;
    for (char const *part : {"model", "objective"}) {
        compare(std::string("the settings of the ") + part, options.contains(part) ? options[part].dump() : "");
        options.erase(part);
    }
    compare("the options", options.dump());
    compare("the step to go on from", std::to_string(state.step));
    exchange.require_agreement("the data", state.data);
    exchange.require_agreement("the contents of the store", state.store.value_or(0));
}

} // namespace protlm::inline v0
