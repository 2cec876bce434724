#include <protlm/model/generate.hpp>
#include <support/compare.hpp>
#include <support/message_of.hpp>

#include <cmath>
#include <map>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;
using Context = Inference<Exec>;
using Texts = std::vector<GeneratedText>;

constexpr std::int32_t end_token = 1, start_token = 0;

/// Writes by a rule: the logits are a function of a text's source and of all its tokens so far.
class RuleDecoder {
  public:
    explicit RuleDecoder(index_t sources, index_t vocabulary = 7) : vocabulary_(vocabulary) {
        for (index_t b = 0; b < sources; ++b)
            rows_.push_back({b, {}});
    }
    index_t rows() const { return static_cast<index_t>(rows_.size()); }
    index_t steps() const { return steps_; }

    Tensor<double, Exec> step(Context &context, std::span<std::int32_t const> tokens) {
        BOOST_REQUIRE(tokens.size() == rows_.size());
        ++steps_;
        auto const logits = context.tensor<double>(rows(), vocabulary_);
        auto const host = Kokkos::create_mirror_view(logits.view());
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            rows_[i].tokens.push_back(tokens[i]);
            for (index_t j = 0; j < vocabulary_; ++j)
                host(i, static_cast<std::size_t>(j)) = logit(rows_[i].source, rows_[i].tokens, j);
        }
        Kokkos::deep_copy(logits.view(), host);
        return logits;
    }
    void reorder(Context &, std::span<index_t const> rows) {
        std::vector<Row> next;
        for (index_t const row : rows)
            next.push_back(rows_.at(static_cast<std::size_t>(row)));
        rows_ = std::move(next);
    }

    static double logit(index_t source, std::vector<std::int32_t> const &tokens, index_t next) {
        std::uint64_t state = 77 + static_cast<std::uint64_t>(source);
        for (std::int32_t const token : tokens)
            state = state * 31 + static_cast<std::uint64_t>(token);
        auto const bits = CounterRandom{state, Purpose::sample}(static_cast<std::uint64_t>(next), 0);
        return 3 * uniform_double(bits[0], bits[1]);
    }

  private:
    struct Row {
        index_t source;
        std::vector<std::int32_t> tokens;
    };
    index_t vocabulary_, steps_ = 0;
    std::vector<Row> rows_;
};

/// log p(next | tokens) by the rule.
double log_p(index_t source, std::vector<std::int32_t> const &tokens, std::int32_t next, index_t vocabulary = 7) {
    double sum = 0;
    for (index_t j = 0; j < vocabulary; ++j)
        sum += std::exp(RuleDecoder::logit(source, tokens, j));
    return RuleDecoder::logit(source, tokens, next) - std::log(sum);
}

std::vector<TextStart> starts(index_t sources) {
    std::vector<TextStart> all;
    for (index_t b = 0; b < sources; ++b)
        all.push_back({.source = b, .tokens = {start_token}, .sample = static_cast<std::uint64_t>(b)});
    return all;
}

GenerationOptions up_to(index_t length) { return {.end = end_token, .max_length = length}; }

void check_same(Texts const &actual, Texts const &expected) {
    BOOST_REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        BOOST_TEST(actual[i].tokens == expected[i].tokens, boost::test_tools::per_element());
        BOOST_TEST(std::abs(actual[i].score - expected[i].score) < 1e-12);
        BOOST_TEST(actual[i].complete == expected[i].complete);
    }
}

Texts greedy(std::vector<TextStart> const &begin, GenerationOptions const &options, index_t sources) {
    Context context;
    RuleDecoder decoder(sources);
    return generate_greedy(context, decoder, std::span<TextStart const>(begin), options);
}

Texts sampled(std::vector<TextStart> const &begin, GenerationOptions const &options, SamplingOptions const &sampling,
              index_t sources) {
    Context context;
    RuleDecoder decoder(sources);
    return generate_samples(context, decoder, std::span<TextStart const>(begin), options, sampling);
}

std::vector<Texts> searched(std::vector<TextStart> const &begin, GenerationOptions const &options,
                            BeamOptions const &search, index_t sources) {
    Context context;
    RuleDecoder decoder(sources);
    return beam_search(context, decoder, std::span<TextStart const>(begin), options, search);
}

BOOST_AUTO_TEST_SUITE(generation)

BOOST_AUTO_TEST_CASE(greedy_takes_the_most_probable_token_each_time) {
    auto const texts = greedy(starts(5), up_to(12), 5);
    for (index_t b = 0; b < 5; ++b) {
        GeneratedText expected{{start_token}, 0.0, false};
        while (expected.tokens.size() < 13 && !expected.complete) {
            std::int32_t best = 0;
            for (std::int32_t j = 1; j < 7; ++j)
                best = log_p(b, expected.tokens, j) > log_p(b, expected.tokens, best) ? j : best;
            expected.score += log_p(b, expected.tokens, best);
            expected.tokens.push_back(best);
            expected.complete = best == end_token;
        }
        check_same({texts[static_cast<std::size_t>(b)]}, {expected});
    }
}

BOOST_AUTO_TEST_CASE(a_finished_text_stays_finished_and_costs_nothing) {
    Context context;
    RuleDecoder decoder(40);
    auto const begin = starts(40);
    auto const texts = generate_greedy(context, decoder, std::span<TextStart const>(begin), up_to(30));
    std::size_t complete = 0, longest = 0;
    for (auto const &text : texts) {
        auto const first = std::find(text.tokens.begin(), text.tokens.end(), end_token);
        BOOST_TEST(text.complete == (first != text.tokens.end()));
        if (text.complete) {
            BOOST_TEST((first + 1 == text.tokens.end()));
        } else {
            BOOST_TEST(text.tokens.size() == 31u);
        }
        complete += text.complete;
        longest = std::max(longest, text.tokens.size());
    }
    BOOST_TEST(complete > 5u);
    BOOST_TEST(decoder.steps() == static_cast<index_t>(longest) - 1);
    BOOST_TEST(decoder.rows() == 0);
}

BOOST_AUTO_TEST_CASE(a_text_does_not_depend_on_the_others) {
    auto const all = starts(9);
    SamplingOptions const sampling{.temperature = 1.3, .top_k = 5, .top_p = 0.9, .seed = 4};
    BeamOptions const search{.beams = 3, .results = 2};
    auto const together = greedy(all, up_to(20), 9), drawn = sampled(all, up_to(20), sampling, 9);
    auto const found = searched(all, up_to(20), search, 9);
    for (std::size_t b = 0; b < 9; ++b) {
        std::vector<TextStart> const one{all[b]};
        check_same(greedy(one, up_to(20), 9), {together[b]});
        check_same(sampled(one, up_to(20), sampling, 9), {drawn[b]});
        check_same(searched(one, up_to(20), search, 9)[0], found[b]);
    }
}

BOOST_AUTO_TEST_CASE(narrow_choices_are_greedy) {
    auto const begin = starts(12);
    auto const expected = greedy(begin, up_to(20), 12);
    check_same(sampled(begin, up_to(20), {.top_k = 1}, 12), expected);
    check_same(sampled(begin, up_to(20), {.temperature = 0.0}, 12), expected);
    check_same(sampled(begin, up_to(20), {.temperature = 1e-6}, 12), expected);
    check_same(sampled(begin, up_to(20), {.top_p = 1e-9}, 12), expected);
}

BOOST_AUTO_TEST_CASE(one_beam_is_greedy) {
    auto const begin = starts(12);
    auto const expected = greedy(begin, up_to(20), 12);
    // without a penalty the score is the sum itself; else the end must stop at once, or a longer text may win
    for (BeamOptions const &search :
         {BeamOptions{.beams = 1, .length_penalty = 0.0},
          BeamOptions{.beams = 1, .length_penalty = 0.0, .stopping = EarlyStopping::at_once}}) {
        auto const found = searched(begin, up_to(20), search, 12);
        for (std::size_t b = 0; b < 12; ++b)
            check_same({found[b].at(0)}, {expected[b]});
    }
    auto const found =
        searched(begin, up_to(20), {.beams = 1, .length_penalty = 1.0, .stopping = EarlyStopping::at_once}, 12);
    for (std::size_t b = 0; b < 12; ++b)
        BOOST_TEST(found[b].at(0).tokens == expected[b].tokens, boost::test_tools::per_element());
}

/// All texts of at most `length` tokens behind `tokens`, complete ones and those that are full, with their sums.
void all_texts(index_t source, std::vector<std::int32_t> const &tokens, double sum, std::size_t length, double penalty,
               Texts &texts) {
    for (std::int32_t next = 0; next < 4; ++next) {
        auto longer = tokens;
        longer.push_back(next);
        double const total = sum + log_p(source, tokens, next, 4);
        bool const complete = next == end_token;
        // the length that divides counts the start and no end
        double const counted = static_cast<double>(complete ? tokens.size() : longer.size());
        if (complete || longer.size() > length)
            texts.push_back({longer, total / std::pow(counted, penalty), complete});
        else
            all_texts(source, longer, total, length, penalty, texts);
    }
}

// As many beams as there are texts make the search exhaustive: its best texts are the best of all.
BOOST_AUTO_TEST_CASE(a_wide_beam_search_finds_the_best_of_all_texts) {
    for (double const penalty : {0.0, 1.0, 2.0, -1.0})
        for (index_t source = 0; source < 3; ++source) {
            Texts all;
            all_texts(source, {start_token}, 0.0, 4, penalty, all);
            std::sort(all.begin(), all.end(), [](auto const &a, auto const &b) { return a.score > b.score; });
            Context context;
            RuleDecoder decoder(3, 4);
            TextStart const begin{.source = source, .tokens = {start_token}};
            BeamOptions const search{
                .beams = 400, .length_penalty = penalty, .stopping = EarlyStopping::when_never_better, .results = 10};
            auto const found =
                beam_search(context, decoder, std::span<TextStart const>(&begin, 1), up_to(4), search)[0];
            check_same(found, {all.begin(), all.begin() + 10});
        }
}

BOOST_AUTO_TEST_CASE(better_texts_come_first_and_more_beams_do_not_score_worse_here) {
    auto const begin = starts(6);
    double sum_of_two = 0, sum_of_ten = 0;
    for (index_t const beams : {2, 10}) {
        auto const found = searched(begin, up_to(15), {.beams = beams, .results = 2}, 6);
        for (auto const &texts : found) {
            BOOST_TEST(texts.size() == 2u);
            BOOST_TEST(texts[0].score >= texts[1].score);
            (beams == 2 ? sum_of_two : sum_of_ten) += texts[0].score;
        }
    }
    BOOST_TEST(sum_of_ten > sum_of_two);
}

BOOST_AUTO_TEST_CASE(given_tokens_stand_where_they_were_put) {
    TextStart const begin{.tokens = {start_token, 5, free_token, free_token, 3, free_token, end_token}};
    GenerationOptions options = up_to(40);
    options.forbidden = {2};
    auto const fits = [&](GeneratedText const &text) {
        BOOST_TEST(text.tokens.size() == 7u);
        BOOST_TEST(text.complete);
        for (std::size_t place = 0; place < text.tokens.size(); ++place)
            if (begin.tokens[place] != free_token)
                BOOST_TEST(text.tokens[place] == begin.tokens[place]);
            else
                BOOST_TEST((text.tokens[place] != end_token && text.tokens[place] != 2));
    };
    fits(greedy({begin}, options, 1)[0]);
    for (std::uint32_t copy = 0; copy < 20; ++copy) {
        auto other = begin;
        other.copy = copy;
        fits(sampled({other}, options, {.temperature = 2.0}, 1)[0]);
    }
    auto const found = searched({begin}, options, {.beams = 4, .results = 4}, 1)[0];
    BOOST_TEST(found.size() == 4u);
    for (auto const &text : found)
        fits(text);
    // the score is that of what the model wrote from the first free place on
    auto const text = greedy({begin}, options, 1)[0];
    double sum = 0;
    for (std::size_t place = 2; place < 7; ++place)
        sum += log_p(0, {text.tokens.begin(), text.tokens.begin() + static_cast<std::ptrdiff_t>(place)},
                     text.tokens[place]);
    BOOST_TEST(std::abs(text.score - sum) < 1e-12);
}

BOOST_AUTO_TEST_CASE(options_that_do_not_fit_the_model_are_refused_by_name) {
    auto const refused = [](GenerationOptions const &options, std::vector<std::int32_t> const &tokens,
                            std::string const &text, index_t most = 0) {
        std::vector<TextStart> const begin{{.tokens = tokens, .max_length = most}};
        BOOST_TEST(message_of([&] { greedy(begin, options, 1); }) == text);
        BOOST_TEST(message_of([&] { sampled(begin, options, {}, 1); }) == text);
        BOOST_TEST(message_of([&] { searched(begin, options, {.beams = 2}, 1); }) == text);
    };
    std::vector const plain{start_token};
    refused({.end = 400000}, plain, "GenerationOptions: end is 400000, expected -1 or a token of the model's 7");
    refused({.end = 7}, plain, "GenerationOptions: end is 7, expected -1 or a token of the model's 7");
    refused({.end = -2}, plain, "GenerationOptions: end is -2, expected -1 or a token of the model's 7");
    refused({.forbidden = {-7}}, plain, "GenerationOptions: forbidden names -7, expected tokens of the model's 7");
    refused({.forbidden = {2, 7}}, plain, "GenerationOptions: forbidden names 7, expected tokens of the model's 7");
    refused({.min_length = -1}, plain, "GenerationOptions: min_length is -1, expected at least 0");
    refused({.max_length = 0}, plain, "GenerationOptions: max_length is 0, expected at least 1");
    refused({.max_length = -5}, plain, "GenerationOptions: max_length is -5, expected at least 1");
    refused({.min_length = 50, .max_length = 20}, plain,
            "GenerationOptions: min_length is 50, but no text is longer than max_length, 20");
    refused({}, {start_token, 9}, "generate: text 0: tokens[1] is 9, expected a token of the model's 7, or -1 where the "
                                  "model writes");
    refused({}, plain, "generate: text 0: max_length is -3, expected at least 1, or 0 for that of the options", -3);
}

BOOST_AUTO_TEST_CASE(lengths_and_forbidden_tokens_are_kept) {
    auto options = up_to(9);
    options.min_length = 6;
    options.forbidden = {4, 6};
    auto begin = starts(30);
    begin[3].max_length = 2;
    SamplingOptions const sampling{.temperature = 1.5};
    auto const found = searched(begin, options, {.beams = 2}, 30);
    for (auto const &texts : {greedy(begin, options, 30), sampled(begin, options, sampling, 30)})
        for (std::size_t b = 0; b < 30; ++b)
            for (auto const &text : {texts[b], found[b].at(0)}) {
                BOOST_TEST(text.tokens.size() <= (b == 3 ? 3u : 10u));
                if (text.complete)
                    BOOST_TEST(text.tokens.size() >= 8u);
                for (std::int32_t const token : text.tokens)
                    BOOST_TEST((token != 4 && token != 6));
            }
}

BOOST_AUTO_TEST_CASE(a_plan_runs_the_method_that_it_names) {
    auto const begin = starts(4);
    auto const run = [&](GenerationPlan plan) {
        Context context;
        RuleDecoder decoder(4);
        plan.options = up_to(15);
        return generate(context, decoder, std::span<TextStart const>(begin), plan);
    };
    auto const expected = greedy(begin, up_to(15), 4);
    auto const plain = run({.method = generation_method("greedy"), .number = 3});
    auto const found = run({.method = generation_method("beam"), .number = 3});
    auto const drawn = run({.method = generation_method("sample"), .number = 3});
    auto const search = searched(begin, up_to(15), {.results = 3}, 4);
    for (std::size_t b = 0; b < 4; ++b) {
        check_same(plain[b], {expected[b]});
        check_same(found[b], search[b]);
        BOOST_TEST(drawn[b].size() == 3u);
        for (std::uint32_t copy = 0; copy < 3; ++copy) {
            auto start = begin[b];
            start.copy = copy;
            check_same({drawn[b][copy]}, sampled({start}, up_to(15), {}, 4));
        }
    }
    BOOST_TEST(message_of([] { generation_method("guess"); }) ==
               "generation_method: \"guess\", expected greedy, beam or sample");
    BOOST_TEST(message_of([&] { run({.number = 0}); }) == "generate: number is 0, expected at least 1");
}

// Chi-square with 6 degrees of freedom, fixed seeds: above 22.5 in one of a thousand runs.
BOOST_AUTO_TEST_CASE(samples_follow_the_softmax) {
    for (double const temperature : {0.7, 1.0, 2.0}) {
        std::vector<TextStart> begin;
        for (std::uint32_t copy = 0; copy < 7000; ++copy)
            begin.push_back({.tokens = {start_token}, .max_length = 1, .sample = 12, .copy = copy});
        std::vector<double> counts(7, 0.0), expected;
        for (auto const &text : sampled(begin, up_to(1), {.temperature = temperature, .seed = 5}, 1))
            ++counts[static_cast<std::size_t>(text.tokens[1])];
        double sum = 0, chi_square = 0;
        for (std::int32_t j = 0; j < 7; ++j) {
            expected.push_back(std::exp(RuleDecoder::logit(0, {start_token}, j) / temperature));
            sum += expected.back();
        }
        for (std::size_t j = 0; j < 7; ++j) {
            double const mean = 7000 * expected[j] / sum;
            chi_square += (counts[j] - mean) * (counts[j] - mean) / mean;
        }
        BOOST_TEST(chi_square < 22.5);
        BOOST_TEST(chi_square > 0.2); // nor too good to be drawn
    }
}

BOOST_AUTO_TEST_CASE(the_same_key_draws_the_same_text) {
    auto begin = starts(6);
    SamplingOptions const sampling{.temperature = 2.0, .seed = 9};
    auto const texts = sampled(begin, up_to(20), sampling, 6);
    check_same(sampled(begin, up_to(20), sampling, 6), texts);
    auto const differ = [&](Texts const &others) {
        for (std::size_t b = 0; b < others.size(); ++b)
            if (others[b].tokens != texts[b].tokens)
                return true;
        return false;
    };
    BOOST_TEST(differ(sampled(begin, up_to(20), {.temperature = 2.0, .seed = 10}, 6)));
    for (auto &start : begin)
        start.copy = 1;
    BOOST_TEST(differ(sampled(begin, up_to(20), sampling, 6)));
}

BOOST_AUTO_TEST_CASE(distributions_keep_what_top_k_and_the_nucleus_keep) {
    double const never = -std::numeric_limits<double>::infinity();
    std::vector<double> values;
    for (double const p : {0.1, 0.4, 0.05, 0.25, 0.2})
        values.push_back(std::log(p));
    auto const tokens = [&](SamplingOptions const &options) {
        std::vector<std::int32_t> kept;
        double sum = 0;
        for (auto const &[token, probability] : sampling_distribution(values, options)) {
            kept.push_back(token);
            sum += probability;
        }
        BOOST_TEST(std::abs(sum - 1) < 1e-12);
        return kept;
    };
    using Tokens = std::vector<std::int32_t>;
    BOOST_TEST((tokens({}) == Tokens{1, 3, 4, 0, 2}));
    BOOST_TEST((tokens({.top_k = 2}) == Tokens{1, 3}));
    BOOST_TEST((tokens({.top_k = 9}) == Tokens{1, 3, 4, 0, 2}));
    BOOST_TEST((tokens({.top_p = 0.3}) == Tokens{1}));
    BOOST_TEST((tokens({.top_p = 0.6}) == Tokens{1, 3}));
    BOOST_TEST((tokens({.top_p = 0.84}) == Tokens{1, 3, 4}));
    BOOST_TEST((tokens({.top_k = 3, .top_p = 0.48}) == Tokens{1, 3})); // 0.4 of 0.85 is 0.47
    BOOST_TEST((tokens({.temperature = 0.0}) == Tokens{1}));
    auto const flat = sampling_distribution(values, {.temperature = 1e9});
    for (auto const &[token, probability] : flat)
        BOOST_TEST(std::abs(probability - 0.2) < 1e-6);
    values[1] = never;
    BOOST_TEST((tokens({}) == Tokens{3, 4, 0, 2}));
    std::vector<TokenProbability> const two{{7, 0.25}, {3, 0.75}};
    BOOST_TEST(draw_token(two, 0.0) == 7);
    BOOST_TEST(draw_token(two, 0.2499) == 7);
    BOOST_TEST(draw_token(two, 0.25) == 3);
    BOOST_TEST(draw_token(two, 0.999999) == 3);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_an_error) {
    BOOST_TEST(message_of([] { SamplingOptions{.temperature = -1}.validate(); }) ==
               "SamplingOptions: temperature is -1, expected at least 0");
    BOOST_TEST(message_of([] { SamplingOptions{.top_k = -1}.validate(); }) ==
               "SamplingOptions: top_k is -1, expected at least 0");
    BOOST_TEST(message_of([] { SamplingOptions{.top_p = 0}.validate(); }) ==
               "SamplingOptions: top_p is 0, expected above 0 and at most 1");
    BOOST_TEST(message_of([] { BeamOptions{.beams = 0}.validate(); }) ==
               "BeamOptions: beams is 0, expected at least 1");
    BOOST_TEST(message_of([] { BeamOptions{.beams = 2, .results = 3}.validate(); }) ==
               "BeamOptions: results is 3, expected 1 to beams 2");
    BOOST_TEST(message_of([] { greedy({{.tokens = {free_token}}}, up_to(3), 1); }) ==
               "generate: text 0 has no token to begin with");
    BOOST_TEST(message_of([] {
                   greedy({{.source = 1, .tokens = {0}}, {.source = 0, .tokens = {0}}}, up_to(3), 2);
               }) == "generate: text 1 begins from row 0, below that of the text before it");
    std::vector<double> const none(3, -std::numeric_limits<double>::infinity());
    BOOST_TEST(message_of([&] { most_probable(none); }) == "most_probable: no token is allowed");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
