#pragma once

#include <protlm/core/file.hpp>
#include <protlm/core/kokkos.hpp>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0::detail {

/// "run/" and "run" are the same folder, but only the latter has a name to append to.
inline std::filesystem::path without_slash(std::filesystem::path path) {
    path = path.lexically_normal();
    return path.has_filename() ? path : path.parent_path();
}

/// True for relative names that stay inside their folder.
inline bool is_inside(std::string_view name) {
    std::filesystem::path const path(name);
    if (name.empty() || name.find('\0') != name.npos || path.is_absolute())
        return false;
    return std::none_of(path.begin(), path.end(), [](auto const &part) { return part == ".." || part == "."; });
}

inline void remove_folder(std::filesystem::path const &folder) {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    check(!error, folder.string(), ": cannot remove: ", error.message());
}

inline void make_folders(std::filesystem::path const &folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    check(!error, folder.string(), ": cannot make folder: ", error.message());
}

inline void rename_path(std::filesystem::path const &from, std::filesystem::path const &to) {
    std::error_code error;
    std::filesystem::rename(from, to, error);
    check(!error, from.string(), ": cannot rename to ", to.string(), ": ", error.message());
}

/// Writes a file's pages to the disk.
inline void sync_file(std::filesystem::path const &path) {
    int const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    check(file >= 0, path.string(), ": cannot open: ", std::strerror(errno));
    int const result = ::fsync(file);
    int const reason = errno;
    ::close(file);
    check(result == 0, path.string(), ": cannot sync: ", std::strerror(reason));
}

/// Calls `f(entry)` for everything that `Iterator`, a directory iterator of the standard library, finds in `root`.
/// @throws Error naming `root` when it cannot be listed
template <class Iterator, class F>
void for_each_entry(std::filesystem::path const &root, F &&f) {
    std::error_code error;
    for (Iterator at(root, error), end; !error && at != end; at.increment(error))
        f(*at);
    check(!error, root.string(), ": cannot list: ", error.message());
}

/// Names, relative to `root`, of all regular files below it, in order.
inline std::vector<std::string> files_below(std::filesystem::path const &root) {
    std::vector<std::string> names;
    std::error_code ignored;
    for_each_entry<std::filesystem::recursive_directory_iterator>(root, [&](auto const &entry) {
        if (entry.is_regular_file(ignored))
            names.push_back(entry.path().lexically_relative(root).generic_string());
    });
    std::sort(names.begin(), names.end());
    return names;
}

/// All folders below `root`, without itself.
inline std::vector<std::filesystem::path> folders_below(std::filesystem::path const &root) {
    std::vector<std::filesystem::path> folders;
    std::error_code ignored;
    for_each_entry<std::filesystem::recursive_directory_iterator>(root, [&](auto const &entry) {
        if (entry.is_directory(ignored))
            folders.push_back(entry.path());
    });
    return folders;
}

/// The folders directly in `root`; none when it does not exist.
inline std::vector<std::filesystem::path> folders_in(std::filesystem::path const &root) {
    std::vector<std::filesystem::path> folders;
    std::error_code ignored;
    if (std::filesystem::exists(root, ignored))
        for_each_entry<std::filesystem::directory_iterator>(root, [&](auto const &entry) {
            if (entry.is_directory(ignored))
                folders.push_back(entry.path());
        });
    return folders;
}

/// The step of a name as `step_folder_name` makes it, or nothing.
inline std::optional<index_t> parse_step(std::string_view name) {
    constexpr std::string_view prefix = "step-";
    if (!name.starts_with(prefix) || name.size() < prefix.size() + 8)
        return std::nullopt;
    index_t step = 0;
    auto const [rest, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
    bool const valid = error == std::errc{} && rest == name.data() + name.size() && step >= 0 && name[5] != '-';
    return valid ? std::optional<index_t>(step) : std::nullopt;
}

/// Gives the folder `fresh` the name `target`. A `target` that exists is exchanged in one step where the file system
/// can (Linux renameat2), else moved away first; then it is removed.
inline void replace_folder(std::filesystem::path const &fresh, std::filesystem::path const &target) {
    std::error_code error;
    auto const parent = target.parent_path();
    if (!std::filesystem::exists(target, error)) {
        rename_path(fresh, target);
        return sync_folder(parent);
    }
#if defined(RENAME_EXCHANGE)
    if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
        sync_folder(parent);
        return remove_folder(fresh); // it is the old one now
    }
#endif
    std::filesystem::path const old = target.string() + ".old.partial";
    remove_folder(old);
    rename_path(target, old);
    rename_path(fresh, target);
    sync_folder(parent);
    remove_folder(old);
}

} // namespace protlm::inline v0::detail
