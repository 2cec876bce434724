#include <model/transformer_xl_models.hpp>
#include <protlm/train/training_options.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <cmath>
#include <numeric>

namespace {

using namespace protlm;
using namespace protlm::test;

Fields fields(char const *text) { return Fields(nlohmann::json::parse(text), "config.json"); }

BOOST_AUTO_TEST_SUITE(transformer_xl_config_suite)

BOOST_AUTO_TEST_CASE(missing_fields_have_the_defaults_of_transformers) {
    auto const c = transformer_xl_config(fields("{}"));
    BOOST_TEST(c.vocab_size == 267735);
    BOOST_TEST(c.cutoffs == (std::vector<index_t>{20000, 40000, 200000}), boost::test_tools::per_element());
    BOOST_TEST(c.tie_projs == (std::vector<bool>{false, true, true, true}), boost::test_tools::per_element());
    BOOST_TEST(c.d_model == 1024);
    BOOST_TEST(c.n_layer == 18);
    BOOST_TEST(c.div_val == 4);
    BOOST_TEST(c.mem_len == 1600);
    BOOST_TEST(c.clamp_len == 1000);
    BOOST_TEST(c.same_length);
    BOOST_TEST(c.untie_r);
    BOOST_TEST(!c.pre_lnorm);
    BOOST_TEST(c.dropout == 0.1);
    BOOST_TEST(c.layer_norm_epsilon == 1e-5);
    auto const unshared = transformer_xl_config(fields(R"({"proj_share_all_but_first": false})"));
    BOOST_TEST(!unshared.projection_tied(1));
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
    for (auto c : {small_transformer_xl(), other_transformer_xl(), clustered_transformer_xl()}) {
        c.dropout = 0.25;
        c.init = "uniform";
        c.init_range = 0.03;
        c.proj_init_std = 0.07;
        c.layer_norm_epsilon = 1e-6;
        c.tie_word_embeddings = c.pre_lnorm;
        c.eos_token_id = 3;
        auto const json = to_json(c);
        BOOST_TEST(to_json(transformer_xl_config(Fields(nlohmann::json(json), "config.json"))).dump() == json.dump());
    }
}

BOOST_AUTO_TEST_CASE(every_message_names_the_field) {
    auto const message = [](auto &&change) {
        auto c = small_transformer_xl();
        change(c);
        return message_of([&] { c.validate(); });
    };
    std::string const name = "TransformerXlConfig: ";
    BOOST_TEST(message([](auto &c) { c.vocab_size = 0; }) == name + "vocab_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_model = 9; }).starts_with(name + "d_model: is 9, expected an even number"));
    BOOST_TEST(message([](auto &c) { c.d_embed = 0; }).starts_with(name + "d_embed: is 0"));
    BOOST_TEST(message([](auto &c) { c.n_head = 0; }).starts_with(name + "n_head: is 0"));
    BOOST_TEST(message([](auto &c) { c.d_head = -1; }).starts_with(name + "d_head: is -1"));
    BOOST_TEST(message([](auto &c) { c.d_inner = 0; }).starts_with(name + "d_inner: is 0"));
    BOOST_TEST(message([](auto &c) { c.n_layer = 0; }).starts_with(name + "n_layer: is 0"));
    BOOST_TEST(message([](auto &c) { c.div_val = 0; }).starts_with(name + "div_val: is 0"));
    BOOST_TEST(message([](auto &c) { c.mem_len = -1; }) ==
               name + "mem_len: is -1, expected at least 0 and at most 16777216");
    BOOST_TEST(message([](auto &c) {
                   c.cutoffs = {4, 4};
               }) == name + "cutoffs: are at 1: 4, expected more than 4 and less than vocab_size 30");
    BOOST_TEST(message([](auto &c) { c.cutoffs = {30}; }).starts_with(name + "cutoffs: are at 0: 30"));
    BOOST_TEST(message([](auto &c) {
                   c.cutoffs = {4, 8};
                   c.div_val = 5;
               }) == name + "div_val: is 5, too large for d_embed 24 and 3 clusters");
    BOOST_TEST(message([](auto &c) {
                   c.tie_projs = {true, true};
               }) == name + "tie_projs: has 2 entries, expected at most 1, one a cluster");
    BOOST_TEST(message([](auto &c) {
                   c.same_length = true;
                   c.mem_len = 0;
               }).starts_with(name + "same_length: is true with mem_len 0"));
    BOOST_TEST(message([](auto &c) { c.dropout = 1; }) == name + "dropout: is 1, expected at least 0 and below 1");
    BOOST_TEST(message([](auto &c) { c.dropatt = -1; }).starts_with(name + "dropatt: is -1"));
    BOOST_TEST(message([](auto &c) { c.init = "zeros"; }) ==
               name + "init: is \"zeros\", expected \"normal\" or \"uniform\"");
    BOOST_TEST(message([](auto &c) { c.init_std = -1; }).starts_with(name + "init_std: is -1"));
    BOOST_TEST(message([](auto &c) { c.layer_norm_epsilon = 0; }).starts_with(name + "layer_norm_epsilon: is 0"));
}

BOOST_AUTO_TEST_CASE(messages_about_files_name_the_file) {
    auto const message = [](char const *text) { return message_of([&] { transformer_xl_config(fields(text)); }); };
    BOOST_TEST(message(R"({"model_type": "t5"})") == "config.json: model_type: is \"t5\", expected \"transfo-xl\"");
    BOOST_TEST(message(R"({"attn_type": 1})") == "config.json: attn_type: is 1, expected 0, Transformer-XL's own");
    BOOST_TEST(message(R"({"sample_softmax": 5})") ==
               "config.json: sample_softmax: is 5, expected at most 0: nothing is sampled");
    BOOST_TEST(message(R"({"mem_len": "long"})").starts_with("config.json: mem_len: "));
}

std::vector<std::string> names_of(TransformerXlConfig const &config, TransformerXlHeads heads = {}) {
    std::vector<std::string> names;
    auto const [table, ids] = transformer_xl_table(config, heads);
    for (auto const &entry : table.entries())
        names.push_back(entry.name);
    return names;
}

BOOST_AUTO_TEST_CASE(names_are_hugging_faces_in_their_order) {
    auto const names = names_of(small_transformer_xl(), {.mask_embedding = true});
    std::vector<std::string> const expected{"transformer.mask_emb",
                                            "transformer.word_emb.emb_layers.0.weight",
                                            "transformer.layers.0.dec_attn.r_r_bias",
                                            "transformer.layers.0.dec_attn.r_w_bias",
                                            "transformer.layers.0.dec_attn.qkv_net.weight",
                                            "transformer.layers.0.dec_attn.o_net.weight",
                                            "transformer.layers.0.dec_attn.layer_norm.weight",
                                            "transformer.layers.0.dec_attn.layer_norm.bias",
                                            "transformer.layers.0.dec_attn.r_net.weight",
                                            "transformer.layers.0.pos_ff.CoreNet.0.weight",
                                            "transformer.layers.0.pos_ff.CoreNet.0.bias",
                                            "transformer.layers.0.pos_ff.CoreNet.3.weight",
                                            "transformer.layers.0.pos_ff.CoreNet.3.bias",
                                            "transformer.layers.0.pos_ff.layer_norm.weight",
                                            "transformer.layers.0.pos_ff.layer_norm.bias"};
    BOOST_REQUIRE(names.size() == 2u + 2 * 13 + 1);
    BOOST_TEST(std::vector<std::string>(names.begin(), names.begin() + 15) == expected,
               boost::test_tools::per_element());
    BOOST_TEST(names.back() == "crit.out_layers.0.bias");
}

BOOST_AUTO_TEST_CASE(tied_tensors_are_one) {
    auto const [table, ids] = transformer_xl_table(other_transformer_xl(), {});
    auto const one = [&, &t = table](char const *a, char const *b) {
        BOOST_TEST(t.find(a) >= 0);
        BOOST_TEST(t.find(a) == t.find(b), a << " and " << b);
    };
    one("transformer.r_w_bias", "transformer.layers.1.dec_attn.r_w_bias");
    one("transformer.r_r_bias", "transformer.layers.0.dec_attn.r_r_bias");
    one("transformer.word_emb.emb_layers.0.weight", "crit.out_layers.0.weight");
    one("transformer.word_emb.emb_projs.0", "crit.out_projs.0");
    auto clustered = clustered_transformer_xl();
    auto const names = names_of(clustered);
    for (char const *name :
         {"transformer.word_emb.emb_layers.2.weight", "transformer.word_emb.emb_projs.2", "crit.cluster_weight",
          "crit.cluster_bias", "crit.out_layers.2.bias", "crit.out_projs.0", "crit.out_projs.2"})
        BOOST_TEST(std::count(names.begin(), names.end(), name) == 1, name);
    BOOST_TEST(std::count(names.begin(), names.end(), "crit.out_projs.1") == 0); // that of the embedding
    auto const [wide, wide_ids] = transformer_xl_table(clustered, {});
    auto const &narrowest = wide[wide.find("transformer.word_emb.emb_layers.2.weight")].shape;
    BOOST_TEST(narrowest == (std::vector<index_t>{10, 6}), boost::test_tools::per_element());
    clustered.div_val = 1; // one table, and with d_embed as wide as the model no projections
    BOOST_TEST(names_of(clustered).size() == 1u + 2 * 13 + 3);
    clustered.tie_word_embeddings = false;
    BOOST_TEST(names_of(clustered).size() == 1u + 2 * 13 + 4);
}

TransformerXlConfig preset(std::string const &name) {
    auto const file = read_fields(std::string(PROTLM_TEST_FIXTURES) + "/../../examples/configs/" + name + ".json");
    TrainingOptions options;
    read_training_options(file.object("training"), options);
    options.validate();
    return transformer_xl_config(file);
}

// ProtTXL's file is not public; 30 x 1024/16/4096 gives 409.3 M.
BOOST_AUTO_TEST_CASE(presets_have_the_published_sizes) {
    auto const count = [](char const *name) { return transformer_xl_table(preset(name), {}).first.parameter_count(); };
    index_t const layer = 5 * 1024 * 1024 + 2 * 1024 * 4096 + 4096 + 1024 + 2 * 2 * 1024 + 2 * 1024;
    BOOST_TEST(count("prottxl") == 30 * layer + 30 * 1024 + 30);
    BOOST_TEST(std::round(static_cast<double>(count("prottxl")) / 1e5) == 4093);
    BOOST_TEST(count("transformer_xl_small") > 5000000);
    BOOST_TEST(count("transformer_xl_medium") > 25000000);
}

// Normal and uncut, norms around 1, biases 0; the biases of attention are weights, too.
BOOST_AUTO_TEST_CASE(weights_begin_as_in_the_original) {
    auto config = clustered_transformer_xl();
    config.d_inner = 400;
    config.init_std = 0.05;
    config.proj_init_std = 0.3;
    auto const spread = [&](std::string const &name) {
        auto const model = made_transformer_xl<double>(config);
        auto const &entry = model.parameters().table()[model.parameters().table().find(name)];
        auto const all = to_vector(model.parameters().values());
        std::vector<double> const own(all.begin() + entry.offset, all.begin() + entry.offset + entry.size());
        double const n = static_cast<double>(own.size()), mean = std::accumulate(own.begin(), own.end(), 0.0) / n;
        double squares = 0, largest = 0;
        for (double v : own) {
            squares += (v - mean) * (v - mean);
            largest = std::max(largest, std::abs(v - mean));
        }
        return std::array{mean, std::sqrt(squares / n), largest};
    };
    std::string const ff = "transformer.layers.0.pos_ff.";
    auto const weights = spread(ff + "CoreNet.0.weight");
    BOOST_TEST(std::abs(weights[0]) < 0.003);
    BOOST_TEST(std::abs(weights[1] - 0.05) < 0.002);
    BOOST_TEST(weights[2] > 0.15); // three deviations
    auto const norm = spread(ff + "layer_norm.weight");
    BOOST_TEST(std::abs(norm[0] - 1) < 0.05);
    BOOST_TEST((norm[1] > 0.02 && norm[1] < 0.08));
    BOOST_TEST(spread(ff + "CoreNet.0.bias")[2] == 0.0);
    BOOST_TEST(spread("transformer.layers.1.dec_attn.r_w_bias")[1] > 0.02);
    BOOST_TEST(std::abs(spread("transformer.word_emb.emb_projs.0")[1] - 0.3) < 0.03);
    config.init = "uniform";
    config.init_range = 0.01;
    auto const uniform = spread(ff + "CoreNet.0.weight");
    BOOST_TEST((uniform[2] < 0.0101 && uniform[2] > 0.0098));
}

BOOST_AUTO_TEST_CASE(a_saved_model_is_loaded_bit_by_bit) {
    for (auto const &config : {small_transformer_xl(), other_transformer_xl(), clustered_transformer_xl()})
        for (bool const all : {true, false}) {
            TemporaryFolder const folder;
            auto const model = made_transformer_xl(config, {.language_model = all, .mask_embedding = !all});
            model.save(folder.path());
            auto const again = TransformerXl<>::load(folder.path());
            BOOST_TEST(
                compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
            BOOST_TEST(to_json(again.config()).dump() == to_json(config).dump());
            BOOST_TEST(again.heads().language_model == all);
            BOOST_TEST(again.heads().mask_embedding == !all);
        }
}

// transformers may write every name of a shared tensor, and its TransfoXLModel leaves out "transformer.".
BOOST_AUTO_TEST_CASE(checkpoints_of_other_classes_are_read) {
    auto const model = made_transformer_xl(other_transformer_xl());
    auto const values = to_vector(model.parameters().values());
    for (bool const bare : {true, false}) {
        TemporaryFolder const folder;
        write_json(folder / "config.json", to_json(model.config()));
        std::vector<std::pair<TensorSpec, ParameterEntry>> tensors;
        for (auto const &entry : model.parameters().table().entries()) {
            if (bare && entry.name.starts_with("crit."))
                continue;
            tensors.push_back({{bare ? entry.name.substr(12) : entry.name, DataType::f32, entry.shape}, entry});
            for (auto const &alias : entry.aliases)
                if (!bare)
                    tensors.push_back({{alias, DataType::f32, entry.shape}, entry});
        }
        std::vector<TensorSpec> specs;
        for (auto const &tensor : tensors)
            specs.push_back(tensor.first);
        SafetensorsWriter writer(folder / "model.safetensors", specs);
        for (auto const &[spec, entry] : tensors)
            writer.append(spec.name, values.data() + entry.offset, entry.size());
        writer.commit();
        auto const again = TransformerXl<>::load(folder.path());
        BOOST_TEST(again.heads().language_model == !bare);
        auto const read = to_vector(again.parameters().values());
        auto const &table = model.parameters().table();
        for (auto const &entry : again.parameters().table().entries())
            BOOST_TEST(std::equal(read.begin() + entry.offset, read.begin() + entry.offset + entry.size(),
                                  values.begin() + table[table.find(entry.name)].offset),
                       entry.name);
    }
}

BOOST_AUTO_TEST_CASE(prefixes_of_wrappers_are_left_out) { check_prefixes(made_transformer_xl()); }

BOOST_AUTO_TEST_SUITE_END()

} // namespace
