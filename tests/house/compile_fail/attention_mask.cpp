// expect: attention: the mask must offer kernel() and everything

#include <protlm/ops/attention.hpp>

using namespace protlm;
using Exec = Kokkos::DefaultHostExecutionSpace;

struct HalfAMask { // says what it hides, but not where nothing is seen
    using Kernel = HalfAMask;
    static constexpr bool everything = false, interval = false;
    HalfAMask kernel() const { return {}; }
    bool operator()(AttentionPlace const &, index_t, index_t) const { return true; }
};

void use(Inference<Exec> &context, Tensor<float, Exec> const &x, Segments<Exec> const &s) {
    attention(context, Columns{x, 0}, Columns{x, 0}, Columns{x, 0}, s, s, 1, 4, ScaledDot<float>{1}, HalfAMask{});
}
