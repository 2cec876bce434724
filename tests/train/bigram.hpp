#pragma once

#include <protlm/core/context.hpp>
#include <protlm/core/parameters.hpp>
#include <protlm/data/batch.hpp>
#include <protlm/io/checkpoint.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace protlm::test {

/// A model small enough to be written by hand: a token predicts the next one of its sequence through an embedding and a
/// linear map. Rows before residues of even ids have no label, so sequences differ in their number of labels. One
/// tensor is never used, as BERT's pooler in masked language modelling.
template <class S, class Exec>
class Bigram {
  public:
    static constexpr index_t vocabulary = 30, width = 8;
    using A = accumulate_t<S>;

    struct Loss {
        Tensor<A, Exec> sum;
        index_t labelled = 0, correct = 0;
    };

    explicit Bigram(std::uint64_t seed = 3) : parameters_(table()) { parameters_.initialise(seed); }
    Parameters<S, Exec> &parameters() { return parameters_; }

    template <class Context>
    Loss loss(Context &context, Batch const &batch) {
        Loss result{context.template tensor<A>(1, 1), 0, 0};
        auto const embedding = parameters_.weight(0), output = parameters_.weight(1), bias = parameters_.weight(3);
        Rows rows = labelled_rows(batch);
        auto const log_p = std::make_shared<std::vector<double>>(); // (labelled, vocabulary) gradient of the logits
        double sum = 0;
        for (auto const &[token, label] : rows) {
            std::vector<double> logits(vocabulary);
            for (index_t v = 0; v < vocabulary; ++v) {
                logits[at(v)] = bias.values(0, at(v));
                for (index_t k = 0; k < width; ++k)
                    logits[at(v)] += double(embedding.values(at(token), at(k))) * double(output.values(at(v), at(k)));
            }
            double total = 0;
            for (double x : logits)
                total += std::exp(x);
            result.correct += std::max_element(logits.begin(), logits.end()) - logits.begin() == label;
            sum -= logits[at(label)] - std::log(total);
            for (index_t v = 0; v < vocabulary; ++v)
                log_p->push_back(std::exp(logits[at(v)]) / total - (v == label));
        }
        result.sum.view()(0, 0) = static_cast<A>(sum);
        result.labelled = static_cast<index_t>(rows.size());
        if constexpr (Context::training) {
            context.tape().record(
                [=] {
                    for (std::size_t r = 0; r < rows.size(); ++r)
                        for (index_t v = 0; v < vocabulary; ++v)
                            for (index_t k = 0; k < width; ++k)
                                embedding.gradients(at(rows[r].first), at(k)) += static_cast<A>(
                                    (*log_p)[r * vocabulary + at(v)] * double(output.values(at(v), at(k))));
                },
                {0});
            context.tape().record(
                [=] {
                    for (std::size_t r = 0; r < rows.size(); ++r)
                        for (index_t v = 0; v < vocabulary; ++v) {
                            double const g = (*log_p)[r * vocabulary + at(v)];
                            bias.gradients(0, at(v)) += static_cast<A>(g);
                            for (index_t k = 0; k < width; ++k)
                                output.gradients(at(v), at(k)) +=
                                    static_cast<A>(g * double(embedding.values(at(rows[r].first), at(k))));
                        }
                },
                {1, 3});
        }
        return result;
    }

    /// What a checkpoint needs to be complete: here the weights alone.
    void write(CheckpointWriter const &checkpoint) const {
        std::vector<TensorSpec> specs;
        for (auto const &entry : parameters_.table().entries())
            specs.push_back({entry.name, data_type_of<S>(), entry.shape});
        SafetensorsWriter file(checkpoint / "model.safetensors", specs);
        for (auto const &entry : parameters_.table().entries())
            file.append(entry.name, parameters_.values().data() + entry.offset, entry.size());
        file.commit();
    }

  private:
    using Rows = std::vector<std::pair<std::int32_t, std::int32_t>>; // token and label
    static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

    static ParameterTable table() {
        ParameterTable table;
        table.add("embedding.weight", {vocabulary, width}, Initialiser::truncated_normal(0.5));
        table.add("output.weight", {vocabulary, width}, Initialiser::truncated_normal(0.5));
        table.add("pooler.weight", {5, 5}, Initialiser::truncated_normal(0.5)); // never used
        table.add("output.bias", {vocabulary}, Initialiser::zeros());
        return table;
    }
    static Rows labelled_rows(Batch const &batch) {
        Rows rows;
        for (index_t b = 0; b < batch.sequences(); ++b)
            for (index_t t = batch.offsets[at(b)]; t + 1 < batch.offsets[at(b) + 1]; ++t)
                if (batch.tokens[at(t) + 1] % 2 == 1)
                    rows.emplace_back(batch.tokens[at(t)], batch.tokens[at(t) + 1]);
        return rows;
    }
    Parameters<S, Exec> parameters_;
};

/// Sequences of very different lengths in which a token says much about the next one.
inline std::vector<Batch> bigram_sequences(int count, std::uint64_t seed) {
    std::vector<Batch> sequences(static_cast<std::size_t>(count));
    for (std::size_t b = 0; b < sequences.size(); ++b) {
        CounterRandom const random{seed, Purpose::sample, 0};
        auto const length = 2 + random(b, 1u << 20)[0] % 40;
        std::int32_t token = 5;
        for (std::uint32_t t = 0; t < length; ++t) {
            auto const bits = random(b, t);
            token = bits[0] % 4 == 0 ? static_cast<std::int32_t>(5 + bits[1] % 20) : 5 + (token * 3 + 1) % 20;
            sequences[b].tokens.push_back(token);
        }
        sequences[b].token_types.resize(length, 0);
        sequences[b].offsets.push_back(length);
        sequences[b].samples.push_back(b);
    }
    return sequences;
}

/// Several sequences as one batch.
inline Batch join(std::vector<Batch> const &sequences, std::size_t begin, std::size_t end, std::size_t stride = 1) {
    Batch batch;
    for (std::size_t b = begin; b < end; b += stride) {
        batch.tokens.insert(batch.tokens.end(), sequences[b].tokens.begin(), sequences[b].tokens.end());
        batch.token_types.resize(batch.tokens.size(), 0);
        batch.offsets.push_back(batch.size());
        batch.samples.push_back(sequences[b].samples[0]);
    }
    return batch;
}

} // namespace protlm::test
