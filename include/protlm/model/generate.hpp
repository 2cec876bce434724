#pragma once

#include <protlm/model/beam_search.hpp>

#include <string_view>

namespace protlm::inline v0 {

/// How a text is continued.
enum class GenerationMethod { greedy, beam, sample };

/// Method by name: "greedy", "beam" or "sample". @throws Error for another name
inline GenerationMethod generation_method(std::string_view name) {
    if (name == "greedy")
        return GenerationMethod::greedy;
    if (name == "beam")
        return GenerationMethod::beam;
    check(name == "sample", "generation_method: \"", name, "\", expected greedy, beam or sample");
    return GenerationMethod::sample;
}

/// Everything that a program can be told about generation. `for_each` lists it with its help, so each is said once.
struct GenerationPlan {
    GenerationMethod method = GenerationMethod::greedy;
    index_t number = 1; // texts for each start; one is all that greedy has
    GenerationOptions options = {};
    SamplingOptions sampling = {};
    BeamOptions beam = {}; // its `results` is `number`

    /// Calls `f(name, field, help)` for every option but the method; `plan` may be constant.
    template <class Plan, class F>
    static void for_each(Plan &plan, F &&f) {
        f("number", plan.number, "proteins for each input; beam: at most as many as beams, greedy: 1");
        f("min_length", plan.options.min_length, "tokens to write at least");
        f("max_length", plan.options.max_length, "tokens to write at most");
        f("seed", plan.sampling.seed, "sample: another number gives other proteins");
        f("temperature", plan.sampling.temperature, "sample: below 1 surer, above 1 more varied, 0 like greedy");
        f("top_k", plan.sampling.top_k, "sample: only the k most probable residues; 0: all");
        f("top_p", plan.sampling.top_p, "sample: only the most probable residues that reach this sum");
        f("beams", plan.beam.beams, "beam: unfinished proteins that are kept");
        f("length_penalty", plan.beam.length_penalty, "beam: scores are divided by length to this power");
    }
};

/// `number` texts for each start, by the plan's method: copies 0, 1, ... when sampling, the best when searching.
/// @param decoder its rows are the sources; holds nothing of use afterwards @param starts ordered by source
/// @returns the texts of each start @throws Error when an option or a start cannot be
template <class Context, class Decoder>
std::vector<std::vector<GeneratedText>> generate(Context &context, Decoder &decoder, std::span<TextStart const> starts,
                                                 GenerationPlan const &plan) {
    check(plan.number >= 1, "generate: number is ", plan.number, ", expected at least 1");
    if (plan.method == GenerationMethod::beam) {
        auto search = plan.beam;
        search.results = plan.number;
        return beam_search(context, decoder, starts, plan.options, search);
    }
    bool const drawn = plan.method == GenerationMethod::sample;
    auto const copies = static_cast<std::uint32_t>(drawn ? plan.number : 1);
    std::vector<TextStart> all;
    for (TextStart const &start : starts)
        for (std::uint32_t copy = 0; copy < copies; ++copy) {
            all.push_back(start);
            all.back().copy = start.copy + copy;
        }
    std::span<TextStart const> const every(all);
    auto texts = drawn ? generate_samples(context, decoder, every, plan.options, plan.sampling)
                       : generate_greedy(context, decoder, every, plan.options);
    std::vector<std::vector<GeneratedText>> grouped(starts.size());
    for (std::size_t i = 0; i < texts.size(); ++i)
        grouped[i / copies].push_back(std::move(texts[i]));
    return grouped;
}

} // namespace protlm::inline v0
