#include <protlm/data/fasta.hpp>

#include "support.hpp"

#include <boost/test/unit_test.hpp>

#include <random>
#include <sstream>
#include <string>
#include <vector>

using namespace protlm;
using protlm::test::check_error;

namespace {

using Records = std::vector<std::pair<std::string, std::string>>; // header, letters

Records read_all(FastaReader reader) {
    Records records;
    while (auto const record = reader.next())
        records.emplace_back(record->header, decode(Vocabulary::protbert(), record->tokens));
    return records;
}

Records read(std::string_view text, InvalidLetters invalid = InvalidLetters::error) {
    return read_all(FastaReader::from_memory(text, Vocabulary::protbert(), {invalid}));
}

FastaReader reader_of(std::string_view text, InvalidLetters invalid = InvalidLetters::error) {
    return FastaReader::from_memory(text, Vocabulary::protbert(), {invalid}, "x.fasta");
}

void drain(std::string_view text, InvalidLetters invalid = InvalidLetters::error) {
    FastaReader reader = reader_of(text, invalid);
    while (reader.next())
        continue;
}

void check_records(Records const &actual, Records const &expected) {
    BOOST_REQUIRE_EQUAL(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        BOOST_TEST(actual[i].first == expected[i].first);
        BOOST_TEST(actual[i].second == expected[i].second);
    }
}

} // namespace

BOOST_AUTO_TEST_SUITE(fasta)

BOOST_AUTO_TEST_CASE(one_text_in_all_its_spellings) {
    Records const expected{{"a first", "MKTAY"}, {"b/1", ""}, {"c", "LX"}};
    check_records(read(">a first\nMKTAY\n>b/1\n>c\nLX\n"), expected);
    check_records(read(">a first\r\nMKTAY\r\n>b/1\r\n>c\r\nLX\r\n"), expected);
    check_records(read(">a first\nMKTAY\n>b/1\n>c\nLX"), expected);               // no end of line at the end
    check_records(read(">a first\nM\nKT\nAY\n>b/1\n\n\n>c\nL\nX\n\n"), expected); // wrapped, blank lines
    check_records(read("\xEF\xBB\xBF>a first\nMKTAY\n>b/1\n>c\nLX"), expected);   // byte-order mark
    check_records(read("\n \n;note\n>a first\nMK\n;x J\nTAY\n>b/1\n>c\nlx"), expected);
    check_records(read("> a first \t\nmK t\tAy*\n>b/1\n*\n>c\n-L--X-*\n-\n"), expected);
    check_records(read(">a first\nMKTAY*\n\n>b/1\n>c\nLX**\n*"), expected);
    check_records(read(">a first\nMKTAY\n>b/1\n>c\nlu"), expected);
}

BOOST_AUTO_TEST_CASE(nothing_gives_nothing) {
    for (char const *text : {"", "\n", ";only a comment", "\r\n\r\n", "\xEF\xBB\xBF"})
        check_records(read(text), {});
    check_records(read(">"), {{"", ""}});
    check_records(read(">\n>\n"), {{"", ""}, {"", ""}});
}

BOOST_AUTO_TEST_CASE(headers_split_at_their_first_white_space) {
    FastaReader reader = reader_of(">sp|P1/A B  the  rest \r\nM\n>tab\there\nM\n>alone\nM\n>  padded id\nM");
    auto record = reader.next();
    BOOST_TEST(record->id == "sp|P1/A");
    BOOST_TEST(record->description == "B  the  rest");
    BOOST_TEST(record->header == "sp|P1/A B  the  rest");
    record = reader.next();
    BOOST_TEST(record->id == "tab");
    BOOST_TEST(record->description == "here");
    record = reader.next();
    BOOST_TEST(record->id == "alone");
    BOOST_TEST(record->description == "");
    BOOST_TEST(reader.next()->id == "padded");
    BOOST_TEST(!reader.next());
    BOOST_TEST(!reader.next());
}

BOOST_AUTO_TEST_CASE(counts_say_what_was_read) {
    FastaReader reader = reader_of(">a\nMUZOB-*\n>b\nJ*M*\n", InvalidLetters::mask);
    while (reader.next())
        continue;
    BOOST_TEST(reader.counts().records == 2u);
    BOOST_TEST(reader.counts().residues == 8u);
    BOOST_TEST(reader.counts().mapped == 4u);
    BOOST_TEST(reader.counts().masked == 2u);
    BOOST_TEST(reader.counts().stops == 2u);
    BOOST_TEST(reader.counts().gaps == 1u);
    BOOST_TEST(reader.bytes_read() == reader.bytes_total());
}

BOOST_AUTO_TEST_CASE(invalid_letters_are_named_with_their_place) {
    check_error([] { drain(">a\nMK\n>id/2 text\nMKT\nMJT\n"); },
                "x.fasta:5:2: letter 'J' (record id/2) is not in the alphabet");
    check_error([] { drain(">a\r\nM1"); }, "x.fasta:2:2: letter '1' (record a)");
    check_error([] { drain(">a\nM>K\n"); }, "x.fasta:2:2: letter '>' (record a)");
    check_error([] { drain(">a\nM;K\n"); }, "x.fasta:2:2: letter ';' (record a)");
    check_error([] { drain(">a\n\xC3\xA4\n"); }, "x.fasta:2:1: letter with code 195 (record a)");
    check_error([] { drain(std::string_view(">a\nM\0\n", 6)); }, "x.fasta:2:2: letter with code 0 (record a)");
    check_error([] { drain(">a\nMK*\n*T\n"); }, "x.fasta:2:3: letter '*' (record a) stands inside the sequence");
    check_error([] { drain(">a\nMK*U\n"); }, "x.fasta:2:3: letter '*' (record a)");
    check_error([] { drain(">a*\nMK*\n>b*\nM**J\n"); }, "x.fasta:4:2: letter '*' (record b*)");
    check_error([] { drain("\nMKT\n"); }, "x.fasta:2: text before the first '>'");
    check_error([] { drain(" >a\nMKT\n"); }, "x.fasta:1: text before the first '>'");
    std::string const line = std::string(200, 'A');
    check_error([&] { drain(">a\n" + line + "\n" + line + "?" + line + "\n"); }, "x.fasta:3:201: letter '?'");
}

BOOST_AUTO_TEST_CASE(masking_keeps_lengths) {
    check_records(read(">a\nMJK\n>b\n1*T*\n>c\n**M\n", InvalidLetters::mask),
                  {{"a", "MXK"}, {"b", "XXT"}, {"c", "XXM"}});
    std::string text = ">a\n";
    for (int byte = 1; byte < 256; ++byte)
        if (std::string("\n\r\t -*>").find(static_cast<char>(byte)) == std::string::npos)
            text.append("A").push_back(static_cast<char>(byte));
    BOOST_TEST(read(text, InvalidLetters::mask).at(0).second.size() == 2u * 248u);
    auto const few = Vocabulary::from_pieces({"[UNK]", "A"});
    FastaReader reader = FastaReader::from_memory(">a\nALU", few, {InvalidLetters::mask});
    BOOST_TEST((reader.next()->tokens[1]) == 0);
    BOOST_TEST(reader.counts().masked == 2u); // U too: nothing becomes the unknown token unless that is asked for
    check_error([] { FastaReader::from_memory("", Vocabulary::from_pieces({"A"}), {InvalidLetters::mask}); },
                "neither X");
}

BOOST_AUTO_TEST_CASE(letters_that_a_vocabulary_lacks_are_not_read_without_a_word) {
    auto const read_with = [](Vocabulary const &vocabulary, std::string_view text) {
        FastaReader reader = FastaReader::from_memory(text, vocabulary, {}, "x.fasta");
        return std::string(decode(vocabulary, reader.next()->tokens));
    };
    auto const few = Vocabulary::from_pieces({"[PAD]", "[UNK]", "A", "C", "X"});
    BOOST_TEST(read_with(few, ">a\nACUXB") == "ACXXX");
    check_error([&] { read_with(few, ">a\nACM"); }, "x.fasta:2:3: letter 'M' (record a) is not in the alphabet");
    check_error([&] { read_with(few, ">a\nAc\nm"); }, "x.fasta:3:1: letter 'm' (record a) is not in the alphabet");
    for (char const letter : std::string_view("XUZOBxj")) {
        check_error([&] { read_with(Vocabulary::protxlnet(), std::string(">a\nMK") + letter); },
                    std::string("x.fasta:2:3: letter '") + letter + "' (record a) is not in the alphabet");
        FastaReader reader =
            FastaReader::from_memory(std::string(">a\nMK") + letter, Vocabulary::protxlnet(), {InvalidLetters::mask});
        BOOST_TEST((reader.next()->tokens[2]) == 0); // <unk>
        BOOST_TEST(reader.counts().masked == 1u);
        BOOST_TEST(reader.counts().mapped == 0u);
    }
    BOOST_TEST(read_with(Vocabulary::protalbert(), ">a\nMKXUB") == "MKXXX");
}

BOOST_AUTO_TEST_CASE(a_carriage_return_alone_swallows_no_protein) {
    std::string const lone = "a carriage return without a line feed";
    check_error([] { drain(">a\rMKTAYI\r\n>b\nAAAA\n"); }, "x.fasta:1: the line holds a carriage return without");
    check_error([&] { drain(">a\rMKTAYI\r>b\rAAAA\r"); }, "x.fasta:1: the line holds " + lone);
    check_error([&] { drain(">a\nMK\n>b c\rMKT\n"); }, "x.fasta:3: the line holds " + lone);
    check_error([&] { drain(">a\nMKT\r>b\nMK\n"); },
                "x.fasta:2:5: letter '>' (record a) stands inside a line, behind a");
    check_error([&] { drain(">a\nMKT\r;b\nMK\n"); },
                "x.fasta:2:5: letter ';' (record a) stands inside a line, behind a");
    check_error([&] { drain(";note\r>a\rMKT\r"); }, "x.fasta:1: the line holds " + lone);
    check_error([&] { drain(">a\nMK\n;note\r>b\rMKT\n"); }, "x.fasta:3: the line holds " + lone);
    check_error([] { read(">a\nMK>b\nM", InvalidLetters::mask); }, "stands inside a line; is a line end missing?");
    check_records(read(">a\r\r\nMK\r\r\nT\r\r\n>b \r\r\nA"), {{"a", "MKT"}, {"b", "A"}}); // CR CR LF
    check_records(read(">a\r\nMK\rT\r\n>b\r"), {{"a", "MKT"}, {"b", ""}});
}

BOOST_AUTO_TEST_CASE(headers_are_utf8_without_control_characters) {
    FastaReader reader = reader_of(">prot\xE9ine \xC4\nM\n>prot\xC3\xA9ine \xF0\x9F\xA7\xAC\nM\n>n\x01m a\tb\nM\n");
    BOOST_TEST(reader.next()->header == "prot\xC3\xA9ine \xC3\x84");
    BOOST_TEST(reader.next()->header == "prot\xC3\xA9ine \xF0\x9F\xA7\xAC");
    BOOST_TEST(reader.next()->header == "n\x01m a\tb");
    BOOST_TEST(reader.counts().latin1 == 1u);
    // Overlong, cut, surrogate, above U+10FFFF, never a first byte: no UTF-8, so all are taken for Latin-1.
    for (std::string const bytes : {"\xC1\xAF", "\xE0\xA0", "\xED\xA0\xA0", "\xF4\xA0\xA0\xA0", "\xFF"}) {
        std::string const text = ">a" + bytes + "\nM\n";
        FastaReader odd = reader_of(text);
        BOOST_TEST(odd.next()->header.size() == 1 + 2 * bytes.size());
        BOOST_TEST(odd.counts().latin1 == 1u);
    }
    check_error([] { drain(">a\nM\n>b \x92s\nM\n"); }, "x.fasta:3: the header is neither UTF-8 nor Latin-1");
    check_error([] { drain(std::string_view(">a\nM\n>b\0c\nM\n", 12)); }, "x.fasta:3: the header holds a zero byte");
    check_error([] { drain(">a\x1B[31m\nM\n"); }, "x.fasta:1: the header holds the control character with code 27");
    check_error([] { drain(">a\nM\n>\x7F"); }, "x.fasta:3: the header holds the control character with code 127");
}

BOOST_AUTO_TEST_CASE(lines_and_records_have_a_limit) {
    std::size_t const most = detail::most_header_bytes;
    BOOST_TEST(most >= (4u << 20)); // NCBI joins the names of thousands of equal proteins in one header
    std::string const longest = ">" + std::string(most, 'h') + "\nM";
    FastaReader reader = reader_of(longest);
    BOOST_TEST(reader.next()->header.size() == most);
    check_error([&] { drain(">a\nM\n>" + std::string(most + 1, 'h') + "\nM"); },
                "x.fasta:3: a header or comment of more than");
    check_error([&] { drain(">a\nM\n;" + std::string(most + 1, 'h') + "\nM"); },
                "x.fasta:3: a header or comment of more than");
    std::string const long_text = ">a\n" + std::string(FastaReader::most_residues + 1, 'A');
    check_error([&] { drain(long_text); }, "x.fasta:2: record a has more than 134217728 residues");
}

BOOST_AUTO_TEST_CASE(what_is_dna_is_said) {
    auto const source_of = [](std::string const &sequence) {
        std::string const text = ">a\n" + sequence + "\n>b\nacgtun\n";
        FastaReader reader = reader_of(text);
        while (reader.next())
            continue;
        return reader.counts().nucleotides;
    };
    std::string dna;
    for (int i = 0; i < 300; ++i)
        dna += "ACGTn";
    BOOST_TEST(source_of(dna) == "x.fasta");
    BOOST_TEST(source_of(dna.substr(0, 900)) == "");
    BOOST_TEST(source_of(dna + "M") == "");
}

BOOST_AUTO_TEST_CASE(random_texts_equal_a_plain_reader) {
    std::mt19937_64 random(5);
    for (int round = 0; round < 300; ++round) {
        std::string const end = random() % 2 ? "\n" : "\r\n";
        std::size_t const width = random() % 4 ? 1 + random() % 150 : 1'000'000;
        std::ostringstream text;
        Records expected;
        std::uint64_t records = random() % 20;
        for (std::uint64_t i = 0; i < records; ++i) {
            std::string const protein = test::random_protein(random, random() % 5 ? random() % 700 : 0);
            std::string const header = std::string("id").append(std::to_string(i)).append(random() % 90, 'h');
            expected.emplace_back(header, protein);
            text << '>' << header << end;
            for (std::size_t at = 0; at < protein.size(); at += width) {
                std::string part = protein.substr(at, width);
                if (random() % 3 == 0)
                    for (char &letter : part)
                        letter = static_cast<char>(std::tolower(letter));
                if (random() % 7 == 0)
                    part.insert(random() % (part.size() + 1), 1, '-');
                text << part << (random() % 15 ? "" : "  ") << end;
            }
            if (random() % 3 == 0)
                text << '*' << end;
        }
        check_records(read(text.str()), expected);
    }
}

BOOST_AUTO_TEST_CASE(a_record_of_100_million_residues) {
    std::mt19937_64 random(6);
    std::string const line = test::random_protein(random, 79);
    std::string text = ">titin of titins\n";
    std::size_t const lines = 100'000'000 / line.size();
    text.reserve((line.size() + 1) * lines + 100);
    for (std::size_t i = 0; i < lines; ++i)
        text.append(line).push_back('\n');
    text.append(">next\nMKT\n");
    FastaReader reader = reader_of(text);
    auto record = reader.next();
    BOOST_TEST(record->tokens.size() == lines * line.size());
    auto const expected = encode(Vocabulary::protbert(), line);
    bool equal = true;
    for (std::size_t at = 0; at < record->tokens.size(); at += line.size())
        equal = equal && std::equal(expected.begin(), expected.end(), record->tokens.begin() + static_cast<long>(at));
    BOOST_TEST(equal);
    BOOST_TEST(reader.next()->tokens.size() == 3u);
    text.back() = 'J';
    check_error([&] { drain(text); }, "x.fasta:" + std::to_string(lines + 3) + ":4: letter 'J' (record next)");
}

BOOST_AUTO_TEST_SUITE_END()
