// What ALBERT and ELECTRA have in common: config, checkpoints, batches, heads, gradients.

#include <model/electra_models.hpp>
#include <support/compare.hpp>
#include <support/devices.hpp>
#include <support/jacobian.hpp>
#include <support/temporary_folder.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

struct AlbertFamily {
    static constexpr char const *type = "albert", *model_name = "Albert", *config_name = "AlbertConfig";
    using Config = AlbertConfig;
    using Heads = AlbertHeads;
    template <class S>
    using Model = Albert<S, Exec>;
    static Config read(Fields const &fields) { return albert_config(fields); }
    static Heads all() { return {.pooler = true, .masked = true, .sentence_order = true, .detection = true}; }
    static Config config() {
        auto config = small_factored_config<AlbertConfig>();
        config.num_hidden_groups = 2;
        config.inner_group_num = 2;
        return config;
    }
};

struct ElectraFamily {
    static constexpr char const *type = "electra", *model_name = "Electra", *config_name = "ElectraConfig";
    using Config = ElectraConfig;
    using Heads = ElectraHeads;
    template <class S>
    using Model = Electra<S, Exec>;
    static Config read(Fields const &fields) { return electra_config(fields); }
    static Heads all() { return {.masked = true, .detection = true}; }
    static Config config() { return small_factored_config<ElectraConfig>(); }
};

using Families = std::tuple<AlbertFamily, ElectraFamily>;

template <class Family, class S = float>
auto made() {
    typename Family::template Model<S> model(Family::config(), Family::all());
    model.initialise(3);
    return model;
}

BOOST_AUTO_TEST_SUITE(factored_models)

BOOST_AUTO_TEST_CASE_TEMPLATE(what_is_written_is_read_back, Family, Families) {
    auto c = Family::config();
    c.hidden_act = "gelu_new";
    c.hidden_dropout_prob = 0.25;
    c.type_vocab_size = 3;
    c.layer_norm_eps = 1e-6;
    auto const json = to_json(c);
    BOOST_TEST(to_json(Family::read(Fields(nlohmann::json(json), "config.json"))).dump() == json.dump());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_message_names_the_field, Family, Families) {
    std::string const name = Family::config_name;
    auto const message = [](auto &&change) {
        auto c = Family::config();
        change(c);
        return message_of([&] { typename Family::template Model<float> model(c); });
    };
    BOOST_TEST(message([](auto &c) { c.num_attention_heads = 5; }) ==
               name + ": hidden_size: is 24, expected a multiple of num_attention_heads 5");
    BOOST_TEST(message([](auto &c) { c.embedding_size = 0; }) == name + ": embedding_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.vocab_size = 0; }) == name + ": vocab_size: is 0, expected at least 1");
    BOOST_TEST(message([](auto &c) { c.hidden_dropout_prob = 1.0; }) ==
               name + ": hidden_dropout_prob: is 1, expected at least 0 and below 1");
    BOOST_TEST(message([](auto &c) { c.layer_norm_eps = 0; }) ==
               name + ": layer_norm_eps: is 0, expected a positive number");
    BOOST_TEST(message([](auto &c) { c.hidden_act = "mish"; }) ==
               name + ": hidden_act: is \"mish\", expected \"gelu\", \"gelu_new\", \"relu\" or \"silu\"");
    BOOST_TEST(message_of([] {
                   Family::read(Fields(nlohmann::json::parse(R"({"model_type": "bert"})"), "config.json"));
               }) == "config.json: model_type: is \"bert\", expected \"" + std::string(Family::type) + "\"");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_saved_model_is_loaded_bit_by_bit, Family, Families) {
    TemporaryFolder const folder;
    auto const model = made<Family>();
    model.save(folder.path());
    auto const again = Family::template Model<float>::load(folder.path());
    BOOST_TEST(compare_bits("values", to_vector(again.parameters().values()), to_vector(model.parameters().values())));
    BOOST_TEST(to_json(again.config()).dump() == to_json(model.config()).dump());
    typename Family::template Model<float> bare(Family::config(), typename Family::Heads{.masked = false});
    bare.initialise(1);
    TemporaryFolder const other;
    bare.save(other.path());
    auto const loaded = Family::template Model<float>::load(other.path());
    BOOST_TEST(!loaded.heads().masked);
    BOOST_TEST(!loaded.heads().detection);
    Inference<Exec> context;
    auto const hidden = loaded.encode(context, make_packed(context, Example().view()));
    std::string const name = Family::model_name;
    BOOST_TEST(message_of([&] { loaded.logits(context, hidden); }) ==
               name + ": logits: the model has no masked language model head");
    BOOST_TEST(message_of([&] { loaded.detection_logits(context, hidden); }) ==
               name + ": detection_logits: the model has no detection head");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_protein_has_the_same_bits_in_any_batch, Family, Families) {
    auto const model = made<Family>();
    Inference<Exec> context;
    Example const whole({17, 1, 40, 9});
    auto const packed = make_packed(context, whole.view());
    auto const hidden = model.encode(context, packed);
    auto const all = to_vector(model.detection_logits(context, hidden).view());
    auto const logits = to_vector(model.logits(context, hidden).view());
    for (std::size_t b = 0; b < 4; ++b) {
        auto const begin = static_cast<std::size_t>(whole.offsets[b]),
                   count = static_cast<std::size_t>(whole.offsets[b + 1]) - begin;
        std::vector<std::int64_t> const offsets{0, static_cast<std::int64_t>(count)};
        auto const alone =
            model.encode(context, make_packed(context, {std::span(whole.tokens).subspan(begin, count),
                                                        std::span(whole.types).subspan(begin, count), offsets}));
        BOOST_TEST(compare_bits("logits", to_vector(model.logits(context, alone).view()),
                                std::span(logits).subspan(begin * 30, count * 30)));
        BOOST_TEST(compare_bits("detection", to_vector(model.detection_logits(context, alone).view()),
                                std::span(all).subspan(begin, count)));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(native_and_portable_kernels_agree, Family, Families) {
    auto model = made<Family, double>();
    model.parameters().enable_gradients();
    Example const example;
    Training<Exec, Kernels::native> native;
    Training<Exec, Kernels::portable> portable;
    auto const a = masked_pass(model, native, example), b = masked_pass(model, portable, example);
    BOOST_TEST(a.loss == b.loss, boost::test_tools::tolerance(1e-11)); // order of sums differs
    BOOST_TEST(compare("gradients", a.gradients, b.gradients, {.relative = 1e-9, .absolute = 1e-11}));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(recomputed_layers_give_the_same_bits, Family, Families) {
    for (double const dropout : {0.0, 0.3}) {
        auto config = Family::config();
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout;
        typename Family::template Model<float> kept(config), again(config);
        for (auto *model : {&kept, &again}) {
            model->initialise(3);
            model->parameters().enable_gradients();
        }
        again.set_recompute(true);
        Training<Exec> context;
        auto const expected = masked_pass(kept, context, Example()), actual = masked_pass(again, context, Example());
        BOOST_TEST(actual.loss == expected.loss);
        BOOST_TEST(compare_bits("gradients", actual.gradients, expected.gradients));
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(gradients_are_those_of_differences, Family, Families) {
    auto config = Family::config();
    config.vocab_size = 30;
    config.embedding_size = 4;
    config.hidden_size = 6;
    config.intermediate_size = 6;
    config.max_position_embeddings = 4;
    config.num_attention_heads = 2;
    typename Family::template Model<double> model(config);
    model.initialise(3);
    model.parameters().enable_gradients();
    Example const example({4, 2});
    Training<Exec> context;
    auto const pass = masked_pass(model, context, example);
    auto const values = model.parameters().values();
    auto const at = to_vector(values);
    Inference<Exec> inference;
    auto const loss = [&](std::size_t i, double value) {
        values(i) = value;
        double const result = to_vector(masked_loss(model, inference, example).sum.view())[0];
        values(i) = at[i];
        return result;
    };
    for (std::size_t i = 0; i < at.size(); i += 3) { // every third element: all tensors, in a second
        double const h = 1e-3;
        double const slope =
            (8 * (loss(i, at[i] + h) - loss(i, at[i] - h)) - loss(i, at[i] + 2 * h) + loss(i, at[i] - 2 * h)) /
            (12 * h);
        BOOST_TEST(std::abs(slope - pass.gradients[i]) < 1e-7 * std::max(1.0, std::abs(slope)),
                   i << ": " << pass.gradients[i] << ", difference " << slope);
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(every_parameter_is_announced_once_when_its_last_use_is_done, Family, Families) {
    for (bool const recompute : {false, true}) {
        auto model = made<Family>();
        model.parameters().enable_gradients();
        model.set_recompute(recompute);
        Training<Exec> context;
        auto const loss = masked_loss(model, context, Example());
        auto const &table = model.parameters().table();
        // what each gradient was when it was announced: nothing may be added later
        std::vector<std::vector<double>> heard(table.entries().size());
        std::vector<ParameterId> order;
        auto const gradient = [&](ParameterId id) {
            auto const &entry = table[id];
            std::vector<double> values;
            for (index_t i = 0; i < entry.size(); ++i)
                values.push_back(
                    static_cast<double>(model.parameters().gradients()(static_cast<std::size_t>(entry.offset + i))));
            return values;
        };
        context.backward(loss.sum, 1.0, [&](ParameterId id) {
            BOOST_TEST(heard[static_cast<std::size_t>(id)].empty());
            heard[static_cast<std::size_t>(id)] = gradient(id);
            order.push_back(id);
        });
        for (ParameterId const id : order)
            BOOST_TEST(compare_bits(table[id].name, gradient(id), heard[static_cast<std::size_t>(id)]));
        for (std::size_t e = 0; e < heard.size(); ++e) {
            std::string const &name = table.entries()[e].name;
            bool const unused = name.find("pooler") != name.npos || name.starts_with("sop_") ||
                                name.starts_with("discriminator_predictions");
            BOOST_TEST(heard[e].empty() == unused, name);
        }
    }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(all_hidden_states_on_request, Family, Families) {
    auto const model = made<Family>();
    Inference<Exec> context;
    auto const packed = make_packed(context, Example().view());
    std::vector<Tensor<float, Exec>> states;
    auto const last = to_vector(model.encode(context, packed, &states).view());
    BOOST_REQUIRE(states.size() == 4u);
    BOOST_TEST(compare_bits("last", to_vector(states[3].view()), last, 24));
    for (index_t n = 0; n <= 3; ++n)
        BOOST_TEST(compare_bits("hidden_state", to_vector(model.hidden_state(context, packed, n).view()),
                                to_vector(states[static_cast<std::size_t>(n)].view()), 24));
    BOOST_TEST(message_of([&] {
                   model.hidden_state(context, packed, 4);
               }).ends_with(": hidden_state: layer is 4, expected at least 0 and at most 3"));
    auto const map = model.attention_map(context, packed, 2, 0);
    BOOST_TEST(map.rows() == 3 * 17);
    auto const values = to_vector(map.view());
    for (std::size_t row = 0; row < 3 * 17; ++row)
        BOOST_TEST(std::abs(std::accumulate(&values[row * 17], &values[row * 17] + 17, 0.0) - 1) < 1e-5);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(bad_batches_are_errors, Family, Families) {
    auto const model = made<Family>();
    std::string const name = Family::model_name;
    std::vector<std::int32_t> const tokens{2, 5, 30}, long_one(42, 5);
    std::vector<std::int64_t> const offsets{0, 3}, long_offsets{0, 42};
    BOOST_TEST(message_of([&] {
                   model.validate({tokens, {}, offsets});
               }) == name + ": tokens[2] is 30, expected at least 0 and below vocab_size 30");
    BOOST_TEST(message_of([&] {
                   model.validate({long_one, {}, long_offsets});
               }) == name + ": sequence 0 has 42 tokens, but max_position_embeddings is 40");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(attention_is_dropped_in_training, Family, Families) {
    auto config = Family::config();
    config.attention_probs_dropout_prob = 0.3;
    typename Family::template Model<double> dropping(config, Family::all());
    dropping.initialise(3);
    dropping.parameters().enable_gradients();
    auto plain = made<Family, double>();
    plain.parameters().enable_gradients();
    Training<Exec> context;
    Training<Exec, Kernels::portable> portable;
    auto const expected = masked_pass(dropping, context, Example());
    BOOST_TEST(masked_pass(dropping, portable, Example()).loss == expected.loss, boost::test_tools::tolerance(1e-11));
    BOOST_TEST(masked_pass(plain, context, Example()).loss != expected.loss);
    Inference<Exec> inference;
    BOOST_TEST(to_vector(masked_loss(dropping, inference, Example()).sum.view()) ==
               to_vector(masked_loss(plain, inference, Example()).sum.view()));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
