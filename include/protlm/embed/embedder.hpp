#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/embed/embedded_batch.hpp>
#include <protlm/embed/embedding_model.hpp>
#include <protlm/embed/plan.hpp>
#include <protlm/embed/pooling.hpp>
#include <protlm/embed/proteins.hpp>

#include <concepts>
#include <utility>

namespace protlm::inline v0 {

/// How proteins are embedded. None of it but `pooling` and `layers` changes a value, not even by one bit.
struct EmbedOptions {
    Pooling pooling = Pooling::mean;
    std::vector<index_t> layers = {}; ///< hidden states behind so many layers, 0: the embedding's; -1: the last, -2 ...
                                      ///< count from the end; none: the last. All in one pass
    bool per_residue = true;          ///< residues beside proteins
    index_t token_budget = 16384;     ///< tokens of a batch; a longer protein is a batch of its own
};

/// Embeds proteins with a model: packs them into batches, long ones first, without padding, runs the encoder up to the
/// deepest layer asked for, and pools. A protein's result has the same bits whatever else is embedded with it, in any
/// order, on any number of threads. Of the hidden states only those asked for are kept, a batch at a time.
/// @tparam Model see EmbeddingModel
template <class Model>
class Embedder {
    static_assert(TypedModel<Model>, "Embedder: the model must have the types scalar_type and execution_space");
    static_assert(ShapedModel<Model>, "Embedder: a function encoder_shape(config) must exist for the model's config()");
    static_assert(ValidatingModel<Model>, "Embedder: the model must offer validate(PackedView) const");
    static_assert(EncodingModel<Model>,
                  "Embedder: the model must offer hidden_states(context, batch, layer, listener) const");

  public:
    using Exec = typename Model::execution_space;
    using value_type = accumulate_t<typename Model::scalar_type>;
    using Embedding = ProteinEmbedding<value_type>;
    using Embedded = EmbeddedBatch<value_type, Exec>;
    using Context = Inference<Exec>;

    /// @param model  must outlive this object
    /// @throws Error when a layer does not exist, nothing is asked for, or [CLS] is to be pooled and the vocabulary has
    /// none
    Embedder(Model const &model, Vocabulary vocabulary, EmbedOptions options = {}, Exec exec = Exec())
        : model_(&model), vocabulary_(std::move(vocabulary)), options_(std::move(options)),
          shape_(encoder_shape(model.config())), context_(std::move(exec)) {
        options_.layers = resolve_layers(options_.layers, shape_.layers);
        check(options_.pooling != Pooling::cls || vocabulary_.cls >= 0,
              "Embedder: pooling is cls, but the vocabulary has no [CLS]");
        check(options_.pooling != Pooling::none || options_.per_residue,
              "Embedder: pooling is none, and no residues are asked for: there is nothing to embed");
    }

    EncoderShape const &shape() const { return shape_; }
    EmbedOptions const &options() const { return options_; } ///< with the layers that negative numbers stand for
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
        batches(proteins, std::move(members), [&](Embedded const &batch) { hand_out(batch, sink); });
    }
    template <class Sink>
    void operator()(Proteins const &proteins, Sink &&sink) {
        (*this)(proteins, proteins.all(), std::forward<Sink>(sink));
    }
    /// The same under a name, for functions that take any encoder.
    template <class Sink>
    void embed(Proteins const &proteins, std::vector<index_t> members, Sink &&sink) {
        (*this)(proteins, std::move(members), std::forward<Sink>(sink));
    }

    /// The same, but results stay where the model runs, a batch at a time: calls `sink(EmbeddedBatch)` for each, behind
    /// which work in the same execution space may follow without waiting.
    template <class Sink>
    void batches(Proteins const &proteins, std::vector<index_t> members, Sink &&sink) {
        static_assert(std::invocable<Sink &, Embedded const &>, "Embedder: the sink must take an EmbeddedBatch");
        for (index_t const i : members)
            check_length(proteins, i);
        for (auto const &batch : plan_batches(proteins.lengths(), std::move(members), options_.token_budget, special()))
            embed_batch(proteins, batch, sink);
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
        // one protein's tokens are all of one type, so none is given: XLNet would work to add nothing
        PackedView const view{batch.tokens, {}, batch.offsets};
        model_->validate(view);
        auto const packed = make_packed(context_, view);
        index_t const before = leading_tokens(vocabulary_);
        auto const &layers = options_.layers;
        Embedded result{members, batch.offsets, before, special() - before, {}, {}};
        result.vectors.resize(layers.size());
        result.states.resize(layers.size());
        auto const take = [&](index_t layer, Tensor<value_type, Exec> const &state) {
            auto const slot = static_cast<std::size_t>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
            if (slot == layers.size())
                return;
            if (options_.pooling != Pooling::none)
                result.vectors[slot] =
                    pool(context_, options_.pooling, packed.segments, result.before, result.after, state);
            if (options_.per_residue)
                result.states[slot] = state;
        };
        model_->hidden_states(context_, packed, *std::max_element(layers.begin(), layers.end()),
                              StateListener<value_type, Exec>(take));
        sink(std::as_const(result));
    }

    template <class Sink>
    void hand_out(Embedded const &batch, Sink &sink) {
        std::size_t const slots = options_.layers.size();
        host_vectors_.resize(slots);
        host_states_.resize(slots);
        std::vector<value_type const *> vectors, states, vector_places(slots), residue_places(slots);
        for (std::size_t s = 0; s < slots; ++s) {
            vectors.push_back(on_host(batch.vectors[s], host_vectors_[s]));
            states.push_back(on_host(batch.states[s], host_states_[s]));
        }
        context_.exec().fence();
        index_t const width = shape_.width;
        for (std::size_t b = 0; b < batch.members.size(); ++b) {
            for (std::size_t s = 0; s < slots; ++s) {
                vector_places[s] = vectors[s] ? vectors[s] + static_cast<index_t>(b) * width : nullptr;
                residue_places[s] = states[s] ? states[s] + batch.first_residue(b) * width : nullptr;
            }
            Embedding const result{batch.members[b], vector_places, residue_places, batch.residues(b), width};
            sink(result);
        }
    }

    /// The tensor's values where the host can read them: themselves, or a copy in `buffer`; null for no tensor.
    value_type const *on_host(Tensor<value_type, Exec> const &tensor, std::vector<value_type> &buffer) {
        if (!tensor)
            return nullptr;
        if constexpr (is_host_space<Exec>)
            return tensor.view().data();
        buffer.resize(tensor.view().size());
        copy_values<Kokkos::HostSpace, typename Exec::memory_space>(
            context_.exec(), buffer.data(), static_cast<value_type const *>(tensor.view().data()),
            static_cast<index_t>(buffer.size()));
        return buffer.data();
    }

    Model const *model_;
    Vocabulary vocabulary_;
    EmbedOptions options_;
    EncoderShape shape_;
    Context context_;
    std::vector<std::vector<value_type>> host_vectors_, host_states_; // [slot], stay between batches
};

} // namespace protlm::inline v0
