// What `convert --inspect` prints.
#pragma once

#include <protlm/core/progress.hpp>
#include <protlm/io/quantisation.hpp>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace converting {

/// Prints every tensor's name, shape and type, the files and the totals. Reads no values.
inline void inspect(protlm::CheckpointFolder const &checkpoint) {
    auto const config = checkpoint.path() / "config.json";
    if (std::filesystem::exists(config))
        std::printf("model_type  %s\n",
                    protlm::read_fields(config).optional<std::string>("model_type", "(none)").c_str());
    if (auto const kind = protlm::quantisation(checkpoint); !kind.empty())
        std::printf("quantised   %s\n", kind.c_str());
    std::map<std::string, std::pair<protlm::index_t, protlm::index_t>> totals; // tensors and elements of each type
    protlm::index_t elements = 0, bytes = 0;
    for (auto const &[file, tensor] : checkpoint.tensors()) {
        std::printf("%-72s %-20s %s\n", tensor->name.c_str(), protlm::detail::shape_text(tensor->shape).c_str(),
                    std::string(tensor->type_name()).c_str());
        auto &total = totals[std::string(tensor->type_name())];
        total = {total.first + 1, total.second + tensor->count()};
        elements += tensor->count();
        bytes += tensor->end - tensor->begin;
    }
    for (auto const &file : checkpoint.files())
        std::printf("file  %s (%s, %s)\n", file.name().c_str(), file.format(),
                    protlm::format_amount(static_cast<double>(std::filesystem::file_size(file.name())), "B").c_str());
    for (auto const &[type, total] : totals)
        std::printf("type  %-8s %6lld tensors %15lld elements\n", type.c_str(), static_cast<long long>(total.first),
                    static_cast<long long>(total.second));
    std::printf("total %zu tensors, %lld elements, %s\n", checkpoint.tensors().size(), static_cast<long long>(elements),
                protlm::format_amount(static_cast<double>(bytes), "B").c_str());
}

} // namespace converting
