#include <embed/models.hpp>

#include <protlm/embed/forecast.hpp>

namespace {

using namespace protlm;
using namespace protlm::test;
using Exec = Kokkos::DefaultExecutionSpace;

struct Shape {
    index_t width, layers, heads, inner;
};

/// The pool's peak of one batch of proteins of `length` residues, and its forecast.
template <class S>
std::pair<double, double> measured_and_forecast(Shape shape, index_t length, index_t count) {
    BertConfig config;
    config.hidden_size = shape.width;
    config.num_hidden_layers = shape.layers;
    config.num_attention_heads = shape.heads;
    config.intermediate_size = shape.inner;
    Bert<S, Exec> model(config);
    model.initialise(1);
    auto const proteins = random_proteins(std::vector<index_t>(static_cast<std::size_t>(count), length));
    Embedder embedder(model, Vocabulary::protbert(), {.token_budget = count * (length + 2)});
    auto const forecast = forecast_embedding(embedder, proteins, model.parameters().table().extent());
    BOOST_TEST(forecast.weights == static_cast<double>(model.parameters().values().span() * sizeof(S)));
    embedder(proteins, [](auto const &) {});
    return {static_cast<double>(embedder.context().pool().statistics().peak_bytes), forecast.activations};
}

BOOST_AUTO_TEST_SUITE(forecast)

// A forecast a quarter off still tells whether a batch fits; the pool's rounding alone makes up to an eighth.
BOOST_AUTO_TEST_CASE(the_forecast_is_within_a_quarter_of_the_peak) {
    for (Shape const shape :
         {Shape{64, 3, 4, 256}, Shape{96, 2, 3, 100}, Shape{128, 2, 1, 1024}, Shape{128, 3, 8, 512}})
        for (auto const &[length, count] : {std::pair<index_t, index_t>{100, 40}, {1000, 2}, {2000, 1}, {30, 300}}) {
            auto const [peak, forecast] = measured_and_forecast<float>(shape, length, count);
            BOOST_TEST((forecast > 0.8 * peak && forecast < 1.25 * peak),
                       shape.width << " wide, length " << length << ": " << forecast << ", measured " << peak);
        }
    auto const [peak, forecast] = measured_and_forecast<bfloat16>({128, 3, 8, 512}, 500, 8);
    BOOST_TEST(std::abs(forecast / peak - 1) < 0.25);
}

BOOST_AUTO_TEST_CASE(the_largest_batch_counts) {
    auto const model = small_bert();
    auto const parameters = model.parameters().table().extent();
    auto const of = [&](index_t budget, std::vector<index_t> const &lengths) {
        Embedder embedder(model, Vocabulary::protbert(), {.token_budget = budget});
        return forecast_embedding(embedder, random_proteins(lengths), parameters).activations;
    };
    std::vector<index_t> const many(50, 98);
    BOOST_TEST(of(100, {98}) == of(100000, {98})); // no more than there is
    BOOST_TEST(of(100, many) < of(1000, many));
    BOOST_TEST(of(100, {1000}) == of(1002, {1000})); // a long protein is a batch of its own
    BOOST_TEST(of(5000, many) == of(1000000, many));
}

BOOST_AUTO_TEST_CASE(forecasts_are_for_people) {
    MemoryForecast const forecast{.weights = 1.6e9, .activations = 4e8, .results = 0, .proteins = 3e6};
    BOOST_TEST(forecast.total() == 2.003e9);
    BOOST_TEST(forecast.text() == "2.00 GB (weights 1.60 GB, largest batch 400 MB, proteins 3.00 MB)");
    BOOST_TEST(available_memory() > 1e6);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
