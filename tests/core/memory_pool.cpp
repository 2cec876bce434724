#include <protlm/core/memory_pool.hpp>
#include <protlm/core/tensor.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(memory_pool)

using Pool = MemoryPool<Kokkos::HostSpace>;

BOOST_AUTO_TEST_CASE(freed_blocks_are_handed_out_again) {
    Pool pool;
    void *first = nullptr;
    {
        auto const block = pool.allocate(10000);
        first = block.data();
        std::memset(first, 1, 10000);
    }
    BOOST_TEST(pool.allocate(10000).data() == first);
    BOOST_TEST(pool.allocate(9700).data() == first); // nearly the same size
    BOOST_TEST(pool.statistics().allocations == 1u);
    auto const small = pool.allocate(100); // must not take a hundred times what it needs
    BOOST_TEST(small.data() != first);
    BOOST_TEST(pool.statistics().allocations == 2u);
}

BOOST_AUTO_TEST_CASE(blocks_in_use_do_not_overlap) {
    Pool pool;
    std::vector<Pool::Block> blocks;
    std::vector<std::size_t> sizes;
    for (int round = 0; round < 300; ++round) {
        std::size_t const bytes = static_cast<std::size_t>(round * 7919 % 5003);
        blocks.push_back(pool.allocate(bytes));
        sizes.push_back(bytes);
        std::memset(blocks.back().data(), round % 251, bytes);
        if (round % 3 == 2) { // give some back in between
            blocks.erase(blocks.begin() + round % static_cast<int>(blocks.size()));
            sizes.erase(sizes.begin() + round % static_cast<int>(sizes.size()));
        }
    }
    std::set<void *> different;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        auto const *bytes = static_cast<unsigned char const *>(blocks[i].data());
        for (std::size_t j = 0; j < sizes[i]; ++j)
            BOOST_REQUIRE(bytes[j] == bytes[0]);
        BOOST_REQUIRE(different.insert(blocks[i].data()).second);
        BOOST_REQUIRE(reinterpret_cast<std::uintptr_t>(blocks[i].data()) % 64 == 0);
    }
}

BOOST_AUTO_TEST_CASE(statistics_count_use_peak_and_reserve) {
    Pool pool;
    BOOST_TEST(pool.statistics().bytes_in_use == 0u);
    std::size_t peak = 0;
    {
        auto const a = pool.allocate(1 << 20);
        std::size_t const one = pool.statistics().bytes_in_use;
        BOOST_TEST(one >= std::size_t(1) << 20);
        BOOST_TEST(one <= (std::size_t(1) << 20) * 9 / 8); // at most an eighth more
        auto const b = pool.allocate(1 << 20);
        BOOST_TEST(pool.statistics().bytes_in_use == 2 * one);
        peak = pool.statistics().peak_bytes;
        BOOST_TEST(peak == 2 * one);
    }
    BOOST_TEST(pool.statistics().bytes_in_use == 0u);
    BOOST_TEST(pool.statistics().peak_bytes == peak);
    BOOST_TEST(pool.statistics().reserved_bytes == peak);
    pool.reset_peak();
    BOOST_TEST(pool.statistics().peak_bytes == 0u);
    pool.trim();
    BOOST_TEST(pool.statistics().reserved_bytes == 0u);
    BOOST_TEST(pool.allocate(1 << 20).data() != nullptr);
    BOOST_TEST(pool.statistics().allocations == 3u);
}

BOOST_AUTO_TEST_CASE(trim_leaves_what_is_in_use) {
    Pool pool;
    auto const kept = pool.allocate(5000);
    std::memset(kept.data(), 7, 5000);
    pool.allocate(100000); // returned at once
    std::size_t const both = pool.statistics().reserved_bytes;
    pool.trim();
    BOOST_TEST(pool.statistics().reserved_bytes < both);
    BOOST_TEST(pool.statistics().reserved_bytes >= 5000u);
    BOOST_TEST(static_cast<char const *>(kept.data())[4999] == 7);
}

BOOST_AUTO_TEST_CASE(blocks_keep_their_pool_alive_and_move) {
    std::optional<Pool> pool(std::in_place);
    Pool const copy = *pool; // copies share
    auto block = pool->allocate(1000);
    BOOST_TEST(copy.statistics().bytes_in_use > 0u);
    pool.reset();
    std::memset(block.data(), 3, 1000);
    void *const data = block.data();
    Pool::Block moved = std::move(block);
    BOOST_TEST(moved.data() == data);
    BOOST_TEST(!block); // NOLINT: a moved-from block is empty
    Pool::Block assigned;
    BOOST_TEST(!assigned);
    assigned = std::move(moved);
    BOOST_TEST(assigned.data() == data);
    assigned = Pool::Block();
    BOOST_TEST(copy.statistics().bytes_in_use == 0u);
}

BOOST_AUTO_TEST_CASE(no_memory_left_is_an_error_that_says_how_much) {
    Pool pool;
    auto const held = pool.allocate(1000);
    pool.allocate(5000); // a cached block is given back before giving up
    BOOST_CHECK_EXCEPTION(pool.allocate(std::size_t(1) << 60), Error, [](Error const &error) {
        std::string const text = error.what();
        return text.find("MemoryPool: Host has no 1152921504606846976 bytes left; in use: 1024") == 0;
    });
    BOOST_TEST(pool.statistics().reserved_bytes < 5000u);
    BOOST_TEST(pool.allocate(5000).data() != nullptr); // still of use
}

/// What two layers of a transformer hold while T tokens pass, in the order in which blocks come and go.
void pass(Pool &pool, std::size_t tokens) {
    std::vector<Pool::Block> kept;
    kept.push_back(pool.allocate(tokens * 1024));
    for (int layer = 0; layer < 2; ++layer) {
        auto const attention = pool.allocate(tokens * 3 * 1024);
        auto const mixed = pool.allocate(tokens * 1024);
        auto const inner = pool.allocate(tokens * 4 * 1024);
        kept.push_back(pool.allocate(tokens * 1024));
        kept.erase(kept.begin());
    }
}

BOOST_AUTO_TEST_CASE(falling_lengths_need_no_more_than_the_first) {
    std::vector<std::size_t> const lengths{35000, 22000, 14500, 9800, 9700, 6100, 4000, 2700, 1700};
    Pool pool, untold;
    std::size_t first = 0;
    for (std::size_t const tokens : lengths) {
        pool.expect_rows(tokens);
        pass(pool, tokens);
        pass(untold, tokens);
        first = std::max(first, pool.statistics().reserved_bytes);
        if (tokens == lengths.front())
            BOOST_TEST(first > 0u);
        BOOST_TEST(pool.statistics().reserved_bytes <= first);
    }
    std::size_t const alone = [&] {
        Pool one;
        pass(one, lengths.front());
        return one.statistics().reserved_bytes;
    }();
    BOOST_TEST(first == alone);
    BOOST_TEST(untold.statistics().reserved_bytes > alone / 2 * 3); // what it would be
    // rows that differ little use the same blocks
    std::size_t const before = pool.statistics().allocations;
    for (std::size_t const tokens : {1690, 1600, 1500, 1690}) {
        pool.expect_rows(tokens);
        pass(pool, tokens);
    }
    BOOST_TEST(pool.statistics().allocations == before);
}

BOOST_AUTO_TEST_CASE(a_negative_extent_is_told_as_one) {
    Pool pool;
    BOOST_CHECK_EXCEPTION(pool.allocate(static_cast<std::size_t>(-4096)), Error, [](Error const &error) {
        return std::string(error.what()).find("MemoryPool: -4096 bytes are asked for: an extent is negative") == 0;
    });
    BOOST_TEST(pool.statistics().allocations == 0u);
}

BOOST_AUTO_TEST_CASE(buffers_and_tensors_share_their_memory_with_copies) {
    using Exec = Kokkos::DefaultHostExecutionSpace;
    Pool pool;
    {
        Buffer<double, Exec> const buffer(pool, 100);
        auto const again = buffer;
        BOOST_TEST(again.data() == buffer.data());
        BOOST_TEST(buffer.size() == 100);
        BOOST_TEST(pool.statistics().bytes_in_use == 832u); // 800 to the next eighth of 512
        Buffer<float, Exec> const none(pool, 0);
        BOOST_TEST(none.size() == 0);
    }
    BOOST_TEST(pool.statistics().bytes_in_use == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
