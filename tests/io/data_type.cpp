#include <protlm/io/data_type.hpp>

#include <boost/test/unit_test.hpp>

using namespace protlm;

namespace {

/// One value through bytes of type `type` and back; nothing when either way refuses it.
template <class T>
std::optional<T> through(DataType type, T value) {
    std::byte bytes[9]; // read and written at an odd address
    T result{};
    if (convert_to_bytes(type, &value, bytes + 1, 1) != 1 || convert_from_bytes(type, bytes + 1, &result, 1) != 1)
        return std::nullopt;
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(data_type)

BOOST_AUTO_TEST_CASE(names_sizes_and_types_agree) {
    for (auto const &row : detail::data_type_table) {
        BOOST_TEST(data_type_name(row.type) == row.name);
        BOOST_TEST(data_type_size(row.type) == row.bytes);
        BOOST_TEST((parse_data_type(row.name) == row.type));
        detail::visit_data_type(row.type, [&]<class T>(std::type_identity<T>) {
            BOOST_TEST((data_type_of<T>() == row.type));
            BOOST_TEST(index_t(sizeof(T)) == row.bytes);
        });
    }
    BOOST_TEST(!parse_data_type("f32").has_value());
    BOOST_TEST(!parse_data_type("").has_value());
    BOOST_TEST((data_type_of<long long>() == DataType::i64));
    BOOST_TEST((data_type_of<char>() == DataType::i8 || data_type_of<char>() == DataType::u8));
}

BOOST_AUTO_TEST_CASE(small_integers_survive_every_type) {
    for (auto const &row : detail::data_type_table) {
        if (row.type == DataType::f8_e4m3 || row.type == DataType::f8_e5m2)
            continue;
        for (int const value : {0, 1}) {
            BOOST_TEST((through(row.type, double(value)) == double(value)));
            BOOST_TEST((through(row.type, float(value)) == float(value)));
            BOOST_TEST((through(row.type, half(float(value))) == half(float(value))));
            BOOST_TEST((through(row.type, bfloat16(float(value))) == bfloat16(float(value))));
            BOOST_TEST((through(row.type, std::int64_t(value)) == std::int64_t(value)));
            BOOST_TEST((through(row.type, std::uint8_t(value)) == std::uint8_t(value)));
            BOOST_TEST((through(row.type, bool(value)) == bool(value)));
        }
    }
}

BOOST_AUTO_TEST_CASE(floats_round_to_the_nearest) {
    BOOST_TEST((through(DataType::bf16, 1.00390625f) == 1.0f));      // 1 + 2^-8: a tie, goes to even
    BOOST_TEST((through(DataType::bf16, 1.01171875f) == 1.015625f)); // 1 + 3 * 2^-8: a tie upwards
    BOOST_TEST((through(DataType::f16, 1.0f + 0x1p-11f) == 1.0f));
    BOOST_TEST((through(DataType::f16, 1.0f + 0x1.8p-10f) == 1.0f + 0x1p-9f));
    BOOST_TEST((through(DataType::f32, 1.0 + 0x1p-24) == 1.0));
    BOOST_TEST((through(DataType::f32, 0.1) == double(0.1f)));
    BOOST_TEST(std::isnan(through(DataType::f16, std::numeric_limits<float>::quiet_NaN()).value()));
    BOOST_TEST((through(DataType::f16, 1e6f) == std::numeric_limits<float>::infinity()));
}

BOOST_AUTO_TEST_CASE(integers_are_exact_or_refused) {
    auto const refused = [](DataType type, auto value) { return !through(type, value).has_value(); };
    BOOST_TEST(refused(DataType::i8, 128));
    BOOST_TEST(refused(DataType::u8, -1));
    BOOST_TEST(refused(DataType::u64, std::int64_t(-1)));
    BOOST_TEST(refused(DataType::i64, ~std::uint64_t(0)));
    BOOST_TEST(refused(DataType::boolean, 2));
    BOOST_TEST(refused(DataType::i32, 0.5));
    BOOST_TEST(refused(DataType::i32, 2147483648.0));
    BOOST_TEST(refused(DataType::i64, 9223372036854775808.0));
    BOOST_TEST(refused(DataType::u32, std::numeric_limits<double>::quiet_NaN()));
    BOOST_TEST(refused(DataType::i16, std::numeric_limits<float>::infinity()));
    BOOST_TEST((through(DataType::i32, -2147483648.0) == -2147483648.0));
    BOOST_TEST((through(DataType::i64, -9223372036854775808.0) == -9223372036854775808.0));
    BOOST_TEST((through(DataType::f64, std::int64_t(1) << 53) == std::int64_t(1) << 53));
}

BOOST_AUTO_TEST_CASE(conversion_stops_at_the_first_element_that_does_not_fit) {
    double const values[] = {1, 2, 2.5, 4};
    std::int32_t result[4] = {};
    std::byte bytes[32];
    std::memcpy(bytes, values, 32);
    BOOST_TEST(convert_from_bytes(DataType::f64, bytes, result, 4) == 2);
    BOOST_TEST(result[1] == 2);
    float none = 0;
    BOOST_CHECK_THROW(convert_from_bytes(DataType::f8_e4m3, bytes, &none, 1), Error);
    BOOST_CHECK_THROW(convert_to_bytes(DataType::f8_e5m2, &none, bytes, 1), Error);
}

BOOST_AUTO_TEST_CASE(any_bool_byte_but_zero_is_true) {
    std::byte const bytes[] = {std::byte{0}, std::byte{1}, std::byte{255}};
    bool result[3] = {true, false, false};
    BOOST_TEST(convert_from_bytes(DataType::boolean, bytes, result, 3) == 3);
    BOOST_TEST((!result[0] && result[1] && result[2]));
}

BOOST_AUTO_TEST_SUITE_END()
