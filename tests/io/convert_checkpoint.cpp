#include <protlm/io/convert_checkpoint.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <limits>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "checkpoint_files";

/// A file with one tensor "w" of float64.
std::filesystem::path file_with(TemporaryFolder const &folder, std::vector<double> const &values) {
    auto const count = static_cast<index_t>(values.size());
    SafetensorsWriter writer(folder / "w.safetensors", {{"w", DataType::f64, {count}}});
    writer.append("w", values.data(), count);
    writer.commit();
    return folder / "w.safetensors";
}

std::string message_of_convert(std::filesystem::path const &from, TemporaryFolder const &folder, DataType type) {
    return message_of([&] { convert_weights(CheckpointFolder(from), folder / "out.safetensors", type); });
}

/// config.json as the copy for weights of `precision` has it.
nlohmann::json config_of_copy(std::string const &config, std::optional<DataType> precision) {
    TemporaryFolder const folder;
    folder.write("config.json", config);
    CheckpointWriter writer(folder / "copy");
    copy_model_files(folder.path(), writer, precision);
    writer.commit();
    return read_json(folder / "copy/config.json");
}

} // namespace

BOOST_AUTO_TEST_SUITE(convert_checkpoint)

BOOST_AUTO_TEST_CASE(every_tensor_arrives_in_its_type_or_the_one_asked_for) {
    TemporaryFolder const folder;
    SafetensorsFile const expected(fixtures / "expected.safetensors");
    for (auto const *name : {"good/zip.bin", "good/legacy.bin", "good/sharded"}) {
        index_t last = 0, elements = 0;
        convert_weights(CheckpointFolder(fixtures / name), folder / "same", {}, [&](index_t done) { last = done; });
        convert_weights(CheckpointFolder(fixtures / name), folder / "double", DataType::f64);
        SafetensorsFile const same(folder / "same"), wide(folder / "double");
        for (auto const &tensor : expected.tensors()) {
            elements += tensor.count();
            BOOST_TEST((same.info(tensor.name).dtype == tensor.dtype));
            BOOST_TEST((wide.info(tensor.name).dtype == (is_float_type(tensor.dtype) ? DataType::f64 : tensor.dtype)));
            for (auto const *file : {&same, &wide})
                BOOST_TEST((file->read<double>(tensor.name) == expected.read<double>(tensor.name)), tensor.name);
        }
        BOOST_TEST(last == elements);
    }
}

BOOST_AUTO_TEST_CASE(what_the_new_type_cannot_hold_is_an_error) {
    TemporaryFolder const folder;
    double const infinity = std::numeric_limits<double>::infinity();
    BOOST_TEST(message_of_convert(file_with(folder, {65504, infinity, -infinity}), folder, DataType::f16) ==
               "(no error)");
    BOOST_TEST(has(message_of_convert(file_with(folder, {1, 65520}), folder, DataType::f16),
                   "tensor \"w\": 65520 does not fit into F16; bfloat16 has the range of float32"));
    BOOST_TEST(
        has(message_of_convert(file_with(folder, {1, -1e39}), folder, DataType::f32), "-1e+39 does not fit into F32"));
    BOOST_TEST(
        has(message_of_convert(file_with(folder, {1e39}), folder, DataType::bf16), "1e+39 does not fit into BF16"));
    BOOST_TEST(message_of_convert(file_with(folder, {1e39}), folder, DataType::f64) == "(no error)");
}

BOOST_AUTO_TEST_CASE(quantised_weights_adapters_and_damaged_bytes_are_not_converted) {
    TemporaryFolder const folder;
    float const value = 1;
    for (auto const &[name, part] :
         {std::pair{"a.SCB", "its weights are quantised (LLM.int8 of bitsandbytes: tensor \"a.SCB\")"},
          {"a.lora_A.weight", "is of an adapter (LoRA"}}) {
        SafetensorsWriter writer(folder / "w.safetensors", {{name, DataType::f32, {1}}});
        writer.append(name, &value, 1);
        writer.commit();
        BOOST_TEST(has(message_of_convert(folder / "w.safetensors", folder, DataType::f32), part));
    }
    auto text = test::read_file(fixtures / "good/zip.bin");
    for (auto const *name : {"plain", "view"}) {
        auto const place = static_cast<std::size_t>(CheckpointFolder(fixtures / "good/zip.bin").info(name).begin);
        text[place] ^= 1;
        BOOST_TEST(
            has(message_of_convert(folder.write("x.bin", text), folder, DataType::f32), "its bytes are damaged"));
        text[place] ^= 1;
    }
}

BOOST_AUTO_TEST_CASE(the_config_says_the_precision_of_the_weights) {
    auto const old = config_of_copy(R"({"torch_dtype": "float32", "a": 1})", DataType::bf16);
    BOOST_TEST((old == nlohmann::json{{"torch_dtype", "bfloat16"}, {"a", 1}}));
    auto const now = config_of_copy(R"({"dtype": "float32", "a": 1})", DataType::f16);
    BOOST_TEST((now == nlohmann::json{{"dtype", "float16"}, {"a", 1}}));
    BOOST_TEST((config_of_copy("{}", DataType::f32) == nlohmann::json{{"torch_dtype", "float32"}}));
    BOOST_TEST((config_of_copy(R"({"dtype": "x"})", {}) == nlohmann::json{{"dtype", "x"}}));
}

BOOST_AUTO_TEST_CASE(links_are_followed_in_the_folder_and_into_its_cache_only) {
    TemporaryFolder const folder;
    auto const copy = [&](std::filesystem::path const &model) {
        return message_of([&] {
            CheckpointWriter writer(folder / "copy");
            copy_model_files(model, writer, {});
            writer.commit();
        });
    };
    auto const snapshot = folder / "models--a--b/snapshots/c";
    std::filesystem::create_directories(snapshot);
    std::filesystem::create_directories(folder / "models--a--b/blobs");
    folder.write("models--a--b/blobs/1", "[PAD]\n");
    folder.write("secret", "[PAD]\n");
    std::filesystem::create_symlink("../../blobs/1", snapshot / "vocab.txt");
    BOOST_TEST(copy(snapshot) == "(no error)");
    BOOST_TEST(test::read_file(folder / "copy/vocab.txt") == "[PAD]\n");
    BOOST_TEST(std::filesystem::is_regular_file(std::filesystem::symlink_status(folder / "copy/vocab.txt")));
    std::filesystem::remove(snapshot / "vocab.txt");
    std::filesystem::create_symlink("../../../secret", snapshot / "vocab.txt");
    BOOST_TEST(has(copy(snapshot), "vocab.txt: is a link that leads out of the model's folder, to "));
    std::filesystem::remove(snapshot / "vocab.txt");
    folder.write("models--a--b/snapshots/c/tokenizer.json", "no JSON");
    BOOST_TEST(has(copy(snapshot), "tokenizer.json: line 1"));
}

BOOST_AUTO_TEST_SUITE_END()
