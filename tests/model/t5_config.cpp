#include <model/t5_models.hpp>

#include <filesystem>

namespace {

using namespace protlm;
using namespace protlm::test;

Fields fields(char const *text) { return Fields(nlohmann::json::parse(text), "config.json"); }

BOOST_AUTO_TEST_SUITE(t5_config_suite)

BOOST_AUTO_TEST_CASE(fields_are_read_under_hugging_faces_names) {
    auto const c = t5_config(fields(R"({"model_type": "t5", "architectures": ["T5EncoderModel"], "vocab_size": 128,
        "d_model": 1024, "d_kv": 128, "d_ff": 16384, "num_layers": 24, "num_decoder_layers": 23, "num_heads": 32,
        "n_positions": 512, "feed_forward_proj": "gated-gelu", "relative_attention_num_buckets": 20,
        "relative_attention_max_distance": 60, "tie_word_embeddings": false, "dropout_rate": 0.2,
        "layer_norm_epsilon": 1e-5, "initializer_factor": 2.0, "pad_token_id": 3, "eos_token_id": 4,
        "decoder_start_token_id": 5, "a_field_of_tomorrow": [1]})"));
    BOOST_TEST(c.vocab_size == 128);
    BOOST_TEST(c.d_model == 1024);
    BOOST_TEST(c.d_kv == 128);
    BOOST_TEST(c.d_ff == 16384);
    BOOST_TEST(c.num_layers == 24);
    BOOST_TEST(c.num_decoder_layers == 23);
    BOOST_TEST(c.num_heads == 32);
    BOOST_TEST(c.relative_attention_num_buckets == 20);
    BOOST_TEST(c.relative_attention_max_distance == 60);
    BOOST_TEST(c.gated());
    BOOST_TEST((c.activation() == Activation::gelu_tanh));
    BOOST_TEST(!c.tie_word_embeddings);
    BOOST_TEST(c.dropout_rate == 0.2);
    BOOST_TEST(c.layer_norm_epsilon == 1e-5);
    BOOST_TEST(c.initializer_factor == 2.0);
    BOOST_TEST(c.pad_token_id == 3);
    BOOST_TEST(c.eos_token_id == 4);
    BOOST_TEST(c.decoder_start_token_id == 5);
}

BOOST_AUTO_TEST_CASE(missing_fields_have_the_defaults_of_transformers) {
    auto const c = t5_config(fields(R"({"num_layers": 7})"));
    BOOST_TEST(c.vocab_size == 32128);
    BOOST_TEST(c.d_model == 512);
    BOOST_TEST(c.d_kv == 64);
    BOOST_TEST(c.d_ff == 2048);
    BOOST_TEST(c.num_decoder_layers == 7); // as the encoder has
    BOOST_TEST(c.num_heads == 8);
    BOOST_TEST(c.relative_attention_num_buckets == 32);
    BOOST_TEST(c.relative_attention_max_distance == 128); // older configs do not have it
    BOOST_TEST(c.feed_forward_proj == "relu");
    BOOST_TEST(c.tie_word_embeddings);
    BOOST_TEST(c.dropout_rate == 0.1);
    BOOST_TEST(c.layer_norm_epsilon == 1e-6);
    BOOST_TEST(c.decoder_start_token_id == 0);
}

BOOST_AUTO_TEST_CASE(the_activation_goes_by_transformers_rules) {
    auto const activation = [](char const *name) {
        T5Config c;
        c.feed_forward_proj = name;
        return std::pair{c.activation(), c.gated()};
    };
    BOOST_TEST((activation("relu") == std::pair{Activation::relu, false}));
    BOOST_TEST((activation("gelu") == std::pair{Activation::gelu, false}));
    BOOST_TEST((activation("gated-gelu") == std::pair{Activation::gelu_tanh, true}));
    BOOST_TEST((activation("gated-relu") == std::pair{Activation::relu, true}));
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
    auto c = small_t5();
    c.feed_forward_proj = "gated-gelu";
    c.tie_word_embeddings = false;
    c.dropout_rate = 0.25;
    c.layer_norm_epsilon = 1e-5;
    auto const json = to_json(c);
    BOOST_TEST(to_json(t5_config(Fields(nlohmann::json(json), "config.json"))).dump() == json.dump());
    BOOST_TEST(json["architectures"][0] == "T5ForConditionalGeneration");
    BOOST_TEST(to_json(c, false)["architectures"][0] == "T5EncoderModel");
}

BOOST_AUTO_TEST_CASE(every_message_names_the_field) {
    auto const message = [](auto &&change) {
        auto c = small_t5();
        change(c);
        return message_of([&] { T5<> model(c); });
    };
    BOOST_TEST(message([](auto &c) { c.vocab_size = 0; }) == "T5Config: vocab_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_model = -8; }) == "T5Config: d_model: is -8, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_kv = 0; }) == "T5Config: d_kv: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.d_ff = 0; }) == "T5Config: d_ff: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.num_layers = 0; }).starts_with("T5Config: num_layers: is 0"));
    BOOST_TEST(message([](auto &c) { c.num_decoder_layers = 0; }).starts_with("T5Config: num_decoder_layers: is 0"));
    BOOST_TEST(message([](auto &c) { c.num_heads = 0; }).starts_with("T5Config: num_heads: is 0"));
    BOOST_TEST(message([](auto &c) { c.relative_attention_num_buckets = 7; }) ==
               "T5Config: relative_attention_num_buckets: is 7, expected an even number from 4 to 1048576");
    BOOST_TEST(message([](auto &c) { c.relative_attention_max_distance = 4; }) ==
               "T5Config: relative_attention_max_distance: is 4, expected more than half of "
               "relative_attention_num_buckets 8");
    BOOST_TEST(message([](auto &c) { c.dropout_rate = 1; }) ==
               "T5Config: dropout_rate: is 1, expected at least 0 and below 1");
    BOOST_TEST(message([](auto &c) { c.layer_norm_epsilon = 0; }).starts_with("T5Config: layer_norm_epsilon: is 0"));
    BOOST_TEST(message([](auto &c) { c.initializer_factor = -1; }).starts_with("T5Config: initializer_factor: is -1"));
    BOOST_TEST(message([](auto &c) { c.eos_token_id = 30; }) ==
               "T5Config: eos_token_id: is 30, expected at least 0 and below vocab_size 30");
    BOOST_TEST(message([](auto &c) { c.feed_forward_proj = "gated-mish"; }) ==
               "T5Config: feed_forward_proj: is \"mish\", expected \"gelu\", \"gelu_new\", \"relu\" or \"silu\"");
    BOOST_TEST(message_of([] { t5_config(fields(R"({"d_kv": 0})")); }) ==
               "config.json: d_kv: is 0, expected an integer of at least 1");
    BOOST_TEST(message_of([] { t5_config(fields(R"({"model_type": "mt5"})")); }) ==
               "config.json: model_type: is \"mt5\", expected \"t5\"");
}

// As the released files count them: every tensor once, the tied output matrix is the embedding, and no other head.
BOOST_AUTO_TEST_CASE(presets_have_the_published_numbers_of_parameters) {
    std::filesystem::path const configs = std::filesystem::path(PROTLM_TEST_FIXTURES) / "../../examples/configs";
    auto const count = [&](char const *name, T5Heads heads) {
        return t5_table(t5_config(read_fields(configs / name)), heads).first.parameter_count();
    };
    index_t const c = 1024, v = 128;
    auto const preset = [&](index_t heads, index_t inner, bool decoder) {
        index_t const attention = 4 * c * heads * 128, feed_forward = 2 * c * inner;
        index_t const encoder = 24 * (attention + feed_forward + 2 * c) + c + 32 * heads;
        index_t const writer = 24 * (2 * attention + feed_forward + 3 * c) + c + 32 * heads;
        return v * c + encoder + (decoder ? writer : 0);
    };
    BOOST_TEST(count("prott5_xl.json", {}) == preset(32, 16384, true));
    BOOST_TEST(count("prott5_xl.json", {}) / 1'000'000 == 2'818); // 2.819 billion, rounded
    BOOST_TEST(count("prott5_xl.json", {false}) == preset(32, 16384, false));
    BOOST_TEST(count("prott5_xl.json", {false}) / 1'000'000 == 1'208); // 1.208 billion
    BOOST_TEST(count("prott5_xxl.json", {}) == preset(128, 65536, true));
    BOOST_TEST(count("prott5_xxl.json", {}) / 10'000'000 == 1'127); // 11.27 billion
    BOOST_TEST(count("t5_small.json", {}) / 1'000'000 == 7);
    BOOST_TEST(count("t5_medium.json", {}) / 1'000'000 == 44);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
