#pragma once

#include <protlm/core/copy.hpp>
#include <protlm/core/segments.hpp>
#include <protlm/model/bert_config.hpp>
#include <protlm/model/encoder_config.hpp>
#include <protlm/model/weights.hpp>

#include <algorithm>
#include <filesystem>
#include <string>

namespace protlm::inline v0 {

/// Extents of a model's embedding tables.
inline EmbeddingExtents embedding_extents(BertConfig const &c) {
    return {c.vocab_size, c.max_position_embeddings, c.type_vocab_size, c.hidden_size};
}
inline EmbeddingExtents embedding_extents(EncoderConfig const &c) { return c.embedding_extents(); }

/// A generator, which fills masked tokens, and a discriminator, which learns to tell them from the true ones, in one
/// table of parameters: names begin with "generator." and "discriminator.". Word, position and token type embeddings
/// are one tensor for both where their extents agree; it then has the discriminator's name, and the gradients of both
/// add up in it. Clark et al., arXiv 2003.10555, section 3.1.
/// @tparam G, D Electra, Albert or Bert, in any combination
template <class G, class D>
class GeneratorDiscriminator {
  public:
    static_assert(std::same_as<typename G::scalar_type, typename D::scalar_type> &&
                      std::same_as<typename G::execution_space, typename D::execution_space>,
                  "GeneratorDiscriminator: generator and discriminator must have the same scalar and space");
    using scalar_type = typename D::scalar_type;
    using execution_space = typename D::execution_space;
    using Params = Parameters<scalar_type, execution_space>;
    using GeneratorConfig = std::remove_cvref_t<decltype(std::declval<G>().config())>;
    using DiscriminatorConfig = std::remove_cvref_t<decltype(std::declval<D>().config())>;
    using GeneratorHeads = std::remove_cvref_t<decltype(std::declval<G>().heads())>;
    using DiscriminatorHeads = std::remove_cvref_t<decltype(std::declval<D>().heads())>;

    /// All weights zero: call `initialise` or `load` next. The generator has its masked language model head, the
    /// discriminator its detection head.
    /// @throws Error naming the field of a config that cannot be, or when the vocabularies differ
    GeneratorDiscriminator(GeneratorConfig generator, DiscriminatorConfig discriminator)
        : GeneratorDiscriminator(std::move(generator), generator_heads(), std::move(discriminator),
                                 discriminator_heads()) {}

    /// With these heads. @throws Error as above, or when one has not the head that it needs
    GeneratorDiscriminator(GeneratorConfig generator, GeneratorHeads gh, DiscriminatorConfig discriminator,
                           DiscriminatorHeads dh)
        : GeneratorDiscriminator(make_parts(std::move(generator), gh, std::move(discriminator), dh)) {}

    /// The models in folder/generator/ and folder/discriminator/, as `save` or transformers wrote them, or in the
    /// newest checkpoint of the run in `folder`. Of shared embeddings the discriminator's count. @throws Error naming
    /// the file and what is wrong with it
    static GeneratorDiscriminator load(std::filesystem::path const &path) {
        std::error_code ignored;
        bool const is_run = !std::filesystem::exists(path / "discriminator", ignored) &&
                            !std::filesystem::exists(path / "config.json", ignored);
        auto const folder = !is_run ? path : find_model(path).parent_path();
        G const g = G::load(folder / "generator");
        D const d = D::load(folder / "discriminator");
        check(g.heads().masked, (folder / "generator").string(), ": has no masked language model head");
        check(d.heads().detection, (folder / "discriminator").string(), ": has no detection head");
        GeneratorDiscriminator pair(g.config(), g.heads(), d.config(), d.heads());
        pair.take(g.parameters(), "generator.");
        pair.take(d.parameters(), "discriminator.");
        if (auto const changed = pair.first_changed(g.parameters(), "generator."); !changed.empty())
            pair.parameters_.note(folder.string() + ": " + changed +
                                  " of the generator has other values than the discriminator's, which both share now");
        for (auto const *notes : {&g.parameters().notes(), &d.parameters().notes()})
            for (auto const &note : *notes)
                pair.parameters_.note(note);
        return pair;
    }
    /// Copies the weights of another pair of the same tensors, whose configuration may differ in what has no tensor.
    /// @param name  of the other one, for messages  @throws Error naming a tensor that differs
    void take_weights(GeneratorDiscriminator const &other, std::string const &name) {
        auto const &mine = parameters_.table().entries(), &theirs = other.parameters_.table().entries();
        for (std::size_t i = 0; i < std::max(mine.size(), theirs.size()); ++i)
            check(i < mine.size() && i < theirs.size() && mine[i].name == theirs[i].name &&
                      mine[i].shape == theirs[i].shape,
                  name, ": ", i < theirs.size() ? theirs[i].name : mine[i].name,
                  ": the model to be trained has no tensor of this name and shape, or has one more");
        copy_values(execution_space(), parameters_.values(), other.parameters_.values());
        for (auto const &note : other.parameters_.notes())
            parameters_.note(note);
    }
    /// Writes folder/generator/ and folder/discriminator/, each with all that its model needs. @throws Error
    void save(std::filesystem::path const &folder, DataType type = DataType::f32) const {
        save_part(generator_, "generator", folder, type);
        save_part(discriminator_, "discriminator", folder, type);
    }

    /// Draws the weights of both.
    void initialise(std::uint64_t seed) { parameters_.initialise(seed); }

    G const &generator() const { return generator_; }
    D const &discriminator() const { return discriminator_; }
    /// True when both use the same embeddings.
    bool shared() const { return shared_; }
    Params &parameters() { return parameters_; }
    Params const &parameters() const { return parameters_; }

    /// Runs layers again in the backward instead of keeping their activations.
    void set_recompute(bool wanted) {
        generator_.set_recompute(wanted);
        discriminator_.set_recompute(wanted);
    }

    /// Checks tokens, types and lengths on the host. @throws Error naming sequence, position and the limit
    void validate(PackedView batch) const {
        generator_.validate(batch);
        discriminator_.validate(batch);
    }

  private:
    using GeneratorIds =
        decltype(add_tensors(std::declval<ParameterTable &>(), std::declval<GeneratorConfig>(), GeneratorHeads{}));
    using DiscriminatorIds = decltype(add_tensors(std::declval<ParameterTable &>(), std::declval<DiscriminatorConfig>(),
                                                  DiscriminatorHeads{}));
    struct Parts {
        GeneratorConfig generator;
        GeneratorHeads generator_heads;
        GeneratorIds generator_ids;
        DiscriminatorConfig discriminator;
        DiscriminatorHeads discriminator_heads;
        DiscriminatorIds discriminator_ids;
        bool shared;
        Params parameters;
    };

    explicit GeneratorDiscriminator(Parts parts)
        : parameters_(parts.parameters), shared_(parts.shared),
          generator_(std::move(parts.generator), parts.generator_heads, parts.parameters,
                     std::move(parts.generator_ids)),
          discriminator_(std::move(parts.discriminator), parts.discriminator_heads, parts.parameters,
                         std::move(parts.discriminator_ids)) {}

    static GeneratorHeads generator_heads() {
        GeneratorHeads heads{};
        heads.masked = true;
        return heads;
    }
    static DiscriminatorHeads discriminator_heads() {
        DiscriminatorHeads heads{};
        heads.masked = false;
        heads.detection = true;
        return heads;
    }

    static Parts make_parts(GeneratorConfig generator, GeneratorHeads gh, DiscriminatorConfig discriminator,
                            DiscriminatorHeads dh) {
        check(gh.masked, "GeneratorDiscriminator: the generator has no masked language model head");
        check(dh.detection, "GeneratorDiscriminator: the discriminator has no detection head");
        auto const g = embedding_extents(generator), d = embedding_extents(discriminator);
        check(g.words == d.words, "GeneratorDiscriminator: vocab_size: is ", g.words, " in the generator, but ",
              d.words, " in the discriminator");
        bool const shared = g.width == d.width && g.positions == d.positions && g.token_types == d.token_types;
        ParameterTable table;
        auto discriminator_ids = add_tensors(table, discriminator, dh, "discriminator.");
        EmbeddingIds const embeddings = shared ? discriminator_ids.embeddings : EmbeddingIds{};
        auto generator_ids = add_tensors(table, generator, gh, "generator.", embeddings);
        if (shared) { // a generator's checkpoint has them under its own names
            ParameterTable own;
            EmbeddingIds const names = add_tensors(own, generator, gh).embeddings;
            table.alias(embeddings.word, "generator." + own[names.word].name);
            table.alias(embeddings.position, "generator." + own[names.position].name);
            table.alias(embeddings.token_type, "generator." + own[names.token_type].name);
        }
        return {std::move(generator),         gh,     std::move(generator_ids), std::move(discriminator), dh,
                std::move(discriminator_ids), shared, Params(std::move(table))};
    }

    /// Copies all tensors of a model of its own into this table.
    /// The first tensor of `from` whose values are not those taken from it, because another was taken to their place.
    std::string first_changed(Params const &from, std::string const &prefix) const {
        auto const &entries = from.table().entries();
        auto const part = part_of_table(parameters_.table(), from.table(), {prefix});
        for (std::size_t i = 0; shared_ && i < part.size(); ++i) {
            auto const size = static_cast<std::size_t>(part[i].size());
            std::vector<scalar_type> mine(size), theirs(size);
            using Values = VectorView<scalar_type const, execution_space>;
            copy_to_host(execution_space(), mine.data(), Values(parameters_.values().data() + part[i].offset, size));
            copy_to_host(execution_space(), theirs.data(), Values(from.values().data() + entries[i].offset, size));
            if (mine != theirs)
                return part[i].name;
        }
        return {};
    }
    void take(Params const &from, std::string const &prefix) {
        auto const &entries = from.table().entries();
        auto const part = part_of_table(parameters_.table(), from.table(), {prefix});
        for (std::size_t i = 0; i < part.size(); ++i) {
            auto const size = static_cast<std::size_t>(part[i].size());
            copy_values(execution_space(),
                        VectorView<scalar_type, execution_space>(parameters_.values().data() + part[i].offset, size),
                        VectorView<scalar_type const, execution_space>(from.values().data() + entries[i].offset, size));
        }
    }

    template <class Model>
    void save_part(Model const &model, std::string const &name, std::filesystem::path const &folder,
                   DataType type) const {
        ParameterTable own;
        add_tensors(own, model.config(), model.heads());
        auto const part = part_of_table(parameters_.table(), own, {name + '.'});
        std::filesystem::create_directories(folder / name);
        if constexpr (requires { to_json(model.config(), model.heads()); })
            write_json(folder / name / "config.json", to_json(model.config(), model.heads()));
        else
            write_json(folder / name / "config.json", to_json(model.config()));
        save_weights(parameters_, part, folder / name / "model.safetensors", type);
    }

    Params parameters_;
    bool shared_ = false;
    G generator_;
    D discriminator_;
};

} // namespace protlm::inline v0
