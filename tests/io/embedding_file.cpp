#include <protlm/hdf5.hpp>

#include <io/full_disk.hpp>
#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

constexpr index_t width = 5;

std::vector<std::string> const ids = {"sp|P1|A/B C", "x", "x", "", "tr|Q2 long name = 3"};
std::vector<index_t> const lengths = {3, 1, 0, 7, 2};

EmbeddingInfo make_info(DataType precision = DataType::f32, bool per_residue = true, int gzip = 0) {
    return {.model = "bert",
            .model_sha256 = std::string(64, 'a'),
            .layer = 4,
            .precision = precision,
            .width = width,
            .per_residue = per_residue,
            .gzip = gzip};
}

/// The value of a protein's row; exact in float16. Row -1 is the protein's own vector.
float value(index_t protein, index_t row, index_t column) { return float(protein * 100 + row * 8 + column) / 8; }

std::vector<float> rows(index_t protein, index_t first, index_t end) {
    std::vector<float> values;
    for (index_t row = first; row < end; ++row)
        for (index_t column = 0; column < width; ++column)
            values.push_back(value(protein, row, column));
    return values;
}

/// Writes protein `local` of the writer with the values of protein `global`.
void write_protein(EmbeddingWriter &writer, index_t local, index_t global) {
    auto const residues = rows(global, 0, lengths[std::size_t(global)]);
    writer.write(local, residues.data(), rows(global, -1, 0).data());
}

void check_file(std::filesystem::path const &path, EmbeddingInfo info) {
    EmbeddingReader const reader(path);
    info.gzip = 0;
    BOOST_TEST((reader.info() == info));
    BOOST_TEST((reader.ids() == ids));
    BOOST_TEST((reader.lengths() == lengths));
    BOOST_TEST((reader.offsets() == std::vector<index_t>{0, 3, 4, 4, 11, 13}));
    BOOST_TEST(reader.places().empty());
    for (index_t protein = 0; protein < reader.size(); ++protein) {
        BOOST_TEST((reader.protein(protein) == rows(protein, -1, 0)));
        if (info.per_residue)
            BOOST_TEST((reader.residues(protein) == rows(protein, 0, lengths[std::size_t(protein)])));
    }
}

/// A complete file, opened to be changed behind the writer's back.
template <class Change>
std::string message_after(Change &&change) {
    TemporaryFolder const folder;
    auto const path = folder / "a.h5";
    EmbeddingWriter writer(path, make_info(), ids, lengths);
    for (index_t protein = 0; protein < 5; ++protein)
        write_protein(writer, protein, protein);
    writer.close();
    hid_t const file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    change(file);
    H5Fclose(file);
    return message_of([&] { EmbeddingReader{path}; });
}

} // namespace

BOOST_AUTO_TEST_SUITE(embedding_file)

BOOST_AUTO_TEST_CASE(proteins_written_in_any_order_are_read_in_the_input_order) {
    for (auto const precision : {DataType::f32, DataType::f16})
        for (bool const per_residue : {true, false})
            for (int const gzip : {0, 3}) {
                TemporaryFolder const folder;
                auto const path = folder / "out.h5";
                auto const info = make_info(precision, per_residue, gzip);
                EmbeddingWriter writer(path, info, ids, lengths);
                for (index_t const protein : {3, 0, 4, 1, 2})
                    write_protein(writer, protein, protein);
                BOOST_TEST(!std::filesystem::exists(path));
                writer.close();
                BOOST_TEST(!std::filesystem::exists(path.string() + ".partial"));
                check_file(path, info);
            }
}

BOOST_AUTO_TEST_CASE(an_empty_input_gives_an_empty_file) {
    TemporaryFolder const folder;
    EmbeddingWriter writer(folder / "out.h5", make_info(), {}, {});
    writer.close();
    EmbeddingReader const reader(folder / "out.h5");
    BOOST_TEST(reader.size() == 0);
    BOOST_TEST(reader.info().width == width);
}

BOOST_AUTO_TEST_CASE(the_reader_finds_and_bounds) {
    TemporaryFolder const folder;
    EmbeddingWriter writer(folder / "out.h5", make_info(DataType::f32, false), ids, lengths);
    for (index_t protein = 0; protein < 5; ++protein)
        write_protein(writer, protein, protein);
    writer.close();
    EmbeddingReader const reader(folder / "out.h5");
    BOOST_TEST(reader.find("x").value() == 1);
    BOOST_TEST(!reader.find("y").has_value());
    BOOST_TEST(reader.proteins(1, 3).size() == std::size_t(3 * width));
    BOOST_TEST(has(message_of([&] { reader.proteins(3, 3); }), "proteins 3 to 3 + 3 of 5"));
    BOOST_TEST(has(message_of([&] { reader.protein(-1); }), "of 5"));
    BOOST_TEST(has(message_of([&] { reader.residues(0); }), "holds proteins only"));
}

BOOST_AUTO_TEST_CASE(a_file_that_was_not_closed_does_not_appear) {
    TemporaryFolder const folder;
    auto const path = folder.write("out.h5", "old");
    {
        EmbeddingWriter writer(path, make_info(), ids, lengths);
        write_protein(writer, 1, 1);
        BOOST_TEST(has(message_of([&] { writer.close(); }), "out.h5: protein 0 of 5 was not written"));
        BOOST_TEST(has(message_of([&] { write_protein(writer, 1, 1); }), "protein 1 is written twice"));
        BOOST_TEST(has(message_of([&] { write_protein(writer, 5, 1); }), "protein 5 of 5"));
    }
    BOOST_TEST(test::read_file(path) == "old");
    BOOST_TEST(!std::filesystem::exists(path.string() + ".partial"));
}

BOOST_AUTO_TEST_CASE(a_partial_file_is_refused_as_incomplete) {
    TemporaryFolder const folder;
    auto const path = folder / "out.h5";
    EmbeddingWriter writer(path, make_info(), ids, lengths);
    for (index_t protein = 0; protein < 5; ++protein)
        write_protein(writer, protein, protein);
    // What a killed process leaves: HDF5 marks a file that is open for writing, or the mark `complete` is not set.
    auto const message = message_of([&] { EmbeddingReader(path.string() + ".partial"); });
    BOOST_TEST(message != "(no error)");
    BOOST_TEST(has(message_after([](hid_t file) {
                       auto const attribute = H5Aopen(file, "complete", H5P_DEFAULT);
                       std::uint8_t const zero = 0;
                       H5Awrite(attribute, H5T_NATIVE_UINT8, &zero);
                       H5Aclose(attribute);
                   }),
                   "a.h5: is incomplete, its writing was interrupted"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "complete"); }), "is incomplete"));
}

BOOST_AUTO_TEST_CASE(damaged_and_foreign_files_are_refused) {
    BOOST_TEST(message_after([](hid_t) {}) == "(no error)");
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "format"); }), "is not a protlm embedding file"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "layer"); }), "has no attribute layer"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Ldelete(file, "ids", H5P_DEFAULT); }), "has no dataset ids"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Ldelete(file, "proteins", H5P_DEFAULT); }), "no dataset proteins"));
    auto const message = message_after([](hid_t file) {
        hid_t const dataset = H5Dopen2(file, "offsets", H5P_DEFAULT);
        std::uint64_t const offsets[] = {0, 3, 4, 5, 11, 13};
        H5Dwrite(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets);
        H5Dclose(dataset);
    });
    BOOST_TEST(has(message, "length and offsets of protein 2 disagree"), message);
    TemporaryFolder const folder;
    Hdf5File::create(folder / "other.h5").close();
    BOOST_TEST(has(message_of([&] { EmbeddingReader(folder / "other.h5"); }), "is not a protlm embedding file"));
}

BOOST_AUTO_TEST_CASE(values_that_would_be_lost_are_errors) {
    TemporaryFolder const folder;
    std::vector<index_t> const one = {1};
    std::vector<std::string> const id = {"a"};
    auto const attempt = [&](DataType precision, float bad) {
        EmbeddingWriter writer(folder / "out.h5", make_info(precision), id, one);
        std::vector<float> residues(width), vector(width);
        residues[2] = bad;
        return message_of([&] { writer.write(0, residues.data(), vector.data()); });
    };
    float const infinity = std::numeric_limits<float>::infinity();
    BOOST_TEST(has(attempt(DataType::f16, 70000), "protein 0: the value 70000 is too large for float16"));
    BOOST_TEST(attempt(DataType::f16, -65519) == "(no error)");
    BOOST_TEST(has(attempt(DataType::f16, -65520), "too large for float16"));
    BOOST_TEST(attempt(DataType::f32, 70000) == "(no error)");
    BOOST_TEST(has(attempt(DataType::f32, infinity), "the value inf is not finite"));
    BOOST_TEST(has(attempt(DataType::f16, std::nanf("")), "the value nan is not finite"));
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_named) {
    TemporaryFolder const folder;
    auto const make = [&](EmbeddingInfo const &info, std::vector<index_t> const &sizes,
                          std::vector<index_t> const &places = {}) {
        return message_of([&] { EmbeddingWriter(folder / "out.h5", info, ids, sizes, places); });
    };
    auto info = make_info();
    BOOST_TEST(has(make(info, {1}), "out.h5: 5 ids and 1 lengths"));
    BOOST_TEST(has(make(info, {1, 1, -1, 1, 1}), "length -1 of protein 2"));
    BOOST_TEST(has(make(info, lengths, {1, 2}), "5 ids and 2 places"));
    BOOST_TEST(has(make(info, lengths, {0, 1, 2, 2, 3}), "places must ascend"));
    BOOST_TEST(has(make(info, lengths, {-1, 1, 2, 3, 4}), "places must ascend"));
    info.width = 0;
    BOOST_TEST(has(make(info, lengths), "width is 0"));
    BOOST_TEST(has(make(make_info(DataType::bf16), lengths), "precision is BF16, expected F32 or F16"));
    BOOST_TEST(has(make(make_info(DataType::f32, true, 11), lengths), "gzip 11"));
    BOOST_TEST(std::filesystem::is_empty(folder.path()));
}

BOOST_AUTO_TEST_CASE(parts_merge_into_the_file_that_one_process_writes) {
    for (auto const precision : {DataType::f32, DataType::f16})
        for (int const gzip : {0, 2}) {
            TemporaryFolder const folder;
            auto const path = folder / "out.h5";
            auto const info = make_info(precision);
            std::vector<std::vector<index_t>> const places = {{1, 4}, {}, {0, 2, 3}};
            for (index_t part = 0; part < 3; ++part) {
                std::vector<std::string> part_ids;
                std::vector<index_t> part_lengths;
                auto const &mine = places[std::size_t(part)];
                for (index_t const place : mine) {
                    part_ids.push_back(ids[std::size_t(place)]);
                    part_lengths.push_back(lengths[std::size_t(place)]);
                }
                EmbeddingWriter writer(embedding_part_path(path, part, 3), info, part_ids, part_lengths, mine);
                for (index_t i = index_t(mine.size()); i-- > 0;)
                    write_protein(writer, i, mine[std::size_t(i)]);
                writer.close();
            }
            merge_embedding_parts(path, 3, gzip);
            check_file(path, info);
            BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
        }
}

BOOST_AUTO_TEST_CASE(parts_that_do_not_fit_together_are_refused_and_stay) {
    TemporaryFolder const folder;
    auto const path = folder / "out.h5";
    BOOST_TEST(embedding_part_path("out.h5", 3, 16) == "out.h5.part-0003-of-0016");
    BOOST_CHECK_THROW(embedding_part_path("out.h5", 16, 16), Error);
    auto const write_part = [&](index_t part, index_t place, EmbeddingInfo const &info, bool with_place = true) {
        std::vector<std::string> const id = {"a"};
        std::vector<index_t> const length = {1}, places = {place};
        EmbeddingWriter writer(embedding_part_path(path, part, 2), info, id, length,
                               with_place ? std::span<index_t const>(places) : std::span<index_t const>());
        write_protein(writer, 0, 1);
        writer.close();
    };
    auto const merge = [&] { return message_of([&] { merge_embedding_parts(path, 2); }); };
    write_part(0, 0, make_info());
    BOOST_TEST(has(merge(), "out.h5.part-0001-of-0002: cannot open"));
    write_part(1, 0, make_info());
    BOOST_TEST(has(merge(), "place 0 is taken twice"));
    write_part(1, 2, make_info());
    BOOST_TEST(has(merge(), "place 2, but all parts have 2 proteins"));
    write_part(1, 1, make_info(DataType::f16));
    BOOST_TEST(has(merge(), "precision differ from those of"));
    write_part(1, 1, make_info(), false);
    BOOST_TEST(has(merge(), "is not a part file"));
    BOOST_TEST(!std::filesystem::exists(path));
    BOOST_TEST(std::filesystem::exists(embedding_part_path(path, 0, 2)));
    write_part(1, 1, make_info());
    BOOST_TEST(merge() == "(no error)");
    BOOST_TEST(EmbeddingReader(path).size() == 2);
    BOOST_CHECK_THROW(merge_embedding_parts(path, 0), Error);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_the_old_file) {
    TemporaryFolder const folder;
    auto const path = folder.write("out.h5", "old");
    std::vector<index_t> const length = {4096};
    std::vector<std::string> const id = {"a"};
    std::vector<float> const values(4096 * width);
    auto const message = message_of([&] {
        test::FullDisk const full(16384);
        EmbeddingWriter writer(path, make_info(), id, length);
        writer.write(0, values.data(), values.data());
        writer.close();
    });
    BOOST_TEST(has(message, "out.h5.partial: /residues: cannot write: "), message);
    BOOST_TEST(test::read_file(path) == "old");
    BOOST_TEST(!std::filesystem::exists(path.string() + ".partial"));
}

BOOST_AUTO_TEST_SUITE_END()
