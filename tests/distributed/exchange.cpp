// Sums over ranks, whatever the buckets and the order of the backward.

#include "support/compare.hpp"

#include <protlm/distributed.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>

using namespace protlm;
using namespace protlm::test;
using Host = Kokkos::DefaultHostExecutionSpace;

namespace {

ParameterTable make_table() {
    ParameterTable table;
    for (int layer = 0; layer < 5; ++layer)
        for (auto const &[name, size] : {std::pair("weight", 700), std::pair("bias", 7), std::pair("empty", 0)})
            table.add(std::to_string(layer) + '.' + name, {size}, Initialiser::zeros());
    auto const q = table.add("q", {3, 5}, Initialiser::zeros()), k = table.add("k", {3, 5}, Initialiser::zeros());
    table.place_together({k, q}); // lie in another order than the table's
    return table;
}

float value_of(int rank, index_t i, int step) {
    return static_cast<float>((rank + 1) * ((i * 37 + step * 11) % 101)); // integers: sums are exact in any order
}

struct World {
    Communicator communicator = Communicator::duplicate(MPI_COMM_WORLD);
    int rank = communicator.rank(), size = communicator.size();
};

/// The gradients after one step with parameters becoming ready in `order`; the rest of `pending` is left to finish().
std::vector<float> exchanged(index_t bucket_bytes, std::vector<ParameterId> const &pending,
                             std::vector<ParameterId> const &order, int steps = 1) {
    World world;
    Parameters<float, Host> parameters(make_table());
    GradientExchange<float, Host> exchange(std::move(world.communicator), parameters, {.bucket_bytes = bucket_bytes});
    auto const &table = parameters.table();
    for (int step = 0; step < steps; ++step) {
        parameters.zero_gradients(Host());
        auto const fill = [&](ParameterId id) {
            for (index_t i = table[id].offset; i < table[id].offset + table[id].size(); ++i)
                parameters.gradients()(static_cast<std::size_t>(i)) = value_of(world.rank, i, step);
        };
        for (std::size_t id = 0; id < table.entries().size(); ++id)
            if (std::find(order.begin(), order.end(), ParameterId(id)) == order.end())
                fill(static_cast<ParameterId>(id)); // complete before the last backward
        exchange.begin(pending);
        for (ParameterId id : order) {
            fill(id); // a bucket that started too early would send zeros
            exchange.ready(id);
        }
        exchange.finish();
    }
    return {parameters.gradients().data(), parameters.gradients().data() + parameters.gradients().extent(0)};
}

std::vector<float> expected(int step = 0) {
    ParameterTable table = make_table();
    table.layout();
    World world;
    std::vector<float> sums(static_cast<std::size_t>(table.extent()));
    for (auto const &entry : table.entries())
        for (index_t i = entry.offset; i < entry.offset + entry.size(); ++i)
            for (int r = 0; r < world.size; ++r)
                sums[static_cast<std::size_t>(i)] += value_of(r, i, step);
    return sums;
}

std::vector<ParameterId> all_parameters() {
    std::vector<ParameterId> ids(17);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

} // namespace

BOOST_AUTO_TEST_SUITE(exchange)

BOOST_AUTO_TEST_CASE(sums_do_not_depend_on_buckets_or_order) {
    auto const all = all_parameters();
    std::vector<ParameterId> const backward(all.rbegin(), all.rend());
    for (index_t bytes : {1, 64, 3000, 5000, 1 << 22}) {
        BOOST_TEST(compare_bits("backward order", exchanged(bytes, all, backward), expected()));
        BOOST_TEST(compare_bits("forward order", exchanged(bytes, all, all), expected()));
        BOOST_TEST(compare_bits("nobody says ready", exchanged(bytes, all, {}), expected()));
        BOOST_TEST(compare_bits("nothing pending", exchanged(bytes, {}, {}), expected()));
        BOOST_TEST(compare_bits("several steps", exchanged(bytes, all, backward, 3), expected(2)));
    }
}

BOOST_AUTO_TEST_CASE(ranks_may_be_ready_in_different_orders) {
    World world;
    auto order = all_parameters();
    std::rotate(order.begin(), order.begin() + world.rank * 5 % 17, order.end());
    if (world.rank % 2)
        std::reverse(order.begin(), order.end());
    auto const pending = world.rank == 0 ? std::vector<ParameterId>{3, 3, 4} : all_parameters();
    std::erase_if(order,
                  [&](ParameterId id) { return std::find(pending.begin(), pending.end(), id) == pending.end(); });
    for (index_t bytes : {1, 3000})
        BOOST_TEST(compare_bits("gradients", exchanged(bytes, pending, order), expected()));
}

BOOST_AUTO_TEST_CASE(buckets_have_the_size_asked_for) {
    World world;
    Parameters<float, Host> parameters(make_table());
    auto const count = [&](index_t bytes) {
        return GradientExchange<float, Host>(Communicator::duplicate(MPI_COMM_WORLD), parameters,
                                             {.bucket_bytes = bytes})
            .buckets();
    };
    BOOST_TEST(count(1) == 12); // one a tensor that is not empty
    BOOST_TEST(count(1 << 22) == 1);
    BOOST_TEST(count(2800) == 5); // a weight and what lies behind it
    BOOST_CHECK_THROW(count(0), Error);
}

BOOST_AUTO_TEST_CASE(wrong_use_is_an_error) {
    Parameters<float, Host> parameters(make_table());
    GradientExchange<float, Host> exchange(Communicator::duplicate(MPI_COMM_WORLD), parameters);
    BOOST_CHECK_THROW(exchange.ready(0), Error);
    BOOST_CHECK_THROW(exchange.finish(), Error);
    exchange.begin({0});
    BOOST_CHECK_THROW(exchange.begin({0}), Error);
    exchange.finish();
}

BOOST_AUTO_TEST_CASE(small_sums_and_agreement) {
    World world;
    std::vector<double> numbers{1.0, static_cast<double>(world.rank)};
    world.communicator.sum(numbers);
    BOOST_TEST(numbers[0] == world.size);
    BOOST_TEST(numbers[1] == world.size * (world.size - 1) / 2);
    BOOST_CHECK_NO_THROW(world.communicator.require_agreement("the options", 42));
    if (world.size > 1)
        BOOST_CHECK_EXCEPTION(world.communicator.require_agreement("the options", world.rank == world.size - 1 ? 1 : 2),
                              Error, [&](Error const &error) {
                                  return error.what() == "ranks disagree about the options: rank " +
                                                             std::to_string(world.size - 1) + " differs from rank 0";
                              });
}

BOOST_AUTO_TEST_CASE(communicators_move_and_report) {
    Communicator first = Communicator::duplicate(MPI_COMM_WORLD);
    MPI_Comm const handle = first.get();
    Communicator second = std::move(first);
    BOOST_TEST((second.get() == handle));
    BOOST_TEST((first.get() == MPI_COMM_NULL));
    BOOST_TEST((second.get() != MPI_COMM_WORLD));
    first = std::move(second);
    BOOST_TEST((first.get() == handle));
    Communicator const borrowed = Communicator::borrow(first.get());
    BOOST_TEST(borrowed.size() == first.size());
    static_assert(!std::is_copy_constructible_v<Communicator>);
    BOOST_CHECK_THROW(Communicator::borrow(MPI_COMM_NULL), Error);
    double number = 0;
    int const code = MPI_Bcast(&number, 1, MPI_DOUBLE, 1000, first.get()); // no such root, and nothing is sent
    BOOST_CHECK_EXCEPTION(check_mpi(code, "MPI_Bcast", 2), Error, [](Error const &error) {
        return std::string(error.what()).find("MPI_Bcast on rank 2: ") == 0;
    });
}

BOOST_AUTO_TEST_SUITE_END()
