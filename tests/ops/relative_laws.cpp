#include "relative_reference.hpp"

namespace protlm::test {
namespace {

using InFloat = DefaultOpCases<float>;

std::vector<index_t> const queries{40, 1, 0, 150}, keys{40, 9, 3, 220};

/// A random order of every sequence's own tokens, the last queries; the sixth part are targets.
template <class Context>
auto some_order(Context &context) {
    std::vector<std::int64_t> const offsets = AttentionCase::offsets(queries);
    std::vector<std::int32_t> rank(static_cast<std::size_t>(offsets.back())), is_target(rank.size());
    for (std::size_t b = 0; b < queries.size(); ++b)
        for (std::int64_t t = offsets[b]; t < offsets[b + 1]; ++t) {
            auto const at = static_cast<std::size_t>(t), length = static_cast<std::size_t>(queries[b]);
            rank[at] = static_cast<std::int32_t>((at - static_cast<std::size_t>(offsets[b])) * 47 % length);
            is_target[at] = t % 6 == 0;
        }
    return make_two_stream_order(context, rank, is_target, offsets);
}

// What a query may not see has no influence on it, to the bit: not its key, not its value.
BOOST_AUTO_TEST_SUITE(attention_leaks)

/// Changes one key and value after the other and compares the output's rows of every query that does not see it.
template <class Case, class MakeMask>
void check_leaks(std::string const &name, RelativeCase const &c, MakeMask make_mask) {
    auto const build = relative_attention(c, make_mask);
    auto const arguments = c.arguments();
    auto const out = forward<Case, typename Case::Inference>(arguments, build);
    typename Case::Inference context;
    auto const owner = make_mask(context);
    auto const mask = owner.kernel();
    auto const columns = static_cast<std::size_t>(c.shape.columns());
    auto const query_offsets = AttentionCase::offsets(c.shape.queries),
               key_offsets = AttentionCase::offsets(c.shape.keys);
    index_t changes = 0;
    for (index_t row = 0; row < c.shape.key_rows(); row += 17) {
        auto changed = arguments;
        for (std::size_t d = 0; d < columns; ++d) {
            changed[1].values[static_cast<std::size_t>(row) * columns + d] = 3.0;
            changed[2].values[static_cast<std::size_t>(row) * columns + d] = 1e4;
        }
        auto const other = forward<Case, typename Case::Inference>(changed, build);
        for (std::size_t b = 0; b < c.shape.queries.size(); ++b)
            for (index_t i = 0; i < c.shape.queries[b]; ++i) {
                AttentionPlace const place{static_cast<index_t>(b),
                                           query_offsets[b],
                                           key_offsets[b],
                                           c.shape.queries[b],
                                           c.shape.keys[b],
                                           0,
                                           1};
                index_t const key = row - key_offsets[b];
                auto const first = static_cast<std::size_t>(query_offsets[b] + i) * columns;
                bool const same = std::equal(out.begin() + static_cast<std::ptrdiff_t>(first),
                                             out.begin() + static_cast<std::ptrdiff_t>(first + columns),
                                             other.begin() + static_cast<std::ptrdiff_t>(first));
                bool const seen = key >= 0 && key < place.keys && mask(place, i, key);
                BOOST_REQUIRE_MESSAGE(same != seen, name << ": query " << i << " of sequence " << b
                                                         << (seen ? " is indifferent to row " : " feels row ") << row);
                changes += seen;
            }
    }
    BOOST_TEST(changes > 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(hidden_rows_change_no_bit, Case, InFloat) {
    RelativeCase c{.shape = {.queries = queries, .keys = keys, .heads = 2, .width = 4}, .ahead = 219, .segments = true};
    check_leaks<Case>("causal", c, causal_mask);
    check_leaks<Case>("same length", c, [](auto &) { return SameLengthMask{10}; });
    check_leaks<Case>("cross", c, full_mask);
    check_leaks<Case>("content stream", c, [](auto &context) { return some_order(context).content_mask(); });
    typename Case::Inference context;
    auto const order = some_order(context);
    for (std::size_t b = 0; b < queries.size(); ++b)
        c.shape.queries[b] = order.target_segments.length(static_cast<index_t>(b));
    c.positioned = true;
    check_leaks<Case>("query stream", c, [](auto &any) { return some_order(any).query_mask(); });
}

BOOST_AUTO_TEST_SUITE_END()

// A protein's rows have the same bits in any batch, forward and backward, though r is longer with longer proteins; and
// everything, gradients of parameters included, with any number of threads.
BOOST_AUTO_TEST_SUITE(batch_invariance)

constexpr index_t width = 2 * 5;

/// Attention of proteins of these lengths, each with its own values by its length; r by offset.
struct Proteins {
    RelativeCase c;
    std::vector<Argument> arguments;

    Proteins(std::vector<index_t> const &lengths, index_t memory, bool segments)
        : c{.shape = {.queries = lengths, .keys = lengths, .heads = 2, .width = 5}, .segments = segments, .types = 1} {
        for (index_t &length : c.shape.keys)
            length += memory;
        c.ahead = *std::max_element(lengths.begin(), lengths.end()) - 1;
        arguments = c.arguments();
        for (std::size_t i = 0; i < 3; ++i) {
            arguments[i].values.clear();
            for (index_t length : i == 0 ? c.shape.queries : c.shape.keys)
                append(arguments[i].values,
                       random_values(length * width, 1000 * i + static_cast<std::uint64_t>(length)));
        }
        arguments[3].values.clear();
        for (index_t p = 0; p < c.reach(); ++p)
            append(arguments[3].values, random_values(width, static_cast<std::uint64_t>(5000 + p - c.behind())));
    }
    static void append(std::vector<double> &to, std::vector<double> const &more) {
        to.insert(to.end(), more.begin(), more.end());
    }
    /// The output, and with it the gradients of all arguments.
    template <class Case, class MakeMask>
    std::vector<std::vector<double>> run(MakeMask make_mask) const {
        auto const build = relative_attention(c, make_mask);
        std::vector<double> g;
        for (index_t length : c.shape.queries)
            append(g, random_values(length * width, 9000 + static_cast<std::uint64_t>(length)));
        auto all = backward<Case>(arguments, build, g, false);
        all.push_back(as_double(forward<Case, typename Case::Inference>(arguments, build)));
        return all;
    }
};

double largest_difference(std::vector<double> const &a, std::vector<double> const &b) {
    double difference = a.size() == b.size() ? 0 : HUGE_VAL;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        difference = std::max(difference, std::abs(a[i] - b[i]));
    return difference;
}

template <class Case, class MakeMask>
void check_proteins(MakeMask make_mask, index_t memory, bool segments) {
    using Serial = OpCase<Kokkos::Serial, typename Case::scalar, Case::kernels>;
    for (index_t length : {1, 12, 17, 97, 129, 400}) {
        Proteins const single({length}, memory, segments), batch({61, length, 1, 450}, memory, segments);
        auto const alone = single.run<Case>(make_mask), together = batch.run<Case>(make_mask);
        for (std::size_t i : {std::size_t(0), std::size_t(1), std::size_t(2), alone.size() - 1}) {
            auto const first = (i == 1 || i == 2 ? 61 + memory : 61) * width;
            auto const begin = together[i].begin() + first;
            BOOST_TEST(compare_bits("length " + std::to_string(length) + ", result " + std::to_string(i),
                                    std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(alone[i].size())),
                                    alone[i], width));
        }
        if constexpr (is_host_space<typename Case::device>) {
            auto const serial = batch.run<Serial>(make_mask);
            for (std::size_t i = 0; i < serial.size(); ++i)
                if (Case::kernels == Kernels::native || i < 3 || i + 1 == serial.size()) {
                    BOOST_TEST(compare_bits("one thread, result " + std::to_string(i), serial[i], together[i]));
                } else { // another space is another kernel to the compiler, which may round sums of parameters
                         // otherwise
                    BOOST_TEST(largest_difference(serial[i], together[i]) < 1e-4);
                }
        }
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(of_the_relative_term, Case, InFloat) {
    check_proteins<Case>(full_mask, 0, false);
    check_proteins<Case>(causal_mask, 35, true);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
