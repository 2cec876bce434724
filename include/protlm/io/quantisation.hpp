#pragma once

#include <protlm/io/checkpoint_folder.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace protlm::inline v0 {

namespace detail {

/// The method that a config.json names, or nothing where it says that nothing is quantised.
inline std::string quantisation_of_config(std::filesystem::path const &file) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored))
        return {};
    auto const document = read_json(file);
    for (auto const *key : {"quantization_config", "compression_config"}) {
        auto const place = document.is_object() ? document.find(key) : document.end();
        if (place == document.end() || place->is_null() || place->empty())
            continue;
        auto const flag = [&](char const *name) {
            return place->is_object() && place->value(name, nlohmann::json()) == true;
        };
        bool const flags = place->is_object() && (place->contains("load_in_8bit") || place->contains("load_in_4bit"));
        if (flags && !flag("load_in_8bit") && !flag("load_in_4bit"))
            continue; // the settings of bitsandbytes, switched off
        std::string const kind = flag("load_in_8bit")   ? "bitsandbytes, 8 bits"
                                 : flag("load_in_4bit") ? "bitsandbytes, 4 bits"
                                                        : "";
        auto const method = place->is_object() ? place->value("quant_method", nlohmann::json()) : nlohmann::json();
        return std::string("config.json: ") + key + ": " +
               (!kind.empty()        ? kind
                : method.is_string() ? excerpt(method.get<std::string>())
                                     : "is set");
    }
    return {};
}

/// What the names beside the weights say: scales, zero points and packed integers of the methods that are in use.
inline std::string_view quantisation_of_name(std::string_view name) {
    struct Row {
        std::string_view end, kind;
    };
    constexpr Row ends[] = {{".SCB", "LLM.int8 of bitsandbytes"},
                            {".weight_format", "LLM.int8 of bitsandbytes"},
                            {".absmax", "4 bits of bitsandbytes"},
                            {".nested_absmax", "4 bits of bitsandbytes"},
                            {".quant_map", "4 bits of bitsandbytes"},
                            {".qweight", "GPTQ or AWQ"},
                            {".qzeros", "GPTQ or AWQ"},
                            {".g_idx", "GPTQ"},
                            {".weight_packed", "compressed-tensors"},
                            {".weight_zero_point", "integers with scales"},
                            {".weight_scale", "8-bit floats or integers with scales"},
                            {".weight_scale_inv", "8-bit floats with scales"},
                            {".scale_weight", "8-bit floats with scales"},
                            {"._packed_params._packed_params", "torch.ao.quantization"}};
    for (auto const &row : ends)
        if (name.ends_with(row.end))
            return row.kind;
    return name.find(".quant_state.") != name.npos ? "4 bits of bitsandbytes" : std::string_view();
}

} // namespace detail

/// How a checkpoint's weights are quantised, for people; empty where they are numbers.
/// @throws Error when a config.json beside them is damaged
inline std::string quantisation(CheckpointFolder const &checkpoint) {
    for (auto const &[file, tensor] : checkpoint.tensors())
        if (auto const kind = detail::quantisation_of_name(tensor->name); !kind.empty())
            return std::string(kind) + ": tensor \"" + detail::excerpt(tensor->name) + '"';
    std::error_code ignored;
    auto const &path = checkpoint.path();
    return std::filesystem::is_directory(path, ignored) ? detail::quantisation_of_config(path / "config.json") : "";
}

/// @throws Error naming the method where the weights are quantised: their integers are no weights
inline void refuse_quantised(CheckpointFolder const &checkpoint) {
    auto const kind = quantisation(checkpoint);
    check(kind.empty(), checkpoint.path().string(), ": its weights are quantised (", kind,
          ") and cannot be read as numbers; take the unquantised model, or save it so with transformers: "
          "model.dequantize().save_pretrained(...)");
}

/// @throws Error where the tensors are an adapter's (LoRA and its relatives), which means nothing without its model
inline void refuse_adapter(CheckpointFolder const &checkpoint) {
    for (auto const &[file, tensor] : checkpoint.tensors())
        for (auto const *part : {".lora_A.", ".lora_B.", ".lora_embedding_", ".lora_magnitude_vector", ".base_layer.",
                                 ".ia3_l", ".modules_to_save.", "prompt_embeddings"})
            check(tensor->name.find(part) == tensor->name.npos, file->name(), ": tensor \"",
                  detail::excerpt(tensor->name),
                  "\" is of an adapter (LoRA or another of PEFT), not of a model; merge it into its model with PEFT: "
                  "model.merge_and_unload().save_pretrained(...)");
}

} // namespace protlm::inline v0
