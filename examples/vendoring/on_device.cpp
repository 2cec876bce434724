// Embeddings by the encoder of any T5, of two layers in one pass; results stay where the model runs, for example on a
// GPU, and a Kokkos kernel of this program goes on with them there.
//   build/embed_on_device checkpoint_folder MKTAYIAKQR

#include <protlm/embed/model_folder.hpp>
#include <protlm/t5.hpp>

#include <exception>
#include <iostream>

using Exec = Kokkos::DefaultExecutionSpace;

/// The sum of squares of one protein's vector.
double squared_norm(protlm::DeviceEmbeddings<float, Exec>::View const &vectors, std::size_t protein) {
    double sum = 0;
    Kokkos::parallel_reduce(
        "squared_norm", Kokkos::RangePolicy<Exec>(0, vectors.extent(1)),
        KOKKOS_LAMBDA(std::size_t j, double &part) {
            double const value = static_cast<double>(vectors(protein, j));
            part += value * value;
        },
        sum);
    return sum;
}

int main(int argc, char **argv) {
    Kokkos::ScopeGuard const kokkos(argc, argv);
    if (argc != 3)
        return 2;
    try {
        auto const model = protlm::T5<float, Exec>::load_encoder(argv[1]);
        auto const vocabulary = protlm::read_model_vocabulary(argv[1], model.config().vocab_size, "t5");
        auto const result = protlm::embed_on_device(model, {argv[2]}, {.layers = {0, -1}}, vocabulary);
        for (auto const &vectors : result.vectors)
            std::cout << squared_norm(vectors, 0) << '\n';
    } catch (std::exception const &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return 0;
}
