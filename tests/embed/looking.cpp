// Searching and drawing maps: against plain computations of the same, and on points of which the answer is known.

#include <support/message_of.hpp>

#include <protlm/core/philox.hpp>
#include <protlm/embed/label_table.hpp>
#include <protlm/embed/retrieval.hpp>
#include <protlm/embed/tsne.hpp>

#include <boost/test/unit_test.hpp>

#include <set>

namespace {

using namespace protlm;
using namespace protlm::test;

/// Points of a few clusters in `width` dimensions; point i belongs to cluster i % clusters.
std::vector<float> clustered(index_t count, index_t width, index_t clusters, double spread, std::uint64_t seed = 3) {
    CounterRandom const random{seed, Purpose::sample};
    auto const value = [&](index_t row, index_t column) {
        return uniform_double(random(static_cast<std::uint64_t>(row), static_cast<std::uint32_t>(column))[0], 0) - 0.5;
    };
    std::vector<float> points;
    for (index_t i = 0; i < count; ++i)
        for (index_t j = 0; j < width; ++j)
            points.push_back(static_cast<float>(value(1'000'000 + i % clusters, j) + spread * value(i, j)));
    return points;
}

std::vector<double> in_double(std::vector<float> const &values) { return {values.begin(), values.end()}; }

BOOST_AUTO_TEST_SUITE(looking)

BOOST_AUTO_TEST_CASE(leading_components_are_those_of_the_gram_matrix) {
    for (auto const &[count, width] : {std::pair{40, 70}, std::pair{300, 9}, std::pair{65, 1}}) {
        auto const points = clustered(count, width, 5, 0.7);
        index_t const k = std::min<index_t>(width, 3);
        auto const found = leading_components(points, width, k);
        auto const expected = principal_components(in_double(points), count, k);
        for (std::size_t c = 0; c < static_cast<std::size_t>(k); ++c) {
            BOOST_TEST(std::abs(found.variance[c] - expected.variance[c]) < 1e-9);
            for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
                BOOST_TEST(std::abs(found.coordinates[c][i] - expected.coordinates[c][i]) < 2e-5);
        }
    }
}

BOOST_AUTO_TEST_CASE(leading_components_take_columns_that_say_nothing) {
    std::vector<float> points; // a line in three dimensions, one of them constant
    for (int i = 0; i < 50; ++i)
        for (float const value : {float(i), 2 * float(i), 7.0f})
            points.push_back(value);
    auto const found = leading_components(points, 3, 3);
    BOOST_TEST(std::abs(found.variance[0] - 1) < 1e-12);
    BOOST_TEST(found.variance[1] + found.variance[2] < 1e-12);
    auto const equal = leading_components(std::vector<float>(30, 2.5f), 3, 2);
    BOOST_TEST(equal.variance[0] == 0.0);
    BOOST_TEST(message_of([] { leading_components(std::vector<float>(6), 3, 4); }) ==
               "leading_components: 4 directions of 3 columns");
}

BOOST_AUTO_TEST_CASE(nearest_agrees_with_a_plain_search) {
    index_t const width = 33, size = 700, queries = 150, k = 7;
    auto database = clustered(size, width, 9, 0.8), asked = clustered(queries, width, 9, 0.8, 4);
    normalise_rows(database, width);
    normalise_rows(asked, width);
    auto const found = nearest(asked, database, width, k);
    BOOST_REQUIRE(found.size() == std::size_t(queries));
    for (index_t q = 0; q < queries; ++q) {
        std::vector<std::pair<double, index_t>> all;
        for (index_t i = 0; i < size; ++i) {
            double sum = 0;
            for (index_t j = 0; j < width; ++j)
                sum += double(asked[std::size_t(q * width + j)]) * database[std::size_t(i * width + j)];
            all.emplace_back(-sum, i);
        }
        std::sort(all.begin(), all.end());
        auto const &row = found[std::size_t(q)];
        BOOST_REQUIRE(row.size() == std::size_t(k));
        for (std::size_t n = 0; n < row.size(); ++n)
            BOOST_TEST(std::abs(row[n].similarity + all[n].first) < 1e-5);
        BOOST_TEST(std::is_sorted(row.begin(), row.end()));
    }
}

BOOST_AUTO_TEST_CASE(nearest_breaks_ties_by_number_and_leaves_out_itself) {
    std::vector<float> const rows{1, 0, 0, 1, 1, 0, 1, 0};
    auto const found = nearest(rows, rows, 2, 9, true);
    auto const expected = std::vector<Neighbour>{{2, 1.0f}, {3, 1.0f}, {1, 0.0f}};
    BOOST_TEST((found[0] == expected));
    std::vector<float> nothing{0, 0, 3, 4};
    normalise_rows(nothing, 2);
    BOOST_TEST((nothing == std::vector<float>{0, 0, 0.6f, 0.8f}));
    BOOST_TEST(message_of([] { nearest(std::vector<float>(4), std::vector<float>(5), 2, 1); }) ==
               "for_each_query: 4 and 5 values in rows of 2");
}

BOOST_AUTO_TEST_CASE(scores_of_a_query_by_hand) {
    // + - + - : pairs in order 3 of 4; precision at the positives 1 and 2/3
    auto const mixed = score_answers({{0.1f, false}, {0.9f, true}, {0.5f, true}, {0.7f, false}});
    BOOST_TEST(std::abs(mixed.auroc - 0.75) < 1e-12);
    BOOST_TEST(std::abs(mixed.auprc - (1 + 2.0 / 3) / 2) < 1e-12);
    BOOST_TEST(mixed.hit1 == 1);
    BOOST_TEST(mixed.hit10 == 1);
    // all the same: half of the pairs, precision is the share of positives
    auto const tied = score_answers({{1, false}, {1, true}, {1, false}, {1, false}});
    BOOST_TEST(std::abs(tied.auroc - 0.5) < 1e-12);
    BOOST_TEST(std::abs(tied.auprc - 0.25) < 1e-12);
    BOOST_TEST(tied.hit1 == 0);
    std::vector<Answer> late;
    for (int i = 0; i < 12; ++i)
        late.push_back({-float(i), i == 10});
    BOOST_TEST(score_answers(late).hit10 == 0);
    BOOST_TEST(std::abs(score_answers(late).auroc - 1.0 / 11) < 1e-12);
    BOOST_TEST(message_of([] { score_answers({{1, true}}); }) == "score_answers: 1 positives and 0 negatives");
}

BOOST_AUTO_TEST_CASE(retrieval_leaves_out_what_it_is_told_to) {
    // directions in the plane: a1 and a2 of one family, a3 of the superfamily's other one, b and c negatives
    auto const at = [](double degrees) {
        double const angle = degrees * std::acos(-1.0) / 180;
        return std::array{static_cast<float>(3 * std::cos(angle)), static_cast<float>(3 * std::sin(angle))};
    };
    std::vector<float> values;
    for (double const degrees : {0, 1, 30, 20, 180})
        for (float const value : at(degrees))
            values.push_back(value);
    std::vector<std::string> const superfamilies{"a", "a", "a", "b", ""}, families{"a1", "a1", "a2", "b1", "c"};
    auto const all = evaluate_retrieval(values, 2, superfamilies, {});
    BOOST_TEST(all.queries == 3);
    BOOST_TEST(all.groups == 1);
    // a1 sees a1, b, a3, c; likewise a2; a3 sees b, a2, a1, c
    BOOST_TEST(std::abs(all.by_query.auroc - (0.75 + 0.75 + 0.5) / 3) < 1e-12);
    BOOST_TEST(std::abs(all.by_query.hit1 - 2.0 / 3) < 1e-12);
    auto const apart = evaluate_retrieval(values, 2, superfamilies, families);
    BOOST_TEST(std::abs(apart.by_query.auroc - 0.5) < 1e-12); // a1 sees b, a3, c
    BOOST_TEST(apart.by_query.hit1 == 0);
    BOOST_TEST(apart.by_query.hit10 == 1);
    BOOST_TEST(apart.by_group.auroc == apart.by_query.auroc);
    BOOST_TEST(message_of([&] { evaluate_retrieval(values, 2, families, families); }) ==
               "evaluate_retrieval: no protein has another one of its group to find");
}

BOOST_AUTO_TEST_CASE(the_tree_without_approximation_is_the_sum_over_all_pairs) {
    CounterRandom const random{5, Purpose::sample};
    std::vector<PlanePoint> points;
    for (std::uint32_t i = 0; i < 500; ++i)
        points.push_back({std::exp(8 * uniform_double(random(i, 0)[0], 0)), uniform_double(random(i, 1)[0], 0)});
    for (std::size_t i = 0; i < 40; ++i)
        points[100 + i] = points[100]; // more equal points than a leaf takes
    QuadTree const tree(points);
    auto const &order = tree.order();
    BOOST_TEST(std::set<std::uint32_t>(order.begin(), order.end()).size() == points.size());
    double worst = 0;
    for (std::size_t place = 0; place < points.size(); ++place) {
        auto const i = order[place];
        PlanePoint force{};
        double weight = 0;
        for (std::size_t j = 0; j < points.size(); ++j) {
            if (j == i)
                continue;
            double const x = points[i][0] - points[j][0], y = points[i][1] - points[j][1];
            double const q = 1 / (1 + x * x + y * y);
            weight += q;
            force[0] += q * q * x, force[1] += q * q * y;
        }
        auto const exact = tree.repulsion(place, 0), near = tree.repulsion(place, 0.5);
        BOOST_TEST(std::abs(exact.weight - weight) < 1e-9 * weight);
        BOOST_TEST(std::abs(exact.force[0] - force[0]) < 1e-9);
        BOOST_TEST(std::abs(exact.force[1] - force[1]) < 1e-9);
        worst = std::max(worst, std::abs(near.weight - weight) / weight);
    }
    BOOST_TEST(worst > 0); // it does approximate
    BOOST_TEST(worst < 0.05);
}

BOOST_AUTO_TEST_CASE(weights_have_the_perplexity_asked_for) {
    std::vector<double> squared;
    for (int i = 0; i < 90; ++i)
        squared.push_back(1e6 + 0.01 * i * i);
    for (double const perplexity : {2.0, 10.0, 60.0}) {
        double entropy = 0;
        for (double const weight : detail::gaussian_weights(squared, perplexity))
            entropy -= weight > 0 ? weight * std::log(weight) : 0;
        BOOST_TEST(std::abs(std::exp(entropy) - perplexity) < 1e-3 * perplexity);
    }
    for (double const weight : detail::gaussian_weights(std::vector<double>(4, 2.0), 3))
        BOOST_TEST(std::abs(weight - 0.25) < 1e-12);
}

BOOST_AUTO_TEST_CASE(the_gradient_is_that_of_the_divergence) {
    auto const values = clustered(60, 8, 3, 0.6);
    auto const near = detail::neighbourhoods(values, 8, 6);
    double sum = 0;
    for (double const value : near.values)
        sum += value;
    BOOST_TEST(std::abs(sum - 1) < 1e-12);
    auto points = detail::first_places(values, 8, 1);
    for (auto &point : points)
        point = {point[0] * 1e4, point[1] * 1e4};
    std::vector<PlanePoint> gradient(points.size()), ignored(points.size());
    detail::tsne_gradient(near, points, 1, 0, gradient);
    for (std::size_t i : {0u, 7u, 59u})
        for (std::size_t axis : {0u, 1u}) {
            double const step = 1e-4, before = points[i][axis];
            points[i][axis] = before + step;
            double const above = detail::tsne_gradient(near, points, 1, 0, ignored);
            points[i][axis] = before - step;
            double const below = detail::tsne_gradient(near, points, 1, 0, ignored);
            points[i][axis] = before;
            BOOST_TEST(std::abs((above - below) / (2 * step) - 4 * gradient[i][axis]) < 1e-7);
        }
}

BOOST_AUTO_TEST_CASE(tsne_keeps_clusters_together_and_is_the_same_again) {
    index_t const count = 400, clusters = 8;
    auto const values = clustered(count, 20, clusters, 0.4);
    TsneOptions options;
    options.perplexity = 15;
    options.iterations = 300;
    index_t steps = 0;
    double first = 0;
    auto const map = tsne(values, 20, options, [&](index_t done, double divergence) {
        steps = done;
        first = done == 1 ? divergence : first;
    });
    BOOST_TEST(steps == 300);
    BOOST_TEST(map.divergence < 0.5 * first);
    index_t right = 0;
    for (std::size_t i = 0; i < map.points.size(); ++i) {
        std::pair<double, std::size_t> best{1e300, i};
        for (std::size_t j = 0; j < map.points.size(); ++j)
            if (j != i)
                best = std::min(
                    best, {std::hypot(map.points[i][0] - map.points[j][0], map.points[i][1] - map.points[j][1]), j});
        right += best.second % clusters == i % clusters;
    }
    BOOST_TEST(right == count);
    auto const again = tsne(values, 20, options, [](index_t, double) {});
    BOOST_TEST((again.points == map.points));
    options.perplexity = 200;
    BOOST_TEST(message_of([&] { tsne(values, 20, options, [](index_t, double) {}); }) ==
               "tsne: perplexity is 200, expected 1 to 133 for 400 points");
}

BOOST_AUTO_TEST_CASE(equal_points_are_no_trouble) {
    TsneOptions options;
    options.perplexity = 5;
    options.iterations = 50;
    auto const map = tsne(std::vector<float>(90, 1.0f), 3, options, [](index_t, double) {});
    for (auto const &point : map.points)
        BOOST_TEST((std::isfinite(point[0]) && std::isfinite(point[1])));
}

BOOST_AUTO_TEST_CASE(label_tables_with_commas_and_tabs) {
    auto const table = LabelTable::parse("id,class,\"name, long\"\r\nP1,a,\"say \"\"x\"\", y\"\nP2 b,c,\n\n", "labels");
    BOOST_TEST(table.size() == 2);
    std::vector<std::string> const ids{"P2 b", "P1 some words", "P3"};
    BOOST_TEST((table.labels(ids, "") == std::vector<std::string>{"c", "a", ""}));
    BOOST_TEST((table.labels(ids, "name, long") == std::vector<std::string>{"", "say \"x\", y", ""}));
    BOOST_TEST((LabelTable::parse("id\tl,abel\nP1\ta b", "tabs").labels({"P1"}, "l,abel")[0] == "a b"));
    BOOST_TEST(message_of([&] { table.labels(ids, "fold"); }) ==
               "labels: has no column 'fold'; it has 'id', 'class', 'name, long'");
    BOOST_TEST(message_of([] { LabelTable::parse("id,a\nP1\n", "t"); }) == "t: line 2 has 1 fields, the first has 2");
    BOOST_TEST(message_of([] { LabelTable::parse("", "t"); }) == "t: expected a line of two or more column names");
}

BOOST_AUTO_TEST_CASE(label_tables_as_spreadsheets_write_them) {
    auto const labels = [](std::string_view text, std::string const &column = "") {
        return LabelTable::parse(text, "t").labels({"P1", "P2"}, column);
    };
    std::vector<std::string> const ab{"a", "b"};
    BOOST_TEST((labels("\xef\xbb\xbfid,l\r\nP1,a\r\nP2,b\r\n") == ab));
    BOOST_TEST((labels("id;l\nP1;a\nP2;b") == ab));
    BOOST_TEST((labels("id\tl\rP1\ta\rP2\tb\r") == ab));
    BOOST_TEST((labels("\n\nid,l\n\nP1,a\n\n\nP2,b\n") == ab));
    BOOST_TEST((labels("id,l\nP1,a\nP2,b\nP1,a\n") == ab)); // twice the same
    BOOST_TEST((labels("id,l\n\"P1\",\"a\"\n\"P2\",\"b\"\n", "id") == std::vector<std::string>{"P1", "P2"}));
    BOOST_TEST(
        (labels("id,l\nP1,\"two\nlines\"\nP2,5' \"end\"\n") == std::vector<std::string>{"two\nlines", "5' \"end\""}));
    BOOST_TEST(message_of([&] { labels("id,l,m\nP1,\"two\nlines\",x\nP2,b\n"); }) ==
               "t: line 4 has 2 fields, the first has 3");
    BOOST_TEST(message_of([&] { labels("id\tl\nP1\t\"open\nP2\tb\n"); }) ==
               "t: line 2: a quotation mark is never closed");
    BOOST_TEST(message_of([&] { labels("id,l\nP1,\"a\"b\n"); }) ==
               "t: line 2: there is text behind a closing quotation mark");
    BOOST_TEST(message_of([&] { labels(std::string_view("\xff\xfei\0d\0", 6)); }) ==
               "t: is UTF-16; save it as UTF-8 text");
    BOOST_TEST(message_of([&] { labels("id,l,m\nP1,a,x\nP2,b,x\nP1,c,x\n"); }) ==
               "t: lines 2 and 4 give P1 different labels: 'a' and 'c'");
    BOOST_TEST((labels("id,l,m\nP1,a,x\nP2,b,y\nP1,c,x\n", "m") == std::vector<std::string>{"x", "y"}));
}

BOOST_AUTO_TEST_CASE(labels_are_found_by_id_word_or_accession) {
    std::vector<std::string> const ids{"sp|P12345|AATM_RABIT Aspartate", "tr|A0A023|A0A023_X", "Q9", "none"};
    auto const labels = [&](std::string_view text, std::string const &column = "") {
        return LabelTable::parse(text, "t").labels(ids, column);
    };
    std::vector<std::string> const expected{"a", "b", "c", ""};
    BOOST_TEST((labels("id,l\nsp|P12345|AATM_RABIT Aspartate,a\ntr|A0A023|A0A023_X,b\nQ9,c\n") == expected));
    BOOST_TEST((labels("id,l\nsp|P12345|AATM_RABIT,a\nA0A023,b\nsp|Q9|NINE,c\n") == expected));
    BOOST_TEST((labels("Entry\tEntry Name\tl\nP12345\tX\ta\nA0A023\tY\tb\nQ9\tZ\tc\n", "l") == expected));
    BOOST_TEST((labels("From\tEntry\tl\nx\tP12345\ta\ny\tA0A023\tb\nz\tQ9\tc\n", "l") == expected));
    // the whole id counts before its parts
    BOOST_TEST(labels("id,l\nP12345,wrong\nsp|P12345|AATM_RABIT Aspartate,right\n")[0] == "right");
    BOOST_TEST(message_of([&] { labels("id,l\nsp|Q9|A,c\nsp|Q9|B,d\n"); }) ==
               "t: lines 2 and 3 give Q9 different labels: 'c' and 'd'");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
