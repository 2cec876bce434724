#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/safetensors.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <io/full_disk.hpp>
#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "safetensors";

/// A file in memory: its header's size, the header, `data` zero bytes.
std::string file_of(std::string const &header, std::size_t data) {
    std::uint64_t const size = header.size();
    std::string text(reinterpret_cast<char const *>(&size), 8);
    return text + header + std::string(data, '\0');
}

std::string message_of_header(std::string const &header, std::size_t data) {
    std::string const text = file_of(header, data);
    return message_of([&] { SafetensorsFile(std::as_bytes(std::span(text)), "file"); });
}

} // namespace

BOOST_AUTO_TEST_SUITE(safetensors)

BOOST_AUTO_TEST_CASE(every_hostile_file_ends_in_its_message) {
    std::pair<char const *, char const *> const cases[] = {
        {"deep_json", "the header is not a JSON object"},
        {"duplicate_name", "tensor \"w\": the name appears twice"},
        {"header_longer_than_file", "the header claims 1099511627776 bytes"},
        {"header_not_json", "the header is not JSON: line 1, column 3"},
        {"hole", "bytes 0 to 16 before tensor \"w\" belong to no tensor"},
        {"negative_shape", "tensor \"w\": shape: negative number -2"},
        {"offsets_past_end", "tensor \"w\": ends at byte 1099511627776 of the data, but the file has only 16"},
        {"offsets_reversed", "tensor \"w\": data_offsets run backwards, from 16 to 0"},
        {"overlapping", "tensor \"b\" begins at byte 8 and overlaps the one before"},
        {"shape_does_not_match", "the shape (3, 3) of F32 needs 36 bytes, data_offsets give 16"},
        {"shape_overflow", "the shape (4611686018427387904, 8) overflows"},
        {"too_short", "3 bytes are too short"},
        {"truncated", "ends at byte 16 of the data, but the file has only 7; it is truncated"},
        {"unknown_dtype", "tensor \"w\": dtype: unknown data type \"Q9\""}};
    for (auto const &[name, expected] : cases) {
        auto const path = fixtures / (std::string(name) + ".safetensors");
        auto const message = message_of([&] { SafetensorsFile{path}; });
        BOOST_TEST(message.starts_with(path.string() + ": "), message);
        BOOST_TEST(has(message, expected), message);
        BOOST_TEST(has(message_of([&] { CheckpointFolder{path}; }), expected));
    }
}

BOOST_AUTO_TEST_CASE(malformed_headers_end_in_their_message) {
    std::string const good = R"("w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]})";
    BOOST_TEST(message_of_header("{" + good + "}", 16) == "(no error)");
    BOOST_TEST(message_of_header("{" + good + "}     ", 16) == "(no error)");
    BOOST_TEST(message_of_header("{}", 0) == "(no error)");
    std::pair<std::string, char const *> const cases[] = {
        {"{" + good + ",}", "expected string literal"},
        {"{" + good + "}x", "the header is not JSON"},
        {"{" + good, "unexpected end of input"},
        {"{" + good.substr(0, 20) + "\xff" + good.substr(20) + "}", "ill-formed UTF-8"},
        {R"({"w":1})", "tensor \"w\": found a number, expected an object"},
        {R"({"w":{"dtype":"F32","shape":[4]}})", "tensor \"w\": has no data_offsets"},
        {R"({"w":{"dtype":"F32","data_offsets":[0,16]}})", "tensor \"w\": has no shape"},
        {R"({"w":{"shape":[4],"data_offsets":[0,16]}})", "tensor \"w\": has no dtype"},
        {R"({"w":{}})", "tensor \"w\": has no dtype"},
        {R"({"w":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}})", "dtype: appears twice"},
        {R"({"w":{"dtype":"F32","shape":4,"data_offsets":[0,16]}})", "shape: found a number"},
        {R"({"w":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}})", "shape: found the number 4.0"},
        {R"({"w":{"dtype":"F32","shape":["4"],"data_offsets":[0,16]}})", "shape: found the string \"4\""},
        {R"({"w":{"dtype":"F32","shape":[[4]],"data_offsets":[0,16]}})", "shape: found an array"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[16]}})", "data_offsets: has 1 numbers, expected 2"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16,32]}})", "has more than two numbers"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]}})", "past the largest file"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999999999999999]}})", "found the number 99999"},
        {R"({"w":{"dtype":{},"shape":[4],"data_offsets":[0,16]}})", "dtype: found an object"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"more":1}})", "more: is not a field of the format"},
        {R"({"w":null})", "tensor \"w\": found null"},
        {R"({"__metadata__":{"format":1}})", "tensor \"__metadata__\": format: found a number, expected a string"},
        {R"({"__metadata__":{"a":"1","a":"2"}})", "a: appears twice"},
        {R"({"w":{"dtype":"F64","shape":[2305843009213693952,0,8],"data_offsets":[0,0]}})", "(no error)"},
        {R"({"w":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}})", "overflows"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}} )", "(no error)"}};
    for (auto const &[header, expected] : cases) {
        auto const message = message_of_header(header, has(header, "16") ? 16 : 0);
        BOOST_TEST(has(message, expected), header << " gives: " << message);
    }
    BOOST_TEST(has(message_of_header("{" + good + "}", 20), "4 bytes after the last tensor belong to no tensor"));
    std::string dims = R"({"w":{"dtype":"F32","shape":[1)";
    for (int i = 0; i < 64; ++i)
        dims += ",1";
    BOOST_TEST(has(message_of_header(dims + R"(],"data_offsets":[0,4]}})", 4), "more than 64 dimensions"));
}

BOOST_AUTO_TEST_CASE(a_hostile_name_is_cut_and_made_printable_in_messages) {
    std::string const header = "{\"" + std::string(5000, 'n') + "\\n\\u001b\":1}";
    auto const message = message_of_header(header, 0);
    BOOST_TEST(message.size() < 300u);
    BOOST_TEST(has(message_of_header("{\"a\\n\\u001b[31m\":1}", 0), "tensor \"a??[31m\""));
}

BOOST_AUTO_TEST_CASE(a_file_written_elsewhere_reads_value_by_value) {
    SafetensorsFile const file(fixtures / "expected.safetensors");
    BOOST_TEST(file.tensors().size() == 13u);
    BOOST_TEST(file.tensors().front().name == "long");
    BOOST_TEST(file.read<float>("scalar") == std::vector<float>{3.25f}, boost::test_tools::per_element());
    BOOST_TEST(file.info("scalar").shape.empty());
    BOOST_TEST((file.info("empty").shape == std::vector<index_t>{0, 4}));
    BOOST_TEST(file.read<double>("empty").empty());
    BOOST_TEST((file.read<std::int32_t>("long") == std::vector<std::int32_t>{0, 1, 2, 3, 4}));
    BOOST_TEST((file.read<std::uint8_t>("bool") == std::vector<std::uint8_t>{1, 0, 1}));
    BOOST_TEST(file.read<float>("half")[1] == 0.47949219f);
    BOOST_TEST(file.read<float>("bfloat")[0] == -0.66015625f);
    BOOST_TEST(file.read<double>("double")[1] == 0.48601, boost::test_tools::tolerance(1e-5));
    BOOST_TEST(file.read<std::int8_t>("vector")[8] == 8);
    auto const plain = file.read<float>("plain"), transposed = file.read<float>("transposed");
    for (std::size_t i = 0; i < 7; ++i)
        for (std::size_t j = 0; j < 5; ++j)
            BOOST_TEST(plain[i * 5 + j] == transposed[j * 7 + i]);
    float two[2];
    file.read_range(file.info("plain"), 33, two, 2);
    BOOST_TEST(two[1] == plain[34]);
}

BOOST_AUTO_TEST_CASE(reading_what_is_not_there_names_file_and_tensor) {
    SafetensorsFile const file(fixtures / "expected.safetensors");
    float values[64];
    std::int32_t integers[64];
    BOOST_TEST(!file.contains("w"));
    BOOST_TEST(has(message_of([&] { file.read_into("w", values, 1); }), "expected.safetensors: has no tensor \"w\""));
    BOOST_TEST(has(message_of([&] { file.read_into("plain", values, 34); }),
                   "tensor \"plain\" has 35 elements of shape (7, 5), expected 34"));
    auto const range = [&](index_t first, index_t count) {
        return message_of([&] { file.read_range(file.info("plain"), first, values, count); });
    };
    BOOST_TEST(has(range(30, 6), "tensor \"plain\": elements 30 to 30 + 6 of 35"));
    BOOST_TEST(has(range(36, 1), "of 35"));
    BOOST_TEST(has(range(-1, 1), "of 35"));
    BOOST_TEST(has(message_of([&] { file.read_into("plain", integers, 35); }),
                   "tensor \"plain\": element 0 of type F32 has no exact value of type I32"));
    BOOST_TEST(has(message_of([] { SafetensorsFile(fixtures / "nothing.safetensors"); }), "cannot open"));
    BOOST_TEST(has(message_of([] { SafetensorsFile{fixtures}; }), "not a regular file"));
}

BOOST_AUTO_TEST_CASE(eight_bit_floats_are_listed_but_not_converted) {
    auto const text = file_of(R"({"w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", 4);
    SafetensorsFile const file(std::as_bytes(std::span(text)), "file");
    BOOST_TEST(file.bytes("w").size() == 4u);
    BOOST_TEST(has(message_of([&] { file.read<float>("w"); }), "tensor \"w\": elements of type F8_E4M3"));
}

BOOST_AUTO_TEST_CASE(types_that_came_later_are_listed_and_no_more) {
    auto const text = file_of(R"({"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]},)"
                              R"("b":{"dtype":"F4","shape":[2,4],"data_offsets":[4,8]},)"
                              R"("c":{"dtype":"C64","shape":[1],"data_offsets":[8,16]},)"
                              R"("w":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})",
                              20);
    SafetensorsFile const file(std::as_bytes(std::span(text)), "file");
    BOOST_TEST(file.info("a").type_name() == "F8_E8M0");
    BOOST_TEST(file.info("b").type_name() == "F4");
    BOOST_TEST(file.info("b").count() == 8);
    BOOST_TEST(file.info("c").count() == 1);
    BOOST_TEST(file.read<float>("w").size() == 1u);
    for (auto const *name : {"a", "b", "c"})
        BOOST_TEST(has(message_of([&] { file.read<float>(name); }), "cannot be converted"));
    BOOST_TEST(has(message_of_header(R"({"w":{"dtype":"F4","shape":[1000],"data_offsets":[0,4]}})", 4),
                   "the shape (1000) needs more than 4 bytes"));
    for (auto const *type : {"f32", "F", "Float32", "Q9", "F0", "BF", "int8", "F8 E8"})
        BOOST_TEST(has(message_of_header(
                           R"({"w":{"dtype":")" + std::string(type) + R"(","shape":[4],"data_offsets":[0,4]}})", 4),
                       "unknown data type"),
                   type);
}

BOOST_AUTO_TEST_CASE(a_moved_file_keeps_its_tensors) {
    std::vector<SafetensorsFile> files;
    files.emplace_back(fixtures / "expected.safetensors");
    for (int i = 0; i < 5; ++i)
        files.emplace_back(fixtures / "sharded" / "model-00002-of-00002.safetensors");
    BOOST_TEST(files[0].read<float>("scalar")[0] == 3.25f);
    BOOST_TEST(files[0].name() == (fixtures / "expected.safetensors").string());
}

BOOST_AUTO_TEST_CASE(what_is_written_reads_back_for_every_type) {
    TemporaryFolder const folder;
    auto const path = folder / "all.safetensors";
    std::vector<TensorSpec> specs;
    for (index_t const width : {8, 4, 2, 1})
        for (auto const &row : detail::data_type_table)
            if (row.bytes == width && !row.name.starts_with("F8"))
                specs.push_back({"tensor." + std::string(row.name), row.type, {3, 1, 5}});
    double values[15];
    for (int i = 0; i < 15; ++i)
        values[i] = i % 2;
    SafetensorsWriter writer(path, specs, {{"format", "pt"}, {"step", "12"}});
    for (auto const &spec : specs) {
        writer.append(spec.name, values, 4);
        writer.append(spec.name, values + 4, 11);
    }
    BOOST_TEST(!std::filesystem::exists(path));
    writer.commit();
    SafetensorsFile const file(path);
    BOOST_TEST(file.tensors().size() == specs.size());
    BOOST_TEST(file.metadata().at("format") == "pt");
    BOOST_TEST(file.metadata().at("step") == "12");
    for (std::size_t t = 0; t < specs.size(); ++t) {
        BOOST_TEST(file.tensors()[t].name == specs[t].name);
        BOOST_TEST((file.tensors()[t].dtype == specs[t].dtype));
        BOOST_TEST((file.tensors()[t].shape == specs[t].shape));
        BOOST_TEST(file.read<double>(specs[t].name) == values, boost::test_tools::per_element());
    }
    auto const text = test::read_file(path);
    std::uint64_t size = 0;
    std::memcpy(&size, text.data(), 8);
    BOOST_TEST(size % 8 == 0u); // so the data begin at a multiple of eight bytes
}

BOOST_AUTO_TEST_CASE(long_tensors_convert_piece_by_piece) {
    TemporaryFolder const folder;
    std::vector<float> values(100'000);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = float(i % 256) - 128; // exact in bfloat16
    std::vector<TensorSpec> const specs = {
        {"first", DataType::f32, {0, 7}}, {"w", DataType::bf16, {100'000}}, {"last", DataType::f32, {0}}};
    SafetensorsWriter writer(folder / "a", specs);
    writer.append("w", values.data(), 100'000);
    writer.commit();
    SafetensorsFile const file(folder / "a");
    BOOST_TEST((file.read<float>("w") == values));
    BOOST_TEST(file.bytes("w").size() == 200'000u);
}

BOOST_AUTO_TEST_CASE(a_writer_refuses_what_would_be_a_wrong_file) {
    TemporaryFolder const folder;
    auto const path = folder / "a";
    using Specs = std::vector<TensorSpec>;
    auto const make = [&](Specs specs) { return message_of([&] { SafetensorsWriter(path, std::move(specs)); }); };
    BOOST_TEST(has(make({{"w", DataType::f32, {1}}, {"w", DataType::f32, {1}}}), "\"w\" is declared twice"));
    BOOST_TEST(has(make({{"__metadata__", DataType::f32, {1}}}), "declared twice"));
    BOOST_TEST(has(make({{"w", DataType::f32, {-1}}}), "negative or overflows"));
    BOOST_TEST(has(make({{"w", DataType::f32, {index_t(1) << 40, index_t(1) << 40}}}), "overflows"));
    BOOST_TEST(has(make({{"a", DataType::f16, {1}}, {"w", DataType::f32, {1}}}), "misaligned"));
    BOOST_TEST(has(make({{"\xff", DataType::f32, {1}}}), "header cannot be written"));
    float const values[4] = {1, 2, 0.5f, 4};
    SafetensorsWriter writer(path, {{"a", DataType::i32, {3}}, {"b", DataType::f32, {2}}});
    BOOST_TEST(has(message_of([&] { writer.append("b", values, 2); }), "\"b\" appended, but \"a\" is next"));
    BOOST_TEST(has(message_of([&] { writer.append("a", values, 4); }), "4 elements appended, 3 of 3 are missing"));
    BOOST_TEST(has(message_of([&] { writer.append("a", values, 3); }), "element 2 has no exact value of type I32"));
    BOOST_TEST(has(message_of([&] { writer.commit(); }), "tensor \"a\" is not complete"));
    SafetensorsWriter done(folder / "b", {{"a", DataType::f32, {1}}});
    done.append("a", values, 1);
    BOOST_TEST(has(message_of([&] { done.append("a", values, 1); }), "all tensors are complete"));
}

BOOST_AUTO_TEST_CASE(without_commit_the_old_file_stands) {
    TemporaryFolder const folder;
    auto const path = folder.write("model.safetensors", "old");
    float const value = 1;
    {
        SafetensorsWriter writer(path, {{"w", DataType::f32, {1}}});
        writer.append("w", &value, 1);
    }
    BOOST_TEST(test::read_file(path) == "old");
    BOOST_TEST(!std::filesystem::exists(path.string() + ".partial"));
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_the_old_file) {
    TemporaryFolder const folder;
    auto const path = folder.write("model.safetensors", "old");
    std::vector<float> const values(1 << 16);
    auto const message = message_of([&] {
        SafetensorsWriter writer(path, {{"w", DataType::f32, {1 << 16}}});
        test::FullDisk const full(4096);
        writer.append("w", values.data(), 1 << 16);
        writer.commit();
    });
    BOOST_TEST(has(message, "model.safetensors.partial: cannot"), message);
    BOOST_TEST(test::read_file(path) == "old");
}

BOOST_AUTO_TEST_CASE(shards_read_as_one_checkpoint) {
    CheckpointFolder sharded(fixtures / "sharded");
    CheckpointFolder const checkpoint = std::move(sharded);
    SafetensorsFile const expected(fixtures / "expected.safetensors");
    BOOST_TEST(checkpoint.files().size() == 2u);
    BOOST_TEST(checkpoint.tensors().size() == expected.tensors().size());
    for (auto const &tensor : expected.tensors()) {
        BOOST_REQUIRE(checkpoint.contains(tensor.name));
        BOOST_TEST((checkpoint.info(tensor.name).shape == tensor.shape));
        BOOST_TEST((checkpoint.read<double>(tensor.name) == expected.read<double>(tensor.name)));
    }
    BOOST_TEST(has(message_of([&] { checkpoint.info("w"); }), "sharded: has no tensor \"w\""));
}

BOOST_AUTO_TEST_CASE(a_checkpoint_never_leaves_its_folder) {
    auto const message = message_of([] { CheckpointFolder(fixtures / "index_escapes_folder"); });
    BOOST_TEST(has(message, "\"../../expected.safetensors\" is not the name of a file in this folder"), message);
    TemporaryFolder const folder;
    for (std::string const name : {"..", ".", "", "/etc/passwd", "a/b", "a\\\\b", "a\\u0000b"}) {
        folder.write("model.safetensors.index.json", "{\"weight_map\": {\"w\": \"" + name + "\"}}");
        BOOST_TEST(has(message_of([&] { CheckpointFolder(folder.path()); }), "weight_map: w: "), name);
    }
}

BOOST_AUTO_TEST_CASE(incomplete_checkpoints_say_what_is_missing) {
    TemporaryFolder const folder;
    auto const open = [&] { return message_of([&] { CheckpointFolder(folder.path()); }); };
    BOOST_TEST(has(message_of([&] { CheckpointFolder(folder / "none"); }), "no such checkpoint"));
    BOOST_TEST(has(open(), "has neither model.safetensors nor pytorch_model.bin"));
    folder.write("adapter_config.json", "{}");
    BOOST_TEST(has(open(), "adapter_config.json is there: an adapter of PEFT"));
    auto const index = [&](char const *text) { folder.write("model.safetensors.index.json", text); };
    index("[]");
    BOOST_TEST(has(open(), "has no object weight_map"));
    index("{\"weight_map\": {\"w\": 1}}");
    BOOST_TEST(has(open(), "w: expected a file name"));
    index("{\"weight_map\": {\"w\": \"a.safetensors\"}}");
    BOOST_TEST(has(open(), "the shard a.safetensors is missing"));
    std::filesystem::copy(fixtures / "expected.safetensors", folder / "a.safetensors");
    BOOST_TEST(has(open(), "a.safetensors: has no tensor \"w\""));
    index("{\"weight_map\": {\"scalar\": \"a.safetensors\"}}");
    CheckpointFolder const checkpoint(folder.path());
    BOOST_TEST(checkpoint.tensors().size() == 1u);
    BOOST_TEST(!checkpoint.contains("plain"));
}

BOOST_AUTO_TEST_SUITE_END()
