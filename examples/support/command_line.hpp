// The command line of every driver: CLI11 reads it, the messages are our own.
#pragma once

#include <protlm/core/check.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace examples {

using Arguments = std::vector<std::string>;

/// A command line that makes no sense, found when the program already runs: exit status 2.
struct WrongUsage : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// "a, b or c".
inline std::string listed(std::vector<std::string> const &words) {
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i)
        text += (i == 0 ? "" : i + 1 < words.size() ? ", " : " or ") + words[i];
    return text;
}

/// Refuses a value that `valid` does not take: "--gzip: is 12, expected 0 to 9".
template <class Valid>
CLI::Validator expects(std::string expected, Valid valid) {
    return CLI::Validator(
        [expected = std::move(expected), valid](std::string &value) {
            return valid(value) ? std::string() : "is \"" + value + "\", expected " + expected;
        },
        "", "");
}

/// Refuses what is no finite number, and what `valid` does not take.
template <class Valid>
CLI::Validator expects_number(std::string expected, Valid valid) {
    return expects(std::move(expected), [valid](std::string const &text) {
        char *end = nullptr;
        double const value = std::strtod(text.c_str(), &end);
        return end != text.c_str() && *end == '\0' && std::isfinite(value) && valid(value);
    });
}
inline std::string number_text(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.10g", value);
    return text;
}
inline CLI::Validator at_least(double least) {
    return expects_number(number_text(least) + " or more", [=](double value) { return value >= least; });
}
inline CLI::Validator above(double bound) {
    return expects_number("a number above " + number_text(bound), [=](double value) { return value > bound; });
}
inline CLI::Validator between(double least, double most) {
    return expects_number(number_text(least) + " to " + number_text(most),
                          [=](double value) { return value >= least && value <= most; });
}

/// An option with a few values, each of them a word. Its default is what `value` holds.
template <class Value>
CLI::Option *add_choice(CLI::App &app, std::string const &name, Value &value,
                        std::vector<std::pair<std::string, Value>> const &choices, std::string const &text) {
    std::vector<std::string> words;
    std::string type, now;
    for (auto const &[word, choice] : choices) {
        words.push_back(word);
        type += (type.empty() ? "" : "|") + word;
        now = choice == value ? word : now;
    }
    auto const known = [words](std::string const &word) {
        return std::find(words.begin(), words.end(), word) != words.end();
    };
    auto const set = [&value, choices](std::string const &word) {
        for (auto const &[other, choice] : choices)
            if (word == other)
                value = choice;
    };
    return app.add_option_function<std::string>(name, set, text)
        ->check(expects(listed(words), known))
        ->type_name(type)
        ->default_str(now);
}
inline CLI::Option *add_choice(CLI::App &app, std::string const &name, std::string &value,
                               std::vector<std::string> const &words, std::string const &text) {
    std::vector<std::pair<std::string, std::string>> choices;
    for (auto const &word : words)
        choices.emplace_back(word, word);
    return add_choice(app, name, value, choices, text);
}

/// --help without CLI11's marks inside names.
class HelpFormatter : public CLI::Formatter {
  public:
    HelpFormatter() {
        column_width(34);
        label("TEXT", "NAME"), label("INT", "N"), label("UINT", "N"), label("FLOAT", "X"),
            label("REQUIRED", "(needed)");
    }
    std::string make_option_name(CLI::Option const *option, bool is_positional) const override {
        auto name = CLI::Formatter::make_option_name(option, is_positional);
        for (std::size_t at; (at = name.find("{false}")) != name.npos;)
            name.erase(at, 7);
        return name;
    }
    std::string make_option_opts(CLI::Option const *option) const override {
        std::string text;
        if (option->get_type_size() != 0) {
            text = option->get_type_name().empty() ? "" : " " + get_label(option->get_type_name());
            auto const now = option->get_default_str();
            bool const list = now.starts_with('[') && now.ends_with(']');
            text += now.empty() ? "" : "=" + (list ? now.substr(1, now.size() - 2) : now);
            bool const many = option->get_expected_max() == CLI::detail::expected_max_vector_size;
            text += !many ? "" : option->get_positional() ? " ..." : " (may be repeated)";
            text += option->get_required() ? " " + get_label("REQUIRED") : "";
        }
        return text;
    }
};

/// Letters to change, insert, leave out or swap until `a` is `b`.
inline std::size_t edit_distance(std::string const &a, std::string const &b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i)
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a.size()][b.size()];
}

/// Reads one command line, and says in one sentence what is wrong with it.
class CommandLine {
  public:
    /// @param app  described completely @param arguments  without the program's name
    CommandLine(CLI::App &app, Arguments arguments) : app_(app), arguments_(std::move(arguments)) {
        for (auto *const option : app_.get_options()) {
            if (!option->get_positional() && option->get_items_expected_max() > 1)
                option->allow_extra_args(false); // or it would take the names of files behind it
            if (auto const type = option->get_type_name(); type.find("UINT") != type.npos)
                option->check(at_least(0)); // CLI11 takes -1 for the largest number
            else if (type.find("FLOAT") != type.npos)
                option->check(expects_number("a number", [](double) { return true; }));
        }
    }

    /// @returns the mistake, or nothing; throws CLI::Success where --help or --version was asked for
    std::string read() {
        if (auto const mistake = mistaken_dashes(); !mistake.empty())
            return mistake;
        try {
            auto const ordered = named_first();
            app_.parse(Arguments(ordered.rbegin(), ordered.rend()));
        } catch (CLI::Success const &) {
            throw;
        } catch (CLI::ParseError const &error) {
            return mistake_of(error);
        }
        return swallowed_option();
    }

  private:
    std::string long_name(CLI::Option const &option) const {
        return !option.get_lnames().empty()   ? "--" + option.get_lnames().front()
               : !option.get_snames().empty() ? "-" + option.get_snames().front()
                                              : option.get_name(true);
    }
    bool is_long_name(std::string const &text) const {
        return text.starts_with("--") && text.size() > 2 && app_.get_option_no_throw(text) != nullptr;
    }
    /// What was meant by `text`, as "; did you mean --model?", or nothing.
    std::string suggestion(std::string const &text) const {
        auto const word = text.substr(0, text.find('=')).substr(std::min(text.find_first_not_of('-'), text.size()));
        std::string best;
        std::size_t least = 1 + word.size() / 3;
        for (auto const *option : const_cast<CLI::App const &>(app_).get_options())
            for (auto const &name : option->get_lnames()) {
                bool const begun = word.size() > 2 && name.starts_with(word);
                auto const distance = begun ? 0 : edit_distance(word, name);
                if (word.size() > 1 && distance <= least && (best.empty() || distance < least))
                    best = name, least = distance;
            }
        return best.empty() ? "" : "; did you mean --" + best + "?";
    }
    /// The arguments with those in front that name an option which can also do without its name, as --model in
    /// `generate proteins.fasta --model run`: CLI11 would take proteins.fasta for the model.
    Arguments named_first() const {
        Arguments named, others;
        bool only_files = false;
        for (std::size_t i = 0; i < arguments_.size(); ++i) {
            auto const &argument = arguments_[i];
            only_files = only_files || argument == "--";
            bool const is_option = !only_files && argument.size() > 1 && argument[0] == '-';
            bool const is_short = is_option && argument[1] != '-';
            auto const length = is_short ? 2 : std::min(argument.find('='), argument.size());
            auto const *const option = is_option ? app_.get_option_no_throw(argument.substr(0, length)) : nullptr;
            auto &list = option && option->get_positional() ? named : others;
            list.push_back(argument);
            if (option && option->get_items_expected_max() > 0 && length == argument.size() &&
                i + 1 < arguments_.size())
                list.push_back(arguments_[++i]); // its value, whatever that looks like
        }
        named.insert(named.end(), others.begin(), others.end());
        return named;
    }
    /// -output NAME would be read as -o utput.
    std::string mistaken_dashes() const {
        for (auto const &argument : arguments_) {
            if (argument == "--")
                break;
            if (argument.size() > 2 && argument[0] == '-' && argument[1] != '-' &&
                is_long_name("-" + argument.substr(0, argument.find('='))))
                return "no option " + argument + "; did you mean -" + argument + "?";
        }
        return "";
    }
    /// --output --quiet would write a file --quiet.
    std::string swallowed_option() const {
        for (auto const *option : const_cast<CLI::App const &>(app_).get_options())
            if (option->get_items_expected_max() > 0)
                for (auto const &value : option->results())
                    if (is_long_name(value))
                        return long_name(*option) + " needs a value, but " + value + " follows";
        return "";
    }
    std::string mistake_of(CLI::ParseError const &error) const {
        auto const rest = app_.remaining();
        for (auto const &unknown : rest)
            if (unknown.starts_with('-') && unknown.size() > 1)
                return "no option " + unknown + suggestion(unknown);
        for (auto *const option : app_.get_options()) // CLI11 does not say which one is wrong
            try {
                if (option->count() > 0)
                    option->run_callback();
            } catch (CLI::ParseError const &own) {
                return mistake_in(*option, own);
            }
        if (dynamic_cast<CLI::ArgumentMismatch const *>(&error) && !arguments_.empty())
            return arguments_.back() + " needs a value";
        if (dynamic_cast<CLI::RequiredError const *>(&error))
            for (auto const *option : const_cast<CLI::App const &>(app_).get_options())
                if (option->get_required() && option->count() == 0)
                    return long_name(*option) + " is missing: " + option->get_description();
        if (!rest.empty())
            return "\"" + rest.front() + "\" is one argument too many";
        return error.what();
    }
    std::string mistake_in(CLI::Option const &option, CLI::ParseError const &error) const {
        if (dynamic_cast<CLI::ValidationError const *>(&error))
            return error.what();
        auto const &values = option.results();
        if (dynamic_cast<CLI::ArgumentMismatch const *>(&error) && values.size() > 1)
            return long_name(option) + " is given " + std::to_string(values.size()) + " times, expected once";
        if (option.get_items_expected_max() == 0)
            return long_name(option) + " takes no value";
        std::string given;
        for (auto const &value : values)
            given += (given.empty() ? "" : ",") + value;
        auto const type = option.get_type_name();
        return long_name(option) + ": is \"" + given + "\", expected " +
               (type.find("UINT") != type.npos    ? "a whole number, 0 or more"
                : type.find("INT") != type.npos   ? "a whole number"
                : type.find("FLOAT") != type.npos ? "a number"
                                                  : "another value");
    }

    CLI::App &app_;
    Arguments arguments_;
};

} // namespace examples
