#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/philox.hpp>
#include <protlm/model/sampling.hpp>

#include <concepts>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// What writes texts token by token. It holds `rows()` texts; `step` appends one token to each and returns the logits
/// (rows, V) of what follows; `reorder(context, rows)` lets text i go on from what was text rows[i], so that texts can
/// end, be copied and change places. T5Decoder is one.
template <class D, class Context>
concept StepDecoder = requires(D decoder, D const constant, Context &context, std::span<std::int32_t const> tokens,
                               std::span<index_t const> rows) {
    { constant.rows() } -> std::convertible_to<index_t>;
    {decoder.step(context, tokens).view()};
    {decoder.reorder(context, rows)};
};

/// In TextStart::tokens: a place that the model fills.
inline constexpr std::int32_t free_token = -1;

/// What one text begins with, and what it must hold.
struct TextStart {
    index_t source = 0; // the decoder's row that it begins from: its protein; ascending from text to text
    /// By place: a token that stands there, or free_token. At least one token comes first, the decoder's start. The end
    /// comes behind these places only.
    std::vector<std::int32_t> tokens = {};
    index_t max_length = 0;   // tokens that may be generated; 0: as GenerationOptions says
    std::uint64_t sample = 0; // keys the random numbers together with `copy`
    std::uint32_t copy = 0;

    /// Number of tokens that are given before the first that the model writes.
    index_t given() const {
        return static_cast<index_t>(std::find(tokens.begin(), tokens.end(), free_token) - tokens.begin());
    }
};

/// What holds for all texts of one call.
struct GenerationOptions {
    std::int32_t end = -1;                    // this token ends a text; -1: none does
    index_t min_length = 0;                   // tokens that are generated before the end may come
    index_t max_length = 512;                 // tokens that are generated at most, the end included
    std::vector<std::int32_t> forbidden = {}; // tokens that are never generated

    /// @param vocab_size  of the model that writes  @throws Error naming the field
    void validate(index_t vocab_size) const {
        check(end >= -1 && end < vocab_size, "GenerationOptions: end is ", end,
              ", expected -1 or a token of the model's ", vocab_size);
        for (std::int32_t const token : forbidden)
            check(token >= 0 && token < vocab_size, "GenerationOptions: forbidden names ", token,
                  ", expected tokens of the model's ", vocab_size);
        check(min_length >= 0, "GenerationOptions: min_length is ", min_length, ", expected at least 0");
        check(max_length >= 1, "GenerationOptions: max_length is ", max_length, ", expected at least 1");
        check(min_length <= max_length, "GenerationOptions: min_length is ", min_length,
              ", but no text is longer than max_length, ", max_length);
    }
};

/// One text with the tokens it began with.
struct GeneratedText {
    std::vector<std::int32_t> tokens = {};
    double score = 0;      // sum of log probabilities of what was generated; beam search: over the length penalty
    bool complete = false; // ends with the end token, not for want of room
};

namespace detail {

/// Host copy of log softmax (logits) in double, row by row.
template <class T>
std::vector<double> log_probabilities(T const &logits) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), logits.view());
    std::vector<double> values(host.data(), host.data() + host.size());
    auto const width = static_cast<std::size_t>(logits.cols());
    for (std::size_t row = 0; row < values.size(); row += width) {
        double top = values[row], sum = 0;
        for (std::size_t j = 0; j < width; ++j)
            top = std::max(top, values[row + j]);
        for (std::size_t j = 0; j < width; ++j)
            sum += std::exp(values[row + j] - top);
        double const normaliser = top + std::log(sum);
        for (std::size_t j = 0; j < width; ++j)
            values[row + j] -= normaliser;
    }
    return values;
}

/// What texts begin with, and the options, against the size of the vocabulary, which the first logits tell: once.
inline void validate_generation(std::span<TextStart const> starts, GenerationOptions const &options,
                                index_t vocab_size, bool &validated) {
    if (std::exchange(validated, true))
        return;
    options.validate(vocab_size);
    for (std::size_t i = 0; i < starts.size(); ++i) {
        for (std::size_t place = 0; place < starts[i].tokens.size(); ++place) {
            std::int32_t const token = starts[i].tokens[place];
            check(token == free_token || (token >= 0 && token < vocab_size), "generate: text ", i, ": tokens[", place,
                  "] is ", token, ", expected a token of the model's ", vocab_size, ", or ", free_token,
                  " where the model writes");
        }
        check(starts[i].max_length >= 0, "generate: text ", i, ": max_length is ", starts[i].max_length,
              ", expected at least 1, or 0 for that of the options");
    }
}

/// Minus infinity for every token that may not be number `place` of a text.
inline void restrict_tokens(std::span<double> log_p, TextStart const &start, GenerationOptions const &options,
                            std::size_t place) {
    double const never = -std::numeric_limits<double>::infinity();
    bool const inside = place < start.tokens.size();
    if (inside && start.tokens[place] != free_token) {
        for (std::size_t token = 0; token < log_p.size(); ++token)
            if (std::cmp_not_equal(token, start.tokens[place]))
                log_p[token] = never;
        return;
    }
    for (std::int32_t const token : options.forbidden)
        log_p[static_cast<std::size_t>(token)] = never;
    if (options.end >= 0 && (inside || std::cmp_less(place, start.given() + options.min_length)))
        log_p[static_cast<std::size_t>(options.end)] = never;
}

/// True when a text of `length` tokens has no room for another.
inline bool is_full(TextStart const &start, GenerationOptions const &options, std::size_t length) {
    index_t const most = start.max_length > 0 ? start.max_length : options.max_length;
    return std::cmp_greater_equal(length, start.given() + most);
}

/// Lets the decoder's rows be the texts' sources. @throws Error when a text cannot begin
template <class Context, class Decoder>
void begin_texts(Context &context, Decoder &decoder, std::span<TextStart const> starts) {
    std::vector<index_t> rows;
    for (std::size_t i = 0; i < starts.size(); ++i) {
        check(starts[i].given() > 0, "generate: text ", i, " has no token to begin with");
        check(i == 0 || starts[i].source >= starts[i - 1].source, "generate: text ", i, " begins from row ",
              starts[i].source, ", below that of the text before it");
        rows.push_back(starts[i].source);
    }
    decoder.reorder(context, rows);
}

/// Texts that grow one token at a time, each by `choose(log probabilities, start, place)`, until all have ended.
template <class Context, class Decoder, class Choose>
std::vector<GeneratedText> write_texts(Context &context, Decoder &decoder, std::span<TextStart const> starts,
                                       GenerationOptions const &options, Choose choose) {
    std::vector<GeneratedText> texts(starts.size());
    std::vector<std::size_t> live;
    bool validated = false;
    begin_texts(context, decoder, starts);
    for (std::size_t i = 0; i < starts.size(); ++i) {
        texts[i].tokens.assign(1, starts[i].tokens.front());
        live.push_back(i);
    }
    while (!live.empty()) {
        std::vector<std::int32_t> last;
        for (std::size_t const i : live)
            last.push_back(texts[i].tokens.back());
        auto const logits = decoder.step(context, std::span<std::int32_t const>(last));
        validate_generation(starts, options, logits.cols(), validated);
        auto values = log_probabilities(logits);
        auto const width = static_cast<std::size_t>(logits.cols());
        std::vector<index_t> kept;
        std::vector<std::size_t> still;
        for (std::size_t row = 0; row < live.size(); ++row) {
            TextStart const &start = starts[live[row]];
            GeneratedText &text = texts[live[row]];
            std::span<double> const log_p(values.data() + row * width, width);
            std::size_t const place = text.tokens.size();
            restrict_tokens(log_p, start, options, place);
            std::int32_t const token = choose(std::span<double const>(log_p), start, place);
            if (std::cmp_greater_equal(place, start.given()))
                text.score += log_p[static_cast<std::size_t>(token)];
            text.tokens.push_back(token);
            text.complete = token == options.end && place + 1 >= start.tokens.size();
            if (!text.complete && !is_full(start, options, text.tokens.size())) {
                kept.push_back(static_cast<index_t>(row));
                still.push_back(live[row]);
            }
        }
        if (kept.size() < live.size())
            decoder.reorder(context, std::span<index_t const>(kept));
        live = std::move(still);
    }
    return texts;
}

} // namespace detail

/// Each text goes on with the most probable token, until the end token or for want of room.
/// @param decoder its rows are the sources; holds nothing of use afterwards
/// @param starts one a text, ordered by source; a source may have several @throws Error when a text cannot begin
template <class Context, class Decoder>
std::vector<GeneratedText> generate_greedy(Context &context, Decoder &decoder, std::span<TextStart const> starts,
                                           GenerationOptions const &options) {
    static_assert(StepDecoder<Decoder, Context>,
                  "generate_greedy: the decoder must offer rows(), step(context, tokens) and reorder(context, rows)");
    return detail::write_texts(
        context, decoder, starts, options,
        [](std::span<double const> log_p, TextStart const &, std::size_t) { return most_probable(log_p); });
}

/// Each text goes on with a token drawn from the model's probabilities: see SamplingOptions. The numbers drawn depend
/// on seed, the text's sample and copy, and the place alone, so a text is the same in every batch.
template <class Context, class Decoder>
std::vector<GeneratedText> generate_samples(Context &context, Decoder &decoder, std::span<TextStart const> starts,
                                            GenerationOptions const &options, SamplingOptions const &sampling) {
    static_assert(StepDecoder<Decoder, Context>,
                  "generate_samples: the decoder must offer rows(), step(context, tokens) and reorder(context, rows)");
    sampling.validate();
    return detail::write_texts(context, decoder, starts, options,
                               [&](std::span<double const> log_p, TextStart const &start, std::size_t place) {
                                   auto const bits = CounterRandom{sampling.seed, Purpose::generate, start.copy}(
                                       start.sample, static_cast<std::uint32_t>(place));
                                   return draw_token(sampling_distribution(log_p, sampling),
                                                     uniform_double(bits[0], bits[1]));
                               });
}

} // namespace protlm::inline v0
