// Whatever the config file of a run says: an Error that names the file, or a configuration that is valid, that is
// written and read back as the same, and that is no other than itself. The first byte says which model it is for.

#include <protlm/model/albert_config.hpp>
#include <protlm/model/bert_config.hpp>
#include <protlm/model/electra_config.hpp>
#include <protlm/model/t5_config.hpp>
#include <protlm/model/transformer_xl_config.hpp>
#include <protlm/model/xlnet_config.hpp>
#include <protlm/train/run_config.hpp>
#include <protlm/train/training_options.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace protlm;

void require(bool valid) {
    if (!valid)
        std::abort();
}

/// @param reader  makes a configuration of a model from fields
template <class Reader>
void use(Fields const &fields, Reader &&reader) {
    auto const config = reader(fields);
    auto const settings = settings_of_config(config);
    auto const again = settings_of_config(reader(Fields(nlohmann::json::parse(settings.dump()), "fuzz")));
    require(changed_settings(flat_settings({{"model", settings}}), flat_settings({{"model", again}})).empty());
    require(check_weights_config(settings, "a", again, "b", {}).empty());
    require(ignored_fields(Fields(settings, "fuzz"), settings).empty());
    ignored_fields(fields, settings);
    TrainingOptions options;
    read_training_options(fields.object("training"), options);
    options.validate();
    auto const json = to_json(options);
    TrainingOptions read;
    read_training_options(Fields(nlohmann::json::parse(json.dump()), "fuzz"), read);
    require(to_json(read) == json);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const *data, std::size_t size) {
    if (size == 0)
        return 0;
    std::string_view const text(reinterpret_cast<char const *>(data + 1), size - 1);
    try {
        Fields const fields(parse_json(text, "fuzz"), "fuzz");
        switch (data[0] % 6) {
        case 0:
            return use(fields, bert_config), 0;
        case 1:
            return use(fields, albert_config), 0;
        case 2:
            return use(fields, electra_pair_config), 0;
        case 3:
            return use(fields, t5_config), 0;
        case 4:
            return use(fields, xlnet_config), 0;
        default:
            return use(fields, transformer_xl_config), 0;
        }
    } catch (Error const &) {
    }
    return 0;
}
