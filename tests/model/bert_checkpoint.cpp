#include <model/models.hpp>
#include <support/compare.hpp>
#include <support/temporary_folder.hpp>

#include <algorithm>
#include <functional>
#include <limits>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

template <class S = float>
Bert<S> made(BertHeads heads = {}) {
    Bert<S> model(small_config(), heads);
    model.initialise(3);
    return model;
}

/// Writes a checkpoint with the tensors of `model` under other names, without those whose new name is empty.
template <class Rename>
void save_renamed(Bert<> const &model, std::filesystem::path const &folder, Rename rename,
                  std::vector<TensorSpec> const &more = {}) {
    write_json(folder / "config.json", to_json(model.config()));
    std::vector<TensorSpec> specs;
    std::vector<ParameterEntry const *> entries;
    for (auto const &entry : model.parameters().table().entries())
        if (auto const name = rename(entry.name); !name.empty()) {
            specs.push_back({name, DataType::f32, entry.shape});
            entries.push_back(&entry);
        }
    auto all = specs;
    all.insert(all.end(), more.begin(), more.end());
    SafetensorsWriter writer(folder / "model.safetensors", all);
    auto const values = to_vector(model.parameters().values());
    for (std::size_t i = 0; i < specs.size(); ++i)
        writer.append(specs[i].name, values.data() + entries[i]->offset, entries[i]->size());
    for (auto const &spec : more) {
        index_t count = 1;
        for (index_t const extent : spec.shape)
            count *= extent;
        writer.append(spec.name, std::vector<float>(static_cast<std::size_t>(count)).data(), count);
    }
    writer.commit();
}

std::string replaced(std::string text, std::string const &from, std::string const &to) {
    if (auto const at = text.find(from); at != text.npos)
        text.replace(at, from.size(), to);
    return text;
}

BOOST_AUTO_TEST_SUITE(bert_checkpoint)

BOOST_AUTO_TEST_CASE(a_saved_model_is_loaded_bit_by_bit) {
    TemporaryFolder const folder;
    auto const model = made({.pooler = true, .masked = true, .next_sentence = true});
    model.save(folder.path());
    auto const again = Bert<>::load(folder.path());
    BOOST_TEST(compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
    BOOST_TEST(to_json(again.config()).dump() == to_json(model.config()).dump());
    auto const wide = Bert<double>::load(folder.path());
    BOOST_TEST(compare_bits("double", to_vector(wide.parameters().values()), to_vector(model.parameters().values())));
}

BOOST_AUTO_TEST_CASE(sixteen_bits_on_disk_are_rounded_values) {
    TemporaryFolder const folder;
    auto const model = made();
    for (DataType const type : {DataType::bf16, DataType::f16}) {
        model.save(folder.path(), type);
        std::vector<double> expected;
        for (double const value : to_vector(model.parameters().values())) {
            auto const f = static_cast<float>(value);
            expected.push_back(type == DataType::bf16 ? static_cast<float>(bfloat16(f)) : static_cast<float>(half(f)));
        }
        BOOST_TEST(compare_bits("rounded", to_vector(Bert<>::load(folder.path()).parameters().values()), expected));
    }
    model.save(folder.path(), DataType::bf16);
    auto const small = Bert<bfloat16>::load(folder.path()); // nothing is lost on the way
    small.save(folder.path(), DataType::bf16);
    BOOST_TEST(compare_bits("again", to_vector(Bert<bfloat16>::load(folder.path()).parameters().values()),
                            to_vector(small.parameters().values())));
}

BOOST_AUTO_TEST_CASE(the_heads_of_a_checkpoint_are_kept) {
    for (int bits = 0; bits < 8; ++bits) {
        TemporaryFolder const folder;
        BertHeads const heads{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
        made(heads).save(folder.path());
        auto const again = Bert<>::load(folder.path());
        BOOST_TEST(again.heads().pooler == heads.pooler);
        BOOST_TEST(again.heads().masked == heads.masked);
        BOOST_TEST(again.heads().next_sentence == heads.next_sentence);
    }
}

BOOST_AUTO_TEST_CASE(old_names_and_names_without_prefix_are_found) {
    auto const model = made({.pooler = true, .masked = true, .next_sentence = true});
    auto const expected = to_vector(model.parameters().values());
    auto const old_norm = [](std::string name) {
        return replaced(replaced(name, "LayerNorm.weight", "LayerNorm.gamma"), "LayerNorm.bias", "LayerNorm.beta");
    };
    auto const bare = [](std::string name) { return name.starts_with("bert.") ? name.substr(5) : name; };
    auto const tied = [](std::string name) {
        return replaced(name, "cls.predictions.bias", "cls.predictions.decoder.bias");
    };
    for (int way = 0; way < 4; ++way) {
        TemporaryFolder const folder;
        save_renamed(model, folder.path(), [&](std::string const &name) {
            return way == 0 ? old_norm(name) : way == 1 ? bare(name) : way == 2 ? bare(old_norm(name)) : tied(name);
        });
        BOOST_TEST(compare_bits("values", to_vector(Bert<>::load(folder.path()).parameters().values()), expected));
    }
}

BOOST_AUTO_TEST_CASE(all_that_does_not_fit_is_in_one_message_with_shapes) {
    TemporaryFolder const folder;
    auto const model = made();
    save_renamed(model, folder.path(),
                 [](std::string const &name) {
                     bool const gone = name == "bert.encoder.layer.1.intermediate.dense.bias" ||
                                       name == "bert.embeddings.LayerNorm.weight" ||
                                       name.find("token_type") != name.npos;
                     return gone ? std::string() : name;
                 },
                 {{"bert.embeddings.token_type_embeddings.weight", DataType::f32, {3, 24}},
                  {"classifier.weight", DataType::f32, {2, 24}}});
    auto const text = message_of([&] { Bert<>::load(folder.path()); });
    BOOST_TEST(text == folder.path().string() +
                           ": does not fit the model: 2 of 58 tensors are missing, 1 cannot be taken"
                           "\n  bert.embeddings.token_type_embeddings.weight has shape (3, 24), expected (2, 24)"
                           "\n  missing: bert.embeddings.LayerNorm.weight (24)"
                           "\n  missing: bert.encoder.layer.1.intermediate.dense.bias (40)"
                           "\n  surplus: classifier.weight (2, 24)");
}

BOOST_AUTO_TEST_CASE(surplus_tensors_are_listed_and_do_no_harm) {
    TemporaryFolder const folder;
    auto const model = made();
    save_renamed(model, folder.path(), [](std::string const &name) { return name; },
                 {{"bert.embeddings.position_ids", DataType::i64, {1, 40}}, {"a.head.of.others", DataType::f32, {2}}});
    auto again = Bert<>::load(folder.path());
    auto surplus = load_weights(again.parameters(), CheckpointFolder(folder.path()), "bert.");
    std::sort(surplus.begin(), surplus.end());
    BOOST_TEST(surplus == (std::vector<std::string>{"a.head.of.others", "bert.embeddings.position_ids"}),
               boost::test_tools::per_element());
    BOOST_TEST(compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
}

BOOST_AUTO_TEST_CASE(a_tensor_under_two_names_with_two_values_is_refused) {
    auto const model = made();
    std::string const name = "bert.embeddings.word_embeddings.weight", bare = "embeddings.word_embeddings.weight";
    auto const same = [](std::string const &of) { return of; };
    auto const shape = model.parameters().table()[model.parameters().table().find(name)].shape;
    TemporaryFolder const zeros, equal;
    save_renamed(model, zeros.path(), same, {{bare, DataType::f32, shape}});
    BOOST_TEST(!CheckpointFolder(zeros.path()).same_values(name, bare));
    auto const text = message_of([&] { Bert<>::load(zeros.path()); });
    BOOST_TEST((text.find(name + " and " + bare + " have different values, but they are one tensor") != text.npos));
    Bert<> empty(small_config());
    save_renamed(empty, equal.path(), same, {{bare, DataType::f32, shape}});
    BOOST_TEST(CheckpointFolder(equal.path()).same_values(name, bare));
    BOOST_TEST(!CheckpointFolder(equal.path()).same_values(name, "nothing"));
    Bert<>::load(equal.path());
}

BOOST_AUTO_TEST_CASE(what_wrappers_put_into_names_is_left_out_and_told) {
    auto const model = made();
    auto const expected = to_vector(model.parameters().values());
    auto const compiled = [](std::string const &name) {
        return replaced(name, "encoder.layer.1", "encoder.layer.1._fsdp_wrapped_module._checkpoint_wrapped_module");
    };
    using Rename = std::function<std::string(std::string const &)>;
    auto const before = [](std::string const &prefix) {
        return [prefix](std::string const &name) { return prefix + name; };
    };
    std::pair<Rename, std::string> const cases[] = {
        {before("module."), "without \"module.\" in"},
        {before("_orig_mod.module."), "without \"_orig_mod.\", \"module.\" in"},
        {before("model."), "without \"model.\" in"},
        {before("base_model.model."), "without \"base_model.model.\" in"},
        {before("_forward_module."), "without \"_forward_module.\" in"},
        {before("transformer."), "without \"transformer.\" in"},
        {before("model._orig_mod."), "without \"model.\", \"_orig_mod.\" in"},
        {[&](std::string const &name) { return "state." + compiled(name); },
         "without \"state.\", \"_checkpoint_wrapped_module.\", \"_fsdp_wrapped_module.\" in"}};
    for (auto const &[rename, note] : cases) {
        TemporaryFolder const folder;
        save_renamed(model, folder.path(), rename);
        auto const again = Bert<>::load(folder.path());
        BOOST_TEST(again.heads().masked);
        BOOST_TEST(compare_bits("values", to_vector(again.parameters().values()), expected));
        BOOST_REQUIRE(again.parameters().notes().size() == 1u);
        BOOST_TEST((again.parameters().notes()[0].find(note) != std::string::npos), again.parameters().notes()[0]);
        BOOST_TEST((Bert<>::load_encoder(folder.path()).parameters().notes().size() == 1u));
    }
    TemporaryFolder const plain;
    model.save(plain.path());
    BOOST_TEST(Bert<>::load(plain.path()).parameters().notes().empty());
}

BOOST_AUTO_TEST_CASE(two_models_in_one_file_are_refused) {
    auto const model = made();
    auto const shape = model.parameters().table().entries()[0].shape;
    auto const same = [](std::string const &of) { return of; };
    for (auto const &[more, part] :
         {std::pair{"module.bert.embeddings.word_embeddings.weight", "which are one tensor but for what stands before"},
          {"teacher.bert.embeddings.word_embeddings.weight", "with no prefix and with \"teacher.\" before"}}) {
        TemporaryFolder const folder;
        save_renamed(model, folder.path(), same, {{more, DataType::f32, shape}});
        auto const text = message_of([&] { Bert<>::load(folder.path()); });
        BOOST_TEST((text.find(part) != text.npos), text);
    }
}

BOOST_AUTO_TEST_CASE(quantised_weights_and_adapters_are_refused_by_their_kind) {
    auto const model = made();
    auto const same = [](std::string const &of) { return of; };
    for (auto const &[more, part] :
         {std::pair{"bert.pooler.dense.SCB", "LLM.int8 of bitsandbytes"},
          {"bert.pooler.dense.weight_format", "LLM.int8 of bitsandbytes"},
          {"bert.pooler.dense.weight.absmax", "4 bits of bitsandbytes"},
          {"bert.pooler.dense.weight.quant_state.bitsandbytes__nf4", "4 bits of bitsandbytes"},
          {"bert.pooler.dense.qweight", "GPTQ or AWQ"},
          {"bert.pooler.dense.weight_scale", "8-bit floats or integers with scales"},
          {"bert.pooler.dense.lora_A.default.weight", "is of an adapter (LoRA"},
          {"bert.pooler.dense.base_layer.weight", "is of an adapter (LoRA"}}) {
        TemporaryFolder const folder;
        save_renamed(model, folder.path(), same, {{more, DataType::f32, {1}}});
        auto const text = message_of([&] { Bert<>::load(folder.path()); });
        BOOST_TEST((text.find(part) != text.npos), text);
    }
    for (auto const &[value, part] :
         {std::pair{R"({"quant_method": "fp8"})", "quantised (config.json: quantization_config: fp8)"},
          {R"({"load_in_8bit": true, "quant_method": "bitsandbytes"})", "bitsandbytes, 8 bits"},
          {R"({"load_in_8bit": false, "load_in_4bit": false, "quant_method": "bitsandbytes"})", ""},
          {"{}", ""},
          {"null", ""}}) {
        TemporaryFolder const folder;
        model.save(folder.path());
        auto config = read_json(folder / "config.json");
        config["quantization_config"] = nlohmann::json::parse(value);
        write_json(folder / "config.json", config);
        if (*part == '\0') {
            Bert<>::load(folder.path());
            continue;
        }
        auto const text = message_of([&] { Bert<>::load(folder.path()); });
        BOOST_TEST((text.find(part) != text.npos), text);
    }
}

BOOST_AUTO_TEST_CASE(integers_are_no_weights) {
    auto const model = made();
    std::string const name = "bert.encoder.layer.0.output.dense.weight";
    auto const shape = model.parameters().table()[model.parameters().table().find(name)].shape;
    TemporaryFolder const folder;
    save_renamed(model, folder.path(), [&](std::string const &of) { return of == name ? "" : of; },
                 {{name, DataType::i8, shape}});
    auto const text = message_of([&] { Bert<>::load(folder.path()); });
    BOOST_TEST((text.find(name + " has integers (I8), expected floating-point numbers") != text.npos), text);
    BOOST_TEST((text.find("surplus") == text.npos), text); // nothing is missing that they may be
}

BOOST_AUTO_TEST_CASE(weights_that_are_not_finite_are_named) {
    auto const with = [](float value) {
        auto const model = made();
        auto const &entry =
            model.parameters().table()[model.parameters().table().find("bert.embeddings.LayerNorm.bias")];
        model.parameters().values()(static_cast<std::size_t>(entry.offset + 3)) = value;
        return model;
    };
    TemporaryFolder const folder;
    with(std::numeric_limits<float>::quiet_NaN()).save(folder.path());
    auto const nan = message_of([&] { Bert<>::load(folder.path()); });
    BOOST_TEST(
        (nan.find("model.safetensors: tensor \"bert.embeddings.LayerNorm.bias\": element 3 is no number (NaN)") !=
         nan.npos),
        nan);
    with(-std::numeric_limits<float>::infinity()).save(folder.path());
    auto const infinite = message_of([&] { Bert<bfloat16>::load(folder.path()); });
    BOOST_TEST((infinite.find("element 3 is infinite") != infinite.npos), infinite);
    with(1e5f).save(folder.path());
    Bert<>::load(folder.path());
    Bert<bfloat16>::load(folder.path());
    auto const large = message_of([&] { Bert<half>::load(folder.path()); });
    BOOST_TEST((large.find("element 3 is 100000, which no F16 can hold") != large.npos), large);
}

/// A table of the fixture's contiguous tensor and of two that share a storage at strides.
BOOST_AUTO_TEST_CASE(a_flipped_bit_in_a_zip_member_is_told) {
    auto const good = test::read_file(std::filesystem::path(PROTLM_TEST_FIXTURES) / "checkpoint_files/good/zip.bin");
    TemporaryFolder const folder;
    for (std::string const name : {"plain", "transposed", "view"}) {
        auto const load = [&](std::string const &text) {
            CheckpointFolder const checkpoint(folder.write("x.bin", text));
            ParameterTable table;
            table.add(name, checkpoint.info(name).shape, Initialiser::zeros());
            Parameters<float, Exec> parameters(std::move(table));
            load_weights(parameters, checkpoint, "");
            return static_cast<std::size_t>(checkpoint.info(name).begin);
        };
        auto bad = good;
        bad[load(good)] ^= 1;
        auto const text = message_of([&] { load(bad); });
        BOOST_TEST((text.find("x.bin: tensor \"" + name + "\": its bytes are damaged (their CRC-32") != text.npos),
                   text);
    }
}

BOOST_AUTO_TEST_CASE(a_checkpoint_of_another_family_is_called_one) {
    TemporaryFolder const folder;
    auto const model = made();
    save_renamed(model, folder.path(), [](std::string const &name) {
        return replaced(replaced(replaced(name, "bert.", "esm."), "word_emb", "emb"), "predictions", "head");
    });
    auto const text = message_of([&] { Bert<>::load_encoder(folder.path()); });
    BOOST_TEST((text.find("missing: bert.encoder.layer.0.attention.self.query.weight (24, 24); has "
                          "esm.encoder.layer.0.attention.self.query.weight") != text.npos),
               text);
    BOOST_TEST((text.find("none of its 53 tensors is there by its name; is this a checkpoint of another family?") !=
                text.npos),
               text);
    BOOST_TEST(std::count(text.begin(), text.end(), '\n') < 30);
}

BOOST_AUTO_TEST_CASE(folders_without_a_model_are_told) {
    TemporaryFolder const folder;
    BOOST_TEST(message_of([&] { Bert<>::load(folder / "nothing"); }).starts_with((folder / "nothing").string()));
    made().save(folder.path());
    std::filesystem::remove(folder / "model.safetensors");
    BOOST_TEST(message_of([&] { Bert<>::load(folder.path()); }) ==
               folder.path().string() +
                   ": has neither model.safetensors nor pytorch_model.bin, nor the .index.json of one");
}

BOOST_AUTO_TEST_CASE(names_are_hugging_faces_in_their_order) {
    auto const [table, ids] = bert_table(small_config(), {.pooler = true, .masked = true, .next_sentence = true});
    std::vector<std::string> names;
    for (auto const &entry : table.entries())
        names.push_back(entry.name);
    BOOST_TEST(names.size() == 5u + 3 * 16 + 2 + 5 + 2);
    BOOST_TEST(names.front() == "bert.embeddings.word_embeddings.weight");
    BOOST_TEST(names[5] == "bert.encoder.layer.0.attention.self.query.weight");
    BOOST_TEST(names[20] == "bert.encoder.layer.0.output.LayerNorm.bias");
    BOOST_TEST(names.back() == "cls.seq_relationship.bias");
    BOOST_TEST(table.find("cls.predictions.decoder.weight") == table.find("bert.embeddings.word_embeddings.weight"));
    // ProtBert: 30 layers of 1,024; counted by hand
    BertConfig protbert;
    protbert.hidden_size = 1024;
    protbert.num_hidden_layers = 30;
    protbert.num_attention_heads = 16;
    protbert.intermediate_size = 4096;
    protbert.max_position_embeddings = 40000;
    index_t const layer = 4 * (1024 * 1024 + 1024) + 2 * 4096 * 1024 + 4096 + 1024 + 4 * 1024;
    index_t const embeddings = (30 + 40000 + 2) * 1024 + 2 * 1024, pooler = 1024 * 1024 + 1024;
    BOOST_TEST(bert_table(protbert, {.pooler = true, .masked = false}).first.parameter_count() ==
               30 * layer + embeddings + pooler);
}

/// Two models with common embeddings in one table, the second below "b.".
BOOST_AUTO_TEST_CASE(two_models_in_one_table_are_loaded_and_saved_each_by_itself) {
    TemporaryFolder const folder;
    auto const alone = made();
    alone.save(folder.path());
    ParameterTable table;
    auto const first = add_tensors(table, small_config(), {}, "a.");
    auto const second = add_tensors(table, small_config(), {}, "b.", first.embeddings);
    Parameters<float, Exec> shared(std::move(table));
    Bert<> const a(small_config(), {}, shared, first), b(small_config(), {}, shared, second);
    auto const part = part_of_table(shared.table(), alone.parameters().table(), {"b.", "a."});
    load_weights(shared, part, CheckpointFolder(folder.path()), "bert.");
    Example const example;
    Inference<Exec> context;
    auto const packed = make_packed(context, example.view());
    auto const expected = to_vector(alone.encode(context, packed).view());
    BOOST_TEST(compare_bits("b", to_vector(b.encode(context, packed).view()), expected));
    BOOST_TEST(to_vector(a.encode(context, packed).view()) != expected); // zeros but for the embeddings
    BOOST_TEST(shared.table().parameter_count() < 2 * alone.parameters().table().parameter_count());
    TemporaryFolder const again;
    write_json(again.path() / "config.json", to_json(small_config()));
    save_weights(shared, part, again.path() / "model.safetensors");
    BOOST_TEST(compare_bits("saved", to_vector(Bert<>::load(again.path()).parameters().values()),
                            to_vector(alone.parameters().values())));
    BOOST_TEST(message_of([&] { part_of_table(shared.table(), alone.parameters().table(), {"c."}); }) ==
               "part_of_table: no tensor c.bert.embeddings.word_embeddings.weight");
}

BOOST_AUTO_TEST_CASE(with_a_causal_mask_no_token_sees_a_later_one) {
    auto const model = made();
    Inference<Exec> context;
    auto const run = [&](std::int32_t last) {
        std::vector<std::int32_t> const tokens{2, 5, 6, 7, last};
        std::vector<std::int64_t> const offsets{0, 5};
        return to_vector(
            model.encode(context, make_packed(context, {tokens, {}, offsets}), nullptr, CausalMask{}).view());
    };
    auto const x = run(8), y = run(9);
    auto const width = static_cast<std::size_t>(model.config().hidden_size);
    BOOST_TEST(std::equal(x.begin(), x.begin() + 4 * width, y.begin()));
    BOOST_TEST(!std::equal(x.begin() + 4 * width, x.end(), y.begin() + 4 * width));
}

BOOST_AUTO_TEST_CASE(an_output_matrix_of_its_own_is_kept) {
    auto const folder = std::filesystem::path(PROTLM_TEST_FIXTURES) / "reference/bert_untied";
    auto const model = Bert<>::load(folder);
    BOOST_TEST(!model.config().tie_word_embeddings);
    TemporaryFolder const copy;
    model.save(copy.path());
    CheckpointFolder const before(folder), after(copy.path());
    for (auto const &tensor : before.tensors())
        if (tensor.info->name != "cls.predictions.bias") // which transformers 5 does not use
            BOOST_TEST((before.read<float>(tensor.info->name) == after.read<float>(tensor.info->name)),
                       tensor.info->name);
    // transformers 4 takes the bias from this name
    BOOST_TEST(after.same_values("cls.predictions.bias", "cls.predictions.decoder.bias"));
    auto const json = read_json(copy / "config.json");
    BOOST_TEST(json["tie_word_embeddings"] == false);
    BOOST_TEST((Bert<>::load(copy.path()).config().tie_word_embeddings == false));
    model.save(copy.path(), DataType::bf16);
    BOOST_TEST(read_json(copy / "config.json")["torch_dtype"] == "bfloat16");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
