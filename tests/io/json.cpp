#include <protlm/io/json.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

std::string parse_message(std::string const &text) {
    return message_of([&] { parse_json(text, "config.json"); });
}

Fields fields_of(std::string const &text) { return Fields(parse_json(text, "config.json"), "config.json"); }

} // namespace

BOOST_AUTO_TEST_SUITE(json)

BOOST_AUTO_TEST_CASE(documents_parse_as_written) {
    std::string const text =
        R"({"a": [1, -2, 2.5, true, null, "x\u00e9"], "b": {"c": {}, "d": []}, "e": 18446744073709551615})";
    BOOST_TEST((parse_json(text, "x") == nlohmann::json::parse(text)));
    BOOST_TEST((parse_json("3", "x") == nlohmann::json(3)));
    BOOST_TEST((parse_json("\xef\xbb\xbf{}", "x") == nlohmann::json::object())); // a byte order mark
}

BOOST_AUTO_TEST_CASE(syntax_errors_name_file_line_and_column) {
    BOOST_TEST(parse_message("{\"a\": 1,\n \"b\" 2}").starts_with("config.json: line 2, column 6: "));
    BOOST_TEST(parse_message("{\n\n  x}").starts_with("config.json: line 3, column 3: "));
    BOOST_TEST(has(parse_message(""), "unexpected end of input"));
    BOOST_TEST(has(parse_message("{} {}"), "config.json: line 1, column 4"));
    BOOST_TEST(has(parse_message("{\"a\": 1e999}"), "number overflow"));
    BOOST_TEST(has(parse_message("{\"a\": \"\xff\"}"), "ill-formed UTF-8"));
    BOOST_TEST(has(parse_message("{\"a\": nan}"), "config.json: line 1, column"));
    BOOST_TEST(has(parse_message("{\"a\": NaNa}"), "config.json: line 1, column"));
    BOOST_TEST(has(parse_message("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}"), "the key \"c\" appears twice"));
}

BOOST_AUTO_TEST_CASE(depth_and_size_are_limited) {
    auto const nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    BOOST_TEST(parse_message(nested(64)) == "(no error)");
    BOOST_TEST(has(parse_message(nested(65)), "nested deeper than 64 levels"));
    BOOST_TEST(has(parse_message(std::string(1'000'000, '[')), "nested deeper than 64 levels"));
    BOOST_TEST(has(message_of([] { parse_json("[1, 2, 3]", "x", {.bytes = 4}); }), "x: 9 bytes"));
}

BOOST_AUTO_TEST_CASE(files_are_written_atomically_and_read_back) {
    TemporaryFolder const folder;
    nlohmann::json const document = {{"step", 12}, {"rate", 0.1}, {"name", "a\nb"}, {"third", 1.0 / 3}};
    write_json(folder / "state.json", document);
    BOOST_TEST((read_json(folder / "state.json") == document));
    BOOST_TEST(test::read_file(folder / "state.json").ends_with("}\n"));
    auto const refused = message_of([&] { write_json(folder / "state.json", {{"a", "\xff"}}); });
    BOOST_TEST(has(refused, "state.json: cannot be written as JSON"), refused);
    BOOST_TEST((read_json(folder / "state.json") == document));
    folder.write("empty.json", "");
    BOOST_TEST(has(message_of([&] { read_json(folder / "empty.json"); }), "empty.json: is empty"));
    BOOST_TEST(has(message_of([&] { read_json(folder / "none.json"); }), "none.json: cannot open"));
    folder.write("list.json", "[1]");
    BOOST_TEST(has(message_of([&] { read_fields(folder / "list.json"); }), "is an array, expected an object"));
}

BOOST_AUTO_TEST_CASE(fields_have_their_types) {
    auto const fields = fields_of(R"({"i": 7, "e": 1e6, "n": -3, "f": 0.5, "s": "x", "b": true, "z": null,
                                      "v": [1, 2, 3], "t": ["a"], "big": 18446744073709551615})");
    BOOST_TEST(fields.required<index_t>("i") == 7);
    BOOST_TEST(fields.required<int>("e") == 1'000'000);
    BOOST_TEST(fields.required<int>("n") == -3);
    BOOST_TEST(fields.required<double>("f") == 0.5);
    BOOST_TEST(fields.required<float>("i") == 7.0f);
    BOOST_TEST(fields.required<std::string>("s") == "x");
    BOOST_TEST(fields.required<bool>("b"));
    BOOST_TEST((fields.required<std::vector<int>>("v") == std::vector<int>{1, 2, 3}));
    BOOST_TEST((fields.required<std::vector<std::string>>("t") == std::vector<std::string>{"a"}));
    BOOST_TEST(fields.required<std::uint64_t>("big") == ~std::uint64_t(0));
    BOOST_TEST(fields.optional<int>("missing", 4) == 4);
    BOOST_TEST(fields.optional<int>("z", 5) == 5); // null counts as absent
    BOOST_TEST(fields.optional("missing", "text") == "text");
    BOOST_TEST(!fields.maybe<int>("missing").has_value());
    BOOST_TEST(fields.maybe<int>("i").value() == 7);
    BOOST_TEST(fields.has("i"));
    BOOST_TEST(!fields.has("z"));
    BOOST_TEST(fields.choice("s", {"x", "y"}) == "x");
    BOOST_TEST(fields.choice("missing", {"x", "y"}, "y") == "y");
}

BOOST_AUTO_TEST_CASE(wrong_fields_say_what_they_are_and_what_was_expected) {
    auto const fields = fields_of(R"({"s": "x", "i": 0, "f": 1.5, "neg": -1, "big": 18446744073709551615, "b": true,
                                      "v": [1, "a"], "o": {"k": 1}, "huge": 1e300})");
    auto const count = [&](char const *key) {
        return message_of([&] { fields.required<index_t>(key, at_least<index_t>(1)); });
    };
    BOOST_TEST(count("s") == "config.json: s: is a string, expected an integer of at least 1");
    BOOST_TEST(count("i") == "config.json: i: is 0, expected an integer of at least 1");
    BOOST_TEST(count("f") == "config.json: f: is 1.5, expected an integer of at least 1");
    BOOST_TEST(count("b") == "config.json: b: is true, expected an integer of at least 1");
    BOOST_TEST(count("big") == "config.json: big: is 18446744073709551615, expected an integer of at least 1");
    BOOST_TEST(count("none") == "config.json: none: is missing, expected an integer of at least 1");
    BOOST_TEST(count("o") == "config.json: o: is an object, expected an integer of at least 1");
    BOOST_TEST(count("huge") == "config.json: huge: is 1e+300, expected an integer of at least 1");
    BOOST_TEST(message_of([&] { fields.optional<double>("f", 0.1, between(0.0, 1.0)); }) ==
               "config.json: f: is 1.5, expected a number from 0.0 to 1.0");
    BOOST_TEST(message_of([&] { fields.required<std::uint32_t>("neg"); }) ==
               "config.json: neg: is -1, expected an integer of at least 0");
    BOOST_TEST(message_of([&] { fields.required<std::vector<int>>("v"); }) ==
               "config.json: v[1]: is a string, expected an integer");
    BOOST_TEST(message_of([&] { fields.required<bool>("i"); }) == "config.json: i: is 0, expected true or false");
    BOOST_TEST(message_of([&] {
                   fields.choice("s", {"gelu", "relu"});
               }) == "config.json: s: is \"x\", expected one of \"gelu\", \"relu\"");
    BOOST_TEST(message_of([&] { fields.choice("none", {"gelu"}); }) ==
               "config.json: none: is missing, expected one of \"gelu\"");
    BOOST_TEST(message_of([&] { fields.object("o").required<std::string>("k"); }) ==
               "config.json: o: k: is 1, expected a string");
    BOOST_TEST(message_of([&] { fields.object("s"); }) == "config.json: s: is a string, expected an object {...}");
}

BOOST_AUTO_TEST_CASE(fields_that_nobody_asked_for_are_known) {
    auto const fields = fields_of(R"({"hidden_size": 8, "hiden_layers": 2, "a": 1})");
    (void)fields.required<int>("hidden_size");
    (void)fields.optional<int>("hidden_layers", 1);
    BOOST_TEST((fields.unknown() == std::vector<std::string>{"a", "hiden_layers"}));
    BOOST_TEST(message_of([&] { fields.refuse_unknown(); }) == "config.json: a: is not a known field");
    (void)fields.has("a");
    (void)fields.has("hiden_layers");
    BOOST_TEST(message_of([&] { fields.refuse_unknown(); }) == "(no error)");
}

BOOST_AUTO_TEST_CASE(numbers_of_python_harm_nobody_who_does_not_ask_for_them) {
    Fields const fields(parse_json(R"({"a": NaN, "b": [-Infinity, Infinity], "NaN": "\"NaN", "c": 1})", "config.json"),
                        "config.json");
    BOOST_TEST(fields.required<index_t>("c") == 1);
    BOOST_TEST(fields.required<std::string>("NaN") == "\"NaN");
    auto const message = [&](auto &&f) {
        try {
            f();
        } catch (Error const &error) {
            return std::string(error.what());
        }
        return std::string();
    };
    BOOST_TEST(message([&] { fields.optional<double>("a", 0.0); }) == "config.json: a: is NaN, expected a number");
    BOOST_TEST(message([&] { fields.required<std::vector<double>>("b"); }) ==
               "config.json: b[0]: is -Infinity, expected a number");
}

BOOST_AUTO_TEST_SUITE_END()
