#pragma once

#include <model/models.hpp>
#include <protlm/model/xlnet.hpp>

namespace protlm::test {

inline XlnetConfig small_xlnet() {
    XlnetConfig config;
    config.d_model = 24;
    config.n_layer = 3;
    config.n_head = 3;
    config.d_head = 8;
    config.d_inner = 40;
    config.initializer_range = 0.2; // far from zero, so that differences show
    return config;
}

template <class S = float, class E = Kokkos::DefaultExecutionSpace>
Xlnet<S, E> made_xlnet(XlnetConfig const &config = small_xlnet(), std::uint64_t seed = 3) {
    Xlnet<S, E> model(config);
    model.initialise(seed);
    return model;
}

/// Sequences with token types, targets and an order of prediction, by chance but always the same: a third of the tokens
/// are in the order, two thirds of these are targets, the rest is context that all see.
struct Permutation {
    std::vector<std::int32_t> tokens, types, rank, is_target, labels;
    std::vector<std::int64_t> offsets{0};
    std::vector<std::uint64_t> samples;
    bool typed = false;

    explicit Permutation(std::vector<index_t> const &lengths = {17, 2, 40, 9}) {
        CounterRandom const random{6, Purpose::sample};
        for (std::size_t b = 0; b < lengths.size(); ++b) {
            for (index_t t = 0; t < lengths[b]; ++t) {
                auto const bits = random(b, static_cast<std::uint32_t>(t));
                tokens.push_back(static_cast<std::int32_t>(uniform_below(bits[0], 37)));
                types.push_back(3 * t >= lengths[b]);
                bool const ordered = bits[1] % 3 == 0 || t == 1;
                // ranks in an order without meaning; two tokens may share one, and then do not see each other
                rank.push_back(ordered ? static_cast<std::int32_t>(bits[2] % 50) : -1);
                is_target.push_back(ordered && (bits[3] % 3 != 0 || t == 1));
                if (is_target.back())
                    labels.push_back(tokens.back());
            }
            offsets.push_back(static_cast<std::int64_t>(tokens.size()));
            samples.push_back(70 + b);
        }
    }
    PackedView view() const { return {tokens, typed ? types : std::span<std::int32_t const>(), offsets, samples}; }

    /// One of the sequences by itself.
    Permutation part(std::size_t b) const {
        Permutation one{std::vector<index_t>{}};
        auto const cut = [&](auto const &all) {
            using All = std::remove_cvref_t<decltype(all)>;
            return All(all.begin() + offsets[b], all.begin() + offsets[b + 1]);
        };
        one.tokens = cut(tokens), one.types = cut(types), one.rank = cut(rank), one.is_target = cut(is_target);
        for (std::size_t t = 0; t < one.tokens.size(); ++t)
            if (one.is_target[t])
                one.labels.push_back(one.tokens[t]);
        one.offsets.push_back(static_cast<std::int64_t>(one.tokens.size()));
        one.samples = {samples[b]};
        one.typed = typed;
        return one;
    }
};

/// Both streams' hidden states.
template <class Model, class Context>
auto two_stream(Model const &model, Context &context, Permutation const &example) {
    return model.two_stream(context, make_packed(context, example.view()),
                            make_two_stream_order(context, example.rank, example.is_target, example.offsets));
}

/// The content stream's hidden states.
template <class Model, class Context>
std::vector<double> encoded(Model const &model, Context &context, Permutation const &example) {
    return to_vector(model.encode(context, make_packed(context, example.view())).view());
}

/// The same behind a memory.
template <class Model, class Context>
std::vector<double> encoded_after(Model const &model, Context &context, typename Model::Memory &memory,
                                  Permutation const &example) {
    return to_vector(model.encode(context, make_packed(context, example.view()), memory).view());
}

/// Loss of the targets.
template <class Model, class Context>
auto permutation_loss(Model const &model, Context &context, Permutation const &example) {
    return model.token_loss(context, two_stream(model, context, example).query,
                            context.template upload<std::int32_t>(example.labels));
}

} // namespace protlm::test
