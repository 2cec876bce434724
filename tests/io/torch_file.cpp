#include <protlm/io/checkpoint_folder.hpp>
#include <protlm/io/pickle.hpp>
#include <protlm/io/torch_file.hpp>
#include <protlm/io/zip_archive.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;
using namespace std::string_literals;

namespace {

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "checkpoint_files";

std::span<std::byte const> bytes_of(std::string const &text) { return std::as_bytes(std::span(text)); }

/// What reading the operations after PROTO says.
std::string message_of_pickle(std::string const &operations) {
    std::string const text = "\x80\x02"s + operations;
    return message_of([&] { Pickle(bytes_of(text), "file", detail::TorchState::functions); });
}

/// The pickle of a tensor "w" of the zip layout with this storage, offset, shape and strides.
std::string tensor_pickle(std::string const &type, int elements, std::string const &rest) {
    return "\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"s + type +
           "\nX\x01\0\0\0"
           "0X\x03\0\0\0cpuK"s +
           static_cast<char>(elements) + "tQ" + rest +
           "\x89"
           "ccollections\nOrderedDict\n)RtRs."s;
}

std::string message_of_tensor(std::string const &type, int elements, std::string const &rest) {
    std::string const text = tensor_pickle(type, elements, rest), name = "file";
    return message_of([&] {
        Pickle const pickle(bytes_of(text), name, detail::TorchState::functions);
        detail::TorchState state(pickle, name);
        BOOST_TEST(state.take_tensors().size() == 1u);
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(torch_file)

BOOST_AUTO_TEST_CASE(every_layout_holds_the_expected_tensors) {
    SafetensorsFile const expected(fixtures / "expected.safetensors");
    for (auto const *name :
         {"legacy.bin", "zip.bin", "zip_nested_model.bin", "zip_parameters.bin", "zip_protocol4.bin"}) {
        CheckpointFolder const file(fixtures / "good" / name);
        BOOST_TEST(file.tensors().size() == expected.tensors().size(), name);
        for (auto const &tensor : expected.tensors()) {
            BOOST_REQUIRE(file.contains(tensor.name));
            BOOST_TEST((file.info(tensor.name).dtype == tensor.dtype));
            BOOST_TEST((file.info(tensor.name).shape == tensor.shape));
            BOOST_TEST((file.read<double>(tensor.name) == expected.read<double>(tensor.name)), name << tensor.name);
        }
    }
}

BOOST_AUTO_TEST_CASE(every_hostile_file_ends_in_its_message) {
    std::pair<char const *, char const *> const cases[] = {
        {"empty", "is empty"},
        {"legacy_os_system",
         "names posix.system, which is no part of a dictionary of tensors; refused, nothing was run"},
        {"legacy_truncated", "leaves the file of 1935 bytes; it is truncated"},
        {"random", "is neither a zip file nor a pickle"},
        {"zip_eval", "names __builtin__.eval"},
        {"zip_garbage_pickle", "is no pickle of protocol 2 or later"},
        {"zip_memo_bomb", "memo place 2147483647, at most 300000 are read"},
        {"zip_no_pickle", "the zip file has no data.pkl"},
        {"zip_os_system", "names posix.system"},
        {"zip_popen", "names commands.Popen"},
        {"zip_shape_past_storage",
         "tensor \"plain\": the shape (7, 127) with strides (5, 1) at element 0 leaves its storage"},
        {"zip_storage_missing", "tensor \"plain\": its storage zip/data/0 is missing"},
        {"zip_storage_short", "its storage 0 has 70 bytes, 35 elements of F32 need more"},
        {"zip_truncated", "has no zip directory at its end"}};
    for (auto const &[name, expected] : cases) {
        auto const path = fixtures / "hostile" / (std::string(name) + ".bin");
        auto const message = message_of([&] { CheckpointFolder{path}; });
        BOOST_TEST(message.starts_with(path.string() + ": "), message);
        BOOST_TEST(has(message, expected), message);
    }
}

BOOST_AUTO_TEST_CASE(every_truncation_is_an_error) {
    for (auto const *name : {"legacy.bin", "zip.bin"}) {
        auto const text = test::read_file(fixtures / "good" / name);
        for (std::size_t size = 0; size < text.size(); ++size) {
            auto const part = text.substr(0, size);
            BOOST_TEST(message_of([&] { TorchFile(bytes_of(part), "file"); }) != "(no error)", name << ' ' << size);
        }
    }
}

BOOST_AUTO_TEST_CASE(every_changed_byte_is_harmless) {
    for (auto const *name : {"legacy.bin", "zip.bin"}) {
        auto text = test::read_file(fixtures / "good" / name);
        for (std::size_t place = 0; place < text.size(); ++place) {
            char const before = text[place];
            for (char const value : {'\0', '\xff', static_cast<char>(before ^ 1)}) {
                text[place] = value;
                try {
                    TorchFile const file(bytes_of(text), "file");
                    for (auto const &tensor : file.tensors()) {
                        std::vector<double> values(static_cast<std::size_t>(tensor.count()));
                        file.read_range(tensor, 0, values.data(), tensor.count());
                    }
                } catch (Error const &) {
                }
            }
            text[place] = before;
        }
    }
    BOOST_TEST(true); // sanitizers and the lack of a crash are the test
}

BOOST_AUTO_TEST_CASE(pickles_that_are_refused_say_why) {
    std::pair<std::string, char const *> const cases[] = {
        {"N.", "(no error)"},
        {"", "1 bytes are missing"},
        {".", "the pickle ends with 0 values"},
        {"NN.", "the pickle ends with 2 values"},
        {"N(.", "the pickle ends with 1 values"},
        {"0.", "a value is missing on the stack"},
        {"N(0.", "a value is missing on the stack"},
        {"u.", "a mark is missing"},
        {"(u.", "a value is missing on the stack"},
        {"N(NNu.", "members are added to something that is no dictionary"},
        {"}(Nu.", "a dictionary's key has no value"},
        {"h\x05.", "memo place 5 is empty"},
        {"cos\nsystem\n.", "names os.system"},
        {"cnumpy\nfromfile\n.", "names numpy.fromfile"},
        {"c__main__\nload\n.", "names __main__.load"},
        {"csubprocess\nPopen\n.", "names subprocess.Popen"},
        {"cbuiltins\ngetattr\n.", "names builtins.getattr"},
        {"ctorch.hub\nload\n.", "names torch.hub.load"},
        {"cargparse\nNamespace\n.", "(no error)"},
        {"ctorch\nFloatStorage", "a name does not end"},
        {"X\x02\0\0\0osX\x06\0\0\0system\x93."s, "names os.system"},
        {"NN\x93.", "the name of a function is no text"},
        {"N)R.", "calls something that is no function"},
        {"N}b.", "attributes are set on something that is no dictionary"},
        {"}\x81.", "a value is missing on the stack"},
        {"})\x81.", "calls something that is no function"},
        {"\x91.", "a mark is missing"},
        {"](\x90.", "members are added to something that is no set"},
        {"}\x98.", "pickle byte 3: the operation READONLY_BUFFER is no part"},
        {"(cos\nsystem\no.", "names os.system"},
        {"(ios\nsystem\n.", "the operation INST is no part"},
        {"\x82\x01.", "the operation EXT1 is no part"},
        {"\xff", "the operation of number 255"},
        {"X\xff\xff\xff\x7f.", "2147483647 bytes are missing"},
        {"ccollections\nOrderedDict\n((NltR.", "an OrderedDict of something that is no pairs"},
        {std::string(1001, '('), "marks are nested more than 1000 deep"}};
    for (auto const &[operations, expected] : cases) {
        auto const message = message_of_pickle(operations);
        BOOST_TEST(has(message, expected), message << ", expected " << expected);
    }
    std::string many;
    for (int i = 0; i < 500'000; ++i)
        many += "]0";
    BOOST_TEST(has(message_of_pickle(many), "more than 300000 values"));
}

BOOST_AUTO_TEST_CASE(tensors_that_leave_their_storage_are_refused) {
    auto const shape = [](char offset, std::string const &sizes, std::string const &strides) {
        return "K"s + offset + sizes + strides;
    };
    std::string const two = "K\x02\x85", one = "K\x01\x85";
    BOOST_TEST(message_of_tensor("FloatStorage", 2, shape('\0', two, one)) == "(no error)");
    BOOST_TEST(message_of_tensor("BoolStorage", 2, shape('\0', two, one)) == "(no error)");
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\1', two, one)), "leaves its storage 0 of 2 elements"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', two, two)), "leaves its storage"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', two, ")")), "1 extents, but 0 strides"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', "J\xff\xff\xff\xff\x85", one)), "is negative: -1"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', two, "J\xff\xff\xff\xff\x85")), "is negative: -1"));
    std::string const huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    BOOST_TEST(
        has(message_of_tensor("FloatStorage", 2, shape('\0', huge + huge + "\x86", "K\0K\0\x86"s)), "overflows"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', huge + "\x85", "K\0\x85"s)), "leaves its storage"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, huge + two + one), "leaves its storage"));
    BOOST_TEST(has(message_of_tensor("FloatStorage", 2, shape('\0', "N", one)), "shape are no tuple"));
    BOOST_TEST(message_of_tensor("QInt8Storage", 2, shape('\0', two, one)) == "(no error)"); // listed, not read
    BOOST_TEST(has(message_of_tensor("Size", 2, shape('\0', two, one)), "the reference to its storage is malformed"));
}

BOOST_AUTO_TEST_CASE(a_shape_in_a_tower_of_sizes_is_refused_at_any_height) {
    auto const size_of = [](int levels) {
        std::string text = "ctorch\nSize\nq\0"s;
        for (int i = 1; i < levels; ++i)
            text += "h\0"s;
        text += "K\2\x85";
        for (int i = 0; i < levels; ++i)
            text += "\x85R";
        return text;
    };
    std::string const one = "K\1\x85";
    BOOST_TEST(message_of_tensor("FloatStorage", 2, "K\0"s + size_of(1) + one) == "(no error)");
    for (int const levels : {2, 100, 40'000})
        BOOST_TEST(has(message_of_tensor("FloatStorage", 2, "K\0"s + size_of(levels) + one), "shape are no tuple"),
                   levels);
}

BOOST_AUTO_TEST_CASE(what_lies_beside_the_weights_is_kept_as_idle_words) {
    auto const tensor = tensor_pickle("FloatStorage", 2, "K\0K\2\x85K\1\x85"s);
    auto const text = tensor.substr(3 + 6, tensor.size() - 3 - 6 - 2); // without PROTO, {, "w" and SETITEM, STOP
    auto const key = [](std::string const &name) { return "X"s + static_cast<char>(name.size()) + "\0\0\0"s + name; };
    std::string const beside[] = {"\x8f"s,
                                  "\x8f(K\1K\2\x90"s,
                                  "(K\1\x91"s,
                                  "ctorch\ndevice\n" + key("cpu") + "\x85R",
                                  "ctorch\nfloat16\n",
                                  "ctorch\nSize\nK\2\x85\x85R",
                                  "c_codecs\nencode\n" + key("abc") + key("latin1") + "\x86R",
                                  "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + key("f8") +
                                      "\x85R(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"s +
                                      key("12345678") + "\x86R",
                                  "cargparse\nNamespace\n)\x81}" + key("lr") + "K\1sb",
                                  "ccollections\nCounter\n}" + key("a") + "K\1s\x85R",
                                  "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R" + key("a") + "]s",
                                  "cpathlib\nPosixPath\n" + key("a") + "\x85R",
                                  "ccollections\nOrderedDict\n)R}" + key("_metadata") + "}sb",
                                  "cmylib.config\nTrainConfig\n)\x81" + key("a") + "K\1s]b",
                                  text}; // a tensor, for example a state of random numbers
    std::string const name = "file";
    for (auto const &value : beside)
        for (auto const *wrapper : {"model", "module", "state_dict", "model_state_dict"}) {
            std::string const whole =
                "\x80\2}" + key("rng") + value + "s" + key(wrapper) + "}" + key("w") + text + "ss.";
            std::vector<detail::TorchTensor> tensors;
            auto const message = message_of([&] {
                Pickle const pickle(bytes_of(whole), name, detail::TorchState::functions);
                tensors = detail::TorchState(pickle, name).take_tensors();
            });
            BOOST_TEST(message == "(no error)", message << value);
            BOOST_REQUIRE(tensors.size() == 1u);
            BOOST_TEST(tensors[0].name == "w");
        }
}

BOOST_AUTO_TEST_CASE(a_model_that_was_pickled_whole_is_called_one) {
    auto const message = [](std::string const &operations) {
        std::string const text = "\x80\2" + operations, name = "file";
        return message_of([&] {
            Pickle const pickle(bytes_of(text), name, detail::TorchState::functions);
            detail::TorchState(pickle, name);
        });
    };
    std::string const model = "cmy.models\nBert\n)\x81}X\1\0\0\0aK\1sb"s;
    BOOST_TEST(has(message(model + "."), "no dictionary of tensors, but an object of my.models.Bert; save its state"));
    BOOST_TEST(
        has(message("}X\5\0\0\0model"s + model + "s."), "\"model\" is no dictionary, but an object of my.models.Bert"));
}

BOOST_AUTO_TEST_CASE(shards_of_bin_files_read_as_one_checkpoint) {
    TemporaryFolder const folder;
    std::filesystem::copy(fixtures / "good" / "zip.bin", folder / "pytorch_model-00001-of-00002.bin");
    std::filesystem::copy(fixtures / "good" / "legacy.bin", folder / "pytorch_model-00002-of-00002.bin");
    folder.write("pytorch_model.bin.index.json",
                 R"({"weight_map": {"plain": "pytorch_model-00001-of-00002.bin",
                                    "view": "pytorch_model-00002-of-00002.bin"}})");
    CheckpointFolder const checkpoint(folder.path());
    SafetensorsFile const expected(fixtures / "expected.safetensors");
    BOOST_TEST(checkpoint.files().size() == 2u);
    BOOST_TEST(checkpoint.files()[0].format() == "torch");
    BOOST_TEST(checkpoint.tensors().size() == 2u);
    for (auto const *name : {"plain", "view"})
        BOOST_TEST((checkpoint.read<float>(name) == expected.read<float>(name)));
    std::filesystem::copy(fixtures / "good" / "zip.bin", folder / "pytorch_model.bin");
    BOOST_TEST(has(message_of([&] { CheckpointFolder{folder.path()}; }),
                   "holds both pytorch_model.bin and pytorch_model.bin.index.json; one of them is old"));
    std::filesystem::remove(folder / "pytorch_model.bin.index.json");
    BOOST_TEST(CheckpointFolder(folder.path()).tensors().size() == 13u);
    BOOST_TEST(CheckpointFolder(folder.path()).notes().empty());
    std::filesystem::copy(fixtures / "expected.safetensors", folder / "model.safetensors");
    CheckpointFolder const both(folder.path());
    BOOST_TEST(both.files()[0].format() == "safetensors");
    BOOST_REQUIRE(both.notes().size() == 1u);
    BOOST_TEST(has(both.notes()[0], "holds model.safetensors and pytorch_model.bin; the former is read"));
}

BOOST_AUTO_TEST_CASE(the_content_tells_the_format_whatever_the_name) {
    TemporaryFolder const folder;
    std::filesystem::copy(fixtures / "expected.safetensors", folder / "pytorch_model.bin");
    BOOST_TEST(CheckpointFolder(folder.path()).files()[0].format() == "safetensors");
    std::filesystem::remove(folder / "pytorch_model.bin");
    std::filesystem::copy(fixtures / "good" / "zip.bin", folder / "model.safetensors");
    BOOST_TEST(CheckpointFolder(folder.path()).files()[0].format() == "torch");
    std::pair<std::string, char const *> const cases[] = {
        {"", "is empty: it was not written or downloaded to its end"},
        {"<!DOCTYPE html><html><title>Sign in", "is a web page, not the file itself"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"},
        {"\x89HDF\r\n\x1a\n", "is an HDF5 file (of TensorFlow?)"},
        {"GGUF1234", "is a GGUF file"},
        {"\x1f\x8b\b\0abc"s, "is compressed or an archive; unpack it"},
        {std::string(257, 'a') + "ustar", "is compressed or an archive; unpack it"}};
    for (auto const *name : {"model.safetensors", "pytorch_model.bin"})
        for (auto const &[text, expected] : cases) {
            TemporaryFolder const other;
            auto const path = other.write(name, text);
            auto const message = message_of([&] { CheckpointFolder{other.path()}; });
            BOOST_TEST(message.starts_with(path.string() + ": "), message);
            BOOST_TEST(has(message, expected), message);
        }
    auto zip = test::read_file(fixtures / "good" / "zip.bin");
    for (std::size_t at; (at = zip.find("zip/data.pkl")) != zip.npos;)
        zip.replace(at, 12, "/config.json");
    BOOST_TEST(has(message_of([&] { CheckpointFolder(folder.write("x.bin", zip)); }),
                   "is a zip archive of a whole model folder; unpack it"));
}

BOOST_AUTO_TEST_CASE(a_damaged_pickle_is_told_by_its_checksum) {
    auto text = test::read_file(fixtures / "good" / "zip.bin");
    auto const place = text.find("plain");
    text[place] ^= 1;
    BOOST_TEST(has(message_of([&] { TorchFile(bytes_of(text), "file"); }),
                   "file: zip/data.pkl is damaged: its CRC-32 is not that of the zip directory"));
}

BOOST_AUTO_TEST_CASE(ranges_read_once_are_the_same_at_strides_too) {
    WeightFile const file(fixtures / "good" / "zip.bin");
    for (auto const *name : {"plain", "transposed", "view", "bfloat"}) {
        auto const &tensor = *file.find(name);
        std::vector<float> whole(static_cast<std::size_t>(tensor.count())), parts(whole.size());
        file.read_range(tensor, 0, whole.data(), tensor.count());
        for (index_t i = 0; i < tensor.count(); ++i)
            file.read_range_once(tensor, i, parts.data() + i, 1);
        BOOST_TEST((whole == parts));
    }
}

BOOST_AUTO_TEST_CASE(zip_members_must_be_stored_and_lie_in_the_file) {
    auto const good = test::read_file(fixtures / "good" / "zip.bin");
    auto const directory = good.find("PK\x01\x02");
    auto const changed = [&](std::size_t offset, char value) {
        std::string text = good;
        text[directory + offset] = value;
        return message_of([&] { ZipArchive(bytes_of(text), "file"); });
    };
    BOOST_TEST(changed(10, '\x08').find("is compressed (method 8)") != std::string::npos);
    BOOST_TEST(has(changed(8, '\x09'), "is encrypted"));
    BOOST_TEST(has(changed(45, '\x7f'), "the zip directory leaves the file"));
    BOOST_TEST(has(changed(46, 'q'), "has another name where it begins"));
    BOOST_TEST(has(changed(0, 'q'), "entry 0 of the zip directory is damaged"));
    ZipArchive const archive(bytes_of(good), "file");
    BOOST_TEST(archive.find("zip/version")->bytes.size() == 2u);
    BOOST_TEST(archive.find("nothing") == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
