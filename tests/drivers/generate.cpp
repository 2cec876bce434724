// The program generate on untrained models: what stays, what is written, what is the same again, and its messages.

#include "program.hpp"

#include <protlm/data/fasta.hpp>
#include <protlm/model/t5.hpp>
#include <protlm/model/transformer_xl.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;
using namespace protlm::test;

namespace {

/// Folders with a small T5 and a small Transformer-XL, and proteins with masked residues.
struct Models {
    TemporaryFolder folder;
    Models() {
        std::filesystem::create_directories(folder / "t5");
        std::filesystem::create_directories(folder / "xl");
        T5Config t5;
        t5.d_model = 32;
        t5.d_kv = 8;
        t5.num_heads = 2;
        t5.d_ff = 48;
        t5.num_layers = t5.num_decoder_layers = 2;
        T5<float> writer(t5);
        writer.initialise(1);
        writer.save(folder / "t5");
        TransformerXlConfig xl;
        xl.d_model = xl.d_embed = 32;
        xl.n_head = 2;
        xl.d_head = 16;
        xl.d_inner = 48;
        xl.n_layer = 2;
        xl.init_std = 0.2;
        TransformerXl<float> reader(xl);
        reader.initialise(1);
        reader.save(folder / "xl");
        folder.write("in.fasta", ">P1 a protein\nMKT??AYIA\nKQRQX?ISF\n>P2\nMKVL\n>P3\n??????\n");
        folder.write("begin.fasta", ">B1\nMKTAYIAKQR\n>B2\nM\n");
    }

    Ended start(std::string const &arguments) const {
        std::string const program = setting("PROTLM_TEST_PROGRAM");
        return run_program("env -C '" + folder.path().string() + "' " + program + ' ' + arguments, folder);
    }
    struct Protein {
        std::string header, letters;
    };
    /// What a run that must succeed wrote.
    std::vector<Protein> run(std::string const &arguments) const {
        auto const ended = start(arguments + " -f -o out.fasta");
        BOOST_REQUIRE_MESSAGE(ended.status == 0, ended.text);
        std::istringstream text(read_file(folder / "out.fasta"));
        std::vector<Protein> proteins;
        for (std::string line; std::getline(text, line);)
            if (line.starts_with('>'))
                proteins.push_back({line.substr(1), ""});
            else
                proteins.back().letters += line;
        return proteins;
    }
};

bool is_twenty(std::string const &letters) { return letters.find_first_not_of("ACDEFGHIKLMNPQRSTVWY") == letters.npos; }

BOOST_FIXTURE_TEST_SUITE(generate_program, Models)

BOOST_AUTO_TEST_CASE(masked_residues_are_filled_in_and_the_others_stay) {
    for (std::string const method : {"greedy", "beam --number 2", "sample --number 2"}) {
        auto const proteins = run("t5 in.fasta --method " + method);
        std::size_t const each = method == "greedy" ? 1 : 2;
        BOOST_REQUIRE(proteins.size() >= 2 * each + 1); // a search has one way to write P2
        for (auto const &protein : proteins) {
            std::string const id = protein.header.substr(0, 2), given = id == "P1"   ? "MKT??AYIAKQRQX?ISF"
                                                                        : id == "P2" ? "MKVL"
                                                                                     : "??????";
            BOOST_TEST(protein.header.find("_generated_") == 2u);
            BOOST_TEST(protein.header.find(" method=" + method.substr(0, method.find(' ')) + " score=") !=
                       std::string::npos);
            BOOST_TEST(protein.header.find("incomplete") == std::string::npos);
            BOOST_REQUIRE(protein.letters.size() == given.size());
            for (std::size_t i = 0; i < given.size(); ++i)
                BOOST_TEST(
                    (given[i] == '?' ? is_twenty(protein.letters.substr(i, 1)) : protein.letters[i] == given[i]));
        }
    }
    BOOST_TEST(is_twenty(run("t5 in.fasta --mask '?X'")[0].letters));
}

BOOST_AUTO_TEST_CASE(the_same_seed_writes_the_same_in_batches_of_any_size) {
    auto const same = [&](std::string const &a, std::string const &b) {
        run(a);
        std::string const first = read_file(folder / "out.fasta");
        run(b);
        return first == read_file(folder / "out.fasta");
    };
    std::string const sample = "t5 in.fasta --method sample --number 3 --temperature 1.5 --seed 7";
    BOOST_TEST(same(sample, sample + " --batch 1"));
    BOOST_TEST(!same(sample, sample + "1"));
    BOOST_TEST(same("xl begin.fasta --method sample --max-length 30",
                    "xl begin.fasta --method sample --max-length 30 --batch 1"));
}

BOOST_AUTO_TEST_CASE(whole_proteins_and_spans_are_written_anew) {
    for (auto const &protein : run("t5 in.fasta --rewrite --method sample --min-length 5 --max-length 12")) {
        BOOST_TEST(protein.letters.size() >= 5u);
        BOOST_TEST(protein.letters.size() <= 12u);
        BOOST_TEST(is_twenty(protein.letters));
    }
    auto const spans = run("t5 in.fasta --spans --method sample --max-length 12");
    BOOST_REQUIRE(spans.size() == 3u);
    BOOST_TEST(spans[0].letters.starts_with("MKT"));
    BOOST_TEST(spans[0].letters.ends_with("ISF"));
    BOOST_TEST(spans[1].letters == "MKVL");
}

BOOST_AUTO_TEST_CASE(transformer_xl_goes_on_and_begins_anew) {
    auto const continued = run("xl begin.fasta --method sample --number 2 --max-length 40");
    BOOST_REQUIRE(continued.size() == 4u);
    BOOST_TEST(continued[0].header.starts_with("B1_generated_1 "));
    BOOST_TEST(continued[1].header.starts_with("B1_generated_2 "));
    BOOST_TEST(continued[0].letters.starts_with("MKTAYIAKQR"));
    BOOST_TEST(continued[3].letters.starts_with("M"));
    for (auto const &protein : continued)
        BOOST_TEST((protein.letters.size() <= 50u && is_twenty(protein.letters)));
    auto const fresh = run("xl --method sample --number 3 --max-length 25 --min-length 25");
    BOOST_REQUIRE(fresh.size() == 3u);
    BOOST_TEST(fresh[0].header.starts_with("new_generated_1 "));
    for (auto const &protein : fresh)
        BOOST_TEST(protein.letters.size() == 25u);
}

BOOST_AUTO_TEST_CASE(messages_say_what_is_wrong) {
    auto const message = [&](std::string const &arguments) {
        auto const ended = start(arguments);
        BOOST_TEST(ended.status != 0);
        return ended.text;
    };
    auto const has = [](std::string const &text, char const *part) { return text.find(part) != std::string::npos; };
    BOOST_TEST(has(message("t5 -o out.fasta"), "name a FASTA file"));
    BOOST_TEST(has(message("t5 in.fasta -o in.fasta"), "in.fasta: is an input"));
    BOOST_TEST(has(message("nothing in.fasta -o out.fasta"), "nothing: no such folder"));
    auto const usage = [&](std::string const &arguments, char const *part) {
        auto const ended = start(arguments + " -o out.fasta");
        BOOST_TEST(ended.status == 2, arguments);
        BOOST_TEST(has(ended.text, part), ended.text);
    };
    usage("t5 in.fasta --method beam --number 9", "--number is 9, but a search with --beams 4 finds no more");
    usage("t5 in.fasta --method sample --top-p 0", "--top-p: is \"0\", expected a number above 0 and at most 1");
    usage("t5 in.fasta --top-p 0.9", "--top-p is for --method sample, but the method is greedy");
    usage("t5 in.fasta --number 3", "--number is for --method sample or beam, but the method is greedy");
    usage("t5 in.fasta --rewrite --min-length 50 --max-length 20", "--min-length is 50, above --max-length 20");
    usage("t5 in.fasta --rewrite --spans", "--rewrite and --spans exclude each other");
    usage("t5 in.fasta --max-length 20", "go with --rewrite or --spans");
    usage("t5 in.fasta --without X-", "--without: '-' is no letter");
    usage("t5 in.fasta --method sample --temperature -1", "--temperature: is \"-1\", expected 0 or more");
    usage("xl --rewrite", "are for a T5, but xl is a Transformer-XL");
    usage("xl --batch 0", "--batch: is \"0\", expected 1 or more");
    usage("xl -o out.fasta.gz", "--output is given 2 times");
    BOOST_TEST(has(message("xl -o out.fasta.gz"), "out.fasta.gz: ends in .gz, but is to be plain FASTA"));
    BOOST_TEST(has(message("xl in.fasta -f -o ./in.fasta"), "./in.fasta: is an input"));
    BOOST_TEST(has(message("xl -o -"), "the output cannot go to standard output: name a file"));
    folder.write("twice.fasta", ">P1 a\nMKT\n>P1 b\nMKV\n");
    BOOST_TEST(has(message("xl twice.fasta -o out.fasta"), "two proteins have the id P1"));
    BOOST_TEST(has(message("t5 in.fasta -o out.fasta --mask X"), "letter '?' (record P1) is not in the alphabet"));
    BOOST_TEST(!std::filesystem::exists(folder / "out.fasta"));
    folder.write("old.fasta", ">old\n");
    BOOST_TEST(has(message("xl -o old.fasta"), "old.fasta: exists (--force replaces it)"));
    BOOST_TEST(read_file(folder / "old.fasta") == ">old\n");
}

BOOST_AUTO_TEST_CASE(the_model_is_named_either_way) {
    run("t5 in.fasta");
    auto const first = read_file(folder / "out.fasta");
    run("in.fasta --model t5 -q");
    BOOST_TEST(read_file(folder / "out.fasta") == first);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
