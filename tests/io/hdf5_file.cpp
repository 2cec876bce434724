#include <protlm/hdf5.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

BOOST_AUTO_TEST_SUITE(hdf5_file)

BOOST_AUTO_TEST_CASE(numbers_read_back_by_blocks_of_rows) {
    TemporaryFolder const folder;
    auto const path = folder / "a.h5";
    std::vector<float> values(7 * 3);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = float(i) / 4;
    {
        auto file = Hdf5File::create(path);
        auto const group = file.root().make_group("deep").make_group("er");
        auto const check_layout = [&](std::string const &name, DataType type, Hdf5Layout layout) {
            auto const dataset = group.make_dataset(name, type, {7, 3}, layout);
            dataset.write(3, 4, values.data() + 9); // later rows first
            dataset.write(0, 3, values.data());
            dataset.write(7, 0, values.data());
        };
        check_layout("plain", DataType::f32, {});
        check_layout("packed", DataType::f32, {.chunk_rows = 2, .gzip = 4});
        check_layout("chunked", DataType::f64, {.chunk_rows = 100});
        check_layout("half", DataType::f16, {});
        file.flush();
    }
    auto const file = Hdf5File::open(path);
    for (char const *name : {"plain", "packed", "chunked", "half"}) {
        auto const dataset = file.root().group("deep").group("er").dataset(name);
        BOOST_TEST(dataset.rank() == 2);
        BOOST_TEST(dataset.rows() == 7);
        BOOST_TEST(dataset.columns() == 3);
        BOOST_TEST(dataset.read_all<float>() == values, boost::test_tools::per_element());
        std::vector<double> middle(6);
        dataset.read(2, 2, middle.data());
        BOOST_TEST(middle.front() == 1.5);
        BOOST_TEST(middle.back() == 2.75);
    }
}

BOOST_AUTO_TEST_CASE(half_precision_is_ieee_and_exact) {
    TemporaryFolder const folder;
    std::vector<half> values;
    for (float const value : {0.0f, -0.0f, 1.0f, 65504.0f, 0x1p-24f, -0x1.ffcp-15f, 0x1p-14f, 0.333251953125f})
        values.push_back(half(value));
    values.push_back(std::numeric_limits<half>::infinity());
    auto file = Hdf5File::create(folder / "a.h5");
    auto const dataset = file.root().make_dataset("h", DataType::f16, {index_t(values.size())});
    dataset.write(0, index_t(values.size()), values.data());
    auto const halves = dataset.read_all<half>();
    auto const floats = dataset.read_all<float>(); // HDF5's own conversion knows the format
    for (std::size_t i = 0; i < values.size(); ++i) {
        BOOST_TEST(std::bit_cast<std::uint16_t>(halves[i]) == std::bit_cast<std::uint16_t>(values[i]));
        BOOST_TEST(floats[i] == float(values[i]));
    }
}

BOOST_AUTO_TEST_CASE(strings_and_attributes_read_back) {
    TemporaryFolder const folder;
    std::vector<std::string> ids = {"sp|P12345|A/B name", "", "d\xc3\xa9j\xc3\xa0 vu", "a b", "latin \xe9"};
    for (int i = 0; i < 20'000; ++i) // more than one block
        ids.push_back("id/" + std::to_string(i));
    {
        auto file = Hdf5File::create(folder / "a.h5");
        auto const root = file.root();
        root.make_strings("ids", index_t(ids.size())).write_strings(0, ids);
        root.make_strings("none", 0).write_strings(0, {});
        root.set_attribute("text", std::string("x\n\xc3\xa9"));
        root.set_attribute("empty", std::string());
        root.set_attribute("later", std::string("short"));
        root.set_attribute("later", std::string("longer than before"));
        root.set_attribute("roomy", std::string("before"), 64);
        root.set_attribute("roomy", std::string("fits"));
        root.set_heap_text("heap", "\xc3\xa9p\xc3\xa9");
        root.set_attribute("count", std::int64_t(-7));
        root.set_attribute("rate", 0.25);
        root.set_attribute("mark", std::uint8_t(0));
        root.set_attribute("mark", std::uint8_t(1));
    }
    auto const file = Hdf5File::open(folder / "a.h5");
    auto const root = file.root();
    BOOST_TEST((root.dataset("ids").read_strings() == ids));
    BOOST_TEST(root.dataset("none").read_strings().empty());
    BOOST_TEST(root.attribute<std::string>("text") == "x\n\xc3\xa9");
    BOOST_TEST(root.attribute<std::string>("later") == "longer than before");
    BOOST_TEST(root.attribute<std::string>("roomy") == "fits");
    BOOST_TEST(root.heap_text("heap") == "\xc3\xa9p\xc3\xa9");
    BOOST_TEST(root.heap_text("roomy") == "fits");
    BOOST_TEST(has(message_of([&] { root.attribute<std::string>("heap"); }), "heap is no text of fixed length"));
    BOOST_TEST(root.attribute<std::string>("empty").empty());
    BOOST_TEST(root.attribute<std::int64_t>("count") == -7);
    BOOST_TEST(root.attribute<float>("rate") == 0.25f);
    BOOST_TEST(root.attribute<int>("mark") == 1);
    BOOST_TEST(!root.has_attribute("none"));
    BOOST_TEST(!root.contains("nothing"));
}

BOOST_AUTO_TEST_CASE(empty_datasets_are_datasets) {
    TemporaryFolder const folder;
    auto file = Hdf5File::create(folder / "a.h5");
    for (auto const &shape : std::vector<std::vector<index_t>>{{0}, {0, 4}, {4, 0}}) {
        auto const name = std::to_string(shape.size()) + '-' + std::to_string(shape.back());
        auto const dataset = file.root().make_dataset(name, DataType::f32, shape, {.chunk_rows = 2, .gzip = 1});
        BOOST_TEST(dataset.rows() == shape.front());
        BOOST_TEST(dataset.read_all<float>().empty());
    }
}

BOOST_AUTO_TEST_CASE(errors_name_file_object_and_reason) {
    TemporaryFolder const folder;
    auto const path = folder.write("text.h5", "this is no HDF5 file");
    auto const missing = message_of([&] { Hdf5File::open(folder / "none.h5"); });
    BOOST_TEST(has(missing, "none.h5: cannot open: "), missing);
    BOOST_TEST(has(missing, "No such file or directory"), missing);
    BOOST_TEST(has(message_of([&] { Hdf5File::open(path); }), "text.h5: is no HDF5 file"));
    folder.write("empty.h5", "");
    BOOST_TEST(has(message_of([&] { Hdf5File::open(folder / "empty.h5"); }), "empty.h5: is empty"));
    BOOST_TEST(has(message_of([&] { Hdf5File::open(folder.path()); }), ": is no regular file"));
    BOOST_TEST(has(message_of([&] { Hdf5File::create(folder / "no/a.h5"); }), "a.h5: cannot create: "));
    auto file = Hdf5File::create(folder / "a.h5");
    auto const root = file.root();
    auto const dataset = root.make_dataset("d", DataType::f32, {4, 2});
    float values[16] = {};
    BOOST_TEST(has(message_of([&] { dataset.write(3, 2, values); }), "a.h5: /d: cannot write rows 3 to 3 + 2 of 4"));
    BOOST_TEST(has(message_of([&] { dataset.read(-1, 1, values); }), "a.h5: /d: cannot read rows -1"));
    BOOST_TEST(has(message_of([&] { root.make_dataset("d", DataType::f32, {1}); }), "a.h5: /: cannot make dataset d"));
    BOOST_TEST(has(message_of([&] { root.make_dataset("e", DataType::bf16, {1}); }), "type BF16 have no HDF5 type"));
    BOOST_TEST(has(message_of([&] { root.make_dataset("e", DataType::f32, {1}, {.gzip = 1}); }), "gzip needs chunks"));
    BOOST_TEST(has(message_of([&] { root.make_dataset("e", DataType::f32, {1, 2, 3}); }), "one or two extents"));
    BOOST_TEST(has(message_of([&] { root.dataset("e"); }), "a.h5: /: has no dataset e"));
    BOOST_TEST(has(message_of([&] { root.group("e"); }), "a.h5: /: has no group e"));
    BOOST_TEST(has(message_of([&] { root.attribute<int>("e"); }), "a.h5: /: has no attribute e"));
    BOOST_TEST(has(message_of([&] { dataset.read_strings(); }), "a.h5: /d: claims 32 bytes, but not all of them"));
    dataset.write(0, 4, values);
    BOOST_TEST(has(message_of([&] { dataset.read_strings(); }), "a.h5: /d: is no list of variable-length strings"));
    root.set_attribute("n", 1);
    BOOST_TEST(has(message_of([&] { root.attribute<std::string>("n"); }), "n is no text of fixed length"));
    BOOST_TEST(has(message_of([&] { root.heap_text("n"); }), "n is no text"));
    std::string const zero("a\0b", 3);
    auto const strings = root.make_strings("s", 1);
    BOOST_TEST(has(message_of([&] { strings.write_strings(0, std::span(&zero, 1)); }), "string 0 holds a zero byte"));
    BOOST_TEST(has(message_of([&] { root.set_attribute("z", zero); }), "attribute z holds a zero byte"));
}

BOOST_AUTO_TEST_CASE(nothing_is_printed_and_the_printer_stays_as_it_was) {
    TemporaryFolder const folder;
    H5E_auto2_t before = nullptr, after = nullptr;
    void *data = nullptr;
    H5Eget_auto2(H5E_DEFAULT, &before, &data);
    BOOST_CHECK_THROW(Hdf5File::open(folder / "none.h5"), Error);
    H5Eget_auto2(H5E_DEFAULT, &after, &data);
    BOOST_TEST((before == after));
    BOOST_TEST((before != nullptr)); // HDF5 prints by default, so there was something to silence
}

BOOST_AUTO_TEST_SUITE_END()
