#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace protlm::inline v0 {

namespace detail {

inline constexpr double no_limit = std::numeric_limits<double>::infinity();

/// The number in a file of one number; no_limit where there is none ("max"), or no file.
inline double read_number(std::filesystem::path const &path) {
    std::ifstream file(path);
    double number = 0;
    return file >> number ? number : no_limit;
}

/// The number behind `key` in a file of lines "KEY NUMBER"; `otherwise` where there is none.
inline double read_entry(std::filesystem::path const &path, std::string const &key, double otherwise) {
    std::ifstream file(path);
    std::string name;
    double number = 0;
    for (std::string line; std::getline(file, line);)
        if (std::istringstream(line) >> name >> number && name == key)
            return number;
    return otherwise;
}

/// What a control group still gives: its limit less what is in use, where pages of files that can be dropped do not
/// count. no_limit where it has none.
inline double left_in_group(std::filesystem::path const &group, char const *limit, char const *usage,
                            char const *droppable) {
    double const most = read_number(group / limit), used = read_number(group / usage);
    if (most == no_limit || used == no_limit || most > 1e18) // version 1 writes a huge number where there is no limit
        return no_limit;
    return std::max(0.0, most - std::max(0.0, used - read_entry(group / "memory.stat", droppable, 0)));
}

/// The least that a control group or any group above it still gives.
/// @param mount  of the hierarchy  @param group  path in it, as /proc/self/cgroup says; in a container it may be that
/// of the machine, and only the mount itself can be seen
inline double left_in_hierarchy(std::filesystem::path const &mount, std::filesystem::path const &group,
                                char const *limit, char const *usage, char const *droppable) {
    double left = left_in_group(mount, limit, usage, droppable);
    for (auto at = group.relative_path(); !at.empty(); at = at.parent_path())
        left = std::min(left, left_in_group(mount / at, limit, usage, droppable));
    return left;
}

/// What the control groups (version 1 and 2) of this process still give: batch systems and containers limit by these.
inline double left_in_groups(std::filesystem::path const &root) {
    auto const mount = root / "sys/fs/cgroup";
    double left = no_limit;
    std::ifstream file(root / "proc/self/cgroup");
    for (std::string line; std::getline(file, line);) { // "NUMBER:CONTROLLERS:PATH"
        auto const first = line.find(':'), second = line.find(':', first + 1);
        if (first == line.npos || second == line.npos)
            continue;
        std::string const controllers = ',' + line.substr(first + 1, second - first - 1) + ',';
        std::filesystem::path const group = line.substr(second + 1);
        if (controllers == ",,")
            for (auto const &place : {mount, mount / "unified"})
                left = std::min(left, left_in_hierarchy(place, group, "memory.max", "memory.current", "inactive_file"));
        else if (controllers.find(",memory,") != controllers.npos)
            left = std::min(left, left_in_hierarchy(mount / "memory", group, "memory.limit_in_bytes",
                                                    "memory.usage_in_bytes", "total_inactive_file"));
    }
    return left;
}

} // namespace detail

/// Bytes of memory that this process can still have: what the machine has, or what its control groups give, whichever
/// is less; infinity where the system does not say. @param root  of the file system, for tests
inline double available_memory(std::filesystem::path const &root = "/") {
    double const machine = 1024 * detail::read_entry(root / "proc/meminfo", "MemAvailable:", detail::no_limit);
    return std::min(machine, detail::left_in_groups(root));
}

} // namespace protlm::inline v0
