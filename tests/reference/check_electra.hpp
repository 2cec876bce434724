#pragma once

#include <protlm/model/electra.hpp>
#include <protlm/model/generator_discriminator.hpp>
#include <protlm/ops/binary_cross_entropy.hpp>
#include <reference/check_case.hpp>

namespace protlm::test {

/// A case of ELECTRA: generator and discriminator with shared embeddings, both losses with their weights, and what the
/// generator drew given beforehand. Tensors are named generator.NAME and discriminator.NAME.
template <class S, class Exec>
class ElectraCheck {
  public:
    explicit ElectraCheck(ReferenceCase const &reference)
        : reference_(reference), tokens_(reference.inputs.read<std::int32_t>("tokens")),
          drawn_(reference.inputs.read<std::int32_t>("sampled_tokens")),
          offsets_(reference.inputs.read<std::int64_t>("offsets")) {
        if (reference.inputs.contains("token_types"))
            types_ = reference.inputs.read<std::int32_t>("token_types");
        auto const labels = reference.inputs.read<std::int32_t>("labels");
        auto const special = reference.inputs.read<std::int32_t>("is_special");
        auto const replaced = reference.inputs.read<std::int32_t>("is_replaced");
        check_extent("inputs", "labels", "entries", labels.size(), tokens_.size());
        check_extent("inputs", "is_special", "entries", special.size(), tokens_.size());
        check_extent("inputs", "is_replaced", "entries", replaced.size(), tokens_.size());
        for (std::size_t t = 0; t < labels.size(); ++t) {
            if (labels[t] >= 0) {
                masked_rows_.push_back(static_cast<index_t>(t));
                labels_.push_back(labels[t]);
            }
            if (!special[t]) {
                residue_rows_.push_back(static_cast<index_t>(t));
                replaced_.push_back(replaced[t]);
            }
        }
        check(!masked_rows_.empty(), "inputs: no token has a label");
    }

    bool run() const {
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        auto model = load();
        forward(report, "generator.", model.generator(), tokens_,
                [](auto &context, auto const &hidden, auto const &m) { return m.logits(context, hidden); });
        forward(report, "discriminator.", model.discriminator(), drawn_,
                [](auto &context, auto const &hidden, auto const &m) { return m.detection_logits(context, hidden); });
        auto const losses = loss_and_gradient(model);
        double const tolerance = tolerances<S>().forward;
        report.compare("loss", "loss", std::vector{losses.total}, reference_.expected("loss"), tolerance);
        report.compare("loss", "loss.generator", std::vector{losses.generator}, reference_.expected("loss.generator"),
                       tolerance);
        report.compare("loss", "loss.discriminator", std::vector{losses.discriminator},
                       reference_.expected("loss.discriminator"), tolerance);
        compare_gradients(report, reference_, model.parameters());
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(report, reference_, trajectory, trained.parameters(),
                               [&] { return loss_and_gradient(trained).total; });
        }
        return report.print();
    }

  private:
    using Model = GeneratorDiscriminator<Electra<S, Exec>, Electra<S, Exec>>;
    struct Losses {
        double total, generator, discriminator;
    };

    PackedView view(std::vector<std::int32_t> const &tokens) const { return {tokens, types_, offsets_}; }

    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        model.validate(view(tokens_));
        model.validate(view(drawn_));
        return model;
    }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    template <class Head>
    void forward(Report &report, std::string const &prefix, Electra<S, Exec> const &model,
                 std::vector<std::int32_t> const &tokens, Head head) const {
        Inference<Exec> context;
        auto const packed = make_packed(context, view(tokens));
        std::vector<Tensor<accumulate_t<S>, Exec>> states;
        auto const last = model.encode(context, packed, &states);
        double const tolerance = tolerances<S>().forward;
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = prefix + "hidden." + std::to_string(n);
            report.compare("hidden states", name, values(states[n]), reference_.expected(name), tolerance);
        }
        report.compare("logits", prefix + "logits", values(head(context, last, model)),
                       reference_.expected(prefix + "logits"), tolerance);
        std::string name;
        for (index_t n = 0;
             reference_.reference.contains(name = prefix + "attention." + std::to_string(n) + ".sequence0"); ++n)
            report.compare("attention maps", name, values(model.attention_map(context, packed, n, 0)),
                           reference_.expected(name), tolerance);
    }

    /// Mean loss of the generator over masked tokens, and of the discriminator over residues, weighed with 50; the
    /// gradient of the sum overwrites that in the parameters.
    Losses loss_and_gradient(Model &model) const {
        constexpr double weight = 50;
        Training<Exec> context;
        model.parameters().zero_gradients(context.exec());
        auto const &g = model.generator();
        auto const &d = model.discriminator();
        auto const generated = g.token_loss(context,
                                            gather_rows(context, g.encode(context, make_packed(context, view(tokens_))),
                                                        context.template upload<index_t>(masked_rows_)),
                                            context.template upload<std::int32_t>(labels_));
        auto const judged = binary_cross_entropy(
            context,
            d.detection_logits(context, gather_rows(context, d.encode(context, make_packed(context, view(drawn_))),
                                                    context.template upload<index_t>(residue_rows_))),
            context.template upload<std::int32_t>(replaced_));
        double const g_share = 1.0 / static_cast<double>(generated.labelled);
        double const d_share = 1.0 / static_cast<double>(judged.labelled);
        double const g_mean = values(generated.sum)[0] * g_share, d_mean = values(judged.sum)[0] * d_share;
        generated.sum.accumulate();
        Kokkos::deep_copy(context.exec(), generated.sum.gradient_view(), static_cast<accumulate_t<S>>(g_share));
        context.backward(judged.sum, weight * d_share);
        return {g_mean + weight * d_mean, g_mean, d_mean};
    }

    ReferenceCase const &reference_;
    std::vector<std::int32_t> tokens_, drawn_, types_, labels_, replaced_;
    std::vector<std::int64_t> offsets_;
    std::vector<index_t> masked_rows_, residue_rows_;
};

} // namespace protlm::test
