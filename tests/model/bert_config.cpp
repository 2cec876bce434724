#include <model/models.hpp>

#include <limits>

namespace {

using namespace protlm;
using namespace protlm::test;

Fields fields(char const *text) { return Fields(nlohmann::json::parse(text), "config.json"); }

BOOST_AUTO_TEST_SUITE(bert_config_suite)

BOOST_AUTO_TEST_CASE(fields_are_read_under_hugging_faces_names) {
    auto const c = bert_config(fields(R"({"model_type": "bert", "vocab_size": 30, "hidden_size": 1024,
        "num_hidden_layers": 30, "num_attention_heads": 16, "intermediate_size": 4096, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 40000,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "torch_dtype": "float32", "a_field_of_tomorrow": [1]})"));
    BOOST_TEST(c.vocab_size == 30);
    BOOST_TEST(c.hidden_size == 1024);
    BOOST_TEST(c.num_hidden_layers == 30);
    BOOST_TEST(c.num_attention_heads == 16);
    BOOST_TEST(c.intermediate_size == 4096);
    BOOST_TEST(c.max_position_embeddings == 40000);
    BOOST_TEST(c.hidden_dropout_prob == 0.0);
}

BOOST_AUTO_TEST_CASE(missing_fields_have_the_defaults_of_transformers) {
    auto const c = bert_config(fields("{}"));
    BOOST_TEST(c.vocab_size == 30522);
    BOOST_TEST(c.hidden_size == 768);
    BOOST_TEST(c.num_hidden_layers == 12);
    BOOST_TEST(c.num_attention_heads == 12);
    BOOST_TEST(c.intermediate_size == 3072);
    BOOST_TEST(c.max_position_embeddings == 512);
    BOOST_TEST(c.type_vocab_size == 2);
    BOOST_TEST(c.hidden_dropout_prob == 0.1);
    BOOST_TEST(c.layer_norm_eps == 1e-12);
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
    auto c = small_config();
    c.hidden_act = "gelu_new";
    c.hidden_dropout_prob = 0.25;
    c.type_vocab_size = 3;
    c.layer_norm_eps = 1e-6;
    auto const json = to_json(c);
    BOOST_TEST(to_json(bert_config(Fields(nlohmann::json(json), "config.json"))).dump() == json.dump());
}

BOOST_AUTO_TEST_CASE(every_message_names_the_field) {
    auto const message = [](auto &&change) {
        auto c = small_config();
        change(c);
        return message_of([&] { Bert<> model(c); });
    };
    BOOST_TEST(message([](auto &c) { c.num_attention_heads = 5; }) ==
               "BertConfig: hidden_size: is 24, expected a multiple of num_attention_heads 5");
    BOOST_TEST(message([](auto &c) { c.vocab_size = 0; }) == "BertConfig: vocab_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.hidden_size = -8; }) == "BertConfig: hidden_size: is -8, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.num_hidden_layers = 0; }).starts_with("BertConfig: num_hidden_layers: is 0"));
    BOOST_TEST(message([](auto &c) { c.num_attention_heads = 0; }).starts_with("BertConfig: num_attention_heads: "));
    BOOST_TEST(message([](auto &c) { c.intermediate_size = 0; }).starts_with("BertConfig: intermediate_size: is 0"));
    BOOST_TEST(message([](auto &c) { c.max_position_embeddings = 0; }).starts_with("BertConfig: max_position_embed"));
    BOOST_TEST(message([](auto &c) { c.type_vocab_size = 0; }).starts_with("BertConfig: type_vocab_size: is 0"));
    BOOST_TEST(message([](auto &c) { c.hidden_dropout_prob = 1.0; }) ==
               "BertConfig: hidden_dropout_prob: is 1, expected at least 0 and below 1");
    BOOST_TEST(message([](auto &c) {
                   c.hidden_dropout_prob = std::numeric_limits<double>::quiet_NaN();
               }).starts_with("BertConfig: hidden_dropout_prob: is "));
    BOOST_TEST(message([](auto &c) { c.layer_norm_eps = 0; }) ==
               "BertConfig: layer_norm_eps: is 0, expected a positive number");
    BOOST_TEST(message([](auto &c) { c.initializer_range = -1; }).starts_with("BertConfig: initializer_range: is -1"));
    BOOST_TEST(message([](auto &c) { c.hidden_act = "mish"; }) ==
               "BertConfig: hidden_act: is \"mish\", expected \"gelu\", \"gelu_new\", \"relu\" or \"silu\"");
}

BOOST_AUTO_TEST_CASE(messages_about_files_name_the_file) {
    BOOST_TEST(message_of([] { bert_config(fields(R"({"model_type": "t5"})")); }) ==
               "config.json: model_type: is \"t5\", expected \"bert\"");
    BOOST_TEST(message_of([] { bert_config(fields(R"({"position_embedding_type": "relative_key"})")); }) ==
               "config.json: position_embedding_type: is \"relative_key\", expected \"absolute\"");
    BOOST_TEST(message_of([] {
                   bert_config(fields(R"({"hidden_size": "many"})"));
               }).starts_with("config.json: hidden_size: "));
    BOOST_TEST(message_of([] { bert_config(fields(R"({"hidden_size": 100, "num_attention_heads": 3})")); }) ==
               "config.json: hidden_size: is 100, expected a multiple of num_attention_heads 3");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
