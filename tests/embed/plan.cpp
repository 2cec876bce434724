#include <embed/models.hpp>

#include <algorithm>
#include <numeric>
#include <set>

namespace {

using namespace protlm;
using namespace protlm::test;

EncoderShape const shape{.width = 1024, .layers = 30, .heads = 16, .inner = 4096, .positions = 40000};

/// Lengths like those of real proteins: many short ones, few very long ones.
std::vector<index_t> real_lengths(index_t count) {
    CounterRandom const random{3, Purpose::sample};
    std::vector<index_t> lengths;
    for (index_t i = 0; i < count; ++i) {
        double const u = uniform_double(random(static_cast<std::uint64_t>(i), 0)[0], 0);
        lengths.push_back(std::min<index_t>(35000, static_cast<index_t>(40 / std::pow(1 - u, 0.9))));
    }
    return lengths;
}

BOOST_AUTO_TEST_SUITE(plan)

BOOST_AUTO_TEST_CASE(the_cost_counts_products_and_attention) {
    EncoderShape const small{.width = 2, .layers = 3, .heads = 1, .inner = 5, .positions = 0};
    BOOST_TEST(small.cost(7) == 3.0 * 7 * (8 * 4 + 4 * 2 * 5 + 4 * 2 * 7));
    BOOST_TEST(small.cost(0) == 0.0);
}

BOOST_AUTO_TEST_CASE(every_protein_belongs_to_one_rank_and_ranks_end_together) {
    auto const lengths = real_lengths(5000);
    for (index_t const ranks : {1, 2, 3, 7, 64}) {
        std::vector<int> owners(lengths.size(), 0);
        std::vector<double> loads;
        for (index_t rank = 0; rank < ranks; ++rank) {
            auto const mine = share_proteins(lengths, shape, 2, rank, ranks);
            BOOST_TEST(std::is_sorted(mine.begin(), mine.end()));
            double load = 0;
            for (index_t const i : mine) {
                ++owners[static_cast<std::size_t>(i)];
                load += shape.cost(lengths[static_cast<std::size_t>(i)] + 2);
            }
            loads.push_back(load);
        }
        BOOST_TEST(std::all_of(owners.begin(), owners.end(), [](int n) { return n == 1; }));
        double const mean = std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(ranks);
        double longest = 0;
        for (index_t const length : lengths)
            longest = std::max(longest, shape.cost(length + 2));
        // Nothing can end before its longest protein; else the loads are within a thousandth.
        BOOST_TEST(*std::max_element(loads.begin(), loads.end()) <= std::max(longest * 1.0001, mean * 1.001));
    }
    BOOST_TEST(message_of([&] { share_proteins(lengths, shape, 2, 2, 2); }) == "share_proteins: rank 2 of 2");
}

BOOST_AUTO_TEST_CASE(more_ranks_than_proteins_leave_some_without_work) {
    std::vector<index_t> const lengths{4, 4};
    std::multiset<std::size_t> counts;
    for (index_t rank = 0; rank < 4; ++rank)
        counts.insert(share_proteins(lengths, shape, 2, rank, 4).size());
    BOOST_TEST((counts == std::multiset<std::size_t>{0, 0, 1, 1}));
}

BOOST_AUTO_TEST_CASE(batches_keep_to_the_budget_and_hold_each_protein_once) {
    auto const lengths = real_lengths(2000);
    std::vector<index_t> members(lengths.size());
    std::iota(members.begin(), members.end(), index_t(0));
    for (index_t const budget : {1, 1000, 4096, 1000000}) {
        std::vector<int> seen(lengths.size(), 0);
        index_t before = 1000000;
        for (auto const &batch : plan_batches(lengths, members, budget, 2)) {
            index_t tokens = 0;
            BOOST_REQUIRE(!batch.empty());
            for (index_t const i : batch) {
                index_t const length = lengths[static_cast<std::size_t>(i)];
                ++seen[static_cast<std::size_t>(i)];
                tokens += length + 2;
                BOOST_TEST(length <= before);
                before = length;
            }
            BOOST_TEST((tokens <= budget || batch.size() == 1));
        }
        BOOST_TEST(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
    }
}

BOOST_AUTO_TEST_CASE(a_batch_is_as_full_as_its_budget_allows) {
    std::vector<index_t> const lengths{8, 8, 8, 8, 8};
    auto const batches = plan_batches(lengths, {0, 1, 2, 3, 4}, 20, 2);
    BOOST_REQUIRE(batches.size() == 3u);
    BOOST_TEST(batches[0].size() == 2u);
    BOOST_TEST(batches[2].size() == 1u);
    BOOST_TEST(plan_batches(lengths, {}, 20, 2).empty());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
