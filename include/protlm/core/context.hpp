#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/philox.hpp>
#include <protlm/core/tape.hpp>
#include <protlm/core/tensor.hpp>

#include <array>
#include <map>
#include <memory>
#include <typeindex>

namespace protlm::inline v0 {

/// Which kernels the ops take: `native`, the fastest of the execution space (on hosts, packed panels and vector
/// units), or `portable`, the Kokkos kernels that every device can run. Tests run both.
enum class Kernels { native, portable };

/// What inference and training share: where kernels run and where their memory comes from.
template <ExecutionSpace Exec, Kernels kernels>
class BasicContext {
  public:
    using execution_space = Exec;
    using Pool = MemoryPool<typename Exec::memory_space>;
    /// True when the ops take their host specialisations.
    static constexpr bool on_host = is_host_space<Exec> && kernels == Kernels::native;

    explicit BasicContext(Exec exec = Exec(), Pool pool = Pool()) : exec_(std::move(exec)), pool_(std::move(pool)) {}

    Exec const &exec() const { return exec_; }
    Pool &pool() { return pool_; }

    /// Scratch of `size` elements with undefined contents.
    template <class T>
    Buffer<T, Exec> buffer(index_t size) {
        return Buffer<T, Exec>(pool_, size);
    }
    /// A device copy of host values.
    template <class T, class Range>
    Buffer<T, Exec> upload(Range const &values) {
        Buffer<T, Exec> copy(pool_, static_cast<index_t>(values.size()));
        copy_from_host(exec_, copy.view(), values.data());
        return copy;
    }

    /// A library handle of type T that lives as long as the context and its copies; made on first use.
    template <class T>
    T &library() {
        auto &slot = libraries_[std::type_index(typeid(T))];
        if (!slot)
            slot = std::make_shared<T>(exec_);
        return *static_cast<T *>(slot.get());
    }

  private:
    Exec exec_;
    Pool pool_;
    std::map<std::type_index, std::shared_ptr<void>> libraries_;
};

/// Context of a forward pass only: no tape, nothing is saved, dropout does not exist.
template <ExecutionSpace Exec, Kernels kernels = Kernels::native>
class Inference : public BasicContext<Exec, kernels> {
  public:
    using BasicContext<Exec, kernels>::BasicContext;
    static constexpr bool training = false;

    /// Output of an op: (rows, cols), undefined contents.
    template <class T>
    Tensor<T, Exec> tensor(index_t rows, index_t cols) {
        return Tensor<T, Exec>(this->pool(), rows, cols, false);
    }
};

/// Random numbers of dropout are a function of seed, epoch, the op's number in the pass, and each row's protein and
/// position, so they are the same on any number of ranks. Empty buffers: a row's number stands for both.
template <class Exec>
struct DropoutKeys {
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
    Buffer<std::uint64_t, Exec> sample;  // (T)
    Buffer<std::int32_t, Exec> position; // (T)
};

/// Context of a forward pass that can be followed by its backward: ops put their backward on the tape.
template <ExecutionSpace Exec, Kernels kernels = Kernels::native>
class Training : public BasicContext<Exec, kernels> {
  public:
    using BasicContext<Exec, kernels>::BasicContext;
    static constexpr bool training = true;

    template <class T>
    Tensor<T, Exec> tensor(index_t rows, index_t cols) {
        return Tensor<T, Exec>(this->pool(), rows, cols, true);
    }

    Tape &tape() { return tape_; }

    /// Puts the keys of the next pass in force and numbers its ops from zero.
    void set_dropout(DropoutKeys<Exec> keys) {
        dropout_ = std::move(keys);
        op_ = 0;
    }
    DropoutKeys<Exec> const &dropout() const { return dropout_; }
    /// Other rows for the ops that follow; the numbering goes on. Returns the keys that were in force.
    DropoutKeys<Exec> exchange_dropout(DropoutKeys<Exec> keys) { return std::exchange(dropout_, std::move(keys)); }
    /// The number of the next op that draws random numbers.
    std::uint32_t next_op() { return op_++; }
    std::uint32_t op() const { return op_; }
    void set_op(std::uint32_t op) { op_ = op; }

    /// Runs the tape backward from `loss` (1, 1), whose gradient is `seed`; parameter gradients accumulate.
    /// `listener` hears each parameter whose gradient is complete.
    /// @throws Error when there is nothing to run: a second backward of one loss, or a loss of another context
    template <class T>
    void backward(Tensor<T, Exec> const &loss, double seed = 1.0, Tape::Listener const &listener = {}) {
        check(!tape_.empty(), "backward: the tape is empty: it has run already, or the loss is of another context");
        loss.accumulate();
        auto const gradient = static_cast<T>(seed);
        copy_from_host(this->exec(), loss.gradient_view(), &gradient);
        tape_.run(listener);
    }

  private:
    Tape tape_;
    DropoutKeys<Exec> dropout_;
    std::uint32_t op_ = 0;
};

/// While it lives, dropout is keyed by these rows: each forward names the samples and positions of its own rows, since
/// a decoder or a query stream has others than the encoder. Does nothing in inference.
template <class Context>
class DropoutScope {
  public:
    using Exec = typename Context::execution_space;
    /// @param samples, positions (rows of the activations); empty: the keys in force stay
    DropoutScope(Context &context, Buffer<std::uint64_t, Exec> samples, Buffer<std::int32_t, Exec> positions)
        : context_(&context) {
        if constexpr (Context::training) {
            changed_ = samples.size() > 0;
            if (changed_)
                outer_ = context.exchange_dropout(
                    {context.dropout().seed, context.dropout().epoch, std::move(samples), std::move(positions)});
        }
    }
    /// The rows of a packed batch, see PackedTokens.
    template <class Packed>
    DropoutScope(Context &context, Packed const &packed) : DropoutScope(context, packed.samples, packed.positions) {}
    DropoutScope(DropoutScope const &) = delete;
    DropoutScope &operator=(DropoutScope const &) = delete;
    ~DropoutScope() {
        if constexpr (Context::training)
            if (changed_)
                context_->exchange_dropout(std::move(outer_));
    }

  private:
    Context *context_;
    DropoutKeys<Exec> outer_;
    bool changed_ = false;
};

namespace detail {

/// The finished gradients of `from` become those of `to`: of one tensor, or of each of several.
template <class T, class Exec>
void take_gradients(Tensor<T, Exec> const &to, Tensor<T, Exec> const &from) {
    to.take_gradient(from);
}
template <class T, class Exec, std::size_t n>
void take_gradients(std::array<Tensor<T, Exec>, n> const &to, std::array<Tensor<T, Exec>, n> const &from) {
    for (std::size_t i = 0; i < n; ++i)
        to[i].take_gradient(from[i]);
}

} // namespace detail

/// Runs `f(context, x)` and keeps only `x`: the backward runs `f` once more to have its activations again.
/// Costs one more forward of `f`, saves all that it would keep. Chen et al., arXiv 1604.06174.
/// @param x a tensor, or what else `f` takes; tensors that `f` captures have their gradients, too
/// @returns f's result: a tensor or an array of tensors
template <class Context, class F, class X>
auto recompute(Context &context, F f, X x) {
    if constexpr (!Context::training) {
        return f(context, x);
    } else {
        std::uint32_t const first_op = context.op();
        Tape outer = std::exchange(context.tape(), Tape());
        auto const y = f(context, x);
        std::vector<ParameterId> const parameters = context.tape().parameters();
        context.tape() = std::move(outer);
        context.tape().record(
            [&context, f, x, y, first_op, keys = context.dropout()] {
                Tape rest = std::exchange(context.tape(), Tape());
                std::uint32_t const op = context.op();
                auto in_force = context.exchange_dropout(keys);
                context.set_op(first_op);
                auto const again = f(context, x);
                detail::take_gradients(again, y);
                context.tape().run();
                context.set_op(op);
                context.exchange_dropout(std::move(in_force));
                context.tape() = std::move(rest);
            },
            parameters);
        return y;
    }
}

} // namespace protlm::inline v0
