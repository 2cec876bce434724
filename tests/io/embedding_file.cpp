#include <protlm/hdf5.hpp>

#include <io/full_disk.hpp>
#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/io/embedding_journal.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::TemporaryFolder;

namespace {

/// HDF5 1.10 crashes at exit where a full disk kept it from closing a file; the programs do the same.
struct NothingAtExit {
    NothingAtExit() { H5dont_atexit(); }
};
BOOST_TEST_GLOBAL_FIXTURE(NothingAtExit);

constexpr index_t width = 5;

std::vector<std::string> const ids = {"sp|P1|A/B C", "x", "x", "", "tr|Q2 long name = 3"};
std::vector<index_t> const lengths = {3, 1, 0, 7, 2};

EmbeddingInfo make_info(DataType precision = DataType::f32, bool per_residue = true, int gzip = 0) {
    return {.model = "bert",
            .model_sha256 = std::string(64, 'a'),
            .layers = {4},
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
                   "a.h5: is incomplete, its writing was interrupted; the same command"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "complete"); }), "is incomplete"));
}

BOOST_AUTO_TEST_CASE(damaged_and_foreign_files_are_refused) {
    BOOST_TEST(message_after([](hid_t) {}) == "(no error)");
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "format"); }),
                   "ids: holds no floating-point numbers, so this is no embedding file"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Adelete(file, "layers"); }), "has no attribute layers"));
    BOOST_TEST(
        has(message_after([](hid_t file) { H5Ldelete(file, "ids", H5P_DEFAULT); }), "(no error)")); // others' ids
    BOOST_TEST(
        has(message_after([](hid_t file) { H5Ldelete(file, "id_ends", H5P_DEFAULT); }), "has no dataset id_ends"));
    BOOST_TEST(has(message_after([](hid_t file) { H5Ldelete(file, "proteins", H5P_DEFAULT); }), "no dataset proteins"));
    auto const message = message_after([](hid_t file) {
        hid_t const dataset = H5Dopen2(file, "offsets", H5P_DEFAULT);
        std::uint64_t const offsets[] = {0, 3, 4, 5, 11, 13};
        H5Dwrite(dataset, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets);
        H5Dclose(dataset);
    });
    BOOST_TEST(has(message, "offset 3 is 5, which is not what the lengths add up to"), message);
    TemporaryFolder const folder;
    Hdf5File::create(folder / "other.h5").close();
    BOOST_TEST(
        has(message_of([&] { EmbeddingReader(folder / "other.h5"); }), "is no embedding file: there is nothing"));
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
    BOOST_TEST(has(attempt(DataType::f16, 70000), "protein a: the value 70000 is too large for float16"));
    BOOST_TEST(attempt(DataType::f16, -65519) == "(no error)");
    BOOST_TEST(has(attempt(DataType::f16, -65520), "too large for float16"));
    BOOST_TEST(attempt(DataType::f32, 70000) == "(no error)");
    BOOST_TEST(has(attempt(DataType::f32, infinity), "the value inf is not finite"));
    BOOST_TEST(has(attempt(DataType::f16, std::nanf("")), "the value nan is not finite"));
}

BOOST_AUTO_TEST_CASE(wrong_arguments_are_named) {
    TemporaryFolder const folder;
    auto const make = [&](EmbeddingInfo const &info, std::vector<index_t> const &sizes) {
        return message_of([&] { EmbeddingWriter(folder / "out.h5", info, ids, sizes); });
    };
    auto info = make_info();
    BOOST_TEST(has(make(info, {1}), "out.h5: 5 ids and 1 lengths"));
    BOOST_TEST(has(make(info, {1, 1, -1, 1, 1}), "length -1 of protein 2"));
    info.width = 0;
    BOOST_TEST(has(make(info, lengths), "width is 0"));
    BOOST_TEST(has(make(make_info(DataType::f64), lengths), "precision is F64, expected F32, F16 or BF16"));
    info = make_info(DataType::f32, false);
    info.pooling = "none";
    BOOST_TEST(has(make(info, lengths), "neither residues nor proteins"));
    info = make_info();
    info.layers = {2, 2};
    BOOST_TEST(has(make(info, lengths), "layers are 2,2"));
    BOOST_TEST(has(make(make_info(DataType::f32, true, 11), lengths), "gzip 11"));
    BOOST_TEST(std::filesystem::is_empty(folder.path()));
}

/// Writes all proteins in two layers, whose values differ by their sign.
void write_two_layers(std::filesystem::path const &path, EmbeddingInfo info) {
    info.layers = {4, 0};
    EmbeddingWriter writer(path, info, ids, lengths);
    for (index_t const protein : {2, 0, 4, 1, 3})
        for (index_t slot = 0; slot < 2; ++slot) {
            auto residues = rows(protein, 0, lengths[std::size_t(protein)]), vector = rows(protein, -1, 0);
            for (auto *values : {&residues, &vector})
                for (float &one : *values)
                    one = slot == 1 ? -one : one;
            writer.write(protein, residues.data(), vector.data(), slot);
        }
    writer.close();
}

BOOST_AUTO_TEST_CASE(every_layout_precision_and_choice_reads_back) {
    for (auto const layout : {EmbeddingLayout::packed, EmbeddingLayout::per_id})
        for (auto const precision : {DataType::f32, DataType::f16, DataType::bf16})
            for (std::string const pooling : {"max", "none"})
                for (bool const per_residue : {true, false})
                    for (int const gzip : {0, 1}) {
                        if (pooling == "none" && !per_residue)
                            continue;
                        TemporaryFolder const folder;
                        auto info = make_info(precision, per_residue, gzip);
                        info.layout = layout;
                        info.pooling = pooling;
                        write_two_layers(folder / "a.h5", info);
                        EmbeddingReader const reader(folder / "a.h5");
                        BOOST_TEST((reader.ids() == ids && reader.lengths() == lengths));
                        BOOST_TEST(reader.slot_of(0) == 1);
                        BOOST_TEST(has(message_of([&] { reader.slot_of(1); }), "has no layer 1, only 4,0"));
                        for (index_t protein = 0; protein < reader.size(); ++protein)
                            for (index_t slot = 0; slot < 2; ++slot) {
                                auto const expect = [&](std::vector<float> values) {
                                    for (float &one : values) {
                                        one = slot == 1 ? -one : one;
                                        one = precision == DataType::bf16 ? float(bfloat16(one)) : one;
                                    }
                                    return values;
                                };
                                if (pooling != "none")
                                    BOOST_TEST((reader.protein(protein, slot) == expect(rows(protein, -1, 0))));
                                if (per_residue)
                                    BOOST_TEST((reader.residues(protein, slot) ==
                                                expect(rows(protein, 0, lengths[std::size_t(protein)]))));
                            }
                        if (pooling == "none")
                            BOOST_TEST(has(message_of([&] { reader.protein(0); }), "holds residues only"));
                    }
}

BOOST_AUTO_TEST_CASE(names_of_datasets_are_unique_and_lead_back_to_ids) {
    std::vector<std::string> const strange{"a/b", "a%2Fb", "",  ".", "..",    "_index", "x",
                                           "x",   "x%#2",  "x", "%", "a\tb/", "...",    "_indexed"};
    std::vector<std::string> const expected{"a%2Fb", "a%252Fb", "%",    "%2E", "%2E%2E",   "_index", "x",
                                            "x%#2",  "x%25#2",  "x%#3", "%25", "a%09b%2F", "...",    "_indexed"};
    BOOST_TEST(detail::dataset_names(strange) == expected, boost::test_tools::per_element());
    for (std::size_t i = 0; i < strange.size(); ++i)
        BOOST_TEST(detail::id_of_name(expected[i]) == strange[i]);
    for (char const *bad : {"a%", "a%4", "%g0", "%2f"})
        BOOST_TEST(has(message_of([&] { detail::id_of_name(bad); }), "followed by no two digits"));
    TemporaryFolder const folder;
    auto info = make_info(DataType::f32, false);
    info.layout = EmbeddingLayout::per_id;
    std::vector<index_t> const sizes(strange.size(), 1);
    EmbeddingWriter writer(folder / "a.h5", info, strange, sizes);
    for (index_t i = 0; i < writer.size(); ++i)
        writer.write(i, nullptr, rows(i, -1, 0).data());
    writer.close();
    EmbeddingReader const reader(folder / "a.h5");
    BOOST_TEST(reader.ids() == strange, boost::test_tools::per_element());
    BOOST_TEST((reader.protein(11) == rows(11, -1, 0)));
    auto const dataset = Hdf5File::open(folder / "a.h5").root().dataset("a%2Fb");
    BOOST_TEST(dataset.heap_text("original_id") == "a/b");
    BOOST_TEST(dataset.attribute<int>("length") == 1);
    BOOST_TEST(dataset.rank() == 1);
}

BOOST_AUTO_TEST_CASE(a_work_file_is_a_packed_file_once_it_is_complete) {
    for (auto const precision : {DataType::f32, DataType::f16, DataType::bf16}) {
        TemporaryFolder const folder;
        auto const path = folder / "a.h5";
        EmbeddingWorkFile::create(path, make_info(precision), ids, lengths);
        EmbeddingWorkFile first(path), second(path);
        std::vector<std::uint64_t> sums(ids.size());
        for (index_t const protein : {3, 0, 4, 1, 2}) {
            auto &file = protein % 2 ? first : second;
            sums[std::size_t(protein)] = file.write(protein, 0, rows(protein, 0, lengths[std::size_t(protein)]).data(),
                                                    rows(protein, -1, 0).data(), "id", 0);
        }
        for (index_t protein = 0; protein < 5; ++protein)
            BOOST_TEST(first.checksum(protein) == sums[std::size_t(protein)]);
        BOOST_TEST(has(message_of([&] { EmbeddingReader{path}; }), "is incomplete"));
        BOOST_TEST(!complete_embedding_file(path));
        EmbeddingWorkFile::complete(path, std::string(64, 'b'), "some job");
        BOOST_TEST(complete_embedding_file(path)->job == "some job");
        EmbeddingReader const reader(path);
        BOOST_TEST(reader.info().model_sha256 == std::string(64, 'b'));
        for (index_t protein = 0; precision != DataType::bf16 && protein < 5; ++protein) {
            BOOST_TEST((reader.protein(protein) == rows(protein, -1, 0)));
            BOOST_TEST((reader.residues(protein) == rows(protein, 0, lengths[std::size_t(protein)])));
        }
        second.write(3, 0, rows(1, 0, 7).data(), rows(1, -1, 0).data(), "id", 0);
        BOOST_TEST(first.checksum(3) != sums[3]);
    }
}

BOOST_AUTO_TEST_CASE(a_torn_record_of_a_journal_hides_none_before_it) {
    TemporaryFolder const folder;
    std::vector<JournalEntry> const entries{{5, 50}, {7, 70}, {1, 10}};
    std::uint64_t const job = 123;
    EmbeddingJournal(folder.path(), job).append(entries);
    EmbeddingJournal second(folder.path(), job);
    second.append(std::vector<JournalEntry>{{2, 20}});
    second.append(std::vector<JournalEntry>{{3, 30}});
    std::filesystem::resize_file(folder / "journal-0", 84); // the header, and two and a half records
    auto found = EmbeddingJournal::read(folder.path(), job);
    BOOST_REQUIRE(found.size() == 4u);
    EmbeddingJournal::replace(folder.path(), job, found);
    BOOST_TEST(!std::filesystem::exists(folder / "journal-0"));
    found = EmbeddingJournal::read_finished(folder.path(), job);
    std::sort(found.begin(), found.end(), [](auto a, auto b) { return a.protein < b.protein; });
    index_t const expected[] = {2, 3, 5, 7};
    for (std::size_t i = 0; i < 4; ++i) {
        BOOST_TEST(found[i].protein == expected[i]);
        BOOST_TEST(found[i].checksum == std::uint64_t(10 * expected[i]));
    }
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_the_old_file) {
    TemporaryFolder const folder;
    auto const path = folder.write("out.h5", "old");
    std::vector<index_t> const length = {4096};
    std::vector<std::string> const id = {"a"};
    auto const small = message_of([&] {
        test::FullDisk const full(16384);
        EmbeddingWriter(path, make_info(), id, length);
    });
    BOOST_TEST(has(small, "out.h5.partial: needs 81940 bytes, but cannot have them: File too large"), small);
    {
        std::vector<float> values(4096 * width);
        std::iota(values.begin(), values.end(), 1.f);
        EmbeddingWriter writer(path, make_info(DataType::f32, true, 1), id, length);
        auto const filled = message_of([&] {
            test::FullDisk const full(16384);
            writer.write(0, values.data(), values.data());
            writer.close();
        });
        BOOST_TEST(has(filled, "out.h5.partial: cannot flush: "), filled);
    }
    BOOST_TEST(test::read_file(path) == "old");
    BOOST_TEST(!std::filesystem::exists(path.string() + ".partial"));
}

BOOST_AUTO_TEST_SUITE_END()
