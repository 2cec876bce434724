#pragma once

#include <protlm/model/xlnet.hpp>
#include <protlm/ops/add.hpp>
#include <reference/check_case.hpp>

namespace protlm::test {

/// A case of XLNet: one batch, or segments one after the other that see the memory of those before; each with labels,
/// with an order of prediction for two streams, or with neither. Hidden states, logits, the loss of all together, its
/// gradients, and trajectories.
template <class S, class Exec>
class XlnetCheck {
  public:
    explicit XlnetCheck(ReferenceCase const &reference) : reference_(reference) {
        std::string prefix;
        if (reference.inputs.contains("tokens"))
            segments_.push_back(read(""));
        else
            for (int n = 0; reference.inputs.contains((prefix = "segment" + std::to_string(n) + '.') + "tokens"); ++n)
                segments_.push_back(read(prefix));
        check(!segments_.empty(), "inputs: neither a tensor tokens nor segment0.tokens");
        for (auto const &segment : segments_)
            labelled_ = labelled_ || !segment.labels.empty();
    }

    bool run() const {
        Report report(reference_.name(), std::same_as<S, double> ? "double" : "float");
        forward(report);
        if (!labelled_)
            return report.print();
        auto model = load();
        double const loss = loss_and_gradient(model);
        report.compare("loss", "loss", std::vector{loss}, reference_.expected("loss"), tolerances<S>().forward);
        compare_gradients(report, reference_, model.parameters());
        for (auto const &trajectory : reference_.description.value("trajectories", nlohmann::json::array())) {
            auto trained = load();
            compare_trajectory(report, reference_, trajectory, trained.parameters(),
                               [&] { return loss_and_gradient(trained); });
        }
        return report.print();
    }

  private:
    using Model = Xlnet<S, Exec>;
    using Activations = typename Model::Activations;

    struct Segment {
        std::string prefix; // of its tensors; empty: the only batch, without memory
        std::vector<std::int32_t> tokens, types, rank, is_target;
        std::vector<std::int64_t> offsets;
        std::vector<index_t> rows; // that have a label
        std::vector<std::int32_t> labels;
        PackedView view() const { return {tokens, types, offsets}; }
        bool two_streams() const { return !rank.empty(); }
    };

    Segment read(std::string const &prefix) const {
        auto const entries = [&](char const *name) {
            auto const &inputs = reference_.inputs;
            return inputs.contains(prefix + name) ? inputs.template read<std::int32_t>(prefix + name)
                                                  : std::vector<std::int32_t>();
        };
        Segment segment;
        segment.prefix = prefix;
        segment.tokens = entries("tokens");
        segment.types = entries("token_types");
        segment.rank = entries("rank");
        segment.is_target = entries("is_target");
        segment.offsets = reference_.inputs.template read<std::int64_t>(prefix + "offsets");
        auto labels = entries("labels");
        for (std::size_t t = 0; segment.two_streams() && t < segment.tokens.size(); ++t)
            labels.push_back(segment.is_target.at(t) ? segment.tokens[t] : -100);
        for (std::size_t t = 0; t < labels.size(); ++t)
            if (labels[t] >= 0) {
                segment.rows.push_back(static_cast<index_t>(t));
                segment.labels.push_back(labels[t]);
            }
        return segment;
    }

    Model load() const {
        auto model = Model::load(reference_.folder);
        model.parameters().enable_gradients();
        for (auto const &segment : segments_)
            model.validate(segment.view());
        return model;
    }

    template <class T>
    static std::vector<double> values(T const &tensor) {
        auto const host = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), tensor.view());
        return {host.data(), host.data() + host.size()};
    }

    /// What logits are made of: the query stream's rows, or those of all tokens.
    template <class Context>
    Activations run_segment(Model const &model, Context &context, Segment const &segment,
                            typename Model::Memory &memory, std::vector<Activations> *content,
                            std::vector<Activations> *query) const {
        auto const packed = make_packed(context, segment.view());
        bool const alone = segment.prefix.empty();
        if (!segment.two_streams())
            return alone ? model.encode(context, packed, content) : model.encode(context, packed, memory, content);
        auto const order = make_two_stream_order(context, segment.rank, segment.is_target, segment.offsets);
        std::vector<typename Model::Streams> states;
        auto *const wanted = content ? &states : nullptr;
        auto const last = alone ? model.two_stream(context, packed, order, wanted)
                                : model.two_stream(context, packed, order, memory, wanted);
        if (content && query)
            for (auto const &streams : states) {
                content->push_back(streams.content);
                query->push_back(streams.query);
            }
        return last.query;
    }

    void compare_states(Report &report, std::string const &prefix, std::string const &group,
                        std::vector<Activations> const &states) const {
        for (std::size_t n = 0; n < states.size(); ++n) {
            std::string const name = prefix + "hidden." + std::to_string(n);
            report.compare(group, name, values(states[n]), reference_.expected(name), tolerances<S>().forward);
        }
    }

    void forward(Report &report) const {
        auto const model = load();
        Inference<Exec> context;
        typename Model::Memory memory;
        for (auto const &segment : segments_) {
            std::vector<Activations> content, query;
            auto const last = run_segment(model, context, segment, memory, &content, &query);
            compare_states(report, segment.prefix + (segment.two_streams() ? "content." : ""), "hidden states",
                           content);
            compare_states(report, segment.prefix + "query.", "query hidden states", query);
            if (std::string const name = segment.prefix + "logits"; reference_.reference.contains(name))
                report.compare("logits", name, values(model.logits(context, last)), reference_.expected(name),
                               tolerances<S>().forward);
            compare_maps(report, model, context, segment);
        }
    }

    template <class Context>
    void compare_maps(Report &report, Model const &model, Context &context, Segment const &segment) const {
        std::string name;
        for (index_t n = 0;
             reference_.reference.contains(name = segment.prefix + "attention." + std::to_string(n) + ".sequence0");
             ++n)
            report.compare("attention maps", name,
                           values(model.attention_map(context, make_packed(context, segment.view()), n, 0)),
                           reference_.expected(name), tolerances<S>().forward);
    }

    /// Mean loss over all labels of all segments, its gradient overwriting that in the parameters.
    double loss_and_gradient(Model &model) const {
        Training<Exec> context;
        model.parameters().zero_gradients(context.exec());
        typename Model::Memory memory;
        Tensor<typename Model::A, Exec> sum;
        index_t labelled = 0;
        for (auto const &segment : segments_) {
            auto rows = run_segment(model, context, segment, memory, nullptr, nullptr);
            if (!segment.two_streams())
                rows = gather_rows(context, rows, context.template upload<index_t>(segment.rows));
            auto const loss = model.token_loss(context, rows, context.template upload<std::int32_t>(segment.labels));
            sum = sum ? add(context, sum, loss.sum) : loss.sum;
            labelled += loss.labelled;
        }
        double const share = 1.0 / static_cast<double>(labelled);
        double const mean = values(sum)[0] * share;
        context.backward(sum, share);
        return mean;
    }

    ReferenceCase const &reference_;
    std::vector<Segment> segments_;
    bool labelled_ = false;
};

} // namespace protlm::test
