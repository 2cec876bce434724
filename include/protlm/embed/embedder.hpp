#pragma once

#include <protlm/data/batch.hpp>
#include <protlm/embed/embedding_model.hpp>
#include <protlm/embed/plan.hpp>
#include <protlm/embed/pooling.hpp>
#include <protlm/embed/proteins.hpp>

#include <concepts>
#include <utility>

namespace protlm::inline v0 {

/// How proteins are embedded. None of it but `pooling` and `layer` changes a value, not even by one bit.
struct EmbedOptions {
    Pooling pooling = Pooling::mean;
    index_t layer = -1;           ///< hidden states behind this many layers, 0: the embedding layer; -1: the last
    bool per_residue = true;      ///< residues beside proteins
    index_t token_budget = 16384; ///< tokens of a batch; a longer protein is a batch of its own
};

/// The embedding of one protein, as Embedder hands it out; the spans are valid during that call.
template <class A>
struct ProteinEmbedding {
    index_t protein;             ///< its number in the input
    std::span<A const> vector;   ///< (C), host
    std::span<A const> residues; ///< (L, C) row-major, host, without special tokens; empty unless asked for
};

/// Embeds proteins with a model: packs them into batches, long ones first, without padding, runs the encoder and pools.
/// A protein's result has the same bits whatever else is embedded with it, in any order, on any number of threads.
/// @tparam Model see EmbeddingModel
template <class Model>
class Embedder {
    static_assert(TypedModel<Model>, "Embedder: the model must have the types scalar_type and execution_space");
    static_assert(ShapedModel<Model>, "Embedder: a function encoder_shape(config) must exist for the model's config()");
    static_assert(ValidatingModel<Model>, "Embedder: the model must offer validate(PackedView) const");
    static_assert(EncodingModel<Model>,
                  "Embedder: the model must offer hidden_state(context, batch, layer) const, a tensor (T, C)");

  public:
    using Exec = typename Model::execution_space;
    using value_type = accumulate_t<typename Model::scalar_type>;
    using Embedding = ProteinEmbedding<value_type>;
    using Context = Inference<Exec>;

    /// @param model  must outlive this object
    /// @throws Error when the layer does not exist, or [CLS] is to be pooled and the vocabulary has none
    Embedder(Model const &model, Vocabulary vocabulary, EmbedOptions options = {}, Exec exec = Exec())
        : model_(&model), vocabulary_(std::move(vocabulary)), options_(options), shape_(encoder_shape(model.config())),
          context_(std::move(exec)) {
        if (options_.layer < 0)
            options_.layer = shape_.layers;
        check(options_.layer <= shape_.layers, "Embedder: layer is ", options_.layer, ", but the model has ",
              shape_.layers);
        check(options_.pooling != Pooling::cls || vocabulary_.cls >= 0,
              "Embedder: pooling is cls, but the vocabulary has no [CLS]");
    }

    EncoderShape const &shape() const { return shape_; }
    EmbedOptions const &options() const { return options_; } ///< with the layer that "last" stands for
    Vocabulary const &vocabulary() const { return vocabulary_; }
    Context &context() { return context_; }
    Context const &context() const { return context_; }
    /// Special tokens around each protein.
    index_t special() const { return special_tokens(vocabulary_, 1); }

    /// The proteins that `rank` of `ranks` processes embeds, ascending: see share_proteins.
    std::vector<index_t> share(Proteins const &proteins, index_t rank, index_t ranks) const {
        return share_proteins(proteins.lengths(), shape_, special(), rank, ranks);
    }

    /// Embeds the proteins `members` of `proteins` and calls `sink(Embedding)` once for each, long ones first.
    /// @throws Error naming a protein that is longer than the model's positions; before anything is computed
    template <class Sink>
    void operator()(Proteins const &proteins, std::vector<index_t> members, Sink &&sink) {
        static_assert(std::invocable<Sink &, Embedding const &>, "Embedder: the sink must take an Embedding");
        for (index_t const i : members)
            check_length(proteins, i);
        for (auto const &batch : plan_batches(proteins.lengths(), std::move(members), options_.token_budget, special()))
            embed_batch(proteins, batch, sink);
    }
    template <class Sink>
    void operator()(Proteins const &proteins, Sink &&sink) {
        (*this)(proteins, proteins.all(), std::forward<Sink>(sink));
    }

  private:
    void check_length(Proteins const &proteins, index_t i) const {
        check(shape_.positions == 0 || proteins.length(i) + special() <= shape_.positions, "protein ", proteins.id(i),
              " has ", proteins.length(i), " residues, but the model has ", shape_.positions, " positions, which is ",
              shape_.positions - special(), " residues and ", special(), " special tokens");
    }

    template <class Sink>
    void embed_batch(Proteins const &proteins, std::vector<index_t> const &members, Sink &sink) {
        Batch batch;
        for (index_t const i : members)
            append_sequence(batch, vocabulary_, proteins.tokens(i), std::nullopt, static_cast<std::uint64_t>(i));
        PackedView const view{batch.tokens, batch.token_types, batch.offsets};
        model_->validate(view);
        auto const packed = make_packed(context_, view);
        auto const hidden = model_->hidden_state(context_, packed, options_.layer);
        index_t const before = leading_tokens(vocabulary_), width = hidden.cols();
        auto const pooled = pool(context_, options_.pooling, packed.segments, before, special() - before, hidden);
        value_type const *const vectors = on_host(pooled, host_vectors_);
        value_type const *const states = options_.per_residue ? on_host(hidden, host_states_) : nullptr;
        for (std::size_t b = 0; b < members.size(); ++b) {
            auto const first = static_cast<index_t>(b) * width;
            Embedding result{members[b], {vectors + first, static_cast<std::size_t>(width)}, {}};
            if (states)
                result.residues = {states + (batch.offsets[b] + before) * width,
                                   static_cast<std::size_t>(proteins.length(members[b]) * width)};
            sink(std::as_const(result));
        }
    }

    /// The tensor's values where the host can read them: themselves, or a copy in `buffer`.
    value_type const *on_host(Tensor<value_type, Exec> const &tensor, std::vector<value_type> &buffer) {
        if constexpr (!is_host_space<Exec>) {
            buffer.resize(tensor.view().size());
            Kokkos::View<value_type **, Kokkos::LayoutRight, Kokkos::HostSpace,
                         Kokkos::MemoryTraits<Kokkos::Unmanaged>> const copy(buffer.data(), tensor.view().extent(0),
                                                                             tensor.view().extent(1));
            Kokkos::deep_copy(context_.exec(), copy, tensor.view());
        }
        context_.exec().fence();
        return is_host_space<Exec> ? tensor.view().data() : buffer.data();
    }

    Model const *model_;
    Vocabulary vocabulary_;
    EmbedOptions options_;
    EncoderShape shape_;
    Context context_;
    std::vector<value_type> host_vectors_, host_states_; // stay between batches
};

} // namespace protlm::inline v0
