#include <model/models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>

#include <cmath>

namespace {

using namespace protlm;
using namespace protlm::test;
using Cases = Cases<float, double>;
using Exec = Kokkos::DefaultExecutionSpace;
using SixteenBits = std::tuple<bfloat16, half>;

template <class S = float, class E = Exec>
Bert<S, E> made(BertHeads heads = {.pooler = true, .masked = true, .next_sentence = true}) {
    Bert<S, E> model(small_config(), heads);
    model.initialise(3);
    return model;
}

BOOST_AUTO_TEST_SUITE(bert_run)

BOOST_AUTO_TEST_CASE(bad_batches_are_errors_on_the_host) {
    auto const model = made();
    std::vector<std::int32_t> tokens{2, 5, 3, 2, 30, 3}, types(6, 0);
    std::vector<std::int64_t> const offsets{0, 3, 6};
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, types, offsets});
               }) == "Bert: tokens[4] is 30, expected at least 0 and below vocab_size 30");
    tokens[4] = -1;
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, offsets});
               }) == "Bert: tokens[4] is -1, expected at least 0 and below vocab_size 30");
    tokens[4] = 7;
    types[1] = 2;
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, types, offsets});
               }) == "Bert: token_types[1] is 2, expected at least 0 and below type_vocab_size 2");
    model.validate({tokens, {}, offsets});
    std::vector<std::int32_t> const long_one(42 + 40, 5);
    std::vector<std::int64_t> const long_offsets{0, 40, 82};
    BOOST_TEST(message_of([&] {
                   model.validate({long_one, {}, long_offsets});
               }) == "Bert: sequence 1 has 42 tokens, but max_position_embeddings is 40");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(all_hidden_states_on_request, Case, Cases) {
    auto const model = made<typename Case::scalar, typename Case::device>();
    Inference<typename Case::device> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    std::vector<Tensor<typename Case::scalar, typename Case::device>> states;
    auto const last = to_vector(model.encode(context, packed, &states).view());
    BOOST_REQUIRE(states.size() == 4u);
    BOOST_TEST(compare_bits("last", to_vector(states[3].view()), last, 24));
    for (index_t n = 0; n <= 3; ++n)
        BOOST_TEST(compare_bits("hidden_state", to_vector(model.hidden_state(context, packed, n).view()),
                                to_vector(states[static_cast<std::size_t>(n)].view()), 24));
    BOOST_TEST(message_of([&] { model.hidden_state(context, packed, 4); }) ==
               "Bert: hidden_state: layer is 4, expected at least 0 and at most 3");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_of_attention_maps_sum_to_one, Case, Cases) {
    auto const model = made<typename Case::scalar, typename Case::device>();
    Inference<typename Case::device> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    for (index_t layer = 0; layer < 3; ++layer)
        for (index_t sequence = 0; sequence < 4; ++sequence) {
            auto const map = model.attention_map(context, packed, layer, sequence);
            index_t const length = packed.segments.length(sequence);
            BOOST_TEST(map.rows() == 3 * length);
            BOOST_TEST(map.cols() == length);
            auto const values = to_vector(map.view());
            for (std::size_t row = 0; row < values.size(); row += static_cast<std::size_t>(length)) {
                double sum = 0;
                for (std::size_t j = 0; j < static_cast<std::size_t>(length); ++j) {
                    BOOST_TEST(values[row + j] >= 0.0);
                    sum += values[row + j];
                }
                BOOST_TEST(std::abs(sum - 1) < 1e-5);
            }
        }
    BOOST_TEST(message_of([&] { model.attention_map(context, packed, 3, 0); }) ==
               "Bert: attention_map: layer is 3, expected at least 0 and below 3");
    BOOST_TEST(message_of([&] { model.attention_map(context, packed, 0, 4); }) ==
               "attention_probabilities: sequence 4 is not one of 4");
}

BOOST_AUTO_TEST_CASE(portable_kernels_give_the_same_numbers) {
    auto const model = made<double>();
    Example const example;
    Inference<Exec, Kernels::native> native;
    Inference<Exec, Kernels::portable> portable;
    auto const a = to_vector(model.encode(native, make_packed(native, example.view())).view());
    auto const b = to_vector(model.encode(portable, make_packed(portable, example.view())).view());
    BOOST_TEST(compare("hidden states", a, b, {.relative = 1e-11, .absolute = 1e-11}, 24)); // order of sums differs
}

BOOST_AUTO_TEST_CASE(heads_that_are_not_there_are_errors) {
    auto const model = made({.pooler = false, .masked = false, .next_sentence = false});
    Inference<Exec> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    auto const hidden = model.encode(context, packed);
    BOOST_TEST(message_of([&] { model.logits(context, hidden); }) ==
               "Bert: logits: the model has no masked language model head");
    BOOST_TEST(message_of([&] { model.pooled(context, packed, hidden); }) == "Bert: pooled: the model has no pooler");
    BOOST_TEST(message_of([&] { model.next_sentence_logits(context, hidden); }) ==
               "Bert: next_sentence_logits: the model has no next-sentence head");
}

BOOST_AUTO_TEST_CASE(heads_have_the_shapes_of_their_names) {
    auto const model = made();
    Inference<Exec> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    auto const hidden = model.encode(context, packed);
    auto const logits = model.logits(context, hidden);
    BOOST_TEST(logits.rows() == 67);
    BOOST_TEST(logits.cols() == 30);
    auto const pooled = model.pooled(context, packed, hidden);
    BOOST_TEST(pooled.rows() == 4);
    for (double const value : to_vector(pooled.view()))
        BOOST_TEST(std::abs(value) <= 1.0);
    BOOST_TEST(model.next_sentence_logits(context, pooled).cols() == 2);
}

BOOST_AUTO_TEST_CASE(an_empty_sequence_has_no_first_token) {
    auto const model = made();
    Inference<Exec> context;
    std::vector<std::int32_t> const tokens{2, 3};
    for (std::vector<std::int64_t> const offsets : {std::vector<std::int64_t>{0, 2, 2}, {0, 0, 2}}) {
        auto const packed = make_packed(context, PackedView{.tokens = tokens, .offsets = offsets});
        auto const hidden = model.encode(context, packed);
        std::string const number = offsets[1] ? "1" : "0";
        BOOST_TEST(message_of([&] { model.pooled(context, packed, hidden); }) ==
                   "Bert: pooled: sequence " + number + " is empty, so it has no first token");
    }
}

// Weights rounded to 8 and 11 bits: a forward pass of three layers differs by about their rounding.
BOOST_AUTO_TEST_CASE_TEMPLATE(sixteen_bit_weights_are_near_float, S, SixteenBits) {
    auto const model = made<float>();
    auto const small = made<S>();
    Inference<Exec> context;
    Example const example;
    auto const packed = make_packed(context, example.view());
    auto const expected = to_vector(model.encode(context, packed).view());
    auto const actual = to_vector(small.encode(context, packed).view());
    double const unit = std::same_as<S, bfloat16> ? 1.0 / 256 : 1.0 / 2048;
    double const error = max_relative_error(actual, expected);
    BOOST_TEST(error < 8 * unit);
    BOOST_TEST(error > unit / 100); // it is stored in 16 bits
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
