// Embedding files of earlier versions, of other programs, damaged ones, and ones made to do harm.

#include <protlm/hdf5.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/core/philox.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <thread>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

std::filesystem::path const fixtures = std::filesystem::path(PROTLM_TEST_FIXTURES) / "embedding_files";

/// What the fixtures hold: see `value`.
std::vector<std::string> const ids{"sp|P1|A/B C", "x", "x", ""};
std::vector<index_t> const lengths{2, 1, 0, 3};
constexpr index_t width = 3;
float value(index_t protein, index_t row, index_t column) { return float(protein * 100 + row * 8 + column) / 8; }
std::vector<float> rows(index_t protein, index_t first, index_t end) {
    std::vector<float> values;
    for (index_t row = first; row < end; ++row)
        for (index_t column = 0; column < width; ++column)
            values.push_back(value(protein, row, column));
    return values;
}

void write_file(std::filesystem::path const &path, EmbeddingLayout layout, int gzip = 0) {
    EmbeddingWriter writer(path, {.model = "bert", .layers = {4}, .width = width, .layout = layout, .gzip = gzip}, ids,
                           lengths);
    for (index_t i = 0; i < writer.size(); ++i)
        writer.write(i, rows(i, 0, lengths[std::size_t(i)]).data(), rows(i, -1, 0).data());
    writer.close();
}

/// Reads all that there is.
void read_all(std::filesystem::path const &path) {
    EmbeddingReader const reader(path);
    for (index_t slot = 0; slot < reader.info().slots(); ++slot)
        for (index_t i = 0; i < reader.size(); ++i) {
            if (reader.info().per_protein())
                reader.protein(i, slot);
            if (reader.info().per_residue)
                reader.residues(i, slot);
        }
    if (reader.info().per_protein())
        reader.proteins(0, reader.size());
}
std::string message_of_reading(std::filesystem::path const &path) {
    return message_of([&] { read_all(path); });
}

/// Identifiers of HDF5 that the tests open and close with the file.
struct RawFile {
    hid_t id;
    explicit RawFile(std::filesystem::path const &path, bool fresh = false)
        : id(fresh ? H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)
                   : H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)) {
        BOOST_REQUIRE(id >= 0);
    }
    ~RawFile() { H5Fclose(id); }

    /// A dataset, its values where `values` is not null.
    hid_t add(char const *name, hid_t type, std::vector<hsize_t> const &shape, hid_t properties = H5P_DEFAULT,
              void const *values = nullptr, hid_t memory = H5T_NATIVE_FLOAT) const {
        hid_t const space = H5Screate_simple(int(shape.size()), shape.data(), nullptr);
        hid_t const dataset = H5Dcreate2(id, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
        BOOST_REQUIRE(dataset >= 0);
        if (values)
            BOOST_REQUIRE(H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        H5Sclose(space);
        return dataset;
    }
    void add_floats(char const *name, std::vector<hsize_t> const &shape, hid_t type = H5T_IEEE_F32LE,
                    float first = 0) const {
        std::size_t count = 1;
        for (hsize_t const extent : shape)
            count *= extent;
        std::vector<float> values(count);
        for (std::size_t i = 0; i < count; ++i)
            values[i] = first + float(i);
        H5Dclose(add(name, type, shape, H5P_DEFAULT, values.data()));
    }
    void add_text(hid_t object, char const *name, char const *text) const {
        auto const type = detail::hdf5_string_type();
        hid_t const space = H5Screate(H5S_SCALAR);
        hid_t const attribute = H5Acreate2(object, name, type.id(), space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(attribute, type.id(), &text);
        H5Aclose(attribute), H5Sclose(space);
    }
};

/// What reading says of a packed file whose dataset `proteins` was replaced.
template <class Replace>
std::string message_with_proteins(Replace const &replace) {
    TemporaryFolder const folder;
    auto const path = folder / "a.h5";
    write_file(path, EmbeddingLayout::packed);
    {
        RawFile const file(path);
        H5Ldelete(file.id, "proteins", H5P_DEFAULT);
        replace(file, folder);
    }
    return message_of_reading(path);
}

/// What reading says of another program's file.
template <class Fill>
std::string message_of_flat(Fill const &fill) {
    TemporaryFolder const folder;
    auto const path = folder / "other.h5";
    {
        RawFile const file(path, true);
        fill(file);
    }
    return message_of_reading(path);
}

} // namespace

BOOST_AUTO_TEST_SUITE(foreign_files)

BOOST_AUTO_TEST_CASE(files_of_version_2_are_read) {
    for (char const *name : {"version_2_packed.h5", "version_2_per_id.h5"}) {
        EmbeddingReader const reader(fixtures / name);
        BOOST_TEST((reader.ids() == ids));
        BOOST_TEST((reader.lengths() == lengths));
        BOOST_TEST(reader.info().model == "bert");
        BOOST_TEST(reader.info().model_sha256 == std::string(64, 'a'));
        BOOST_TEST((reader.info().layers == std::vector<index_t>{4}));
        for (index_t i = 0; i < reader.size(); ++i) {
            BOOST_TEST((reader.protein(i) == rows(i, -1, 0)));
            BOOST_TEST((reader.residues(i) == rows(i, 0, lengths[std::size_t(i)])));
        }
        BOOST_TEST(complete_embedding_file(fixtures / name).has_value());
    }
}

BOOST_AUTO_TEST_CASE(whatever_the_damage_reading_ends_in_values_or_an_error) {
    TemporaryFolder const folder;
    write_file(folder / "packed.h5", EmbeddingLayout::packed);
    write_file(folder / "gzip.h5", EmbeddingLayout::packed, 1);
    write_file(folder / "per_id.h5", EmbeddingLayout::per_id);
    std::array const files{folder / "packed.h5", folder / "gzip.h5", folder / "per_id.h5",
                           fixtures / "version_2_packed.h5", fixtures / "version_2_per_id.h5"};
    CounterRandom const random{11, Purpose::sample};
    for (std::size_t which = 0; which < files.size(); ++which) {
        auto const good = test::read_file(files[which]);
        int errors = 0;
        for (std::uint32_t attempt = 0; attempt < 50; ++attempt) {
            auto bytes = good;
            for (std::uint32_t change = 0; change <= attempt % 16; ++change) {
                auto const bits = random(which * 1000 + attempt, change);
                bytes[bits[0] % bytes.size()] = static_cast<char>(bits[1] % 3 == 0 ? 255 : bits[2]);
            }
            errors += message_of_reading(folder.write("damaged.h5", bytes)) != "(no error)";
        }
        BOOST_TEST(errors > 10, files[which] << ": " << errors);
    }
}

BOOST_AUTO_TEST_CASE(damaged_ids_are_noticed_by_their_checksum) {
    TemporaryFolder const folder;
    write_file(folder / "a.h5", EmbeddingLayout::packed);
    auto bytes = test::read_file(folder / "a.h5");
    std::string const together = "sp|P1|A/B Cxx"; // id_bytes; ids of other programs have zero bytes between
    auto const at = bytes.find(together);
    BOOST_REQUIRE(at != bytes.npos);
    bytes[at] = 'S';
    BOOST_TEST(has(message_of_reading(folder.write("b.h5", bytes)), "the ids are damaged: their checksum differs"));
}

BOOST_AUTO_TEST_CASE(a_child_process_bounds_crashes_time_and_memory) {
    auto const run = [](auto const &function) {
        return message_of([&] { detail::in_child_process("a.h5", 1, 1 << 26, function); });
    };
    BOOST_TEST(run([]() -> detail::Parcel {
                   std::raise(SIGSEGV), std::raise(SIGKILL);
                   std::abort();
               }) == "a.h5: is damaged: HDF5 crashed when it read it");
    BOOST_TEST(run([]() -> detail::Parcel { fail("no such thing"); }) == "no such thing");
    BOOST_TEST(run([]() -> detail::Parcel {
                   for (std::uint64_t volatile i = 0;; i = i + 1) {
                   }
               }) == "a.h5: is damaged: HDF5 was still at work on it after 1 s");
    auto const many = run([] { return detail::Parcel(std::string(std::size_t(1) << 30, 'x')); });
    BOOST_TEST(has(many, "asks for more memory than 67108864 bytes"), many);
    auto parcel = detail::in_child_process("a.h5", 1, 1 << 26, [] {
        detail::Parcel answer;
        answer.put(7), answer.put(std::string_view("a\0b", 3));
        return answer;
    });
    BOOST_TEST(parcel.number() == 7u);
    BOOST_TEST(parcel.text() == std::string("a\0b", 3));
    BOOST_TEST(has(message_of([&] { parcel.number(); }), "ends too early"));
}

BOOST_AUTO_TEST_CASE(data_come_out_of_the_file_alone) {
    auto const external = message_with_proteins([](RawFile const &file, TemporaryFolder const &folder) {
        auto const secret = folder.write("secret.txt", std::string(100, 's'));
        hid_t const properties = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_external(properties, secret.c_str(), 0, 48);
        H5Dclose(file.add("proteins", H5T_IEEE_F32LE, {4, 3}, properties));
        H5Pclose(properties);
    });
    BOOST_TEST(has(external, "a.h5: /proteins: keeps its data in another file"), external);
    auto const elsewhere = message_with_proteins([](RawFile const &file, TemporaryFolder const &folder) {
        write_file(folder / "b.h5", EmbeddingLayout::packed);
        H5Lcreate_external((folder / "b.h5").c_str(), "/proteins", file.id, "proteins", H5P_DEFAULT, H5P_DEFAULT);
    });
    BOOST_TEST(has(elsewhere, "/proteins: is a link to another place or file"), elsewhere);
    auto const soft = message_with_proteins([](RawFile const &file, TemporaryFolder const &) {
        H5Lcreate_soft("/residues", file.id, "proteins", H5P_DEFAULT, H5P_DEFAULT);
    });
    BOOST_TEST(has(soft, "/proteins: is a link to another place or file"), soft);
    auto const virtual_one = message_with_proteins([](RawFile const &file, TemporaryFolder const &folder) {
        write_file(folder / "b.h5", EmbeddingLayout::packed);
        std::array<hsize_t, 2> const shape{4, 3};
        hid_t const space = H5Screate_simple(2, shape.data(), nullptr), properties = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_virtual(properties, space, (folder / "b.h5").c_str(), "/proteins", space);
        hid_t const latest =
            H5Dcreate2(file.id, "proteins", H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
        H5Dclose(latest), H5Sclose(space), H5Pclose(properties);
    });
    BOOST_TEST(has(virtual_one, "/proteins: is a virtual dataset"), virtual_one);
    auto const filter = message_with_proteins([](RawFile const &file, TemporaryFolder const &) {
        std::array<hsize_t, 2> const chunk{4, 3};
        hid_t const properties = H5Pcreate(H5P_DATASET_CREATE);
        H5Pset_chunk(properties, 2, chunk.data());
        H5Pset_filter(properties, 32001, H5Z_FLAG_OPTIONAL, 0, nullptr);
        H5Dclose(file.add("proteins", H5T_IEEE_F32LE, {4, 3}, properties));
        H5Pclose(properties);
    });
    BOOST_TEST(has(filter, "/proteins: is compressed by filter 32001; only gzip is read"), filter);
}

BOOST_AUTO_TEST_CASE(sizes_are_believed_as_far_as_they_are_stored) {
    auto const chunked = [](std::vector<hsize_t> const &shape, std::vector<hsize_t> const &chunk, int gzip) {
        return [=](RawFile const &file, TemporaryFolder const &) {
            hid_t const properties = H5Pcreate(H5P_DATASET_CREATE);
            H5Pset_chunk(properties, 2, chunk.data());
            if (gzip)
                H5Pset_deflate(properties, unsigned(gzip));
            std::vector<float> const zeros(gzip ? shape[0] * shape[1] : 0);
            H5Dclose(file.add("proteins", H5T_IEEE_F32LE, shape, properties, gzip ? zeros.data() : nullptr));
            H5Pclose(properties);
            std::int64_t const columns = static_cast<std::int64_t>(shape[1]);
            H5Adelete(file.id, "width");
            hid_t const space = H5Screate(H5S_SCALAR);
            hid_t const attribute = H5Acreate2(file.id, "width", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
            H5Awrite(attribute, H5T_NATIVE_INT64, &columns);
            H5Aclose(attribute), H5Sclose(space);
            hid_t const root = H5Gopen2(file.id, "/", H5P_DEFAULT); // residues would have the old width
            H5Ldelete(root, "residues", H5P_DEFAULT);
            std::uint8_t const no = 0;
            hid_t const residues = H5Aopen(root, "per_residue", H5P_DEFAULT);
            H5Awrite(residues, H5T_NATIVE_UINT8, &no);
            H5Aclose(residues), H5Gclose(root);
        };
    };
    auto const unwritten = message_with_proteins(chunked({4, hsize_t(1) << 40}, {1, 1 << 16}, 0));
    BOOST_TEST(has(unwritten, "/proteins: claims 17592186044416 bytes, but not all of them were written"), unwritten);
    auto const bomb = message_with_proteins(chunked({4, 1 << 21}, {1, 1 << 21}, 9));
    BOOST_TEST(has(bomb, "/proteins: claims 33554432 bytes, but the file stores "), bomb);
    BOOST_TEST(has(bomb, "at most 64 times as much is taken"), bomb);
    BOOST_TEST(message_with_proteins(chunked({4, 1 << 18}, {1, 1 << 18}, 9)) == "(no error)"); // small all the same
}

BOOST_AUTO_TEST_CASE(values_that_are_no_numbers_are_refused_by_name) {
    auto const integers = message_with_proteins([](RawFile const &file, TemporaryFolder const &) {
        std::vector<float> const values(12);
        H5Dclose(file.add("proteins", H5T_STD_I64LE, {4, 3}, H5P_DEFAULT, values.data()));
    });
    BOOST_TEST(has(integers, "/proteins: its elements are no floating-point numbers"), integers);
    auto const nan = message_with_proteins([](RawFile const &file, TemporaryFolder const &) {
        std::vector<float> values(12);
        values[4] = std::nanf("");
        H5Dclose(file.add("proteins", H5T_IEEE_F32LE, {4, 3}, H5P_DEFAULT, values.data()));
    });
    BOOST_TEST(has(nan, "a.h5: protein x: the value nan is not finite"), nan);
}

BOOST_AUTO_TEST_CASE(lengths_that_overflow_are_refused) {
    auto const replaced = [](std::vector<std::uint64_t> const &values) {
        return message_with_proteins([&](RawFile const &file, TemporaryFolder const &) {
            hid_t const dataset = H5Dopen2(file.id, "lengths", H5P_DEFAULT);
            H5Dwrite(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
            H5Dclose(dataset);
        });
    };
    BOOST_TEST(
        has(replaced({(std::uint64_t(1) << 63) - 1, 1, 1, 1}), "length 1 of protein 1 is negative or too large"));
    BOOST_TEST(has(replaced({2, 1, 0, 4}), "offset 4 is 6, which is not what the lengths add up to"));
}

BOOST_AUTO_TEST_CASE(other_programs_files_of_one_vector_a_protein) {
    TemporaryFolder const folder;
    auto const half = detail::hdf5_half_type();
    {
        RawFile const file(folder / "uniprot.h5", true);
        file.add_floats("P12345", {4}, half.id());
        file.add_floats("A0A023", {1, 4}, H5T_IEEE_F64LE, 10);
        file.add_floats("Q9", {4}, H5T_IEEE_F32LE, 20);
    }
    {
        hid_t const access = H5Pcreate(H5P_FILE_ACCESS);
        H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
        hid_t const file = H5Fcreate((folder / "latest.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
        H5Pclose(access), H5Fclose(file);
        RawFile const latest(folder / "latest.h5");
        latest.add_floats("P1", {4});
    }
    BOOST_TEST((EmbeddingReader(folder / "latest.h5").protein(0) == std::vector<float>{0, 1, 2, 3}));
    EmbeddingReader const reader(folder / "uniprot.h5");
    BOOST_TEST((reader.info().layout == EmbeddingLayout::flat));
    BOOST_TEST(reader.ids() == (std::vector<std::string>{"A0A023", "P12345", "Q9"}), boost::test_tools::per_element());
    BOOST_TEST(!reader.info().per_residue);
    BOOST_TEST((reader.proteins(0, 2) == std::vector<float>{10, 11, 12, 13, 0, 1, 2, 3}));
    BOOST_TEST((reader.protein(2) == std::vector<float>{20, 21, 22, 23}));
    BOOST_TEST(!complete_embedding_file(folder / "uniprot.h5"));
    BOOST_TEST(has(message_of([&] { reader.slot_of(0); }), "does not say of which layer"));
    {
        RawFile const file(folder / "reduced.h5", true);
        for (char const *name : {"0", "1"}) {
            file.add_floats(name, {2});
            hid_t const dataset = H5Dopen2(file.id, name, H5P_DEFAULT);
            file.add_text(dataset, "original_id", *name == '0' ? "sp|P1|ONE" : "two / 2");
            H5Dclose(dataset);
        }
        file.add_text(file.id, "model_name", "prottrans");
    }
    EmbeddingReader const reduced(folder / "reduced.h5");
    BOOST_TEST((reduced.ids() == std::vector<std::string>{"sp|P1|ONE", "two / 2"}));
    BOOST_TEST(reduced.info().model == "prottrans");
}

BOOST_AUTO_TEST_CASE(other_programs_files_of_residues) {
    TemporaryFolder const folder;
    {
        RawFile const file(folder / "residues.h5", true);
        file.add_floats("a", {3, 2});
        file.add_floats("b", {1, 2});
    }
    EmbeddingReader const reader(folder / "residues.h5");
    BOOST_TEST(!reader.info().per_protein());
    BOOST_TEST((reader.lengths() == std::vector<index_t>{3, 1}));
    BOOST_TEST((reader.residues(0) == std::vector<float>{0, 1, 2, 3, 4, 5}));
    BOOST_TEST((reader.residues(1) == std::vector<float>{0, 1}));
}

BOOST_AUTO_TEST_CASE(what_is_no_embedding_file_is_refused_by_name) {
    auto const widths = message_of_flat([](RawFile const &f) { f.add_floats("a", {4}), f.add_floats("b", {5}); });
    BOOST_TEST(has(widths, "other.h5: /b: has vectors of 5, those of a are of 4"), widths);
    auto const mixed = message_of_flat([](RawFile const &f) { f.add_floats("a", {4}), f.add_floats("b", {7, 4}); });
    BOOST_TEST(has(mixed, "holds one vector of a, but residues of b"), mixed);
    auto const integers = message_of_flat([](RawFile const &f) { f.add_floats("a", {4}, H5T_STD_I32LE); });
    BOOST_TEST(has(integers, "/a: holds no floating-point numbers"), integers);
    auto const cube = message_of_flat([](RawFile const &f) { f.add_floats("a", {3, 2, 4}); });
    BOOST_TEST(has(cube, "/a: has 3 dimensions, expected 1 or 2"), cube);
    auto const nested = message_of_flat([](RawFile const &f) {
        f.add_floats("a", {4});
        H5Gclose(H5Gcreate2(f.id, "deep", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    });
    BOOST_TEST(has(nested, "/deep is a group: of other programs only files are read that hold one dataset a"), nested);
    auto const nan = message_of_flat([](RawFile const &f) {
        f.add_floats("a", {4});
        f.add_floats("b", {4}, H5T_IEEE_F32LE, std::nanf(""));
    });
    BOOST_TEST(has(nan, "other.h5: protein b: the value nan is not finite"), nan);
    auto const empty = message_of_flat([](RawFile const &) {});
    BOOST_TEST(has(empty, "other.h5: is no embedding file: there is nothing in it"), empty);
    auto const loop = message_of_flat([](RawFile const &f) {
        H5Lcreate_soft("/b", f.id, "a", H5P_DEFAULT, H5P_DEFAULT),
            H5Lcreate_soft("/a", f.id, "b", H5P_DEFAULT, H5P_DEFAULT);
    });
    BOOST_TEST(has(loop, "is a link to another place or file"), loop);
}

BOOST_AUTO_TEST_CASE(messages_of_files_that_are_not_there_or_not_whole) {
    TemporaryFolder const folder;
    BOOST_TEST(message_of_reading(folder / "none.h5") ==
               (folder / "none.h5").string() + ": cannot open: No such file or directory");
    write_file(folder / "a.h5", EmbeddingLayout::packed);
    std::filesystem::copy_file(folder / "a.h5", folder / "b.h5.partial");
    auto const begun = message_of_reading(folder / "b.h5");
    BOOST_TEST(has(begun, "b.h5: is not complete yet; the command that began "), begun);
    std::filesystem::resize_file(folder / "a.h5", std::filesystem::file_size(folder / "a.h5") - 100);
    auto const cut = message_of_reading(folder / "a.h5");
    BOOST_TEST(has(cut, "a.h5: cannot open: the file is truncated, its end is missing"), cut);
    BOOST_TEST(has(message_of_reading(folder.write("c.h5", ">a\nMKT\n")), "c.h5: is no HDF5 file"));
    std::vector<std::string> const latin{"ok", "prot\xe9ine"};
    std::vector<index_t> const one{1, 1};
    auto const invalid = message_of([&] { EmbeddingWriter(folder / "d.h5", {.width = 2}, latin, one); });
    BOOST_TEST(has(invalid, "d.h5: id 2, \"prot\xe9ine\", is no UTF-8"), invalid);
    BOOST_TEST(
        has(message_of([&] { EmbeddingWorkFile::create(folder / "d.h5", {.width = 2}, latin, one); }), "is no UTF-8"));
    auto const flat =
        message_of([&] { EmbeddingWriter(folder / "d.h5", {.width = 2, .layout = EmbeddingLayout::flat}, {}, {}); });
    BOOST_TEST(has(flat, "flat is one of other programs"), flat);
}

BOOST_AUTO_TEST_CASE(per_id_files_hold_proteins_alone_in_the_order_of_the_input) {
    TemporaryFolder const folder;
    auto const path = folder / "a.h5";
    std::vector<std::string> const names{"zeta", std::string(1 << 20, 'n'), "_index", "alpha", "sp|P1|A"};
    std::vector<index_t> const ones(names.size(), 1);
    {
        EmbeddingWriter writer(
            path, {.model = "bert", .width = 2, .per_residue = false, .layout = EmbeddingLayout::per_id}, names, ones);
        for (index_t i = writer.size() - 1; i >= 0; --i)
            writer.write(i, nullptr, std::array{float(i), 1.f}.data());
        writer.close();
    }
    BOOST_TEST((EmbeddingReader(path).ids() == names));
    BOOST_TEST((EmbeddingReader(path).protein(3) == std::vector<float>{3, 1}));
    auto const file = Hdf5File::open(path);
    auto const root = file.root();
    BOOST_TEST((root.names() == names));
    for (auto const &name : names) {
        BOOST_TEST(root.dataset(name).rank() == 1);
        BOOST_TEST(root.dataset(name).heap_text("original_id") == name);
        BOOST_TEST(root.dataset(name).attribute<int>("length") == 1);
    }
    BOOST_TEST(root.heap_text("model_name") == "bert");
}

BOOST_AUTO_TEST_CASE(proteins_and_residues_go_into_files_of_their_own) {
    TemporaryFolder const folder;
    write_file(folder / "both.h5", EmbeddingLayout::packed);
    EmbeddingReader const both(folder / "both.h5");
    auto info = both.info();
    info.layout = EmbeddingLayout::per_id;
    info.per_residue = false;
    copy_embeddings(both, folder / "proteins.h5", info);
    info.per_residue = true, info.pooling = "none", info.precision = DataType::f16;
    copy_embeddings(both, folder / "residues.h5", info);
    EmbeddingReader const proteins(folder / "proteins.h5"), residues(folder / "residues.h5");
    for (index_t i = 0; i < both.size(); ++i) {
        BOOST_TEST((proteins.protein(i) == rows(i, -1, 0)));
        BOOST_TEST((residues.residues(i) == rows(i, 0, lengths[std::size_t(i)])));
    }
    BOOST_TEST((proteins.ids() == ids && residues.ids() == ids && residues.lengths() == lengths));
    BOOST_TEST(has(message_of([&] { copy_embeddings(proteins, folder / "x.h5", info); }), "holds no residues for"));
    info = both.info(), info.pooling = "max";
    BOOST_TEST(has(message_of([&] { copy_embeddings(both, folder / "x.h5", info); }), "by pooling mean, not by max"));
    info = both.info(), info.layers = {3};
    BOOST_TEST(has(message_of([&] { copy_embeddings(both, folder / "x.h5", info); }), "has no layer 3, only 4"));
}

BOOST_AUTO_TEST_CASE(utf_8_is_told_from_what_is_none) {
    for (char const *good : {"", "a b", "d\xc3\xa9j\xc3\xa0", "\xe2\x82\xac", "\xf0\x9f\xa7\xac", "\xed\x9f\xbf"})
        BOOST_TEST(is_valid_utf8(good));
    for (char const *bad : {"\xe9", "a\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff",
                            "\x80", "\xf0\x80\x80\x80",
                            "\xe2\x82"
                            "a"})
        BOOST_TEST(!is_valid_utf8(bad));
}

BOOST_AUTO_TEST_SUITE_END()
