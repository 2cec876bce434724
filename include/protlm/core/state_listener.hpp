#pragma once

#include <protlm/core/tensor.hpp>

#include <functional>
#include <utility>
#include <vector>

namespace protlm::inline v0 {

/// Hears a forward pass's hidden states one after the other, behind 0, 1, ... layers: keeps all of them in a vector,
/// or hands each to a function that takes what it wants, so that no others stay in memory.
template <class A, class Exec>
class StateListener {
  public:
    using State = Tensor<A, Exec>; // (T, C)
    using Function = std::function<void(index_t, State const &)>;

    StateListener() = default; ///< hears nothing
    /// @param all  receives every state, the embedding's output first; none where it is null
    StateListener(std::vector<State> *all) : all_(all) {}
    /// @param function  called as function(layers, state)
    StateListener(Function function) : function_(std::move(function)) {}

    void operator()(index_t layers, State const &state) const {
        if (all_ && layers == 0)
            all_->clear();
        if (all_)
            all_->push_back(state);
        if (function_)
            function_(layers, state);
    }

  private:
    std::vector<State> *all_ = nullptr;
    Function function_;
};

} // namespace protlm::inline v0
