// The programs project and search on FASTA compositions and on an embedding file: what they write, and their messages.

#include "program.hpp"

#include <protlm/io/embedding_file.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <bit>
#include <limits>

using namespace protlm;
using namespace protlm::test;

namespace {

/// Forty proteins of two kinds, helices' and strands' residues, with labels; P7 has none.
struct Proteins {
    TemporaryFolder folder;
    Proteins() {
        std::string fasta, labels = "id\tfold\tfamily\n", all = labels;
        CounterRandom const random{3, Purpose::sample};
        for (std::uint32_t i = 0; i < 40; ++i) {
            std::string const letters = i % 2 ? "VITYFWVI" : "AELKAEMQ";
            auto const number = std::to_string(i);
            fasta.append(">P").append(number).append(i % 2 ? " </script> \"of kind\" 1\n"
                                                           : " </script> \"of kind\" 0\n");
            for (std::uint32_t t = 0; t < 60; ++t)
                fasta += letters[random(i, t)[0] % 8];
            fasta += '\n';
            auto const line = std::string("P")
                                  .append(number)
                                  .append(i % 2 ? "\tbeta\tf" : "\talpha\tf")
                                  .append(std::to_string(i / 4))
                                  .append("\n");
            labels += i == 7 ? "" : line;
            all += line;
        }
        folder.write("in.fasta", fasta);
        folder.write("labels.tsv", labels);
        folder.write("all.tsv", all);
    }
    Ended start(char const *program, std::string const &arguments) const {
        return run_program("env -C '" + folder.path().string() + "' " + setting(program) + ' ' + arguments, folder);
    }
    std::string run(char const *program, std::string const &arguments) const {
        auto const ended = start(program, arguments);
        BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.text);
        return ended.text;
    }
};

char const *const project = "PROTLM_TEST_PROJECT", *const search = "PROTLM_TEST_SEARCH";

bool has(std::string const &text, std::string const &part) { return text.find(part) != std::string::npos; }

std::size_t count(std::string const &text, std::string const &part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1))
        ++found;
    return found;
}

BOOST_FIXTURE_TEST_SUITE(looking_programs, Proteins)

BOOST_AUTO_TEST_CASE(a_map_as_page_and_table) {
    for (std::string const method : {"pca", "tsne --iterations 120 --perplexity 8"}) {
        auto const text = run(project, "in.fasta -f --composition -l labels.tsv -o m.html -o m.tsv --method " + method);
        BOOST_TEST(has(text, "warning: 1 of 40 proteins have no label"));
        auto const page = read_file(folder / "m.html"), table = read_file(folder / "m.tsv");
        BOOST_TEST(count(table, "\n") == 41u);
        BOOST_TEST(has(table, "P3 </script> \"of kind\" 1\tbeta\t"));
        BOOST_TEST(count(page, "</script>") == 1u); // ids end no script
        BOOST_TEST(has(page, "P3 \\u003c/script> \\\"of kind\\\" 1"));
        BOOST_TEST(has(page, "\"name\":\"alpha\""));
        BOOST_TEST(has(page, "\"name\":\"no label\"")); // P7's
        BOOST_TEST(!has(page, "\"name\":\"others\""));
        BOOST_TEST(!has(page, "http")); // needs nothing from elsewhere
        run(project, "in.fasta -qf --composition -l labels.tsv -o again.tsv --method " + method);
        BOOST_TEST(read_file(folder / "again.tsv") == table);
    }
}

BOOST_AUTO_TEST_CASE(neighbours_are_of_the_same_kind) {
    run(search, "in.fasta --composition -k 3 -o near.tsv");
    std::istringstream text(read_file(folder / "near.tsv"));
    std::string line;
    std::getline(text, line);
    BOOST_TEST(line == "query\trank\tprotein\tcosine");
    int lines = 0;
    for (; std::getline(text, line); ++lines) {
        auto const cells = line.find('\t'), second = line.find('\t', line.find('\t', cells + 1) + 1);
        auto const query = line.substr(0, cells), found = line.substr(0, second);
        BOOST_TEST(query.back() == found.back(), line);
        BOOST_TEST(!has(line, query + "\t1\t" + query + "\t"));
    }
    BOOST_TEST(lines == 120);
    auto const both = run(search, "in.fasta in.fasta --composition -k 1 --least 0.99999");
    BOOST_TEST(count(both, "\t1.00000\n") == 40u);
}

BOOST_AUTO_TEST_CASE(files_of_different_weights_are_told) {
    auto const write = [&](std::string const &name, char weights) {
        std::vector<std::string> const ids{"a", "b"};
        std::vector<index_t> const lengths{1, 1};
        EmbeddingWriter writer(
            folder / name, {.model = name, .model_sha256 = std::string(64, weights), .width = 2, .per_residue = false},
            ids, lengths);
        for (index_t i = 0; i < 2; ++i)
            writer.write(i, nullptr, std::array{1.f, static_cast<float>(i)}.data());
        writer.close();
    };
    write("one.h5", '1'), write("same.h5", '1'), write("other.h5", '2');
    BOOST_TEST(!has(run(search, "one.h5 same.h5"), "warning"));
    BOOST_TEST(has(run(search, "one.h5 other.h5"), "the weights behind the two files differ (one.h5, layer 0, mean; "));
}

BOOST_AUTO_TEST_CASE(files_of_other_programs_and_of_residues) {
    auto const add = [](Hdf5File const &file, std::string const &name, std::vector<index_t> const &shape,
                        std::vector<float> const &values) {
        file.root().make_dataset(name, DataType::f32, shape).write(0, shape[0], values.data());
    };
    {
        auto const vectors = Hdf5File::create(folder / "uniprot.h5");
        add(vectors, "P12345", {2}, {1, 0}), add(vectors, "Q9", {2}, {0, 1}), add(vectors, "A0A023", {1, 2}, {3, 4});
        auto const residues = Hdf5File::create(folder / "residues.h5");
        add(residues, "sp|P12345|AATM_RABIT", {2, 2}, {1, 1, 5, 7}), add(residues, "none", {1, 2}, {4, 3});
    }
    auto const text = run(search, "residues.h5 uniprot.h5 -k 1");
    BOOST_TEST(has(text, "note: residues.h5 holds residues only: a protein's vector is their mean"));
    BOOST_TEST(has(text, "sp|P12345|AATM_RABIT\t1\tA0A023\t1.00000\n")); // the mean is (3, 4)
    BOOST_TEST(has(text, "the two files do not say what their vectors are (residues.h5, mean; uniprot.h5): cosines"));
    BOOST_TEST(!has(run(search, "uniprot.h5"), "warning"));
    std::vector<std::string> const ids{"a"};
    std::vector<index_t> const lengths{1};
    EmbeddingWriter writer(folder / "ours.h5", {.model = "m", .layers = {3}, .width = 2, .per_residue = false}, ids,
                           lengths);
    writer.write(0, nullptr, std::array{1.f, 0.f}.data());
    writer.close();
    BOOST_TEST(has(run(search, "ours.h5 uniprot.h5"),
                   "one of the two files does not say what its vectors are (m, layer "
                   "3, mean; uniprot.h5): cosines say nothing unless"));
    folder.write("entries.tsv", "Entry\tName\tfold\nP12345\tx\talpha\nA0A023\ty\tbeta\n");
    auto const map = run(project, "residues.h5 -l entries.tsv --column fold -o m.tsv --method pca");
    BOOST_TEST(has(map, "warning: 1 of 2 proteins have no label"));
    BOOST_TEST(has(read_file(folder / "m.tsv"), "sp|P12345|AATM_RABIT\talpha\t"));
    std::filesystem::rename(folder / "ours.h5", folder / "begun.h5.partial");
    auto const begun = start(search, "begun.h5");
    BOOST_TEST(begun.status == 1);
    BOOST_TEST(
        has(begun.text, "begun.h5: is not complete yet; the command that began begun.h5.partial goes on with it"));
}

BOOST_AUTO_TEST_CASE(files_of_different_layers_are_told) {
    std::vector<std::string> const ids{"a"};
    std::vector<index_t> const lengths{1};
    EmbeddingWriter writer(folder / "two.h5", {.model = "m", .layers = {0, 3}, .width = 2, .per_residue = false}, ids,
                           lengths);
    for (index_t slot = 0; slot < 2; ++slot)
        writer.write(0, nullptr, std::array{1.f, 0.f}.data(), slot);
    writer.close();
    EmbeddingWriter other(folder / "one.h5", {.model = "m", .layers = {0}, .width = 2, .per_residue = false}, ids,
                          lengths);
    other.write(0, nullptr, std::array{1.f, 0.f}.data());
    other.close();
    BOOST_TEST(has(run(search, "two.h5 one.h5"), "the two files come from different layers or poolings (m, layer 3, "));
    BOOST_TEST(!has(run(search, "two.h5 one.h5 --layer 0"), "warning"));
}

BOOST_AUTO_TEST_CASE(kinds_are_found_perfectly) {
    auto const text = run(search, "in.fasta --composition -l all.tsv --evaluate fold:family --evaluate fold");
    BOOST_TEST(has(text, "fold\tfamily\tquery\t40\t1.0000\t1.0000\t1.0000\t1.0000\n"));
    BOOST_TEST(has(text, "fold\tfamily\tfold\t2\t1.0000\t1.0000\t1.0000\t1.0000\n"));
    BOOST_TEST(has(text, "fold\t\tquery\t40\t1.0000"));
    // one without a label is no query, and a negative for those of its kind
    auto const without = run(search, "in.fasta --composition -l labels.tsv --evaluate fold");
    BOOST_TEST(has(without, "warning: 1 of 40 proteins have no fold"));
    BOOST_TEST(has(without, "fold\t\tquery\t39\t0.9"));
}

BOOST_AUTO_TEST_CASE(labels_are_coloured_others_or_missing) {
    folder.write("three.tsv", "id\tkind\nP0\tno label\nP1\tno label\nP2\tno label\nP3\tb\nP4\tc\n");
    run(project, "in.fasta -q --composition -l three.tsv --method pca --colors 1 -o m.html");
    auto const page = read_file(folder / "m.html");
    BOOST_TEST(has(page, R"({"color":"#0072B2","count":3,"name":"no label"})"));
    BOOST_TEST(has(page, R"({"color":"#8C8C8C","count":2,"name":"others"})"));
    BOOST_TEST(has(page, R"({"color":"#C8C8C8","count":35,"name":"no label"})"));
    run(project, "in.fasta -qf --composition --method pca -o m.html");
    BOOST_TEST(has(read_file(folder / "m.html"), R"({"color":"#0072B2","count":40,"name":"proteins"})"));
}

BOOST_AUTO_TEST_CASE(fields_of_a_table_hold_no_tabs) {
    folder.write("tabs.fasta", ">a\tb\nMKTAY\n>c\\d \x01 e\nMKTAAY\n>f\nMKVVAY\n");
    folder.write("tabs.csv", "id,label\nf,\"x\ty\"\n");
    auto const near = run(search, "tabs.fasta --composition -k 2");
    BOOST_TEST(has(near, "\na\\tb\t1\tc\\\\d \\x01 e\t"), near);
    run(project, "tabs.fasta -q --composition -l tabs.csv -o tabs.tsv --method pca");
    auto const map = read_file(folder / "tabs.tsv");
    BOOST_TEST(has(map, "\nf\tx\\ty\t"), map);
    for (auto const &table : {near, map}) {
        std::istringstream text(table);
        for (std::string line; std::getline(text, line);)
            if (!has(line, "warning") && !has(line, ": note: "))
                BOOST_TEST(count(line, "\t") == 3u, line);
    }
}

/// An embedding file with two proteins; `marked` is in the vector of the second.
float const marked = 12345.678f;
std::filesystem::path write_vectors(TemporaryFolder const &folder, std::string const &name, std::string const &model) {
    std::vector<std::string> const ids{"good", "bad"};
    std::vector<index_t> const lengths{1, 1};
    EmbeddingWriter writer(folder / name, {.model = model, .width = 2, .per_residue = false}, ids, lengths);
    for (index_t i = 0; i < 2; ++i)
        writer.write(i, nullptr, std::array{1.f, i == 0 ? 2.f : marked}.data());
    writer.close();
    return folder / name;
}

BOOST_AUTO_TEST_CASE(titles_name_the_model_without_its_path) {
    auto const title = [&](std::string const &model) {
        write_vectors(folder, "m.h5", model);
        run(project, "m.h5 -qf --method pca -o m.html");
        auto const page = read_file(folder / "m.html");
        auto const begin = page.find("<title>") + 7;
        return page.substr(begin, page.find("</title>") - begin);
    };
    BOOST_TEST(title("/data/models/prot_bert") == "prot_bert, layer 0, mean");
    BOOST_TEST(title("qs/run/") == "run, layer 0, mean");
    BOOST_TEST(title("qs/run/step-00001200") == "run, step 1200, layer 0, mean");
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_finite_is_named) {
    write_vectors(folder, "m.h5", "m");
    auto bytes = read_file(folder / "m.h5");
    auto const at = bytes.find(std::bit_cast<std::array<char, 4>>(marked).data(), 0, 4);
    BOOST_REQUIRE(at != bytes.npos);
    auto const nan = std::bit_cast<std::array<char, 4>>(std::numeric_limits<float>::quiet_NaN());
    folder.write("nan.h5", bytes.replace(at, 4, nan.data(), 4));
    for (char const *program : {project, search}) {
        auto const ended = start(program, program == project ? "nan.h5 --method pca -o m.html" : "nan.h5");
        BOOST_TEST(ended.status == 1);
        BOOST_TEST(has(ended.text, "nan.h5: protein bad: the value nan is not finite"), ended.text);
    }
}

BOOST_AUTO_TEST_CASE(outputs_are_checked_before_anything_is_computed) {
    auto const fails = [&](char const *program, std::string const &arguments, int status, std::string const &message) {
        auto const ended = start(program, arguments);
        BOOST_TEST(ended.status == status, arguments);
        BOOST_TEST(has(ended.text, message), ended.text);
    };
    std::string const before = read_file(folder / "in.fasta");
    run(search, "in.fasta -q --composition -o near.tsv");
    fails(search, "in.fasta --composition -o near.tsv", 1, "near.tsv: exists (--force replaces it)");
    run(search, "in.fasta -qf --composition -o near.tsv");
    fails(search, "in.fasta -f --composition -o ./in.fasta", 2, "ends in .fasta");
    folder.write("in", before);
    fails(search, "in -f --composition -o ./in", 1, "./in: is an input");
    fails(search, "in --composition -l labels.tsv --evaluate fold -f -o labels.tsv", 1, "labels.tsv: is an input");
    fails(search, "in --composition -o near.csv", 2, "near.csv: ends in .csv, but is to be a table separated by tabs");
    fails(search, "in --composition -o nowhere/near.tsv", 1, "nowhere");
    fails(search, "in --composition -o .", 1, "is a folder, expected a file");
    run(project, "in.fasta -q --composition --method pca -o m.tsv");
    fails(project, "in.fasta --composition --method pca -o other.html -o m.tsv", 1, "m.tsv: exists (--force");
    BOOST_TEST(!std::filesystem::exists(folder / "other.html"));
    fails(project, "in.fasta --composition -l labels.tsv -f -o labels.tsv", 1, "labels.tsv: is an input");
    folder.write("m.png.gp", "mine");
    fails(project, "in.fasta --composition --method pca -o m.png", 1, "m.png.gp: exists (--force replaces it)");
    BOOST_TEST(read_file(folder / "in.fasta") == before);
}

BOOST_AUTO_TEST_CASE(retrieval_goes_into_the_output_too) {
    run(search, "in.fasta -q --composition -l all.tsv --evaluate fold -o scores.tsv");
    BOOST_TEST(has(read_file(folder / "scores.tsv"), "fold\t\tquery\t40\t1.0000"));
}

BOOST_AUTO_TEST_CASE(messages_say_what_is_wrong) {
    auto const message = [&](char const *program, std::string const &arguments) {
        auto const ended = start(program, arguments);
        BOOST_TEST(ended.status != 0);
        return ended.text;
    };
    for (char const *program : {project, search}) {
        BOOST_TEST(has(message(program, "in.fasta"), "in.fasta: is no embedding file (HDF5); embed makes one of FASTA, "
                                                     "and --composition takes FASTA itself"));
        BOOST_TEST(has(message(program, "none.h5"), "none.h5: no such file"));
        BOOST_TEST(has(message(program, "none.fasta --composition"), "none.fasta: no such file"));
        BOOST_TEST(has(message(program, "."), ".: is a folder, expected an embedding file"));
        write_vectors(folder, "m.h5", "m");
        BOOST_TEST(has(message(program, "m.h5 --composition"), "m.h5: is an HDF5 file, but --composition takes FASTA"));
    }
    folder.write("few.fasta", ">a\nMKT\n>b\nAAY\n");
    BOOST_TEST(has(message(project, "few.fasta --composition -o few.tsv"),
                   "2 proteins are too few for t-SNE, which takes 4 or more (--method pca)"));
    BOOST_TEST(has(message(project, "in.fasta --composition -o m.pdf"), "m.pdf: ends in none of"));
    BOOST_TEST(has(message(project, "in.fasta --composition -l labels.tsv --column class"), "has no column 'class'"));
    BOOST_TEST(has(message(search, "in.fasta in.fasta --composition -l labels.tsv --evaluate fold"), "takes one file"));
    auto root = Hdf5File::create(folder / "torn.h5").root();
    root.set_attribute("format", std::string("protlm embeddings"));
    root.set_attribute("complete", std::uint8_t(0));
    root.close();
    for (char const *program : {project, search})
        BOOST_TEST(has(message(program, "torn.h5"), "torn.h5: is incomplete"));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
