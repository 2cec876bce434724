#pragma once

#include <protlm/io/json.hpp>
#include <protlm/ops/activation.hpp>

#include <string>
#include <utility>

namespace protlm::inline v0 {

/// Activation by Hugging Face's name. @throws Error naming `field` for a name that is none
inline Activation activation_from_name(std::string const &name, std::string const &field) {
    for (auto const &[known, activation] : {std::pair{"gelu", Activation::gelu},
                                            {"gelu_python", Activation::gelu},
                                            {"gelu_new", Activation::gelu_tanh},
                                            {"gelu_fast", Activation::gelu_tanh},
                                            {"gelu_accurate", Activation::gelu_tanh},
                                            {"gelu_pytorch_tanh", Activation::gelu_tanh},
                                            {"relu", Activation::relu},
                                            {"silu", Activation::silu},
                                            {"swish", Activation::silu}})
        if (name == known)
            return activation;
    fail(field, ": is \"", name, "\", expected \"gelu\", \"gelu_new\", \"relu\" or \"silu\"");
}

namespace detail {

/// What a config may say at most; published models stay far below. Checked before anything is made of the numbers.
inline constexpr index_t most_layers = 10'000, most_width = index_t(1) << 20, most_rows = index_t(1) << 24;

/// @throws Error unless `value` is at least 1 and at most `most`
inline void check_count(std::string const &name, char const *field, index_t value, index_t most) {
    check(value >= 1, name, ": ", field, ": is ", value, ", expected at least 1");
    check(value <= most, name, ": ", field, ": is ", value, ", expected at most ", most);
}

/// @throws Error unless `value` is at least 0 and below 1
inline void check_probability(std::string const &name, char const *field, double value) {
    check(value >= 0 && value < 1, name, ": ", field, ": is ", value, ", expected at least 0 and below 1");
}

/// Fields of transformers that change what a model computes, and that no model here follows.
/// @throws Error naming the field and its value
inline void refuse_unsupported(Fields const &fields) {
    for (auto const &[field, effect] : {std::pair{"is_decoder", "a token would see those before it only"},
                                        {"add_cross_attention", "layers would see another model's states"}})
        check(!fields.optional(field, false), fields.name(), ": ", field, ": is true, expected false: ", effect);
    auto const pruned = fields.object("pruned_heads");
    check(pruned.json().empty(), fields.name(), ": pruned_heads: is ", pruned.json().dump(),
          ", expected none: every layer has all its heads");
}

/// An integer field of at least 1 that transformers also takes under another name.
/// @throws Error also when both are there and differ
inline index_t extent_field(Fields const &fields, char const *name, char const *other, index_t fallback) {
    auto const positive = at_least<index_t>(1);
    auto const second = fields.maybe<index_t>(other, positive);
    auto const value = fields.optional<index_t>(name, second.value_or(fallback), positive);
    check(!second || *second == value, fields.name(), ": ", name, " is ", value, ", but ", other, " is ",
          second.value_or(value), ", which is another name of it");
    return value;
}

} // namespace detail

} // namespace protlm::inline v0
