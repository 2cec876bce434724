#include <support/devices.hpp>

#include <protlm/core/tensor.hpp>

#include <boost/test/unit_test.hpp>

namespace protlm {
namespace {

BOOST_AUTO_TEST_SUITE(tensors)

using HostScalars = test::HostCases<float, double>;

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_are_row_major_and_columns_are_views, Case, HostScalars) {
    using S = typename Case::scalar;
    using T = Tensor<S, typename Case::device>;
    typename T::Pool pool;
    T const tensor(pool, 4, 6, false);
    BOOST_TEST(tensor.rows() == 4);
    BOOST_TEST(tensor.cols() == 6);
    for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < 6; ++j)
            tensor.view()(i, j) = static_cast<S>(10 * i + j);
    BOOST_TEST(tensor.view().data()[6] == S(10));
    Rows<S> const rows = tensor.value();
    BOOST_TEST(rows(3, 5) == S(35));
    BOOST_TEST(rows.row(2)[1] == S(21));
    Rows<S const> const part = rows.columns(2, 3);
    BOOST_TEST(part.rows == 4);
    BOOST_TEST(part.cols == 3);
    BOOST_TEST(part.stride == 6);
    BOOST_TEST(part(1, 2) == S(14));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(gradients_come_on_demand_and_say_when_they_are_fresh, Case, HostScalars) {
    using S = typename Case::scalar;
    using T = Tensor<S, typename Case::device>;
    typename T::Pool pool;
    T const tensor(pool, 3, 5, true), copy = tensor;
    std::size_t const values = pool.statistics().bytes_in_use;
    BOOST_TEST(tensor.needs_gradient());
    BOOST_TEST(!tensor.has_gradient());
    auto const first = tensor.accumulate();
    BOOST_TEST(first.fresh);
    BOOST_TEST(pool.statistics().bytes_in_use == 2 * values);
    first.rows(2, 4) = S(7);
    BOOST_TEST(copy.has_gradient()); // copies share it
    auto const second = copy.accumulate();
    BOOST_TEST(!second.fresh);
    BOOST_TEST(second.rows(2, 4) == S(7));
    BOOST_TEST(copy.gradient_view()(2, 4) == S(7));
    tensor.release_gradient();
    BOOST_TEST(!copy.has_gradient());
    BOOST_TEST(pool.statistics().bytes_in_use == values);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(finished_gradients_are_handed_over, Case, HostScalars) {
    using S = typename Case::scalar;
    using T = Tensor<S, typename Case::device>;
    typename T::Pool pool;
    T const x(pool, 2, 2, true), y(pool, 2, 2, true), z(pool, 2, 2, true);
    y.accumulate().rows(1, 1) = S(3);
    S const *const memory = y.gradient_view().data();
    BOOST_TEST(x.take_gradient(y));
    BOOST_TEST(!y.has_gradient());
    BOOST_TEST(x.gradient_view().data() == memory);
    BOOST_TEST(x.gradient_view()(1, 1) == S(3));
    z.accumulate().rows(1, 1) = S(4);
    BOOST_TEST(!x.take_gradient(z)); // has one: the caller adds
    BOOST_TEST(z.has_gradient());
}

BOOST_AUTO_TEST_CASE(an_empty_handle_is_false_and_needs_nothing) {
    Tensor<float, Kokkos::DefaultHostExecutionSpace> const none;
    BOOST_TEST(!none);
    BOOST_TEST(!none.needs_gradient());
    BOOST_TEST(!none.has_gradient());
}

BOOST_AUTO_TEST_CASE(sixteen_bit_scalars_sum_in_float) {
    static_assert(std::same_as<accumulate_t<bfloat16>, float> && std::same_as<accumulate_t<half>, float>);
    static_assert(std::same_as<accumulate_t<float>, float> && std::same_as<accumulate_t<double>, double>);
    static_assert(Scalar<bfloat16> && !Scalar<int> && !Scalar<long double>);
    BOOST_TEST(sizeof(bfloat16) == 2u);
    BOOST_TEST(sizeof(half) == 2u);
    BOOST_TEST(static_cast<float>(static_cast<bfloat16>(1.00390625f)) == 1.0f); // a tie goes to even
    BOOST_TEST(static_cast<float>(static_cast<half>(65504.0f)) == 65504.0f);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm
