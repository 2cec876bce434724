#pragma once

#include <protlm/embed/nearest.hpp>

#include <map>
#include <string>

namespace protlm::inline v0 {

/// How well positives rank before negatives, for one query or as a mean over many.
struct RetrievalScores {
    double auroc = 0; ///< share of pairs (positive, negative) in the right order; ties count half
    double auprc = 0; ///< average precision; all of a tie come at once
    double hit1 = 0;  ///< whether the first is a positive
    double hit10 = 0; ///< whether one of the first ten is
};

/// Means of many queries.
struct RetrievalResult {
    RetrievalScores by_query; ///< every query counts the same
    RetrievalScores by_group; ///< mean of the groups' means: every group counts the same
    index_t queries = 0;      ///< that have a positive
    index_t groups = 0;       ///< that have such a query
};

/// An answer to a query: its similarity, and whether it is a positive.
struct Answer {
    float similarity;
    bool positive;
};

/// Scores of one query. Of equal similarities the first given comes first, where the order matters (hits).
/// @param answers  at least one positive and one negative, any order @throws Error otherwise
inline RetrievalScores score_answers(std::vector<Answer> answers) {
    std::stable_sort(answers.begin(), answers.end(), [](Answer a, Answer b) { return a.similarity > b.similarity; });
    double positives = 0;
    for (auto const &answer : answers)
        positives += answer.positive;
    double const negatives = double(answers.size()) - positives;
    check(positives > 0 && negatives > 0, "score_answers: ", positives, " positives and ", negatives, " negatives");
    RetrievalScores scores;
    double above = 0, negatives_above = 0; // positives and negatives nearer than the present tie
    for (std::size_t i = 0, end = 0; i < answers.size(); i = end) {
        double here = 0;
        for (; end < answers.size() && answers[end].similarity == answers[i].similarity; ++end) {
            here += answers[end].positive;
            scores.hit1 += end < 1 && answers[end].positive;
            scores.hit10 += end < 10 && answers[end].positive;
        }
        double const others = double(end - i) - here;
        scores.auroc += here * (negatives - negatives_above - others / 2) / (positives * negatives);
        above += here;
        negatives_above += others;
        scores.auprc += here / positives * above / (above + negatives_above);
    }
    scores.hit10 = std::min(scores.hit10, 1.0);
    return scores;
}

namespace detail {

inline RetrievalScores mean_scores(std::vector<RetrievalScores> const &all) {
    RetrievalScores mean;
    for (auto const &one : all) {
        auto const share = 1 / double(all.size());
        mean.auroc += share * one.auroc, mean.auprc += share * one.auprc;
        mean.hit1 += share * one.hit1, mean.hit10 += share * one.hit10;
    }
    return mean;
}

} // namespace detail

/// Asks of every protein whether those of its own group are nearest by cosine, all proteins against all. The protocol
/// of Kabir et al., Bioinformatics Advances 4:vbae119, 2024: at the level of superfamilies, `groups` are these and
/// `left_out` families, of which one's own is neither positive nor negative; at the level of folds, `groups` are folds
/// and `left_out` superfamilies. A protein without a group, or without a positive, is no query; one without a
/// group is a negative for all others.
/// @param values    (P, C) row-major  @param width  C
/// @param groups    (P) "": none  @param left_out  (P), or empty to leave out the query alone
/// @throws Error when sizes disagree or no protein has a positive
inline RetrievalResult evaluate_retrieval(std::vector<float> values, index_t width,
                                          std::vector<std::string> const &groups,
                                          std::vector<std::string> const &left_out) {
    auto const count = values.size() / static_cast<std::size_t>(width);
    check(groups.size() == count && (left_out.empty() || left_out.size() == count), "evaluate_retrieval: ", count,
          " proteins, ", groups.size(), " groups, ", left_out.size(), " labels to leave out");
    normalise_rows(values, width);
    std::vector<std::vector<RetrievalScores>> scores(count); // none, or one
    for_each_query(values, values, width, [&](index_t query, std::span<float const> similarities) {
        auto const q = static_cast<std::size_t>(query);
        std::vector<Answer> answers;
        bool positives = false, negatives = false;
        for (std::size_t i = 0; i < count && !groups[q].empty(); ++i) {
            if (i == q || (!left_out.empty() && !left_out[q].empty() && left_out[i] == left_out[q]))
                continue;
            answers.push_back({similarities[i], groups[i] == groups[q]});
            (answers.back().positive ? positives : negatives) = true;
        }
        if (positives && negatives)
            scores[q].push_back(score_answers(std::move(answers)));
    });
    std::vector<RetrievalScores> queries, means;
    std::map<std::string, std::vector<RetrievalScores>> by_group;
    for (std::size_t q = 0; q < count; ++q)
        for (auto const &one : scores[q]) {
            queries.push_back(one);
            by_group[groups[q]].push_back(one);
        }
    check(!queries.empty(), "evaluate_retrieval: no protein has another one of its group to find");
    for (auto const &[group, all] : by_group)
        means.push_back(detail::mean_scores(all));
    return {detail::mean_scores(queries), detail::mean_scores(means), static_cast<index_t>(queries.size()),
            static_cast<index_t>(means.size())};
}

} // namespace protlm::inline v0
