// The programs project and search on FASTA compositions and on an embedding file: what they write, and their messages.

#include "program.hpp"

#include <protlm/io/embedding_file.hpp>

#include <boost/test/unit_test.hpp>

#include <array>

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
        auto const text = run(project, "in.fasta --composition -l labels.tsv -o m.html -o m.tsv --method " + method);
        BOOST_TEST(has(text, "warning: 1 of 40 proteins have no label"));
        auto const page = read_file(folder / "m.html"), table = read_file(folder / "m.tsv");
        BOOST_TEST(count(table, "\n") == 41u);
        BOOST_TEST(has(table, "P3 </script> \"of kind\" 1\tbeta\t"));
        BOOST_TEST(count(page, "</script>") == 1u); // ids end no script
        BOOST_TEST(has(page, "P3 \\u003c/script> \\\"of kind\\\" 1"));
        BOOST_TEST(has(page, "\"name\":\"alpha\""));
        BOOST_TEST(has(page, "\"name\":\"others\""));
        BOOST_TEST(!has(page, "http")); // needs nothing from elsewhere
        run(project, "in.fasta -q --composition -l labels.tsv -o again.tsv --method " + method);
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

BOOST_AUTO_TEST_CASE(messages_say_what_is_wrong) {
    auto const message = [&](char const *program, std::string const &arguments) {
        auto const ended = start(program, arguments);
        BOOST_TEST(ended.status != 0);
        return ended.text;
    };
    BOOST_TEST(has(message(project, "in.fasta -o m.html"), "in.fasta"));
    BOOST_TEST(has(message(project, "none.h5 -o m.html"), "none.h5"));
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
