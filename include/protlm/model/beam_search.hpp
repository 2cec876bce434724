#pragma once

#include <protlm/core/floating_point.hpp>
#include <protlm/model/generation.hpp>

namespace protlm::inline v0 {

/// When a beam search ends once it has as many finished texts as beams: at once; when the best open text, as long as
/// it is now, scores no better than the worst of them; or when it could not at any length that is left.
enum class EarlyStopping { at_once, when_worse_now, when_never_better };

/// Beam search as Hugging Face's BeamSearchScorer (4.35.2) defines it.
struct BeamOptions {
    index_t beams = 4;
    double length_penalty = 1.0; // scores are divided by length^penalty; the length counts given tokens, but no end
    EarlyStopping stopping = EarlyStopping::when_worse_now;
    index_t results = 1; // texts returned of each search, best first; at most as many as beams

    /// @throws Error naming the option
    void validate() const {
        check(beams >= 1, "BeamOptions: beams is ", beams, ", expected at least 1");
        check(results >= 1 && results <= beams, "BeamOptions: results is ", results, ", expected 1 to beams ", beams);
        check(is_finite(length_penalty), "BeamOptions: length_penalty is ", length_penalty, ", expected a number");
    }
};

namespace detail {

/// The best finished texts of one search, at most as many as beams.
class FinishedTexts {
  public:
    explicit FinishedTexts(BeamOptions const &options) : options_(options) {}

    void add(std::vector<std::int32_t> tokens, double sum, bool complete) {
        double const score = penalised(sum, tokens.size());
        if (std::cmp_greater_equal(texts_.size(), options_.beams) && score <= worst())
            return;
        auto const after = std::find_if(texts_.begin(), texts_.end(), [&](auto const &t) { return t.score <= score; });
        texts_.insert(after, {std::move(tokens), score, complete});
        if (std::cmp_greater(texts_.size(), options_.beams))
            texts_.pop_back();
    }

    /// True when no open text can displace one of these any more. @param best sum of the best open text
    /// @param length of open texts after this step @param longest that a text may become
    bool settled(double best, std::size_t length, std::size_t longest) const {
        if (std::cmp_less(texts_.size(), options_.beams))
            return false;
        if (options_.stopping == EarlyStopping::at_once)
            return true;
        bool const reach = options_.stopping == EarlyStopping::when_never_better && options_.length_penalty > 0;
        return worst() >= penalised(best, reach ? longest : length);
    }

    /// Best first.
    std::vector<GeneratedText> take(std::int32_t end) {
        texts_.resize(std::min(texts_.size(), static_cast<std::size_t>(options_.results)));
        for (auto &text : texts_)
            if (text.complete)
                text.tokens.push_back(end);
        return std::move(texts_);
    }

  private:
    double worst() const { return texts_.back().score; }
    double penalised(double sum, std::size_t length) const {
        return sum / std::pow(static_cast<double>(length), options_.length_penalty);
    }
    BeamOptions options_;
    std::vector<GeneratedText> texts_; // without the end token, best first
};

/// One search: its open texts, which are neighbouring rows of the decoder.
struct BeamSearch {
    struct Beam {
        std::vector<std::int32_t> tokens;
        double sum = 0;  // of log probabilities
        index_t row = 0; // of the decoder that it goes on from
    };
    TextStart const *start;
    FinishedTexts finished;
    std::vector<Beam> beams;
    bool done = false;

    struct Candidate {
        double sum;
        std::size_t beam;
        std::int32_t token;
    };

    /// The best continuations of all beams, best first. @param values (rows of this search, V)
    std::vector<Candidate> candidates(std::span<double> values, std::size_t width, GenerationOptions const &options,
                                      index_t count) const {
        std::vector<Candidate> all;
        for (std::size_t b = 0; b < beams.size(); ++b) {
            auto const log_p = values.subspan(b * width, width);
            std::size_t const place = beams[b].tokens.size();
            restrict_tokens(log_p, *start, options, place);
            bool const given = std::cmp_less(place, start->given()); // every text has it: no part of the score
            for (std::size_t token = 0; token < width; ++token)
                if (log_p[token] > -std::numeric_limits<double>::infinity())
                    all.push_back(
                        {given ? beams[b].sum : beams[b].sum + log_p[token], b, static_cast<std::int32_t>(token)});
        }
        auto const kept = static_cast<std::ptrdiff_t>(std::min(all.size(), static_cast<std::size_t>(count)));
        std::partial_sort(all.begin(), all.begin() + kept, all.end(), [](auto const &a, auto const &b) {
            return a.sum != b.sum ? a.sum > b.sum : a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
        });
        all.resize(static_cast<std::size_t>(kept));
        return all;
    }

    /// One token more. @param values log probabilities (rows of this search, V) @param first row of this search
    void advance(std::span<double> values, std::size_t width, index_t first, GenerationOptions const &options,
                 BeamOptions const &search) {
        auto const best = candidates(values, width, options, 2 * search.beams);
        check(!best.empty(), "beam_search: no token is allowed");
        std::size_t const length = beams.front().tokens.size() + 1;
        std::vector<Beam> next;
        for (std::size_t rank = 0; rank < best.size() && std::cmp_less(next.size(), search.beams); ++rank) {
            auto const &[sum, beam, token] = best[rank];
            if (token == options.end && length >= start->tokens.size()) {
                if (std::cmp_less(rank, search.beams)) // else it is none of the best
                    finished.add(beams[beam].tokens, sum, true);
                continue;
            }
            next.push_back({beams[beam].tokens, sum, first + static_cast<index_t>(beam)});
            next.back().tokens.push_back(token);
        }
        index_t const most = start->max_length > 0 ? start->max_length : options.max_length;
        done =
            next.empty() || finished.settled(best.front().sum, length, static_cast<std::size_t>(start->given() + most));
        if (!done && is_full(*start, options, length)) {
            done = true;
            for (auto const &beam : next)
                finished.add(beam.tokens, beam.sum, false);
        }
        beams = std::move(next);
        if (done)
            beams.clear();
    }
};

} // namespace detail

/// The texts of largest score that a search with `beams` open texts finds for each start. With one beam and
/// EarlyStopping::at_once it is `generate_greedy`.
/// @param decoder its rows are the sources; holds nothing of use afterwards
/// @returns for each start its `results` best texts (fewer where fewer were found), best first
/// @throws Error when a text cannot begin
template <class Context, class Decoder>
std::vector<std::vector<GeneratedText>> beam_search(Context &context, Decoder &decoder,
                                                    std::span<TextStart const> starts, GenerationOptions const &options,
                                                    BeamOptions const &search) {
    static_assert(StepDecoder<Decoder, Context>,
                  "beam_search: the decoder must offer rows(), step(context, tokens) and reorder(context, rows)");
    search.validate();
    detail::begin_texts(context, decoder, starts);
    std::vector<detail::BeamSearch> searches;
    bool validated = false;
    for (TextStart const &start : starts)
        searches.push_back({&start, detail::FinishedTexts(search), {{{start.tokens.front()}, 0.0, 0}}, false});
    for (;;) {
        std::vector<std::int32_t> last;
        for (auto const &one : searches)
            for (auto const &beam : one.beams)
                last.push_back(beam.tokens.back());
        if (last.empty())
            break;
        auto const logits = decoder.step(context, std::span<std::int32_t const>(last));
        detail::validate_generation(starts, options, logits.cols(), validated);
        auto values = detail::log_probabilities(logits);
        auto const width = static_cast<std::size_t>(logits.cols());
        std::vector<index_t> rows;
        std::size_t first = 0;
        for (auto &one : searches) {
            std::size_t const count = one.beams.size();
            if (count == 0)
                continue;
            one.advance(std::span(values).subspan(first * width, count * width), width, static_cast<index_t>(first),
                        options, search);
            for (auto const &beam : one.beams)
                rows.push_back(beam.row);
            first += count;
        }
        decoder.reorder(context, std::span<index_t const>(rows));
    }
    std::vector<std::vector<GeneratedText>> results;
    for (auto &one : searches)
        results.push_back(one.finished.take(options.end));
    return results;
}

} // namespace protlm::inline v0
