#pragma once

#include <protlm/io/find_model.hpp>
#include <protlm/io/json.hpp>
#include <protlm/train/settings.hpp>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// The fields of a model's configuration as its config.json has them; of a generator and its discriminator, both in
/// objects of these names.
/// @param config  a model's configuration, or a pair of them
template <class Config>
nlohmann::json settings_of_config(Config const &config) {
    if constexpr (requires { to_json(config); })
        return nlohmann::json(to_json(config));
    else
        return {{"generator", settings_of_config(config.generator)},
                {"discriminator", settings_of_config(config.discriminator)}};
}

/// The same of a model.
template <class Model>
nlohmann::json settings_of_model(Model const &model) {
    if constexpr (requires { model.generator().config(); })
        return {{"generator", settings_of_config(model.generator().config())},
                {"discriminator", settings_of_config(model.discriminator().config())}};
    else
        return settings_of_config(model.config());
}

/// The configuration of the model in `folder`: its config.json, or those of its folders generator and discriminator as
/// one document. @throws Error when there is none
inline Fields read_model_config(std::filesystem::path const &folder) {
    std::error_code ignored;
    check(!std::filesystem::is_regular_file(folder, ignored), Setting{"config", "names the model's config.json"},
          folder.string(), ": is a file of weights, which does not describe its model");
    check(std::filesystem::is_directory(folder, ignored), folder.string(), ": no such folder");
    if (std::filesystem::exists(folder / "config.json", ignored))
        return read_fields(folder / "config.json");
    nlohmann::json both = nlohmann::json::object();
    for (char const *part : {"generator", "discriminator"}) {
        auto const file = folder / part / "config.json";
        check(std::filesystem::exists(file, ignored), folder.string(), ": holds no config.json of a model");
        both[part] = read_json(file);
    }
    return Fields(both, folder.string());
}

namespace detail {

// Fields of config.json that say nothing about a model's function here, or that a model's reader takes without writing
// them: no reason to warn.
inline constexpr std::string_view common_fields[] = {
    // of every model in transformers
    "_name_or_path", "_attn_implementation", "_commit_hash", "auto_map", "add_cross_attention", "bad_words_ids",
    "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward", "classifier_dropout",
    "cross_attention_hidden_size", "decoder_start_token_id", "dtype", "eos_token_id", "finetuning_task", "id2label",
    "is_decoder", "is_encoder_decoder", "label2id", "model_type", "num_labels", "output_attentions",
    "output_hidden_states", "output_past", "pad_token_id", "prefix", "problem_type", "pruned_heads", "return_dict",
    "sep_token_id", "task_specific_params", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class",
    "torch_dtype", "torchscript", "transformers_version", "use_bfloat16", "use_cache",
    // of single ones
    "note", "comment", "_comment", "layers_to_keep", "adaptive", "gradient_checkpointing", "is_gated_act",
    "dense_act_fn", "n_positions", "proj_share_all_but_first", "scale_decoder_outputs", "summary_type",
    "summary_use_proj", "summary_activation", "use_mems", "position_embedding_type"};
// The same by how they begin: of downstream heads, and of generation.
inline constexpr std::string_view common_beginnings[] = {"summary_",
                                                         "start_n_top",
                                                         "end_n_top",
                                                         "classifier_",
                                                         "pooler_",
                                                         "net_structure",
                                                         "inner_group_num",
                                                         "num_hidden_groups",
                                                         "down_scale_factor",
                                                         "gap_size",
                                                         "num_memory_blocks",
                                                         "num_beam",
                                                         "num_return_",

                                                         "length_penalty",
                                                         "repetition_penalty",
                                                         "early_stopping",
                                                         "temperature",
                                                         "top_",
                                                         "typical_p",
                                                         "do_sample",
                                                         "diversity_penalty",
                                                         "no_repeat_",
                                                         "encoder_no_repeat_",
                                                         "exponential_decay_",
                                                         "forced_",
                                                         "suppress_tokens",
                                                         "remove_invalid_",

                                                         "quantization_config",
                                                         "generator_",
                                                         "directionality"};

inline bool is_common_field(std::string_view name) {
    auto const begins = [&](std::string_view beginning) { return name.starts_with(beginning); };
    return std::find(std::begin(common_fields), std::end(common_fields), name) != std::end(common_fields) ||
           std::any_of(std::begin(common_beginnings), std::end(common_beginnings), begins);
}

/// Fields of `object` that `known`, a model's configuration as it writes it, has not.
inline void add_ignored(nlohmann::json const &object, nlohmann::json const &known, std::string const &prefix,
                        std::vector<std::string> &ignored) {
    for (auto const &[name, value] : object.items())
        if (!known.contains(name) && !is_common_field(name))
            ignored.push_back(prefix + name);
}

} // namespace detail

/// Fields of a config file that nobody will look at, probably misspelt.
/// @param file   the document  @param model  what it says of the model, by settings_of_config
/// @throws Error for an unknown section: an object that is neither the model's nor "training" or "objective"
inline std::vector<std::string> ignored_fields(Fields const &file, nlohmann::json const &model) {
    std::vector<std::string> ignored;
    bool const pair = model.contains("generator") && model["generator"].is_object();
    auto const is_section = [&](std::string const &name) {
        return name == "training" || name == "objective" || (pair && (name == "generator" || name == "discriminator"));
    };
    for (auto const &[name, value] : file.json().items()) {
        if (is_section(name))
            continue;
        check(!value.is_object() || model.contains(name) || detail::is_common_field(name), file.name(), ": ",
              detail::excerpt(name), ": is no section of this file; known are training, objective",
              pair ? ", generator and discriminator" : "");
        if (pair || (!model.contains(name) && !detail::is_common_field(name)))
            ignored.push_back(name);
    }
    if (pair)
        for (char const *part : {"generator", "discriminator"})
            if (file.json().contains(part))
                detail::add_ignored(file.json()[part], model[part], std::string(part) + '.', ignored);
    return ignored;
}

/// Checks a configuration against that of the weights that a run begins with.
/// @param ours, theirs  by settings_of_config  @param allowed  names of fields that may differ
/// @returns what differs and may: dropout, which each run chooses, and what is allowed
/// @throws Error naming what differs, and both files
inline std::vector<ChangedSetting> check_weights_config(nlohmann::json const &ours, std::string const &our_file,
                                                        nlohmann::json const &theirs, std::string const &their_file,
                                                        std::vector<std::string> const &allowed) {
    std::vector<ChangedSetting> told, refused;
    std::string names;
    auto const flat = [](nlohmann::json const &model) { return flat_settings({{"model", model}}); };
    for (auto const &setting : changed_settings(flat(theirs), flat(ours))) {
        bool const dropout = setting.name.find("drop") != setting.name.npos;
        bool const may = dropout || std::find(allowed.begin(), allowed.end(), setting.name) != allowed.end();
        (may ? told : refused).push_back(setting);
        if (!may)
            names += (names.empty() ? "" : ",") + setting.name;
    }
    std::string text;
    for (auto const &setting : refused)
        text += (text.empty() ? "" : "; ") + setting.name + " is " + setting.now + ", but with the weights it is " +
                setting.before;
    check(refused.empty(), Setting{"change", names}, our_file, ": describes another model than ", their_file, ": ",
          text);
    return told;
}

/// Of a program that begins with the weights of a folder: finds the newest checkpoint where the folder is a run's, and
/// checks the model's configuration against that of the weights.
/// @param program  has `weights`, `config` (empty: the configuration is that of the weights), `model`, `read_model` and
///                 `change`
/// @returns remarks for the user  @throws Error see check_weights_config
template <class Program>
std::vector<std::string> settle_weights(Program &program) {
    if (program.weights.empty())
        return {};
    std::filesystem::path const folder = find_weights(program.weights);
    program.weights = folder.string();
    std::error_code ignored;
    if (program.config.empty() || !(std::filesystem::exists(folder / "config.json", ignored) ||
                                    std::filesystem::exists(folder / "discriminator" / "config.json", ignored)))
        return {};
    Program theirs = program;
    theirs.read_model(read_model_config(folder));
    auto const told = check_weights_config(settings_of_config(program.model), program.config,
                                           settings_of_config(theirs.model), folder.string(), program.change);
    if (told.empty())
        return {};
    return {"other than in " + folder.string() + ": " + text_of(told)};
}

} // namespace protlm::inline v0
