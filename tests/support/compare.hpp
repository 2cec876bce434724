#pragma once

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <ostream>
#include <ranges>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::test {

/// Two values agree when |actual - expected| <= absolute + relative * |expected|.
struct Tolerance {
    double relative = 0;
    double absolute = 0;
};

/// Anything contiguous or indexable whose elements convert to double: vector, span, array.
template <class R>
concept Values = std::ranges::random_access_range<R> && std::ranges::sized_range<R>;

/// Largest |actual - expected| over the largest |expected| (over 1 where all expected values are zero);
/// infinity where either side is not finite or the sizes differ.
template <Values Actual, Values Expected>
double max_relative_error(Actual const &actual, Expected const &expected) {
    if (std::ranges::size(actual) != std::ranges::size(expected))
        return std::numeric_limits<double>::infinity();
    double error = 0, scale = 0;
    for (std::size_t i = 0; i < std::ranges::size(expected); ++i) {
        double const a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
        if (!std::isfinite(a) || !std::isfinite(e))
            return std::numeric_limits<double>::infinity();
        error = std::max(error, std::abs(a - e));
        scale = std::max(scale, std::abs(e));
    }
    return scale > 0 ? error / scale : error;
}

/// "[7]", or "[2, 1]" where rows have `columns` elements.
inline std::string position(std::size_t i, std::size_t columns) {
    std::string const first = columns ? std::to_string(i / columns) + ", " + std::to_string(i % columns) : "";
    return "[" + (columns ? first : std::to_string(i)) + "]";
}

/// Compares element by element; use as BOOST_TEST(compare("output", actual, expected, {.relative = 1e-6})).
/// The message names `label`, the first mismatches with index and both values, their number and the largest relative
/// error. NaN agrees with nothing, and comparing nothing with nothing fails: a test must not pass for want of values.
/// @param columns row length of a row-major matrix, for the indices in the message; 0 for a vector
template <Values Actual, Values Expected>
boost::test_tools::assertion_result compare(std::string_view label, Actual const &actual, Expected const &expected,
                                            Tolerance tolerance, std::size_t columns = 0) {
    constexpr std::size_t most_shown = 5;
    std::size_t const size = std::ranges::size(expected);
    std::ostringstream message;
    message.precision(9);
    message << label << ": ";
    std::size_t mismatches = 0;
    if (std::ranges::size(actual) != size) {
        message << std::ranges::size(actual) << " values, expected " << size;
        mismatches = 1;
    } else if (size == 0) {
        message << "no values to compare";
        mismatches = 1;
    } else {
        for (std::size_t i = 0; i < size; ++i) {
            double const a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
            if (a == e || std::abs(a - e) <= tolerance.absolute + tolerance.relative * std::abs(e))
                continue;
            if (mismatches++ < most_shown)
                message << position(i, columns) << " is " << a << ", expected " << e << "; ";
        }
        message << mismatches << " of " << size << " differ, largest relative error "
                << max_relative_error(actual, expected);
    }
    boost::test_tools::assertion_result result(mismatches == 0);
    result.message() << message.str();
    return result;
}

/// Bit for bit equal: for laws that allow no rounding. Distinguishes -0 from 0, unlike ==; equal NaNs agree.
template <Values Actual, Values Expected>
boost::test_tools::assertion_result compare_bits(std::string_view label, Actual const &actual, Expected const &expected,
                                                 std::size_t columns = 0) {
    using Value = std::ranges::range_value_t<Actual>;
    static_assert(std::same_as<Value, std::ranges::range_value_t<Expected>>,
                  "compare_bits: both sides must have the same scalar");
    std::size_t const size = std::ranges::size(expected);
    std::ostringstream message;
    message.precision(std::numeric_limits<double>::max_digits10);
    message << label << ": ";
    auto const bytes = [](Value const &value) { return reinterpret_cast<char const *>(&value); };
    std::size_t i = 0;
    if (std::ranges::size(actual) != size)
        message << std::ranges::size(actual) << " values, expected " << size;
    else if (size == 0)
        message << "no values to compare";
    else {
        while (i < size && std::equal(bytes(actual[i]), bytes(actual[i]) + sizeof(Value), bytes(expected[i])))
            ++i;
        if (i < size)
            message << position(i, columns) << " is " << static_cast<double>(actual[i])
                    << ", expected the same bits as " << static_cast<double>(expected[i]);
    }
    boost::test_tools::assertion_result result(size > 0 && std::ranges::size(actual) == size && i == size);
    result.message() << message.str();
    return result;
}

} // namespace protlm::test
