// A pre-training program on one protein of 20,000 residues: nothing of size L x L is ever there.

#include "program.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace protlm::test;

BOOST_AUTO_TEST_SUITE(long_protein)

BOOST_AUTO_TEST_CASE(trains_under_a_gigabyte) {
    TemporaryFolder const folder;
    folder.write("protein.fasta", fasta_text(1, 20000, 20000));
    auto const prepared = run_program(setting("PROTLM_TEST_PREPARE") + " " + (folder / "protein.fasta").string() +
                                          " --quiet --output " + (folder / "s.store").string(),
                                      folder);
    BOOST_REQUIRE_MESSAGE(prepared.status == 0, prepared.text);
    auto const trained =
        run_program(setting("PROTLM_TEST_PROGRAM") + " --quiet --data " + (folder / "s.store").string() + " --config " +
                        setting("PROTLM_TEST_CONFIG") + " --output " + (folder / "run").string(),
                    folder);
    BOOST_REQUIRE_MESSAGE(trained.status == 0, trained.text);
    BOOST_TEST_MESSAGE("peak memory " << std::round(trained.peak_bytes * 1e-6) << " MB");
    BOOST_TEST(trained.peak_bytes < 1e9); // one matrix of 20,000 squared floats alone has 1.6e9 bytes
    std::string const log = read_file(folder / "run" / "log.jsonl");
    BOOST_TEST(log.find("\"step\":2,\"loss\"") != std::string::npos, log);
    BOOST_TEST(log.find("\"tokens\":4000") != std::string::npos, log); // two steps of 20,000 residues and a few tokens
}

BOOST_AUTO_TEST_SUITE_END()
