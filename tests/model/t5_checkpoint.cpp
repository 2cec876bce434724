#include <model/t5_models.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <algorithm>
#include <map>

namespace {

using namespace protlm;
using namespace protlm::test;

using Renamed = std::map<std::string, std::string>;

/// Writes a checkpoint with the tensors of `model`, some of them under other names; each name of `twice` as well.
void save_as(T5<> const &model, std::filesystem::path const &folder, Renamed const &names, Renamed const &twice = {}) {
    write_json(folder / "config.json", to_json(model.config()));
    std::vector<TensorSpec> specs;
    std::vector<ParameterEntry const *> entries;
    for (auto const &entry : model.parameters().table().entries()) {
        auto const renamed = names.find(entry.name);
        specs.push_back({renamed == names.end() ? entry.name : renamed->second, DataType::f32, entry.shape});
        entries.push_back(&entry);
        if (auto const copy = twice.find(entry.name); copy != twice.end()) {
            specs.push_back({copy->second, DataType::f32, entry.shape});
            entries.push_back(&entry);
        }
    }
    SafetensorsWriter writer(folder / "model.safetensors", specs);
    auto const values = to_vector(model.parameters().values());
    for (std::size_t i = 0; i < specs.size(); ++i)
        writer.append(specs[i].name, values.data() + entries[i]->offset, entries[i]->size());
    writer.commit();
}

T5Config untied_and_gated() {
    auto config = small_t5();
    config.tie_word_embeddings = false;
    config.feed_forward_proj = "gated-gelu";
    return config;
}

/// Values of one tensor.
std::vector<double> tensor_of(T5<> const &model, std::string const &name) {
    auto const &table = model.parameters().table();
    auto const id = table.find(name);
    BOOST_REQUIRE(id >= 0);
    auto const all = to_vector(model.parameters().values());
    return {all.begin() + table[id].offset, all.begin() + table[id].offset + table[id].size()};
}

BOOST_AUTO_TEST_SUITE(t5_checkpoint)

BOOST_AUTO_TEST_CASE(a_saved_model_is_loaded_bit_by_bit) {
    for (auto const &config : {small_t5(), untied_and_gated()})
        for (bool const decoder : {true, false}) {
            TemporaryFolder const folder;
            auto const model = made_t5(config, {decoder});
            model.save(folder.path());
            auto const again = T5<>::load(folder.path());
            BOOST_TEST(again.heads().decoder == decoder);
            BOOST_TEST(
                compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
            BOOST_TEST(to_json(again.config()).dump() == to_json(model.config()).dump());
        }
}

BOOST_AUTO_TEST_CASE(the_encoder_of_a_whole_checkpoint_is_loaded_by_itself) {
    for (auto const &config : {small_t5(), untied_and_gated()}) {
        TemporaryFolder const folder;
        auto const whole = made_t5(config);
        whole.save(folder.path());
        auto const encoder = T5<>::load(folder.path(), {.decoder = false});
        for (auto const &entry : encoder.parameters().table().entries()) {
            BOOST_TEST(!entry.name.starts_with("decoder"));
            BOOST_TEST(compare_bits(entry.name, tensor_of(encoder, entry.name), tensor_of(whole, entry.name)));
        }
        Inference<Kokkos::DefaultExecutionSpace> context;
        auto const packed = make_packed(context, Example().view());
        BOOST_TEST(compare_bits("hidden", to_vector(encoder.encode(context, packed).view()),
                                to_vector(whole.encode(context, packed).view())));
        BOOST_TEST(message_of([&] { encoder.logits(context, encoder.encode(context, packed)); }) ==
                   "T5: logits: the model has no decoder");
        BOOST_TEST(message_of([&] {
                       encoder.decode(context, packed, encoder.encode(context, packed), packed.segments);
                   }) == "T5: decode: the model has no decoder");
    }
}

BOOST_AUTO_TEST_CASE(the_embedding_is_found_under_every_name_that_it_is_tied_to) {
    auto const model = made_t5();
    for (char const *name :
         {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}) {
        TemporaryFolder const folder;
        save_as(model, folder.path(), {{"shared.weight", name}});
        BOOST_TEST(compare_bits(name, to_vector(T5<>::load(folder.path()).parameters().values()),
                                to_vector(model.parameters().values())));
    }
    auto const encoder = made_t5(small_t5(), {.decoder = false});
    TemporaryFolder const folder;
    save_as(encoder, folder.path(), {}, {{"shared.weight", "encoder.embed_tokens.weight"}}); // T5EncoderModel's way
    BOOST_TEST(compare_bits("encoder", to_vector(T5<>::load(folder.path()).parameters().values()),
                            to_vector(encoder.parameters().values())));
}

BOOST_AUTO_TEST_CASE(prefixes_are_left_out_whether_or_not_they_look_like_a_part) {
    auto const whole = made_t5(), encoder = made_t5(small_t5(), {.decoder = false});
    for (std::string const prefix : {"module.", "model.", "encoder.", "transformer.", "_orig_mod.model."})
        for (auto const *model : {&whole, &encoder}) {
            TemporaryFolder const folder;
            std::map<std::string, std::string> names;
            for (auto const &entry : model->parameters().table().entries())
                names[entry.name] = prefix + entry.name;
            save_as(*model, folder.path(), names);
            auto const again = T5<>::load(folder.path());
            BOOST_TEST(again.heads().decoder == model->heads().decoder);
            BOOST_TEST(
                compare_bits(prefix, to_vector(again.parameters().values()), to_vector(model->parameters().values())));
            BOOST_TEST(again.parameters().notes().size() == 1u);
        }
}

BOOST_AUTO_TEST_CASE(an_untied_head_is_its_own_tensor) {
    auto const model = made_t5(untied_and_gated());
    BOOST_TEST(tensor_of(model, "lm_head.weight") != tensor_of(model, "shared.weight"));
    TemporaryFolder const folder;
    save_as(model, folder.path(), {{"lm_head.weight", "something.else"}});
    BOOST_TEST(message_of([&] { T5<>::load(folder.path()); }) ==
               folder.path().string() + ": does not fit the model: 1 of " +
                   std::to_string(model.parameters().table().entries().size()) +
                   " tensors is missing\n  missing: lm_head.weight (30, 24)\n  surplus: something.else (30, 24)");
}

BOOST_AUTO_TEST_CASE(names_are_hugging_faces_in_their_order) {
    std::vector<std::string> names;
    auto config = small_t5();
    config.num_layers = config.num_decoder_layers = 1;
    auto const table = t5_table(config).first;
    for (auto const &entry : table.entries())
        names.push_back(entry.name);
    std::vector<std::string> const expected{"shared.weight",
                                            "encoder.block.0.layer.0.SelfAttention.q.weight",
                                            "encoder.block.0.layer.0.SelfAttention.k.weight",
                                            "encoder.block.0.layer.0.SelfAttention.v.weight",
                                            "encoder.block.0.layer.0.SelfAttention.o.weight",
                                            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                                            "encoder.block.0.layer.0.layer_norm.weight",
                                            "encoder.block.0.layer.1.DenseReluDense.wi.weight",
                                            "encoder.block.0.layer.1.DenseReluDense.wo.weight",
                                            "encoder.block.0.layer.1.layer_norm.weight",
                                            "encoder.final_layer_norm.weight",
                                            "decoder.block.0.layer.0.SelfAttention.q.weight",
                                            "decoder.block.0.layer.0.SelfAttention.k.weight",
                                            "decoder.block.0.layer.0.SelfAttention.v.weight",
                                            "decoder.block.0.layer.0.SelfAttention.o.weight",
                                            "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                                            "decoder.block.0.layer.0.layer_norm.weight",
                                            "decoder.block.0.layer.1.EncDecAttention.q.weight",
                                            "decoder.block.0.layer.1.EncDecAttention.k.weight",
                                            "decoder.block.0.layer.1.EncDecAttention.v.weight",
                                            "decoder.block.0.layer.1.EncDecAttention.o.weight",
                                            "decoder.block.0.layer.1.layer_norm.weight",
                                            "decoder.block.0.layer.2.DenseReluDense.wi.weight",
                                            "decoder.block.0.layer.2.DenseReluDense.wo.weight",
                                            "decoder.block.0.layer.2.layer_norm.weight",
                                            "decoder.final_layer_norm.weight"};
    BOOST_TEST(names == expected, boost::test_tools::per_element());
    auto const gated = t5_table(untied_and_gated()).first;
    BOOST_TEST(gated.find("encoder.block.1.layer.1.DenseReluDense.wi_0.weight") >= 0);
    BOOST_TEST(gated.find("decoder.block.2.layer.2.DenseReluDense.wi_1.weight") >= 0);
    BOOST_TEST(gated.entries().back().name == "lm_head.weight");
}

// Deviations of a factor of 1.5: sample deviations of some hundred values are good to about a tenth.
BOOST_AUTO_TEST_CASE(weights_begin_as_hugging_face_draws_them) {
    auto const model = made_t5();
    auto const deviation = [&](std::string const &name) {
        double sum = 0;
        auto const values = tensor_of(model, name);
        for (double const v : values)
            sum += v * v;
        return std::sqrt(sum / static_cast<double>(values.size()));
    };
    std::string const block = "decoder.block.0.layer.";
    for (auto const &[name, expected] :
         std::vector<std::pair<std::string, double>>{{"shared.weight", 1.0},
                                                     {block + "0.SelfAttention.q.weight", 1 / std::sqrt(24.0 * 5)},
                                                     {block + "0.SelfAttention.k.weight", 1 / std::sqrt(24.0)},
                                                     {block + "1.EncDecAttention.v.weight", 1 / std::sqrt(24.0)},
                                                     {block + "1.EncDecAttention.o.weight", 1 / std::sqrt(15.0)},
                                                     {block + "2.DenseReluDense.wi.weight", 1 / std::sqrt(24.0)},
                                                     {block + "2.DenseReluDense.wo.weight", 1 / std::sqrt(28.0)}})
        BOOST_TEST(std::abs(deviation(name) / (1.5 * expected) - 1) < 0.15, name << ' ' << deviation(name));
    BOOST_TEST(deviation(block + "0.layer_norm.weight") == 1.0);
    double largest = 0;
    for (double const v : tensor_of(model, "shared.weight"))
        largest = std::max(largest, std::abs(v));
    BOOST_TEST(largest > 2 * 1.5); // not cut off
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
