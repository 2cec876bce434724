// Whatever bytes a configuration has: an Error, or typed fields that say what they are.

#include <protlm/io/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

using protlm::index_t;

template <class Action>
void attempt(Action &&action) {
    try {
        action();
    } catch (protlm::Error const &error) {
        if (!std::string_view(error.what()).starts_with("fuzz: "))
            std::abort(); // every message names its file first
    }
}

void read_fields(protlm::Fields const &fields) {
    for (auto const &item : fields.json().items()) {
        std::string const &key = item.key();
        attempt([&] { (void)fields.required<index_t>(key, protlm::at_least<index_t>(1)); });
        attempt([&] { (void)fields.required<std::uint16_t>(key); });
        attempt([&] { (void)fields.required<bool>(key); });
        attempt([&] { (void)fields.optional<double>(key, 0.1, protlm::between(0.0, 1.0)); });
        attempt([&] { (void)fields.maybe<float>(key); });
        attempt([&] { (void)fields.optional(key, "text"); });
        attempt([&] { (void)fields.choice(key, {"gelu", "relu"}, "gelu"); });
        attempt([&] { (void)fields.required<std::vector<index_t>>(key); });
        attempt([&] { (void)fields.required<std::vector<std::string>>(key); });
        attempt([&] { read_fields(fields.object(key)); });
    }
    attempt([&] { fields.refuse_unknown(); });
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const *>(data), size);
    attempt([&] {
        auto const document = protlm::parse_json(text, "fuzz");
        if (protlm::parse_json(document.dump(), "fuzz") != document)
            std::abort(); // what was read writes and reads back as the same
        read_fields(protlm::Fields(document, "fuzz"));
    });
    return 0;
}
