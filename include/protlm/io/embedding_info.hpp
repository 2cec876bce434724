#pragma once

#include <protlm/core/version.hpp>
#include <protlm/io/hdf5_file.hpp>

#include <charconv>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace protlm::inline v0 {

/// How an embedding file is laid out; docs/formats.md describes both.
enum class EmbeddingLayout {
    packed, ///< all residues in one dataset, all proteins in another: for millions of proteins
    per_id, ///< one dataset an id, as UniProt ships embeddings
    flat    ///< read only, of another program: one dataset an id, and nothing that says what they are
};

/// "packed", "per-id" or "flat".
inline std::string layout_name(EmbeddingLayout layout) {
    return layout == EmbeddingLayout::packed ? "packed" : layout == EmbeddingLayout::per_id ? "per-id" : "flat";
}

/// @throws Error for a name that is none
inline EmbeddingLayout layout_from_name(std::string_view name) {
    check(name == "packed" || name == "per-id", "layout: is \"", name, "\", expected \"packed\" or \"per-id\"");
    return name == "packed" ? EmbeddingLayout::packed : EmbeddingLayout::per_id;
}

/// "float32", "float16" or "bfloat16".
inline std::string precision_name(DataType precision) {
    check(precision == DataType::f32 || precision == DataType::f16 || precision == DataType::bf16, "precision is ",
          data_type_name(precision), ", expected F32, F16 or BF16");
    return precision == DataType::f32 ? "float32" : precision == DataType::f16 ? "float16" : "bfloat16";
}

/// @throws Error for a name that is none
inline DataType precision_from_name(std::string_view name) {
    for (auto const precision : {DataType::f32, DataType::f16, DataType::bf16})
        if (name == precision_name(precision))
            return precision;
    fail("precision: is \"", name, "\", expected \"float32\", \"float16\" or \"bfloat16\"");
}

/// What the embeddings of a file are; stored as attributes of its root group.
struct EmbeddingInfo {
    std::string model;                  ///< for people: the model's name or folder
    std::string model_sha256;           ///< of the weights
    std::vector<index_t> layers{0};     ///< the hidden states that were taken, 0 for the embedding layer's output
    std::string pooling = "mean";       ///< how a protein's vector comes from its residues'; "none": it has none
    DataType precision = DataType::f32; ///< f32, f16 or bf16, on disk
    index_t width = 0;                  ///< C
    bool per_residue = true;            ///< whether the file holds residues
    EmbeddingLayout layout = EmbeddingLayout::packed;
    std::string on_long{}; ///< what became of proteins that were too long: "error", "cut", "skip" or "windows";
                           ///< empty: not known
    index_t window = 0;    ///< with windows: residues of one
    index_t overlap = 0;   ///< with windows: residues that neighbours share at least
    std::string job{};     ///< fingerprint of the job that wrote the file, if one did: see EmbeddingJob
    int gzip = 0;          ///< when writing: 0, or 1 (fast) to 9 (small); readers give 0

    /// Whether the file holds a vector for each protein.
    bool per_protein() const { return pooling != "none"; }
    index_t slots() const { return static_cast<index_t>(layers.size()); } ///< number of layers

    bool operator==(EmbeddingInfo const &) const = default;
};

namespace detail {

/// "layer_04": the group of one of several layers.
inline std::string layer_group_name(index_t layer) {
    std::string const digits = std::to_string(layer);
    return "layer_" + std::string(digits.size() < 2 ? 1 : 0, '0') + digits;
}

/// "4" or "0,4,8".
inline std::string layers_text(std::vector<index_t> const &layers) {
    std::string text;
    for (index_t const layer : layers)
        text.append(text.empty() ? "" : ",").append(std::to_string(layer));
    return text;
}

inline std::vector<index_t> parse_layers(std::string_view text, std::string const &name) {
    std::vector<index_t> layers;
    for (char const *at = text.data(), *const end = at + text.size();;) {
        index_t layer = 0;
        auto const [rest, error] = std::from_chars(at, end, layer);
        check(error == std::errc{} && layer >= 0 && (rest == end || *rest == ','), name, ": layers is \"",
              text.substr(0, 100), "\", expected numbers with commas");
        layers.push_back(layer);
        if (rest == end)
            return layers;
        at = rest + 1;
    }
}

inline void check_info(EmbeddingInfo const &info, std::string const &name) {
    check(info.width >= 1, name, ": width is ", info.width, ", expected at least 1");
    check(info.precision == DataType::f32 || info.precision == DataType::f16 || info.precision == DataType::bf16, name,
          ": precision is ", data_type_name(info.precision), ", expected F32, F16 or BF16");
    check(info.gzip >= 0 && info.gzip <= 9, name, ": gzip ", info.gzip, ", expected 0 to 9");
    check(info.per_residue || info.per_protein(), name, ": neither residues nor proteins are to be written");
    std::set<index_t> const different(info.layers.begin(), info.layers.end());
    check(!info.layers.empty() && different.size() == info.layers.size(), name, ": layers are ",
          layers_text(info.layers), ", expected different ones");
}

/// The version of new files. Version 1 had one layer, packed, in float32 or float16; version 2 kept texts and ids in
/// HDF5's heap, and a list of the ids in per-id files.
inline constexpr std::int64_t embedding_version = 3;

/// Writes the attributes of the root group, with `complete` = 0. Those that are known later have room for 64 letters.
inline void write_info(Hdf5Group const &root, EmbeddingInfo const &info) {
    root.set_attribute("complete", std::uint8_t(0));
    root.set_attribute("format", std::string("protlm embeddings"));
    root.set_attribute("format_version", embedding_version);
    root.set_attribute("layout", layout_name(info.layout));
    root.set_attribute("model", info.model);
    root.set_heap_text("model_name", info.model); // under which name other programs look for it
    root.set_attribute("model_sha256", info.model_sha256, 64);
    root.set_attribute("layers", layers_text(info.layers));
    if (info.slots() == 1)
        root.set_attribute("layer", std::int64_t(info.layers[0]));
    root.set_attribute("pooling", info.pooling);
    root.set_attribute("precision", precision_name(info.precision));
    root.set_attribute("width", std::int64_t(info.width));
    root.set_attribute("per_residue", std::uint8_t(info.per_residue));
    if (!info.on_long.empty())
        root.set_attribute("on_long", info.on_long);
    if (info.window > 0) {
        root.set_attribute("window", std::int64_t(info.window));
        root.set_attribute("overlap", std::int64_t(info.overlap));
    }
    root.set_attribute("job", info.job, 64);
    root.set_attribute("protlm_version", std::string(PROTLM_VERSION_STRING));
}

/// A text of the root group: since version 3 of fixed length.
inline std::string read_text(Hdf5Group const &root, char const *key, std::int64_t version) {
    return version < 3 ? root.heap_text(key) : root.attribute<std::string>(key);
}

/// What a file says about proteins that were too long; older files say nothing.
inline void read_long_proteins(Hdf5Group const &root, EmbeddingInfo &info, std::int64_t version) {
    if (root.has_attribute("on_long"))
        info.on_long = read_text(root, "on_long", version);
    if (root.has_attribute("window")) {
        info.window = root.attribute<index_t>("window");
        info.overlap = root.attribute<index_t>("overlap");
    }
}

/// @throws Error when an attribute is missing or has no valid value
inline EmbeddingInfo read_info(Hdf5Group const &root, std::string const &name) {
    auto const version = root.attribute<std::int64_t>("format_version");
    check(version >= 1 && version <= embedding_version, name, ": has format version ", version, ", expected 1 to ",
          embedding_version, version > embedding_version ? "; a later protlm wrote it" : "");
    EmbeddingInfo info;
    info.model = read_text(root, "model", version);
    info.model_sha256 = read_text(root, "model_sha256", version);
    info.pooling = read_text(root, "pooling", version);
    auto const precision = read_text(root, "precision", version);
    check(precision == "float32" || precision == "float16" || precision == "bfloat16", name, ": precision is \"",
          precision, "\", expected float32, float16 or bfloat16");
    info.precision = precision_from_name(precision);
    if (version == 1) {
        info.layers = {root.attribute<index_t>("layer")};
        info.per_residue = root.contains("residues");
        info.width = root.dataset("proteins").columns();
    } else {
        info.layout = layout_from_name(read_text(root, "layout", version));
        info.layers = parse_layers(read_text(root, "layers", version), name);
        info.per_residue = root.attribute<std::uint8_t>("per_residue") != 0;
        info.width = root.attribute<index_t>("width");
        info.job = read_text(root, "job", version);
        read_long_proteins(root, info, version);
    }
    check_info(info, name);
    return info;
}

/// The group in which layer number `slot` of the file lies: the root itself when there is one layer only.
inline Hdf5Group layer_group(Hdf5File const &file, EmbeddingInfo const &info, index_t slot, bool make = false) {
    if (info.slots() == 1)
        return file.root();
    index_t const layer = info.layers[static_cast<std::size_t>(slot)];
    if (!make)
        return file.root().group(layer_group_name(layer));
    auto group = file.root().make_group(layer_group_name(layer));
    group.set_attribute("layer", std::int64_t(layer));
    return group;
}

/// The type of elements on disk: bfloat16 has none in HDF5 and is stored as its bits.
inline DataType stored_type(DataType precision) { return precision == DataType::bf16 ? DataType::u16 : precision; }

/// A dataset of vectors (rows, C); bfloat16 is marked by the attribute `dtype`.
inline Hdf5Dataset make_vectors(Hdf5Group const &group, std::string const &key, EmbeddingInfo const &info,
                                std::vector<index_t> const &shape, Hdf5Layout layout) {
    auto dataset = group.make_dataset(key, stored_type(info.precision), shape, layout);
    if (info.precision == DataType::bf16)
        dataset.set_attribute("dtype", std::string("bfloat16"));
    return dataset;
}

} // namespace detail

} // namespace protlm::inline v0
