// What the configs of all six families do with fields and numbers that cannot be followed.

#include "support/message_of.hpp"

#include <protlm/core/parameter_table.hpp>
#include <protlm/model/albert_config.hpp>
#include <protlm/model/bert_config.hpp>
#include <protlm/model/electra_config.hpp>
#include <protlm/model/t5_config.hpp>
#include <protlm/model/transformer_xl_config.hpp>
#include <protlm/model/xlnet_config.hpp>

#include <functional>
#include <map>

namespace {

using namespace protlm;
using namespace protlm::test;

using Read = std::function<void(Fields const &)>;
std::map<std::string, Read> const families{{"bert", [](auto const &f) { bert_config(f); }},
                                           {"albert", [](auto const &f) { albert_config(f); }},
                                           {"electra", [](auto const &f) { electra_config(f); }},
                                           {"t5", [](auto const &f) { t5_config(f); }},
                                           {"xlnet", [](auto const &f) { xlnet_config(f); }},
                                           {"transfo-xl", [](auto const &f) { transformer_xl_config(f); }}};

Fields fields(std::string const &text) { return Fields(parse_json(text, "config.json"), "config.json"); }
std::string message(std::string const &family, std::string const &text) {
    return message_of([&] { families.at(family)(fields(text)); });
}
void check_read(std::string const &family, std::string const &text) {
    BOOST_TEST_CONTEXT(family << ": " << text)
    BOOST_CHECK_NO_THROW(families.at(family)(fields(text)));
}

BOOST_AUTO_TEST_SUITE(config_fields)

BOOST_AUTO_TEST_CASE(every_number_has_a_limit) {
    std::map<std::string, std::vector<std::string>> const extents{
        {"bert",
         {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
          "max_position_embeddings", "type_vocab_size"}},
        {"albert",
         {"vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
          "intermediate_size", "max_position_embeddings", "type_vocab_size", "inner_group_num"}},
        {"electra",
         {"vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
          "intermediate_size", "max_position_embeddings", "type_vocab_size"}},
        {"t5",
         {"vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_decoder_layers", "num_heads",
          "relative_attention_num_buckets", "relative_attention_max_distance"}},
        {"xlnet", {"vocab_size", "d_model", "n_layer", "n_head", "d_head", "d_inner", "mem_len", "reuse_len"}},
        {"transfo-xl",
         {"vocab_size", "d_model", "d_embed", "n_head", "d_head", "d_inner", "div_val", "n_layer", "mem_len"}}};
    for (auto const &[family, names] : extents)
        for (auto const &name : names)
            for (char const *value : {"1000000000000", "4611686018427387904"}) {
                std::string text = "{\"" + name + "\": " + value + "}";
                if (family == "xlnet" && (name == "d_model" || name == "n_head"))
                    text = "{\"d_head\": 64, \"" + name + "\": " + value + "}";
                auto const error = message(family, text);
                BOOST_TEST(error.starts_with("config.json: " + name + ": is " + value), family << ": " << error);
            }
    BOOST_TEST(message("t5", R"({"num_heads": 1048576, "d_kv": 2})") ==
               "config.json: num_heads: is 1048576 times d_kv 2, expected at most 1048576 in all");
    BOOST_TEST(
        message("albert", R"({"num_hidden_layers": 10000, "inner_group_num": 2})") ==
        "config.json: inner_group_num: is 2 in each of 10000 num_hidden_layers, expected at most 10000 layers in all");
    std::string cutoffs = "1";
    for (int i = 2; i < 1002; ++i)
        cutoffs += "," + std::to_string(i);
    BOOST_TEST(message("transfo-xl", "{\"cutoffs\": [" + cutoffs + "]}") ==
               "config.json: cutoffs: are 1001, expected at most 999");
}

BOOST_AUTO_TEST_CASE(a_table_counts_without_overflow) {
    constexpr index_t half = index_t(1) << 62, quarter = index_t(1) << 47;
    ParameterTable table;
    BOOST_TEST(message_of([&] {
                   table.add("wide", {4, half}, Initialiser::zeros());
               }) == "ParameterTable: wide has more than 281474976710656 elements");
    table.add("one", {2, quarter}, Initialiser::zeros());
    table.add("none", {0, half}, Initialiser::zeros());
    table.add("two", {quarter}, Initialiser::zeros());
    BOOST_TEST(message_of([&] { table.layout(); }) ==
               "ParameterTable: with two there are more than 281474976710656 elements");
}

BOOST_AUTO_TEST_CASE(what_changes_the_function_is_refused) {
    for (char const *family : {"bert", "albert", "electra", "t5", "xlnet"}) {
        BOOST_TEST(message(family, R"({"is_decoder": true})") ==
                   "config.json: is_decoder: is true, expected false: a token would see those before it only");
        BOOST_TEST(message(family, R"({"add_cross_attention": true})")
                       .starts_with("config.json: add_cross_attention: is true"));
        BOOST_TEST(message(family, R"({"pruned_heads": {"0": [1]}})") ==
                   "config.json: pruned_heads: is {\"0\":[1]}, expected none: every layer has all its heads");
        check_read(family, R"({"is_decoder": false, "pruned_heads": {}, "torchscript": true, "use_cache": false,
                               "chunk_size_feed_forward": 7, "classifier_dropout": NaN, "summary_type": "last"})");
    }
    for (char const *family : {"bert", "albert", "electra"})
        BOOST_TEST(message(family, R"({"position_embedding_type": "relative_key"})")
                       .starts_with("config.json: position_embedding_type: is \"relative_key\""));
    BOOST_TEST(message("bert", R"({"layer_norm_eps": NaN})") ==
               "config.json: layer_norm_eps: is NaN, expected a number");
    BOOST_TEST(message("bert", R"({"hidden_size": 8, "hidden_size": 16})").find("appears twice") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(activations_by_all_their_names) {
    using enum Activation;
    for (auto const &[name, activation] : std::map<std::string, Activation>{{"gelu", gelu},
                                                                            {"gelu_python", gelu},
                                                                            {"gelu_new", gelu_tanh},
                                                                            {"gelu_fast", gelu_tanh},
                                                                            {"gelu_pytorch_tanh", gelu_tanh},
                                                                            {"relu", relu},
                                                                            {"silu", silu},
                                                                            {"swish", silu}})
        BOOST_TEST((activation_from_name(name, "hidden_act") == activation), name);
    BOOST_TEST(
        message("bert", R"({"hidden_act": "quick_gelu"})").starts_with("config.json: hidden_act: is \"quick_gelu\""));
}

BOOST_AUTO_TEST_CASE(t5_in_all_its_spellings) {
    auto const c =
        t5_config(fields(R"({"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 16,
        "eos_token_id": [1], "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": true,
        "num_decoder_layers": 0, "tie_word_embeddings": false})"));
    BOOST_TEST(c.d_model == 64);
    BOOST_TEST(c.num_layers == 3);
    BOOST_TEST(c.num_heads == 4);
    BOOST_TEST(c.d_kv == 16);
    BOOST_TEST(c.eos_token_id == 1);
    BOOST_TEST(c.num_decoder_layers == 0); // an encoder by itself
    BOOST_TEST(!c.scale_decoder_outputs);  // follows tie_word_embeddings where nothing is said
    auto const resaved = t5_config(fields(R"({"tie_word_embeddings": true, "scale_decoder_outputs": false})"));
    BOOST_TEST(resaved.tie_word_embeddings);
    BOOST_TEST(!resaved.scale_decoder_outputs);
    BOOST_TEST(to_json(resaved)["scale_decoder_outputs"] == false);
    BOOST_TEST(message("t5", R"({"d_model": 64, "hidden_size": 65})") ==
               "config.json: d_model is 64, but hidden_size is 65, which is another name of it");
    BOOST_TEST(message("t5", R"({"eos_token_id": [1, 2]})") ==
               "config.json: eos_token_id: is a list of 2, expected one token");
    BOOST_TEST(message("t5", R"({"is_gated_act": true})") ==
               "config.json: is_gated_act: is true, but feed_forward_proj is \"relu\"");
    BOOST_TEST(message("t5", R"({"feed_forward_proj": "gated-gelu", "dense_act_fn": "relu"})") ==
               "config.json: dense_act_fn: is \"relu\", but feed_forward_proj is \"gated-gelu\"");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
