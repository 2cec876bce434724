#pragma once

#include <protlm/core/check.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// Whether two paths lead to the same file or folder, by whatever name: symbolic links, hard links, detours by way of
/// other folders. Paths of which nothing exists are compared as they would be resolved.
inline bool same_file(std::filesystem::path const &a, std::filesystem::path const &b) {
    struct stat first {
    }, second{};
    bool const has_a = ::stat(a.c_str(), &first) == 0, has_b = ::stat(b.c_str(), &second) == 0;
    if (has_a && has_b)
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
    std::error_code failed_a, failed_b;
    auto const path_a = std::filesystem::weakly_canonical(std::filesystem::absolute(a), failed_a);
    auto const path_b = std::filesystem::weakly_canonical(std::filesystem::absolute(b), failed_b);
    return !failed_a && !failed_b && path_a == path_b;
}

namespace detail {

/// The folder that a file is to stand in.
inline std::filesystem::path folder_of(std::filesystem::path const &file) {
    return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

/// Whether `input` has one of the names that protlm gives to what it writes before `output` is complete.
inline bool is_side_name(std::filesystem::path const &input, std::filesystem::path const &output) {
    std::string const begin = output.filename().string() + ".", name = input.filename().string();
    return name.starts_with(begin) && (name.ends_with(".partial") || name == begin + "job" || name == begin + "lock") &&
           same_file(folder_of(input), folder_of(output));
}

/// @throws Error when `output` is an input or has to do with one
inline void check_is_no_input(std::filesystem::path const &output, std::filesystem::path const &input, bool own_kind) {
    if (input.empty() || input == "-")
        return;
    check(!same_file(output, input), output.string(), ": is an input",
          output == input ? "" : " too (" + input.string() + ')', " and cannot be the output");
    check(!is_side_name(input, output), output.string(), ": cannot be the output, because the input ", input.string(),
          " has the name of a file that is written beside it");
    std::error_code ignored;
    bool const inside = std::filesystem::is_directory(input, ignored) && same_file(folder_of(output), input) &&
                        std::filesystem::exists(output, ignored);
    check(own_kind || !inside, output.string(), ": exists, and is in the input's folder ", input.string());
}

/// @throws Error when nothing can be made in `folder`
inline void check_folder_takes_files(std::filesystem::path const &folder, std::string const &output) {
    struct stat status {};
    bool const exists = ::stat(folder.c_str(), &status) == 0;
    int reason = errno;
    check(exists, output, ": the folder ", folder.string(), " cannot be used: ", std::strerror(reason));
    check(S_ISDIR(status.st_mode), output, ": ", folder.string(), " is no folder");
    bool const writable = ::access(folder.c_str(), W_OK | X_OK) == 0;
    reason = errno;
    check(writable, output, ": cannot write into the folder ", folder.string(), ": ", std::strerror(reason));
}

} // namespace detail

/// Refuses an output file that would be a mistake, before any work is done: one of the inputs, by whatever name; an
/// input whose name ends like a file that is written beside the output; a folder, a device or a pipe; a file in a
/// folder that does not exist or cannot be written; and a file that exists, unless it may be replaced.
/// @param inputs  files, and folders that are read; an existing file in such a folder is no output either. "-" and ""
///                are passed over
/// @param force   replace a file that exists
/// @param own_kind  where given: says whether an existing file is of the kind that is to be written, which may be
///                  replaced without `force`. It is not asked about inputs
/// @throws Error naming the output and what is wrong with it
inline void check_output(std::filesystem::path const &output, std::vector<std::filesystem::path> const &inputs = {},
                         bool force = false, std::function<bool(std::filesystem::path const &)> const &own_kind = {}) {
    check(!output.empty(), "the output has no name");
    std::string const name = output.string();
    struct stat status {};
    bool const exists = ::stat(output.c_str(), &status) == 0;
    check(!(exists && S_ISDIR(status.st_mode)) && output.has_filename(), name, ": is a folder, expected a file");
    check(!exists || S_ISREG(status.st_mode), name, ": is a device, a pipe or a socket, expected a file");
    detail::check_folder_takes_files(detail::folder_of(output), name);
    bool is_input = false; // an input may be of the kind that is written, and is not replaced all the same
    for (auto const &input : inputs)
        is_input = is_input || (!input.empty() && input != "-" && same_file(output, input));
    bool const own = exists && !is_input && own_kind && own_kind(output);
    for (auto const &input : inputs)
        detail::check_is_no_input(output, input, own);
    bool const link = ::lstat(output.c_str(), &status) == 0; // also one that leads nowhere
    check(force || own || !(exists || link), Setting{"force", "replaces it"}, name, ": exists");
}

/// The same for a folder that a program writes into: it may exist, and otherwise there must be a folder to make it in.
/// @throws Error naming the output and what is wrong with it
inline void check_output_folder(std::filesystem::path const &output,
                                std::vector<std::filesystem::path> const &inputs = {}) {
    check(!output.empty(), "the output folder has no name");
    auto const path = output.has_filename() ? output : output.parent_path(); // without a slash at the end
    for (auto const &input : inputs)
        check(input.empty() || input == "-" || !same_file(path, input), output.string(), ": is an input",
              " and cannot be the output");
    auto folder = path;
    std::error_code ignored;
    while (!std::filesystem::exists(folder, ignored) && folder != detail::folder_of(folder))
        folder = detail::folder_of(folder);
    detail::check_folder_takes_files(folder, output.string());
}

/// @throws Error when two outputs of one program are the same file
inline void check_different_outputs(std::filesystem::path const &first, std::filesystem::path const &second) {
    check(!same_file(first, second) && !detail::is_side_name(first, second) && !detail::is_side_name(second, first),
          first.string(), " and ", second.string(), ": two outputs cannot be the same file");
}

} // namespace protlm::inline v0
