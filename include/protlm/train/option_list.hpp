#pragma once

#include <protlm/io/json.hpp>

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

namespace protlm::inline v0 {

/// A list of options is a function `list(f)` that calls `f(name, value, help)` for each of them, so that config files,
/// command lines and checkpoints know the same ones, and each is said once.
///
/// Takes what `fields` holds and leaves the rest. @throws Error naming file and field, also for unknown fields
template <class List>
void read_options(Fields const &fields, List const &list) {
    list([&]<class T>(char const *name, T &value, char const *) { value = fields.optional(name, value); });
    fields.refuse_unknown();
}

/// Offers every option on a command line, as --tokens-per-step for tokens_per_step; values so far are the defaults.
/// @param app  a CLI::App of CLI11, or what has its add_option and add_flag
template <class App, class List>
void offer_options(App &app, List const &list) {
    list([&]<class T>(std::string name, T &value, char const *help) {
        std::replace(name.begin(), name.end(), '_', '-');
        if constexpr (std::is_same_v<T, bool>)
            app.add_flag("--" + name + ",!--no-" + name, value, help);
        else
            app.add_option("--" + name, value, help)->capture_default_str();
    });
}

/// All options as JSON, as checkpoints keep them.
template <class List>
nlohmann::json options_json(List const &list) {
    auto json = nlohmann::json::object();
    list([&](char const *name, auto const &value, char const *) { json[name] = value; });
    return json;
}

} // namespace protlm::inline v0
