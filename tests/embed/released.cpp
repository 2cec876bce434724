// Checkpoints in the layouts of the released models, against transformers: see tests/fixtures/released/README.md.

#include <models/encoder.hpp>
#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <protlm/data/batch.hpp>
#include <protlm/embed/read_proteins.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace {

using namespace protlm;

std::filesystem::path const released = std::filesystem::path(PROTLM_TEST_FIXTURES) / "released";

constexpr std::array<char const *, 7> names{"prot_bert",
                                            "prot_albert",
                                            "prot_xlnet",
                                            "prot_electra_discriminator_bfd",
                                            "prot_electra_generator_bfd",
                                            "prot_t5_xl_bfd",
                                            "prot_t5_xl_half_uniref50-enc"};

Proteins proteins_of(Vocabulary const &vocabulary) {
    ReadReport report;
    // XLNet has no X: what transformers made <unk> of is asked for.
    return read_proteins({(released / "proteins.fasta").string()}, vocabulary, {.fasta = {InvalidLetters::mask}},
                         report);
}

/// All residues' vectors (R, C), in the order of the proteins.
std::vector<float> embedded(examples::Encoder &encoder, Proteins const &proteins) {
    auto const width = static_cast<std::size_t>(encoder.shape().width);
    std::vector<std::size_t> first{0};
    for (index_t i = 0; i < proteins.size(); ++i)
        first.push_back(first.back() + static_cast<std::size_t>(proteins.length(i)));
    std::vector<float> values(first.back() * width, std::numeric_limits<float>::quiet_NaN());
    encoder.embed(proteins, proteins.all(), [&](examples::Encoder::Embedding const &one) {
        auto const residues = one.residues();
        auto const at = first[static_cast<std::size_t>(one.protein)] * width;
        BOOST_REQUIRE(at + residues.size() <= values.size());
        std::copy(residues.begin(), residues.end(), values.begin() + static_cast<std::ptrdiff_t>(at));
    });
    return values;
}

/// The greatest difference between two lists of values; NaN counts as infinite.
double difference(std::vector<float> const &got, std::vector<float> const &expected) {
    BOOST_REQUIRE(got.size() == expected.size());
    double greatest = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        double const one = std::abs(double(got[i]) - double(expected[i]));
        greatest = one <= greatest ? greatest : std::isnan(one) ? std::numeric_limits<double>::infinity() : one;
    }
    return greatest;
}

/// The least cosine between a residue's two vectors of `width` values.
double least_cosine(std::vector<float> const &got, std::vector<float> const &expected, std::size_t width) {
    BOOST_REQUIRE(got.size() == expected.size());
    double least = 1;
    for (std::size_t row = 0; row < got.size(); row += width) {
        double dot = 0, a = 0, b = 0;
        for (std::size_t i = row; i < row + width; ++i) {
            dot += double(got[i]) * double(expected[i]);
            a += double(got[i]) * double(got[i]);
            b += double(expected[i]) * double(expected[i]);
        }
        least = std::min(least, dot / std::sqrt(a * b));
    }
    return least;
}

BOOST_AUTO_TEST_SUITE(released_layouts)

BOOST_AUTO_TEST_CASE(hidden_states_of_every_residue_are_those_of_transformers) {
    for (auto const *name : names)
        BOOST_TEST_CONTEXT(name) {
            auto encoder = examples::open_encoder(released / name);
            auto const proteins = proteins_of(encoder.vocabulary());
            auto const expected = CheckpointFolder(released / name / "expected.safetensors").read<float>("residues");
            // Values up to 4 through two or three layers in float32; the expected ones are rounded from float64.
            BOOST_TEST(difference(embedded(encoder, proteins), expected) < 2e-5);
        }
}

BOOST_AUTO_TEST_CASE(tokens_are_those_of_the_released_tokenizers) {
    for (auto const *name : names)
        BOOST_TEST_CONTEXT(name) {
            auto const encoder = examples::open_encoder(released / name);
            auto const proteins = proteins_of(encoder.vocabulary());
            CheckpointFolder const expected(released / name / "expected.safetensors");
            Batch batch;
            for (index_t i = 0; i < proteins.size(); ++i)
                append_sequence(batch, encoder.vocabulary(), proteins.tokens(i), std::nullopt, 0);
            BOOST_TEST(std::vector<int>(batch.tokens.begin(), batch.tokens.end()) == expected.read<int>("tokens"),
                       boost::test_tools::per_element());
            BOOST_TEST(std::vector<int>(batch.offsets.begin(), batch.offsets.end()) == expected.read<int>("offsets"),
                       boost::test_tools::per_element());
        }
}

BOOST_AUTO_TEST_CASE(weights_in_bfloat16_stay_close) {
    for (auto const *name : names)
        BOOST_TEST_CONTEXT(name) {
            auto encoder = examples::open_encoder(released / name, {.precision = "bfloat16"});
            auto const proteins = proteins_of(encoder.vocabulary());
            auto const expected = CheckpointFolder(released / name / "expected.safetensors").read<float>("residues");
            auto const width = static_cast<std::size_t>(encoder.shape().width);
            BOOST_TEST(least_cosine(embedded(encoder, proteins), expected, width) > 0.99);
        }
}

BOOST_AUTO_TEST_CASE(encoders_hold_no_decoder_and_no_head) {
    auto const whole = CheckpointFolder(released / "prot_t5_xl_bfd");
    BOOST_TEST(whole.contains("decoder.final_layer_norm.weight"));
    auto const of_whole = examples::open_encoder(released / "prot_t5_xl_bfd").parameters();
    auto const of_half = examples::open_encoder(released / "prot_t5_xl_half_uniref50-enc").parameters();
    BOOST_TEST(of_whole == of_half); // the same dimensions, so the same encoder
}

BOOST_AUTO_TEST_CASE(a_folder_without_its_weights_is_told) {
    test::TemporaryFolder folder;
    for (auto const *name : names) {
        std::filesystem::copy_file(released / name / "config.json", folder / "config.json",
                                   std::filesystem::copy_options::overwrite_existing);
        auto const message = test::message_of([&] { examples::open_encoder(folder.path()); });
        BOOST_TEST(message.find(folder.path().string()) != message.npos, name << ": " << message);
        BOOST_TEST(message.find("pytorch_model.bin") != message.npos, name << ": " << message);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
