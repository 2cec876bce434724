#pragma once

#include <protlm/core/check.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

namespace protlm::inline v0 {

namespace detail {

inline std::string_view text_of(std::span<std::byte const> bytes) {
    return {reinterpret_cast<char const *>(bytes.data()), bytes.size()};
}

} // namespace detail

/// A clone of a repository without Git LFS has a few lines in place of each large file, whatever its kind.
/// @throws Error when `bytes` are such a pointer, with the command that fetches the file
inline void refuse_lfs_pointer(std::span<std::byte const> bytes, std::string_view name) {
    check(bytes.size() > 1024 || !detail::text_of(bytes).starts_with("version https://git-lfs.github.com/spec/"), name,
          ": is a Git LFS pointer, not the file itself; run 'git lfs install' and 'git lfs pull' in its folder, or "
          "download the file");
}

/// A download that failed often leaves the server's page under the file's name.
/// @throws Error when `bytes` begin as an HTML or XML page
inline void refuse_web_page(std::span<std::byte const> bytes, std::string_view name) {
    auto text = detail::text_of(bytes.first(std::min<std::size_t>(bytes.size(), 1024)));
    if (text.starts_with("\xef\xbb\xbf"))
        text.remove_prefix(3);
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    auto const begins = [&](std::string_view tag) {
        return text.size() >= tag.size() && std::equal(tag.begin(), tag.end(), text.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
               });
    };
    check(!begins("<!doctype") && !begins("<html") && !begins("<?xml"), name,
          ": is a web page, not the file itself: its download failed (a login or another address may be needed)");
}

} // namespace protlm::inline v0
