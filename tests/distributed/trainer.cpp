// A run on 1, 2 and 4 ranks against one process, and a run of one process resumed on them.

#include "support/compare.hpp"
#include "train/small_run.hpp"

#include <protlm/distributed.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <optional>

using namespace protlm;
using namespace protlm::test;
namespace fs = std::filesystem;

namespace {

/// One folder for all ranks, with a store and a serial run in "serial".
struct Shared {
    Communicator world = Communicator::duplicate(MPI_COMM_WORLD);
    std::optional<TemporaryFolder> owner;
    fs::path folder;
    std::optional<TokenStore> store;

    Shared() {
        std::array<char, 4096> name{};
        if (world.rank() == 0) {
            owner.emplace();
            owner->path().string().copy(name.data(), name.size() - 1);
            write_small_store(*owner / "s.store");
        }
        MPI_Bcast(name.data(), static_cast<int>(name.size()), MPI_CHAR, 0, world.get());
        folder = name.data();
        store.emplace(folder / "s.store");
        if (world.rank() == 0)
            serial_run(small_options(), *store, folder / "serial");
        world.barrier();
    }
    ~Shared() { world.barrier(); } // the owner removes it

    SmallRun run(TrainingOptions const &options, fs::path const &output, std::string const &resume = "auto",
                 std::function<void(index_t, Bigram<float, Host> &)> const &at_step = {}) const {
        auto result = small_run(
            options, *store, output, resume,
            [](auto &parameters) {
                return GradientExchange(Communicator::duplicate(MPI_COMM_WORLD), parameters, {.bucket_bytes = 600});
            },
            at_step);
        world.barrier(); // rank 0 may still be writing
        return result;
    }
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(distributed_trainer, Shared)

BOOST_AUTO_TEST_CASE(the_number_of_ranks_does_not_matter) {
    auto const run_here = run(small_options(), folder / "ranks");
    auto const log = read_log(folder / "ranks"), serial = read_log(folder / "serial");
    BOOST_TEST(log.size() == 12);
    // Only the order of float additions differs.
    for (char const *name : {"loss", "held_out_loss", "gradient_norm"})
        BOOST_TEST(compare(name, column(log, name), column(serial, name), {.relative = 1e-5}));
    for (char const *name : {"tokens", "accuracy", "learning_rate"})
        BOOST_TEST(compare(name, column(log, name), column(serial, name), {.absolute = 1e-3}));
    BOOST_TEST(run_here.outcome.step == 12);
}

BOOST_AUTO_TEST_CASE(a_serial_run_goes_on_on_many_ranks) {
    auto const run_here = run(small_options(), folder / "resumed", (folder / "serial" / step_folder_name(6)).string());
    auto const log = read_log(folder / "resumed");
    auto serial = column(read_log(folder / "serial"), "loss");
    serial.erase(serial.begin(), serial.begin() + 6);
    BOOST_TEST(compare("losses", column(log, "loss"), serial, {.relative = 1e-5}));
    SafetensorsFile const end(folder / "serial" / step_folder_name(12) / "optimizer.safetensors");
    BOOST_TEST(compare("weights", run_here.weights, end.read<float>("weights"), {.absolute = 1e-5}));
}

BOOST_AUTO_TEST_CASE(a_resume_on_the_same_ranks_gives_the_same_bits) {
    auto const expected = run(small_options(), folder / "whole");
    auto const actual = run(small_options(), folder / "parts", (folder / "whole" / step_folder_name(6)).string());
    BOOST_TEST(compare_bits("weights", actual.weights, expected.weights));
    BOOST_TEST(compare_bits("moments", actual.state.at("second_moment"), expected.state.at("second_moment")));
}

BOOST_AUTO_TEST_CASE(a_signal_on_the_last_rank_ends_all_after_the_same_step) {
    auto const stopped = run(small_options(), folder / "signal", "auto", [&](index_t step, auto &) {
        if (step == 4 && world.rank() == world.size() - 1)
            std::raise(SIGUSR1);
    });
    BOOST_TEST(stopped.outcome.interrupted);
    BOOST_TEST(stopped.outcome.step == 4);
    BOOST_CHECK_NO_THROW(verify_checkpoint(folder / "signal" / step_folder_name(4)));
}

BOOST_AUTO_TEST_CASE(ranks_with_other_options_are_refused) {
    if (world.size() == 1)
        return;
    auto options = small_options();
    if (world.rank() == 1)
        options.learning_rate *= 2;
    BOOST_CHECK_EXCEPTION(run(options, folder / "other"), Error, [](Error const &error) {
        return std::string(error.what()) == "ranks disagree about the options: rank 1 differs from rank 0";
    });
}

BOOST_AUTO_TEST_CASE(a_bad_number_on_one_rank_is_an_error_on_all) {
    auto const poison = [&](index_t step, Bigram<float, Host> &model) {
        if (step == 2 && world.rank() == world.size() - 1)
            model.parameters().gradients()(0) = std::nanf("");
    };
    BOOST_CHECK_EXCEPTION(run(small_options(), folder / "poison", "auto", poison), Error, [](Error const &error) {
        return std::string(error.what()).starts_with("step 2: the gradient of embedding.weight is not finite;");
    });
}

BOOST_AUTO_TEST_CASE(a_bad_number_on_one_rank_is_passed_over_on_all) {
    auto options = small_options();
    options.skip_non_finite = 1;
    auto const poison = [&](index_t step, Bigram<float, Host> &model) {
        if (step == 2 && world.rank() == world.size() - 1)
            model.parameters().gradients()(0) = std::nanf("");
    };
    auto const whole = run(options, folder / "skipped", "auto", poison);
    BOOST_TEST(whole.outcome.step == 12);
    BOOST_TEST(whole.outcome.skipped == 1);
    auto const parts = run(options, folder / "skipped_parts", (folder / "skipped" / step_folder_name(6)).string());
    BOOST_TEST(compare_bits("weights", parts.weights, whole.weights));
    BOOST_TEST(parts.outcome.skipped == 1);
}

BOOST_AUTO_TEST_CASE(ranks_with_another_model_or_store_are_refused) {
    if (world.size() == 1)
        return;
    auto const differs = [](std::string what) {
        return [what](Error const &error) {
            return std::string(error.what()) == "ranks disagree about " + what + ": rank 1 differs from rank 0";
        };
    };
    auto const make_exchange = [](auto &parameters) {
        return GradientExchange(Communicator::duplicate(MPI_COMM_WORLD), parameters);
    };
    Told const told{{{"hidden_act", world.rank() == 1 ? "relu" : "gelu"}}, {}};
    BOOST_CHECK_EXCEPTION(small_run(small_options(), *store, folder / "models", "auto", make_exchange, {}, told), Error,
                          differs("the settings of the model"));
    if (world.rank() == 1)
        write_small_store(folder / "backward.store", true);
    world.barrier();
    TokenStore const other(folder / (world.rank() == 1 ? "backward.store" : "s.store"));
    BOOST_CHECK_EXCEPTION(small_run(small_options(), other, folder / "stores", "auto", make_exchange), Error,
                          differs("the contents of the store"));
}

BOOST_AUTO_TEST_SUITE_END()
