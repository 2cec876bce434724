#include <model/t5_models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double>;
using Exec = Kokkos::DefaultExecutionSpace;

/// Rows of sequence b.
std::vector<double> part(std::vector<double> const &values, std::vector<std::int64_t> const &offsets, std::size_t b) {
    auto const width = static_cast<std::int64_t>(values.size()) / offsets.back();
    return {values.begin() + offsets[b] * width, values.begin() + offsets[b + 1] * width};
}

/// Sequence b of an example by itself.
Example alone(Example const &whole, std::size_t b) {
    Example one{std::vector<index_t>{}};
    one.tokens.assign(whole.tokens.begin() + whole.offsets[b], whole.tokens.begin() + whole.offsets[b + 1]);
    one.offsets = {0, whole.offsets[b + 1] - whole.offsets[b]};
    one.types.clear();
    return one;
}

template <class Model, class Context>
std::vector<double> logits_of(Model const &model, Context &context, Example const &source, Example const &target) {
    auto const from = make_packed(context, source.view());
    auto const to = make_packed(context, target.view());
    auto const hidden = model.decode(context, to, model.encode(context, from), from.segments);
    return to_vector(model.logits(context, hidden).view());
}

std::vector<T5Config> variants() {
    auto gated = small_t5();
    gated.feed_forward_proj = "gated-gelu";
    gated.tie_word_embeddings = false;
    return {small_t5(), gated};
}

BOOST_AUTO_TEST_SUITE(t5_run)

BOOST_AUTO_TEST_CASE(bad_tokens_are_errors_on_the_host) {
    auto const model = made_t5();
    std::vector<std::int32_t> const tokens{2, 5, 30};
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, {}, {}});
               }) == "T5: tokens[2] is 30, expected at least 0 and below vocab_size 30");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(all_hidden_states_on_request, Case, Cases) {
    auto const model = made_t5<typename Case::scalar, typename Case::device>();
    Inference<typename Case::device> context;
    T5Example const example;
    auto const source = make_packed(context, example.source.view());
    std::vector<Tensor<typename Case::scalar, typename Case::device>> states;
    auto const encoded = model.encode(context, source, &states);
    BOOST_REQUIRE(states.size() == 3u);
    for (index_t n = 0; n <= 2; ++n)
        BOOST_TEST(compare_bits("hidden_state", to_vector(model.hidden_state(context, source, n).view()),
                                to_vector(states[static_cast<std::size_t>(n)].view()), 24));
    BOOST_TEST(compare_bits("last", to_vector(states[2].view()), to_vector(encoded.view()), 24));
    BOOST_TEST(message_of([&] { model.hidden_state(context, source, 3); }) ==
               "T5: hidden_state: layer is 3, expected at least 0 and at most 2");
    auto const target = make_packed(context, example.target.view());
    auto const decoded = model.decode(context, target, encoded, source.segments, &states);
    BOOST_REQUIRE(states.size() == 4u);
    BOOST_TEST(compare_bits("last", to_vector(states[3].view()), to_vector(decoded.view()), 24));
    auto const logits = model.logits(context, decoded);
    BOOST_TEST(logits.rows() == 62);
    BOOST_TEST(logits.cols() == 30);
}

// Nothing leaks between proteins, in either stack or across: a pair's bits do not depend on what else is there.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_protein_has_the_same_bits_in_every_batch, Case, Cases) {
    for (auto const &config : variants()) {
        auto const model = made_t5<typename Case::scalar, typename Case::device>(config);
        Inference<typename Case::device> context;
        T5Example const example;
        auto const all = logits_of(model, context, example.source, example.target);
        for (std::size_t b = 0; b < 4; ++b)
            BOOST_TEST(compare_bits("logits",
                                    logits_of(model, context, alone(example.source, b), alone(example.target, b)),
                                    part(all, example.target.offsets, b), 30));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_later_token_changes_no_earlier_logit, Case, Cases) {
    auto const model = made_t5<typename Case::scalar, typename Case::device>();
    Inference<typename Case::device> context;
    T5Example const example;
    auto const before = logits_of(model, context, example.source, example.target);
    for (index_t const at : {3, 9, 33, 61}) { // one in each sequence
        auto changed = example;
        auto const t = static_cast<std::size_t>(at);
        changed.target.tokens[t] = (changed.target.tokens[t] + 11) % 30;
        auto const after = logits_of(model, context, changed.source, changed.target);
        auto const end = *std::upper_bound(example.target.offsets.begin(), example.target.offsets.end(), at);
        for (index_t row = 0; row < 62; ++row) {
            bool const same =
                std::equal(before.begin() + row * 30, before.begin() + row * 30 + 30, after.begin() + row * 30);
            BOOST_TEST(same == (row < at || row >= end), "token " << at << ", row " << row);
        }
    }
}

BOOST_AUTO_TEST_CASE(a_protein_changes_the_logits_of_its_own_target_only) {
    auto const model = made_t5<double>();
    Inference<Exec> context;
    T5Example const example;
    auto const before = logits_of(model, context, example.source, example.target);
    for (std::size_t b = 0; b < 4; ++b) {
        auto changed = example;
        auto const t = static_cast<std::size_t>(example.source.offsets[b]);
        changed.source.tokens[t] = (changed.source.tokens[t] + 7) % 30;
        auto const after = logits_of(model, context, changed.source, changed.target);
        for (std::size_t c = 0; c < 4; ++c) {
            auto const x = part(before, example.target.offsets, c), y = part(after, example.target.offsets, c);
            if (b == c)
                for (std::size_t row = 0; row < x.size(); row += 30) // every row attends to the protein
                    BOOST_TEST(!std::equal(x.begin() + row, x.begin() + row + 30, y.begin() + row));
            else
                BOOST_TEST(compare_bits("another protein's logits", y, x, 30));
        }
    }
}

BOOST_AUTO_TEST_CASE(portable_kernels_give_the_same_numbers) {
    for (auto const &config : variants()) {
        auto const model = made_t5<double>(config);
        T5Example const example;
        Inference<Exec, Kernels::native> native;
        Inference<Exec, Kernels::portable> portable;
        BOOST_TEST(compare("logits", logits_of(model, native, example.source, example.target),
                           logits_of(model, portable, example.source, example.target),
                           {.relative = 1e-10, .absolute = 1e-10}, 30)); // order of sums differs
    }
}

BOOST_AUTO_TEST_CASE(rows_of_attention_maps_sum_to_one) {
    auto const model = made_t5<double>();
    Inference<Exec> context;
    T5Example const example;
    auto const source = make_packed(context, example.source.view());
    for (index_t layer = 0; layer < 2; ++layer) {
        auto const map = model.attention_map(context, source, layer, 2);
        BOOST_TEST(map.rows() == 3 * 40);
        BOOST_TEST(map.cols() == 40);
        auto const values = to_vector(map.view());
        for (std::size_t row = 0; row < values.size(); row += 40) {
            double sum = 0;
            for (std::size_t j = 0; j < 40; ++j)
                sum += values[row + j];
            BOOST_TEST(std::abs(sum - 1) < 1e-12);
        }
    }
    BOOST_TEST(message_of([&] { model.attention_map(context, source, 2, 0); }) ==
               "T5: attention_map: layer is 2, expected at least 0 and below 2");
}

// Positions are relative: a protein of any length runs; offsets past the distance share a bucket.
BOOST_AUTO_TEST_CASE(sixteen_bit_weights_and_long_proteins_run) {
    auto const wide = made_t5<float>();
    auto const narrow = made_t5<bfloat16>();
    Inference<Exec> context;
    Example const source({300}), target({120});
    auto const expected = logits_of(wide, context, source, target);
    double const error = max_relative_error(logits_of(narrow, context, source, target), expected);
    BOOST_TEST(error < 0.2); // weights of 8 bits through five blocks without normalised residuals
    BOOST_TEST(error > 1e-4);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
