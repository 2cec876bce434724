#pragma once

#include <protlm/io/json.hpp>

#include <map>
#include <set>
#include <string>
#include <string_view>

namespace protlm::inline v0::detail {

/// Names that cannot lead out of the folder; links in it may (hubs' caches are made of links).
inline bool is_plain_name(std::string_view file) {
    return !file.empty() && file.size() < 256 && file != "." && file != ".." &&
           file.find_first_of(std::string_view("/\\\0", 3)) == file.npos;
}

/// The names of shards with their tensors' names, from the index beside them. @param name  of the file, for messages
/// @throws Error naming it and the entry that is no name of a file in its folder
inline std::map<std::string, std::set<std::string, std::less<>>> weight_shards(nlohmann::json const &document,
                                                                               std::string const &name) {
    auto const map = document.is_object() ? document.find("weight_map") : document.end();
    check(map != document.end() && map->is_object(), name, ": has no object weight_map");
    std::map<std::string, std::set<std::string, std::less<>>> shards;
    for (auto const &[tensor, shard] : map->items()) {
        check(shard.is_string(), name, ": weight_map: ", excerpt(tensor), ": expected a file name");
        auto const &file = shard.get_ref<std::string const &>();
        check(is_plain_name(file), name, ": weight_map: ", excerpt(tensor), ": \"", excerpt(file),
              "\" is not the name of a file in this folder");
        shards[file].insert(tensor);
    }
    return shards;
}

} // namespace protlm::inline v0::detail
