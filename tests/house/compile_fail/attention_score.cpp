// expect: attention: the score must offer kernel() and parameters()

#include <protlm/ops/attention.hpp>

using namespace protlm;
using Exec = Kokkos::DefaultHostExecutionSpace;

struct JustAScale {
    float scale() const { return 1; }
};

void use(Inference<Exec> &context, Tensor<float, Exec> const &x, Segments<Exec> const &s) {
    attention(context, Columns{x, 0}, Columns{x, 0}, Columns{x, 0}, s, s, 1, 4, JustAScale{}, FullMask{});
}
