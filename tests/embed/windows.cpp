#include <embed/models.hpp>
#include <support/compare.hpp>

#include <protlm/embed/forecast.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;

BOOST_AUTO_TEST_SUITE(windows)

BOOST_AUTO_TEST_CASE(they_cover_a_protein_and_overlap_as_asked) {
    for (index_t const length : {1, 2, 10, 510})
        for (index_t const overlap : {index_t(0), length / 4, length / 2, length - 1}) {
            Windows const windows{length, overlap};
            for (index_t const residues : {1L, 2L, 9L, 10L, 11L, 15L, 20L, 509L, 510L, 511L, 1020L, 1021L, 3333L}) {
                index_t const count = windows.count(residues);
                BOOST_REQUIRE(windows.cut(residues) == (residues > length));
                if (residues <= length) {
                    BOOST_TEST((count == 1 && windows.first(0, residues) == 0 && windows.size(residues) == residues));
                    BOOST_TEST(windows.tokens(residues, 2) == residues + 2);
                    continue;
                }
                BOOST_TEST(windows.tokens(residues, 2) == count * (length + 2));
                BOOST_TEST(windows.first(0, residues) == 0);
                BOOST_TEST(windows.first(count - 1, residues) == residues - length);
                for (index_t k = 1; k < count; ++k) {
                    index_t const step = windows.first(k, residues) - windows.first(k - 1, residues);
                    BOOST_REQUIRE((step >= 1 && step <= length - overlap));
                }
                // the fewest that overlap so much
                BOOST_TEST((length - overlap) * (count - 2) + length < residues);
            }
        }
}

BOOST_AUTO_TEST_CASE(weights_sum_to_one_and_pass_from_window_to_window_without_a_step) {
    for (Windows const windows : {Windows{20, 10}, Windows{20, 5}, Windows{20, 15}})
        for (index_t const residues : {21, 30, 47, 200}) {
            index_t const count = windows.count(residues);
            std::vector<double> before(static_cast<std::size_t>(count), 0.0);
            for (index_t i = 0; i < residues; ++i) {
                double sum = 0;
                for (index_t k = 0; k < count; ++k) {
                    double const share = windows.covers(k, i, residues) ? windows.share(k, i, residues) : 0;
                    sum += share;
                    if (i > 0)
                        BOOST_TEST(std::abs(share - before[static_cast<std::size_t>(k)]) <= 0.5);
                    before[static_cast<std::size_t>(k)] = share;
                }
                BOOST_TEST(std::abs(sum - 1) < 1e-14);
            }
            BOOST_TEST(windows.share(0, 0, residues) == 1.0); // the protein's own ends are no borders
            BOOST_TEST(windows.share(count - 1, residues - 1, residues) == 1.0);
        }
    // by hand: windows of residues 0-3 and 2-5; residue 2 is 2 away from the first's border and 1 from the second's
    Windows const windows{4, 2};
    BOOST_TEST(windows.share(0, 2, 6) == 2.0 / 3);
    BOOST_TEST(windows.share(1, 2, 6) == 1.0 / 3);
    BOOST_TEST(windows.share(1, 3, 6) == 2.0 / 3);
    BOOST_TEST(windows.share(0, 1, 6) == 1.0);
}

BOOST_AUTO_TEST_CASE(the_models_limit_is_the_default_length_and_half_of_it_the_overlap) {
    EncoderShape const limited{.width = 1, .layers = 1, .heads = 1, .inner = 1, .positions = 512}, unlimited{};
    auto const of = [](std::optional<WindowOptions> const &options, EncoderShape const &shape) {
        auto const windows = resolve_windows(options, shape, 2);
        return std::pair(windows.length, windows.overlap);
    };
    BOOST_TEST((of(WindowOptions{}, limited) == std::pair<index_t, index_t>(510, 255)));
    BOOST_TEST((of(WindowOptions{101, 0}, limited) == std::pair<index_t, index_t>(101, 0)));
    BOOST_TEST((of(WindowOptions{100}, unlimited) == std::pair<index_t, index_t>(100, 50)));
    BOOST_TEST((of(WindowOptions{}, unlimited) == std::pair<index_t, index_t>(0, 0)));
    BOOST_TEST((of(std::nullopt, limited) == std::pair<index_t, index_t>(0, 0)));
    auto const error = [&](WindowOptions const &options, EncoderShape const &shape) {
        return message_of([&] { resolve_windows(options, shape, 2); });
    };
    BOOST_TEST(error({511}, limited) == "windows: the length is 511 residues, but the model can take 510");
    BOOST_TEST(error({10, 10}, limited) == "windows: the overlap is 10, expected 0 to 9, less than a window");
    BOOST_TEST(error({10, -2}, limited) == "windows: the overlap is -2, expected 0 to 9, less than a window");
    BOOST_TEST(error({-1}, limited) == "windows: the length is -1, expected at least 0");
    BOOST_TEST(error({0, 5}, unlimited).find("no length of windows is given") != std::string::npos);
    EncoderShape const none{.width = 1, .layers = 1, .heads = 1, .inner = 1, .positions = 2};
    BOOST_TEST(error({}, none) == "the model has 2 positions, and 2 special tokens leave no room for a residue");
}

BOOST_AUTO_TEST_CASE(text_of_any_length_is_embedded_and_says_how) {
    auto const model = small_bert(34);
    std::string text;
    for (int i = 0; i < 100; ++i)
        text += "LAGVESIKRDTPNQFYMHCW"[(i * 7) % 20];
    auto const result = embed(model, {text.substr(0, 32), text}, {}, Vocabulary::protbert());
    BOOST_TEST(result[0].windows == 1);
    BOOST_TEST(result[1].windows == 6);
    BOOST_TEST(result[1].residues.size() == 4800u);
    auto const device = embed_on_device(model, {text.substr(0, 32), text}, {}, Vocabulary::protbert());
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), device.residues[0]);
    BOOST_TEST(compare_bits("residues", std::vector<float>(host.data() + 32 * 48, host.data() + 132 * 48),
                            result[1].residues));
    auto const first = embed(model, {text.substr(0, 32)}, {.windows = std::nullopt}, Vocabulary::protbert())[0];
    for (index_t i = 0; i < 13; ++i) // the second window begins at 13
        BOOST_TEST(std::equal(first.residue(i).begin(), first.residue(i).end(), result[1].residue(i).begin()));
    BOOST_TEST(message_of([&] { embed(model, {text}, {.windows = std::nullopt}, Vocabulary::protbert()); }) ==
               "protein number 1 has 100 residues, but the model has 34 positions, which is 32 residues and 2 special "
               "tokens");
}

BOOST_AUTO_TEST_CASE(plans_count_windows) {
    EncoderShape const shape{.width = 64, .layers = 2, .heads = 4, .inner = 128, .positions = 34};
    Windows const windows{32, 16};
    BOOST_TEST(protein_cost(shape, 33, 2, windows) == 2 * shape.cost(34));
    BOOST_TEST(protein_cost(shape, 32, 2, windows) == shape.cost(34));
    std::vector<index_t> const lengths{20, 33, 100, 32, 40};
    auto const batches = plan_batches(lengths, {0, 1, 2, 3, 4}, 150, 2, windows);
    BOOST_TEST((batches == std::vector<std::vector<index_t>>{{2}, {4, 1}, {3, 0}})); // whole ones by themselves
    std::vector<index_t> many(60, 20); // 60 whole ones cost about as much as one of 60 windows
    many.push_back(32 + 16 * 40);
    for (index_t rank = 0; rank < 2; ++rank) {
        auto const mine = share_proteins(many, shape, 2, rank, 2, windows);
        double cost = 0;
        for (index_t const i : mine)
            cost += protein_cost(shape, many[static_cast<std::size_t>(i)], 2, windows);
        double whole = 0;
        for (index_t const length : many)
            whole += protein_cost(shape, length, 2, windows);
        BOOST_TEST(std::abs(cost / whole - 0.5) < 0.05);
    }
}

BOOST_AUTO_TEST_CASE(memory_of_windows_is_forecast) {
    for (bool const residues : {true, false})
        for (auto const &layers : {std::vector<index_t>{}, std::vector<index_t>{0, 1, 2}})
            for (auto const &lengths : {std::vector<index_t>{20000}, std::vector<index_t>{3000, 900, 600, 20}}) {
                auto const model = small_bert(128);
                auto const proteins = random_proteins(lengths);
                Embedder embedder(model, Vocabulary::protbert(),
                                  {.layers = layers, .per_residue = residues, .token_budget = 1000});
                auto const forecast =
                    forecast_embedding(embedder, proteins, model.parameters().table().extent()).activations;
                embedder(proteins, [](auto const &) {});
                auto const peak = static_cast<double>(embedder.context().pool().statistics().peak_bytes);
                BOOST_TEST((forecast >= peak && forecast < 2 * peak),
                           lengths[0] << ": forecast " << forecast << ", measured " << peak);
            }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
