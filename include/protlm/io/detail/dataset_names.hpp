#pragma once

#include <protlm/core/check.hpp>

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0::detail {

/// Names of the datasets of `ids` in a per-id file: "%", "/" and control characters as %XX, as are "." and ".." whole;
/// nothing is "%". An id that came before gets "%#2", "%#3", ... behind it. `id_of_name` leads back.
inline std::vector<std::string> dataset_names(std::span<std::string const> ids) {
    std::vector<std::string> names;
    std::map<std::string, int> times;
    auto const hexadecimal = [](unsigned char c) {
        return std::string{'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
    };
    for (auto const &id : ids) {
        std::string name;
        bool const dots = id == "." || id == "..";
        for (char const letter : id) {
            auto const c = static_cast<unsigned char>(letter);
            bool const escaped = c == '%' || c == '/' || c < 32 || c == 127 || dots;
            name += escaped ? hexadecimal(c) : std::string(1, letter);
        }
        if (name.empty())
            name = "%";
        int const time = ++times[name];
        names.push_back(time == 1 ? name : name + "%#" + std::to_string(time));
    }
    return names;
}

/// The id whose dataset bears `name`. @throws Error when `dataset_names` gives no such name
inline std::string id_of_name(std::string_view name) {
    auto const stem = name.substr(0, name.find("%#"));
    std::string id;
    auto const digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
    for (std::size_t i = 0; stem != "%" && i < stem.size(); ++i) {
        if (stem[i] != '%') {
            id += stem[i];
            continue;
        }
        int const high = i + 2 < stem.size() ? digit(stem[i + 1]) : -1;
        int const low = i + 2 < stem.size() ? digit(stem[i + 2]) : -1;
        check(high >= 0 && low >= 0, "\"", name, "\": '%' is followed by no two digits");
        id += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return id;
}

} // namespace protlm::inline v0::detail
