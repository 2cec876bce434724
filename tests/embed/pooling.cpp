#include <embed/models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

#include <array>

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double>;

/// Pools hidden states whose row t, column j is value(t, j).
template <class Case, class F>
std::vector<double> pooled(Pooling pooling, std::vector<std::int64_t> const &offsets, index_t before, index_t after,
                           index_t width, F value) {
    using A = typename Case::scalar;
    Inference<typename Case::device> context;
    auto const hidden = context.template tensor<A>(offsets.back(), width);
    auto const host = Kokkos::create_mirror_view(hidden.view());
    for (std::size_t t = 0; t < host.extent(0); ++t)
        for (std::size_t j = 0; j < host.extent(1); ++j)
            host(t, j) = static_cast<A>(value(static_cast<double>(t), static_cast<double>(j)));
    Kokkos::deep_copy(hidden.view(), host);
    auto const y = pool(context, pooling, make_segments(context, offsets), before, after, hidden);
    auto const result = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), y.view());
    return {result.data(), result.data() + result.size()};
}

BOOST_AUTO_TEST_SUITE(pooling)

BOOST_AUTO_TEST_CASE_TEMPLATE(exact_values, Case, Cases) {
    // two sequences [CLS] 3 residues [SEP], [CLS] 1 residue [SEP]; row t is (t, -t, 10 t)
    std::vector<std::int64_t> const offsets{0, 5, 8};
    auto const value = [](double t, double j) { return j == 0 ? t : j == 1 ? -t : 10 * t; };
    auto const of = [&](Pooling p) { return pooled<Case>(p, offsets, 1, 1, 3, value); };
    BOOST_TEST(compare("mean", of(Pooling::mean), std::array{2., -2., 20., 6., -6., 60.}, {}));
    BOOST_TEST(compare("max", of(Pooling::max), std::array{3., -1., 30., 6., -6., 60.}, {}));
    BOOST_TEST(compare("cls", of(Pooling::cls), std::array{0., 0., 0., 5., -5., 50.}, {}));
    auto const last = pooled<Case>(Pooling::cls, offsets, 0, 2, 3, value); // 3 residues <sep> <cls>
    BOOST_TEST(compare("cls behind", last, std::array{4., -4., 40., 7., -7., 70.}, {}));
    auto const plain = pooled<Case>(Pooling::mean, offsets, 0, 0, 1, [](double t, double) { return t; });
    BOOST_TEST(compare("no special tokens", plain, std::array{2., 6.}, {}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(widths_that_are_no_multiple_of_a_task, Case, Cases) {
    for (index_t const width : {1, 63, 64, 65, 200}) {
        auto const value = [](double t, double j) { return t + 100 * j; };
        auto const actual = pooled<Case>(Pooling::mean, {0, 4}, 1, 1, width, value);
        std::vector<double> expected;
        for (index_t j = 0; j < width; ++j)
            expected.push_back(1.5 + 100 * static_cast<double>(j));
        BOOST_TEST(compare("mean", actual, expected, {}));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_residues_give_zeros, Case, Cases) {
    auto const value = [](double t, double) { return t + 1; };
    for (Pooling const p : {Pooling::mean, Pooling::max})
        BOOST_TEST(compare("zeros", pooled<Case>(p, {0, 2, 5}, 1, 1, 1, value), std::array{0., 4.}, {}));
    BOOST_TEST(compare("cls", pooled<Case>(Pooling::cls, {0, 2, 5}, 1, 1, 1, value), std::array{0., 3.}, {}));
    BOOST_TEST(compare("cls behind", pooled<Case>(Pooling::cls, {0, 2, 5}, 0, 2, 1, value), std::array{0., 5.}, {}));
}

BOOST_AUTO_TEST_CASE(sums_of_long_proteins_keep_their_digits) {
    using Case = DeviceScalar<Kokkos::DefaultExecutionSpace, float>;
    auto const mean = pooled<Case>(Pooling::mean, {0, 1000000}, 0, 0, 1, [](double, double) { return 0.1; });
    BOOST_TEST(mean[0] == static_cast<double>(0.1f)); // a sum in float would be 1 % off
}

BOOST_AUTO_TEST_CASE(names_go_there_and_back) {
    for (Pooling const p : {Pooling::mean, Pooling::max, Pooling::cls, Pooling::none})
        BOOST_TEST((pooling_from_name(pooling_name(p)) == p));
    BOOST_TEST(message_of([] { pooling_from_name("sum"); }) ==
               "pooling: is \"sum\", expected \"mean\", \"max\", \"cls\" or \"none\"");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
