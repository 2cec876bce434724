#include <protlm/data/detail/translate.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace protlm::detail;

namespace {

/// Every translator that this CPU can run.
std::vector<std::pair<std::string, Translate>> translators() {
    std::vector<std::pair<std::string, Translate>> all{{"portable", translate_portable}, {"best", best_translate()}};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        all.emplace_back("avx2", translate_avx2);
    if (__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("avx512bw"))
        all.emplace_back("avx512", translate_avx512);
#endif
    return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(translate)

BOOST_AUTO_TEST_CASE(every_byte_at_every_place) {
    protlm::Vocabulary const vocabulary = protlm::Vocabulary::protbert();
    TranslationTable const table(vocabulary);
    std::string const plain = "LAGVESIKRDTPNQFYMHCWXlagvesikrdtpnqfymhcwx";
    long wrong = 0;
    for (auto const &[name, run] : translators())
        for (std::size_t length : {1u, 7u, 31u, 32u, 33u, 63u, 64u, 65u, 130u})
            for (std::size_t place = 0; place < length; ++place)
                for (int byte = 0; byte < 256; ++byte) {
                    std::vector<std::uint8_t> in(length);
                    for (std::size_t i = 0; i < length; ++i)
                        in[i] = static_cast<std::uint8_t>(plain[(i * 7 + length) % plain.size()]);
                    in[place] = static_cast<std::uint8_t>(byte);
                    bool const is_plain = plain.find(static_cast<char>(byte)) != std::string::npos;
                    bool const goes_on = is_plain || is_line_end(static_cast<std::uint8_t>(byte));
                    std::vector<std::uint8_t> expected;
                    for (std::size_t i = 0; i < (goes_on ? length : place); ++i)
                        if (!is_line_end(in[i]))
                            expected.push_back(vocabulary.residue_table[in[i]]);
                    std::vector<std::uint8_t> out(length, 99);
                    Translated const end = run(table, in.data(), in.data() + length, out.data());
                    out.resize(static_cast<std::size_t>(end.out - out.data()));
                    wrong += end.in != in.data() + (goes_on ? length : place);
                    wrong += out != expected;
                }
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(line_ends_are_skipped_at_every_place) {
    TranslationTable const table(protlm::Vocabulary::protbert());
    long wrong = 0;
    for (auto const &[name, run] : translators())
        for (std::string const end : {"\n", "\r\n"})
            for (std::size_t width = 1; width < 140; ++width) {
                std::string text;
                for (int line = 0; line < 5; ++line)
                    text += std::string(width, static_cast<char>('C' + line)) + end;
                for (std::string const rest : {"", ">", "\n>A", " A"}) {
                    std::string const all = text + rest;
                    auto const *const in = reinterpret_cast<std::uint8_t const *>(all.data());
                    std::vector<std::uint8_t> out(all.size());
                    Translated const reached = run(table, in, in + all.size(), out.data());
                    out.resize(static_cast<std::size_t>(reached.out - out.data()));
                    wrong += reached.in != in + text.size() + (rest == "\n>A");
                    std::string letters;
                    for (int line = 0; line < 5; ++line)
                        letters += std::string(width, static_cast<char>('C' + line));
                    wrong += protlm::decode(protlm::Vocabulary::protbert(), out) != letters;
                }
            }
    BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(nothing_is_written_behind_the_input) {
    TranslationTable const table(protlm::Vocabulary::protbert());
    for (auto const &[name, run] : translators())
        for (std::size_t length = 0; length < 200; ++length) {
            std::vector<std::uint8_t> const in(length, 'A');
            std::vector<std::uint8_t> out(length + 64, 99);
            BOOST_TEST((run(table, in.data(), in.data() + length, out.data()).out == out.data() + length));
            BOOST_TEST(std::count(out.begin() + static_cast<long>(length), out.end(), 99) == 64, name);
        }
}

BOOST_AUTO_TEST_CASE(letters_whose_cases_differ_are_left_to_the_slow_path) {
    protlm::Vocabulary vocabulary = protlm::Vocabulary::protbert();
    vocabulary.residue_table['a'] = vocabulary.residue_table['L'];
    TranslationTable const table(vocabulary);
    for (auto const &[name, run] : translators()) {
        std::vector<std::uint8_t> const in(64, 'A');
        std::vector<std::uint8_t> out(64);
        BOOST_TEST((run(table, in.data(), in.data() + 64, out.data()).out == out.data()), name);
    }
}

BOOST_AUTO_TEST_SUITE_END()
