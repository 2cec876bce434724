// The examples and snippets of docs/objectives.md.

#include <protlm/model/bert.hpp>
#include <protlm/objective/causal.hpp>
#include <protlm/objective/masked.hpp>
#include <protlm/objective/permutation.hpp>
#include <protlm/objective/span_corruption.hpp>

#include "objective/pairs.hpp"
#include "objective/support.hpp"

#include <algorithm>
#include <utility>

using namespace protlm;
using namespace protlm::test;

// snippet: an objective of one's own
/// Predicts the last residue of every protein from the ones before it.
struct LastResidue {
    static constexpr char const *predicts = "last residues";

    void validate(Vocabulary const &vocabulary) const {
        check(vocabulary.mask >= 0, "LastResidue: the vocabulary has no mask token");
    }

    template <class Context, class Model>
    auto loss(Context &context, Model const &model, Batch const &batch, Vocabulary const &vocabulary,
              std::uint64_t) const {
        static_assert(TokenEncoder<Model, Context>,
                      "LastResidue: the model must offer encode(context, packed) and token_loss(context, hidden, "
                      "labels), and have no decoder");
        std::vector<std::int32_t> tokens = batch.tokens, labels;
        std::vector<index_t> rows;
        for (index_t b = 0; b < batch.sequences(); ++b) {
            index_t row = batch.offsets[static_cast<std::size_t>(b) + 1] - 1;
            while (row > batch.offsets[static_cast<std::size_t>(b)] &&
                   vocabulary.is_special(tokens[static_cast<std::size_t>(row)]))
                --row;
            rows.push_back(row);
            labels.push_back(std::exchange(tokens[static_cast<std::size_t>(row)], vocabulary.mask));
        }
        auto const packed = make_packed(context, {tokens, batch.token_types, batch.offsets, batch.samples});
        auto const hidden = model.encode(context, packed);
        return model.token_loss(context, gather_rows(context, hidden, context.template upload<index_t>(rows)),
                                context.template upload<std::int32_t>(labels));
    }
};
// end

namespace {

using Tokens = std::vector<std::int32_t>;
using Cells = std::vector<std::string>; // of a line, its name first

/// Lines whose cells stand below each other, and an empty line.
std::string table(std::vector<Cells> const &lines) {
    std::vector<std::size_t> widths;
    for (Cells const &line : lines)
        for (std::size_t i = 0; i < line.size(); ++i) {
            widths.resize(std::max(widths.size(), i + 1));
            widths[i] = std::max(widths[i], line[i].size() + 1);
        }
    std::string result;
    for (Cells const &line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i)
            result += line[i] + std::string(widths[i] - line[i].size(), ' ');
        result.erase(result.find_last_not_of(' ') + 1);
        result += '\n';
    }
    return result;
}

Cells tokens(std::string const &name, Vocabulary const &vocabulary, Tokens const &values) {
    Cells cells{name};
    for (std::int32_t const token : values)
        cells.push_back(text(vocabulary, {token}));
    return cells;
}

/// Labels at their rows.
Cells labels(Vocabulary const &vocabulary, std::size_t size, std::vector<index_t> const &rows, Tokens const &values) {
    Cells cells(size + 1, ".");
    cells[0] = "labels";
    for (std::size_t i = 0; i < rows.size(); ++i)
        cells[static_cast<std::size_t>(rows[i]) + 1] = text(vocabulary, {values[i]});
    return cells;
}

std::string const insulin = "FVNQHLCGSHLVEALYLVCGERGFFYTPKT"; // chain B of human insulin

} // namespace

BOOST_AUTO_TEST_SUITE(documentation)

BOOST_AUTO_TEST_CASE(snippets) {
    BertConfig config;
    config.hidden_size = 32;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2;
    config.intermediate_size = 64;
    config.max_position_embeddings = 64;
    config.initializer_range = 0.05;
    Bert<float, Host> model(config);
    model.initialise(3);
    model.parameters().enable_gradients();
    Training<Host> context;
    Vocabulary const vocabulary = Vocabulary::of("bert");
    Batch const batch = batch_of(vocabulary, insulin);
    std::uint64_t const seed = 1;
    // snippet: one step of the gradient
    MaskedLanguageModel const objective{.rate = 0.2};
    objective.validate(vocabulary);
    auto const loss = objective.loss(context, model, batch, vocabulary, seed);
    if (loss.labelled > 0) // by chance there may be nothing to predict
        context.backward(loss.sum, 1.0 / static_cast<double>(loss.labelled));
    // end
    BOOST_TEST(loss.labelled > 0);
    test_learns(LastResidue{}, model, vocabulary, 0.7);
}

BOOST_AUTO_TEST_CASE(masked) {
    Vocabulary const vocabulary = Vocabulary::protbert();
    Batch const batch = batch_of(vocabulary, insulin);
    auto const it = MaskedLanguageModel{}.apply(batch, vocabulary, 18);
    std::string const shown =
        table({tokens("protein", vocabulary, batch.tokens), tokens("input", vocabulary, it.tokens),
               labels(vocabulary, batch.tokens.size(), it.rows, it.labels)});
    BOOST_TEST('\n' + shown == R"(
protein [CLS] F V N Q H L C G S H L V      E      A L      Y L      V C      G E R G F F Y T P K T [SEP]
input   [CLS] F V N D H L C G S H L [MASK] [MASK] A [MASK] Y [MASK] V [MASK] G E R G F F Y T P K T [SEP]
labels  .     . . . Q . . . . . . . V      E      A L      . L      . C      . . . . . . . . . . . .
)");
}

BOOST_AUTO_TEST_CASE(causal) {
    Vocabulary const vocabulary = Vocabulary::protbert();
    std::string shown;
    for (auto const &segment :
         CausalLanguageModel{.segment_length = 12}.apply(batch_of(vocabulary, insulin), vocabulary))
        shown += table({tokens("segment", vocabulary, segment.tokens), tokens("labels", vocabulary, segment.labels)});
    BOOST_TEST('\n' + shown == R"(
segment [CLS] F V N Q H L C G S H L
labels  F     V N Q H L C G S H L V
segment V E A L Y L V C G E R G
labels  E A L Y L V C G E R G F
segment F F Y T P K T
labels  F Y T P K T [SEP]
)");
}

BOOST_AUTO_TEST_CASE(permutation) {
    Vocabulary const vocabulary = Vocabulary::protxlnet();
    Batch const batch = batch_of(vocabulary, insulin);
    auto const it = PermutationLanguageModel{}.apply(batch, vocabulary, 11);
    Cells ranks{"rank"};
    for (std::int32_t const rank : it.rank)
        ranks.push_back(rank < 0 ? "." : std::to_string(rank));
    std::string const shown = table({tokens("protein", vocabulary, batch.tokens), ranks,
                                     labels(vocabulary, batch.tokens.size(), it.rows, it.labels)});
    BOOST_TEST('\n' + shown == R"(
protein F V N Q H L C G S H L V E A L Y L V C G E R G F F Y T P K T <sep> <cls>
rank    . . . . . 3 . . . . . . . . . . . . 6 5 4 . . . . . . . 1 . 0     2
labels  . . . . . L . . . . . . . . . . . . C G E . . . . . . . K . .     .
)");
}

BOOST_AUTO_TEST_CASE(span_corruption) {
    Vocabulary const vocabulary = Vocabulary::prott5();
    Batch const batch = batch_of(vocabulary, insulin);
    auto const it = SpanCorruption{}.apply(batch, vocabulary, 11);
    std::string const shown =
        table({tokens("protein", vocabulary, batch.tokens)}) + table({tokens("encoder", vocabulary, it.tokens)}) +
        table({tokens("decoder", vocabulary, it.decoder_tokens)}) + table({tokens("labels ", vocabulary, it.labels)});
    BOOST_TEST('\n' + shown == R"(
protein F V N Q H L C G S H L V E A L Y L V C G E R G F F Y T P K T </s>
encoder F V N Q H L C G S H L V E A <0> L V C G <1> F F Y T P K T </s>
decoder <pad> <0> L Y <1> E R G
labels  <0> L Y <1> E R G </s>
)");
}

BOOST_AUTO_TEST_CASE(denoising) {
    Vocabulary const vocabulary = Vocabulary::prott5();
    Batch const batch = batch_of(vocabulary, insulin);
    auto const it = ProteinDenoising{}.apply(batch, vocabulary, 6);
    std::string const shown =
        table({tokens("protein", vocabulary, batch.tokens), tokens("encoder", vocabulary, it.tokens),
               tokens("decoder", vocabulary, it.decoder_tokens), tokens("labels", vocabulary, it.labels)});
    BOOST_TEST('\n' + shown == R"(
protein F     V   N Q H L C G S   H L V E   A L Y L V C G E R G F   F   Y T P K T </s>
encoder F     <0> N Q H L C G <0> H L V <0> A L Y P V C G E R G <0> <0> Y T P K T </s>
decoder <pad> F   V N Q H L C G   S H L V   E A L Y L V C G E R G   F   F Y T P K T
labels  F     V   N Q H L C G S   H L V E   A L Y L V C G E R G F   F   Y T P K T </s>
)");
}

BOOST_AUTO_TEST_SUITE_END()
