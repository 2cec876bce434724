#pragma once

#include <protlm/model/bert.hpp>
#include <support/message_of.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace protlm::test {

inline BertConfig small_config() {
    BertConfig config;
    config.hidden_size = 24;
    config.num_hidden_layers = 3;
    config.num_attention_heads = 3;
    config.intermediate_size = 40;
    config.max_position_embeddings = 40;
    config.initializer_range = 0.2; // far from zero, so that differences show
    return config;
}

/// Four sequences with token types and labels, by chance but always the same.
struct Example {
    std::vector<std::int32_t> tokens, types, labels;
    std::vector<std::int64_t> offsets{0};
    std::vector<index_t> rows; // that have a label

    explicit Example(std::vector<index_t> const &lengths = {17, 1, 40, 9}) {
        CounterRandom const random{5, Purpose::sample};
        for (std::size_t b = 0; b < lengths.size(); ++b) {
            for (index_t t = 0; t < lengths[b]; ++t) {
                auto const bits = random(b, static_cast<std::uint32_t>(t));
                if (bits[1] % 4 == 0 || rows.empty()) {
                    rows.push_back(static_cast<index_t>(tokens.size()));
                    labels.push_back(static_cast<std::int32_t>(uniform_below(bits[2], 30)));
                }
                tokens.push_back(static_cast<std::int32_t>(uniform_below(bits[0], 30)));
                types.push_back(2 * t >= lengths[b]);
            }
            offsets.push_back(static_cast<std::int64_t>(tokens.size()));
        }
    }
    PackedView view() const { return {tokens, types, offsets}; }
};

/// Values of a device matrix or array on the host, as double.
template <class View>
std::vector<double> to_vector(View const &view) {
    auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), view);
    std::vector<double> values;
    for (std::size_t i = 0; i < host.size(); ++i)
        values.push_back(static_cast<double>(host.data()[i]));
    return values;
}

/// Loss of the masked language model for an example.
template <class Model, class Context>
auto example_loss(Model const &model, Context &context, Example const &example) {
    auto const packed = make_packed(context, example.view());
    return model.token_loss(
        context, gather_rows(context, model.encode(context, packed), context.template upload<index_t>(example.rows)),
        context.template upload<std::int32_t>(example.labels));
}

/// Saves a model with prefixes before all names, and expects that loading leaves them out and says so.
template <class Model>
void check_prefixes(Model const &model) {
    for (std::string const prefix : {"module.", "_orig_mod.", "model.", "base_model.model.", "wrapped.module."}) {
        TemporaryFolder const folder;
        model.save(folder.path());
        auto entries = model.parameters().table().entries();
        for (auto &entry : entries)
            entry.name.insert(0, prefix);
        save_weights(model.parameters(), entries, folder / "model.safetensors");
        auto const again = Model::load(folder.path()), encoder = Model::load_encoder(folder.path());
        BOOST_TEST((to_vector(again.parameters().values()) == to_vector(model.parameters().values())), prefix);
        BOOST_TEST(again.parameters().notes().size() == 1u);
        BOOST_TEST(encoder.parameters().notes().size() == 1u);
    }
}

} // namespace protlm::test
