#include <model/xlnet_models.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/train/training_options.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;

Fields fields(char const *text) { return Fields(nlohmann::json::parse(text), "config.json"); }

BOOST_AUTO_TEST_SUITE(xlnet_config_suite)

BOOST_AUTO_TEST_CASE(fields_are_read_under_hugging_faces_names) {
    auto const c = xlnet_config(fields(R"({"model_type": "xlnet", "vocab_size": 37, "d_model": 512, "n_layer": 8,
        "n_head": 4, "d_head": 128, "d_inner": 99, "ff_activation": "relu", "attn_type": "uni", "mem_len": 384,
        "reuse_len": 256, "bi_data": true, "clamp_len": 400, "same_length": true, "dropout": 0.25, "untie_r": false,
        "use_mems_train": true, "layer_norm_eps": 1e-6, "summary_type": "last", "a_field_of_tomorrow": [1]})"));
    BOOST_TEST(c.vocab_size == 37);
    BOOST_TEST(c.d_model == 512);
    BOOST_TEST(c.n_layer == 8);
    BOOST_TEST(c.n_head == 4);
    BOOST_TEST(c.d_head == 128);
    BOOST_TEST(c.d_inner == 99);
    BOOST_TEST(c.ff_activation == "relu");
    BOOST_TEST(c.unidirectional());
    BOOST_TEST(c.mem_len.value() == 384);
    BOOST_TEST(c.reuse_len.value() == 256);
    BOOST_TEST((c.bi_data && c.same_length && c.use_mems_train && !c.untie_r));
    BOOST_TEST(c.clamp_len == 400);
    BOOST_TEST(c.dropout == 0.25);
    BOOST_TEST(c.layer_norm_eps == 1e-6);
}

BOOST_AUTO_TEST_CASE(missing_fields_have_the_defaults_of_transformers) {
    auto const c = xlnet_config(fields("{}"));
    BOOST_TEST(c.vocab_size == 32000);
    BOOST_TEST(c.d_model == 1024);
    BOOST_TEST(c.n_layer == 24);
    BOOST_TEST(c.n_head == 16);
    BOOST_TEST(c.d_head == 64);
    BOOST_TEST(c.d_inner == 4096);
    BOOST_TEST(c.mem_len.value() == 512);
    BOOST_TEST(!c.reuse_len);
    BOOST_TEST(!c.unidirectional());
    BOOST_TEST(c.clamp_len == -1);
    BOOST_TEST(c.dropout == 0.1);
    BOOST_TEST(c.layer_norm_eps == 1e-12);
    BOOST_TEST(!xlnet_config(fields(R"({"mem_len": null})")).mem_len); // null is not the default
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
    auto c = small_xlnet();
    for (bool const second : {false, true}) {
        auto const json = to_json(c);
        BOOST_TEST(to_json(xlnet_config(Fields(nlohmann::json(json), "config.json"))).dump() == json.dump());
        c.mem_len = 7;
        c.reuse_len = 0;
        c.attn_type = "uni";
        c.ff_activation = "gelu_new";
        c.same_length = c.bi_data = c.use_mems_train = second;
        c.dropout = 0.25;
    }
}

BOOST_AUTO_TEST_CASE(every_message_names_the_field) {
    auto const message = [](auto &&change) {
        auto c = small_xlnet();
        change(c);
        return message_of([&] { Xlnet<> model(c); });
    };
    BOOST_TEST(message([](auto &c) { c.vocab_size = 0; }) == "XlnetConfig: vocab_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_model = -8; }) == "XlnetConfig: d_model: is -8, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_model = 9; }).starts_with("XlnetConfig: d_model: is 9, expected an even"));
    BOOST_TEST(message([](auto &c) { c.n_layer = 0; }).starts_with("XlnetConfig: n_layer: is 0"));
    BOOST_TEST(message([](auto &c) { c.n_head = 0; }).starts_with("XlnetConfig: n_head: is 0"));
    BOOST_TEST(message([](auto &c) { c.d_head = 0; }).starts_with("XlnetConfig: d_head: is 0"));
    BOOST_TEST(message([](auto &c) { c.d_inner = 0; }).starts_with("XlnetConfig: d_inner: is 0"));
    BOOST_TEST(message([](auto &c) { c.mem_len = -1; }) ==
               "XlnetConfig: mem_len: is -1, expected at least 0 and at most 16777216");
    BOOST_TEST(message([](auto &c) { c.reuse_len = -2; }) ==
               "XlnetConfig: reuse_len: is -2, expected at least 0 and at most 16777216");
    BOOST_TEST(message([](auto &c) { c.attn_type = "both"; }) ==
               "XlnetConfig: attn_type: is \"both\", expected \"bi\" or \"uni\"");
    BOOST_TEST(message([](auto &c) { c.dropout = 1.0; }) ==
               "XlnetConfig: dropout: is 1, expected at least 0 and below 1");
    BOOST_TEST(message([](auto &c) { c.layer_norm_eps = 0; }) ==
               "XlnetConfig: layer_norm_eps: is 0, expected a positive number");
    BOOST_TEST(message([](auto &c) { c.initializer_range = -1; }).starts_with("XlnetConfig: initializer_range: is -1"));
    BOOST_TEST(message([](auto &c) { c.ff_activation = "mish"; }) ==
               "XlnetConfig: ff_activation: is \"mish\", expected \"gelu\", \"gelu_new\", \"relu\" or \"silu\"");
}

BOOST_AUTO_TEST_CASE(messages_about_files_name_the_file) {
    BOOST_TEST(message_of([] { xlnet_config(fields(R"({"model_type": "t5"})")); }) ==
               "config.json: model_type: is \"t5\", expected \"xlnet\"");
    BOOST_TEST(message_of([] { xlnet_config(fields(R"({"mem_len": -3})")); }).starts_with("config.json: mem_len: "));
    BOOST_TEST(message_of([] { xlnet_config(fields(R"({"d_model": 100, "n_head": 3})")); }) ==
               "config.json: d_model: is 100, expected a multiple of n_head 3, or a field d_head");
}

BOOST_AUTO_TEST_CASE(names_are_hugging_faces_in_their_order) {
    auto const [table, ids] = xlnet_table(small_xlnet());
    std::vector<std::string> names;
    for (auto const &entry : table.entries())
        names.push_back(entry.name);
    BOOST_TEST(names.size() == 2u + 3 * 17 + 1);
    BOOST_TEST(names[0] == "transformer.mask_emb");
    BOOST_TEST(names[1] == "transformer.word_embedding.weight");
    BOOST_TEST(names[2] == "transformer.layer.0.rel_attn.q");
    BOOST_TEST(names[10] == "transformer.layer.0.rel_attn.seg_embed");
    BOOST_TEST(names[18] == "transformer.layer.0.ff.layer_2.bias");
    BOOST_TEST(names.back() == "lm_loss.bias");
    BOOST_TEST(table.find("lm_loss.weight") == table.find("transformer.word_embedding.weight"));
    auto const &shape = table[table.find("transformer.layer.2.rel_attn.o")].shape;
    BOOST_TEST(shape == (std::vector<index_t>{24, 3, 8}), boost::test_tools::per_element());
}

XlnetConfig preset(std::string const &name) {
    auto const fields = read_fields(std::string(PROTLM_TEST_FIXTURES) + "/../../examples/configs/" + name + ".json");
    TrainingOptions options;
    read_training_options(fields.object("training"), options);
    options.validate();
    return xlnet_config(fields);
}

// The released ProtXLNet file holds the language model head, whose matrix is the word embedding, and no other.
BOOST_AUTO_TEST_CASE(presets_have_the_published_sizes) {
    auto const count = [](char const *name, XlnetHeads heads = {}) {
        return xlnet_table(preset(name), heads).first.parameter_count();
    };
    BOOST_TEST(count("protxlnet") == 409413669); // 409.41 M
    BOOST_TEST(count("protxlnet", {.language_model = false}) == 409413669 - 37);
    BOOST_TEST(count("xlnet_small") > 5000000);
    BOOST_TEST(count("xlnet_medium") > 25000000);
}

BOOST_AUTO_TEST_CASE(a_saved_model_is_loaded_bit_by_bit) {
    TemporaryFolder const folder;
    auto const model = made_xlnet();
    model.save(folder.path());
    auto const again = Xlnet<>::load(folder.path());
    BOOST_TEST(compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
    BOOST_TEST(to_json(again.config()).dump() == to_json(model.config()).dump());
    BOOST_TEST(again.heads().language_model);
    Xlnet<> const bare(small_xlnet(), {.language_model = false});
    bare.save(folder.path());
    BOOST_TEST(!Xlnet<>::load(folder.path()).heads().language_model);
}

// Hugging Face's XLNetModel saves without "transformer.", XLNetLMHeadModel may save the tied matrix twice.
BOOST_AUTO_TEST_CASE(checkpoints_of_other_classes_are_read) {
    TemporaryFolder const folder;
    auto const model = made_xlnet();
    write_json(folder / "config.json", to_json(model.config()));
    auto const values = to_vector(model.parameters().values());
    for (bool const headless : {true, false}) {
        std::vector<std::pair<TensorSpec, ParameterEntry>> tensors;
        for (auto const &entry : model.parameters().table().entries()) {
            bool const head = entry.name.starts_with("lm_loss");
            if (!(headless && head))
                tensors.push_back({{headless ? entry.name.substr(12) : entry.name, DataType::f32, entry.shape}, entry});
        }
        if (!headless)
            tensors.push_back({{"lm_loss.weight", DataType::f32, {37, 24}}, model.parameters().table()[1]});
        std::vector<TensorSpec> specs;
        for (auto const &tensor : tensors)
            specs.push_back(tensor.first);
        SafetensorsWriter writer(folder / "model.safetensors", specs);
        for (auto const &[spec, entry] : tensors)
            writer.append(spec.name, values.data() + entry.offset, entry.size());
        writer.commit();
        auto const again = Xlnet<>::load(folder.path());
        BOOST_TEST(again.heads().language_model == !headless);
        auto const &table = again.parameters().table();
        auto const read = to_vector(again.parameters().values());
        for (auto const &entry : table.entries()) {
            auto const &original = model.parameters().table()[model.parameters().table().find(entry.name)];
            BOOST_TEST(std::equal(read.begin() + entry.offset, read.begin() + entry.offset + entry.size(),
                                  values.begin() + original.offset),
                       entry.name);
        }
    }
}

BOOST_AUTO_TEST_CASE(prefixes_of_wrappers_are_left_out) { check_prefixes(made_xlnet()); }

BOOST_AUTO_TEST_SUITE_END()

} // namespace
