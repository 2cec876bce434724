#include "support.hpp"

#include <protlm/ops/linear.hpp>

namespace protlm::test {
namespace {

BOOST_AUTO_TEST_SUITE(linear_kernels)

using Storage = DefaultOpCases<float, double, bfloat16, half>;

struct Shape {
    index_t t, k, n;
};

constexpr Activation activations[] = {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::relu};

std::string describe(Shape s, Activation f) {
    return "T " + std::to_string(s.t) + ", K " + std::to_string(s.k) + ", N " + std::to_string(s.n) + ", activation " +
           std::to_string(static_cast<int>(f));
}

std::vector<Argument> arguments_of(Shape s) {
    return {argument(Role::tensor, s.t, s.k, 1), argument(Role::weight, s.n, s.k, 2),
            argument(Role::weight, 1, s.n, 3)};
}

// Blocks are 12 or 6 rows, 32 or 16 columns, 192 rows a task, 512 of depth: shapes on both sides of each.
BOOST_AUTO_TEST_CASE_TEMPLATE(all_kernels_agree, Case, Storage) {
    for (Shape s : {Shape{1, 1, 1}, Shape{1, 300, 7}, Shape{13, 33, 65}, Shape{193, 31, 64}, Shape{50, 513, 33},
                    Shape{7, 1100, 17}, Shape{300, 64, 30}, Shape{3, 5, 700}})
        for (Activation f : activations)
            check_agreement<Case>(describe(s, f), arguments_of(s), [f](auto &context, auto const &o) {
                return linear(context, o.tensor(0), o.weight(1), o.weight(2), f);
            });
}

BOOST_AUTO_TEST_CASE_TEMPLATE(all_kernels_agree_with_residual, Case, Storage) {
    for (Shape s : {Shape{5, 3, 1}, Shape{29, 70, 45}, Shape{200, 600, 64}}) {
        auto arguments = arguments_of(s);
        arguments.push_back(argument(Role::tensor, s.t, s.n, 4));
        check_agreement<Case>(describe(s, Activation::none), arguments, [](auto &context, auto const &o) {
            return linear(context, o.tensor(0), o.weight(1), o.weight(2), Activation::none, o.tensor(3));
        });
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace protlm::test
