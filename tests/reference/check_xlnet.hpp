#pragma once

#include <protlm/model/xlnet.hpp>
#include <reference/check_encoder.hpp>

namespace protlm::test {

/// A case of XLNet: segments with a memory, a permutation language model, or an encoder with labels.
template <class S, class Exec>
class XlnetCheck {
  public:
    explicit XlnetCheck(ReferenceCase const &reference) : reference_(reference) {
        if (!reference.inputs.contains("is_target"))
            return;
        tokens_ = reference.inputs.read<std::int32_t>("tokens");
        offsets_ = reference.inputs.read<std::int64_t>("offsets");
        rank_ = reference.inputs.read<std::int32_t>("rank");
        is_target_ = reference.inputs.read<std::int32_t>("is_target");
        if (reference.inputs.contains("token_types"))
            types_ = reference.inputs.read<std::int32_t>("token_types");
        check_extent("inputs", "is_target", "entries", is_target_.size(), tokens_.size());
        for (std::size_t t = 0; t < tokens_.size(); ++t)
            if (is_target_[t])
                labels_.push_back(tokens_[t]);
        check(!labels_.empty(), "inputs: no token is a target");
    }

    bool run() const {
        if (reference_.inputs.contains("labels"))
            return EncoderCheck<Model>(reference_).run();
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        if (labels_.empty())
            segments(report);
        else
            permutation(report);
        return report.print();
    }

  private:
    using Model = Xlnet<S, Exec>;
    using Activations = typename Model::Activations;

    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        return model;
    }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    void compare_states(Report &report, std::string const &prefix, std::vector<Activations> const &states) const {
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = prefix + "hidden." + std::to_string(n);
            report.compare(prefix + "hidden states", name, values(states[n]), reference_.expected(name),
                           tolerances<S>().forward);
        }
    }

    /// Hidden states of one segment after the other, each seeing the memory of those before.
    void segments(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        typename Model::Memory memory;
        std::string prefix;
        auto const &inputs = reference_.inputs;
        for (int n = 0; inputs.contains((prefix = "segment" + std::to_string(n) + '.') + "tokens"); ++n) {
            auto const tokens = inputs.template read<std::int32_t>(prefix + "tokens");
            auto const offsets = inputs.template read<std::int64_t>(prefix + "offsets");
            std::vector<std::int32_t> types;
            if (inputs.contains(prefix + "token_types"))
                types = inputs.template read<std::int32_t>(prefix + "token_types");
            PackedView const batch{tokens, types, offsets};
            model.validate(batch);
            std::vector<Activations> states;
            model.encode(context, make_packed(context, batch), memory, &states);
            compare_states(report, prefix, states);
        }
    }

    void permutation(Report &report) const {
        auto model = load();
        {
            Inference<Exec> context;
            std::vector<typename Model::Streams> states;
            auto const last = two_stream(model, context, &states);
            std::vector<Activations> content, query;
            for (auto const &streams : states) {
                content.push_back(streams.content);
                query.push_back(streams.query);
            }
            compare_states(report, "content.", content);
            compare_states(report, "query.", query);
            report.compare("logits", "logits", values(model.logits(context, last.query)), reference_.expected("logits"),
                           tolerances<S>().forward);
        }
        double const loss = loss_and_gradient(model);
        report.compare("loss", "loss", std::vector{loss}, reference_.expected("loss"), tolerances<S>().forward);
        compare_gradients(report, reference_, model.parameters());
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(report, reference_, trajectory, trained.parameters(),
                               [&] { return loss_and_gradient(trained); });
        }
    }

    template <class Context>
    auto two_stream(Model const &model, Context &context, std::vector<typename Model::Streams> *states) const {
        PackedView const batch{tokens_, types_, offsets_};
        model.validate(batch);
        return model.two_stream(context, make_packed(context, batch),
                                make_two_stream_order(context, rank_, is_target_, offsets_), states);
    }

    /// Mean loss over all targets, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        model.parameters().zero_gradients(context.exec());
        auto const loss = model.token_loss(context, two_stream(model, context, nullptr).query,
                                           context.template upload<std::int32_t>(labels_));
        double const share = 1.0 / static_cast<double>(loss.labelled);
        double const mean = values(loss.sum)[0] * share;
        context.backward(loss.sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    std::vector<std::int32_t> tokens_, types_, rank_, is_target_, labels_;
    std::vector<std::int64_t> offsets_;
};

} // namespace protlm::test
