#pragma once

#include <protlm/core/tape.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// What the trainer asks of whatever adds up gradients over ranks.
template <class X>
concept Exchange = requires(X exchange, X const &constant, std::vector<ParameterId> const &pending, ParameterId id,
                            std::span<double> numbers, std::string_view what, std::uint64_t fingerprint) {
    { constant.rank() } -> std::convertible_to<int>;
    { constant.size() } -> std::convertible_to<int>;
    exchange.begin(pending);
    exchange.ready(id);
    exchange.finish();
    exchange.sum(numbers);
    exchange.require_agreement(what, fingerprint);
};

/// Training in one process: nothing to exchange. The same interface as GradientExchange of <protlm/distributed.hpp>.
struct NoExchange {
    int rank() const { return 0; }
    int size() const { return 1; }
    void begin(std::vector<ParameterId> const &) {}
    void ready(ParameterId) {}
    void finish() {}
    void sum(std::span<double>) {}
    void require_agreement(std::string_view, std::uint64_t) {}
};

} // namespace protlm::inline v0
