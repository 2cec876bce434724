#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/embed/embedded_batch.hpp>
#include <protlm/embed/embedding_model.hpp>
#include <protlm/embed/plan.hpp>
#include <protlm/embed/pooling.hpp>
#include <protlm/embed/proteins.hpp>

#include <concepts>
#include <optional>
#include <utility>

namespace protlm::inline v0 {

/// How proteins are embedded. None of it but `pooling`, `layers` and `windows` changes a value, not even by one bit.
struct EmbedOptions {
    Pooling pooling = Pooling::mean;
    std::vector<index_t> layers = {}; ///< hidden states behind so many layers, 0: the embedding's; -1: the last, -2 ...
                                      ///< count from the end; none: the last. All in one pass
    bool per_residue = true;          ///< residues beside proteins
    index_t token_budget = 16384;     ///< tokens of a batch; a longer protein is a batch of its own
    std::optional<WindowOptions> windows = WindowOptions{}; ///< for a protein that is too long; none: it is an error
};

/// Embeds proteins with a model: packs them into batches, long ones first, without padding, runs the encoder up to the
/// deepest layer asked for, and pools. A protein's result has the same bits whatever else is embedded with it, in any
/// order, on any number of threads. Of the hidden states only those asked for are kept, a batch at a time.
/// A protein that is longer than the model's positions, or than the windows asked for, is cut into overlapping windows
/// and every residue has one vector, the weighted mean of the windows': see Windows. Its own vector is pooled over
/// those of the residues; of [CLS], each window has one, and the protein has their mean.
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
          shape_(encoder_shape(model.config())), windows_(resolve_windows(options_.windows, shape_, special())),
          context_(std::move(exec)) {
        options_.layers = resolve_layers(options_.layers, shape_.layers);
        check(options_.pooling != Pooling::cls || vocabulary_.cls >= 0,
              "Embedder: pooling is cls, but the vocabulary has no [CLS]");
        check(options_.pooling != Pooling::none || options_.per_residue,
              "Embedder: pooling is none, and no residues are asked for: there is nothing to embed");
    }

    EncoderShape const &shape() const { return shape_; }
    EmbedOptions const &options() const { return options_; } ///< with the layers that negative numbers stand for
    Windows const &windows() const { return windows_; }      ///< of proteins that are too long
    Vocabulary const &vocabulary() const { return vocabulary_; }
    Context &context() { return context_; }
    Context const &context() const { return context_; }
    /// Special tokens around each sequence: a protein or a window.
    index_t special() const { return special_tokens(vocabulary_, 1); }

    /// The proteins that `rank` of `ranks` processes embeds, ascending: see share_proteins.
    std::vector<index_t> share(Proteins const &proteins, index_t rank, index_t ranks) const {
        return share_proteins(proteins.lengths(), shape_, special(), rank, ranks, windows_);
    }

    /// Embeds the proteins `members` of `proteins` and calls `sink(Embedding)` once for each, long ones first.
    /// @throws Error naming a protein that is longer than the model's positions, without windows; before anything is
    /// computed
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
        for (auto const &batch :
             plan_batches(proteins.lengths(), std::move(members), options_.token_budget, special(), windows_))
            if (windows_.cut(proteins.length(batch.front())))
                embed_windows(proteins, batch, sink);
            else
                embed_batch(proteins, batch, sink);
    }

  private:
    using State = Tensor<value_type, Exec>;

    void check_length(Proteins const &proteins, index_t i) const {
        check(windows_.length > 0 || shape_.positions == 0 || proteins.length(i) + special() <= shape_.positions,
              "protein ", proteins.id(i), " has ", proteins.length(i), " residues, but the model has ",
              shape_.positions, " positions, which is ", shape_.positions - special(), " residues and ", special(),
              " special tokens");
    }

    /// Runs the model on sequences and calls `take(slot, segments, state)` for each layer asked for.
    template <class Take>
    void run(Batch const &batch, Take &&take) {
        // one protein's tokens are all of one type, so none is given: XLNet would work to add nothing
        PackedView const view{batch.tokens, {}, batch.offsets};
        model_->validate(view);
        context_.pool().expect_rows(batch.tokens.size());
        auto const packed = make_packed(context_, view);
        auto const &layers = options_.layers;
        auto const listen = [&](index_t layer, State const &state) {
            auto const slot = static_cast<std::size_t>(std::find(layers.begin(), layers.end(), layer) - layers.begin());
            if (slot < layers.size())
                take(slot, packed.segments, state);
        };
        model_->hidden_states(context_, packed, *std::max_element(layers.begin(), layers.end()),
                              StateListener<value_type, Exec>(listen));
    }

    template <class Sink>
    void embed_batch(Proteins const &proteins, std::vector<index_t> const &members, Sink &sink) {
        Batch batch;
        for (index_t const i : members)
            append_sequence(batch, vocabulary_, proteins.tokens(i), std::nullopt, static_cast<std::uint64_t>(i));
        index_t const before = leading_tokens(vocabulary_);
        Embedded result{members, batch.offsets, before, special() - before, {}, {}};
        result.vectors.resize(options_.layers.size());
        result.states.resize(options_.layers.size());
        run(batch, [&](std::size_t slot, Segments<Exec> const &segments, State const &state) {
            if (options_.pooling != Pooling::none)
                result.vectors[slot] = pool(context_, options_.pooling, segments, result.before, result.after, state);
            if (options_.per_residue)
                result.states[slot] = state;
        });
        sink(std::as_const(result));
    }

    /// One window of one member of a batch, and the row of the member's first residue.
    struct Window {
        index_t protein, number, row;
    };

    /// Embeds proteins that are cut into windows, at most token_budget tokens at a time.
    template <class Sink>
    void embed_windows(Proteins const &proteins, std::vector<index_t> const &members, Sink &sink) {
        std::vector<std::int64_t> residues{0}, counts{0}; // where each protein's rows and windows lie
        std::vector<Window> list;
        for (index_t const i : members) {
            for (index_t k = 0; k < windows_.count(proteins.length(i)); ++k)
                list.push_back({i, k, residues.back()});
            residues.push_back(residues.back() + proteins.length(i));
            counts.push_back(std::ssize(list));
        }
        bool const cls = options_.pooling == Pooling::cls, rows = options_.per_residue || !cls;
        Embedded result{members, residues, 0, 0, {}, {}};
        std::vector<State> means, firsts; // of residues; [CLS] of each window
        for (std::size_t slot = 0; slot < options_.layers.size(); ++slot) {
            means.push_back(rows ? context_.template tensor<value_type>(residues.back(), shape_.width) : State());
            firsts.push_back(cls ? context_.template tensor<value_type>(counts.back(), shape_.width) : State());
        }
        auto const at_once = std::max<index_t>(1, options_.token_budget / (windows_.length + special()));
        for (index_t first = 0; first < std::ssize(list); first += at_once)
            run_windows(proteins, list, first, std::min(first + at_once, static_cast<index_t>(list.size())), means,
                        firsts);
        for (std::size_t slot = 0; slot < options_.layers.size(); ++slot) {
            bool const none = options_.pooling == Pooling::none;
            result.vectors.push_back(
                none  ? State()
                : cls ? pool(context_, Pooling::mean, make_segments(context_, counts), 0, 0, firsts[slot])
                      : pool(context_, options_.pooling, make_segments(context_, residues), 0, 0, means[slot]));
            result.states.push_back(options_.per_residue ? means[slot] : State());
        }
        sink(std::as_const(result));
    }

    /// Runs the windows `first` to `last` - 1 and adds them to the proteins' rows.
    void run_windows(Proteins const &proteins, std::vector<Window> const &list, index_t first, index_t last,
                     std::vector<State> const &means, std::vector<State> const &firsts) {
        Batch batch;
        auto const window = [&](index_t at) { return list[static_cast<std::size_t>(at)]; };
        for (index_t at = first; at < last; ++at) {
            auto const [i, k, row] = window(at);
            auto const start = windows_.first(k, proteins.length(i));
            append_sequence(
                batch, vocabulary_,
                proteins.tokens(i).subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(windows_.length)),
                std::nullopt, static_cast<std::uint64_t>(i));
        }
        index_t const before = leading_tokens(vocabulary_), after = special() - before, width = shape_.width;
        run(batch, [&](std::size_t slot, Segments<Exec> const &segments, State const &state) {
            for (index_t at = first; means[slot] && at < last; ++at) {
                auto const [i, k, row] = window(at);
                value_type const *rows = state.view().data() + (segments.host[at - first] + before) * width;
                detail::add_window(
                    context_.exec(), windows_, k, proteins.length(i),
                    Rows<value_type const>{rows, windows_.length, width, width},
                    Rows<value_type>{means[slot].view().data() + row * width, proteins.length(i), width, width});
            }
            if (!firsts[slot])
                return;
            using Space = typename Exec::memory_space;
            auto const pooled = pool(context_, Pooling::cls, segments, before, after, state);
            copy_values<Space, Space>(context_.exec(), firsts[slot].view().data() + first * width,
                                      static_cast<value_type const *>(pooled.view().data()), (last - first) * width);
        });
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
            Embedding const result{batch.members[b],  vector_places, residue_places,
                                   batch.residues(b), width,         windows_.count(batch.residues(b))};
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
    Windows windows_;
    Context context_;
    std::vector<std::vector<value_type>> host_vectors_, host_states_; // [slot], stay between batches
};

} // namespace protlm::inline v0
