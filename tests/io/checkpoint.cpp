#include <protlm/io/checkpoint.hpp>
#include <protlm/io/find_model.hpp>
#include <protlm/io/safetensors_writer.hpp>

#include <io/messages.hpp>
#include <support/temporary_folder.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <map>
#include <thread>

using namespace protlm;
using protlm::test::has;
using protlm::test::message_of;
using protlm::test::read_file;
using protlm::test::TemporaryFolder;

namespace {

std::string digest(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

void write_checkpoint(std::filesystem::path const &folder, std::string const &content) {
    CheckpointWriter checkpoint(folder);
    checkpoint.write("vocab.txt", content);
    write_json(checkpoint / "deep/config.json", {{"content", content}});
    checkpoint.commit();
}

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint)

// The examples of FIPS 180-4 and of NIST's Secure Hash Standard Validation System.
BOOST_AUTO_TEST_CASE(sha256_known_answers) {
    BOOST_TEST(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    BOOST_TEST(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    BOOST_TEST(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    BOOST_TEST(digest("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                      "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu") ==
               "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    BOOST_TEST(digest(std::string(1'000'000, 'a')) ==
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

BOOST_AUTO_TEST_CASE(sha256_is_the_same_in_any_pieces_and_on_any_processor) {
    std::string text(1000, '\0');
    for (std::size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>(i * 37 + i / 11);
    for (std::size_t size = 0; size <= 200; ++size) {
        auto const bytes = std::as_bytes(std::span(text)).first(size);
        for (std::size_t const step : {1u, 7u, 63u, 64u, 65u}) {
            Sha256 hash;
            for (std::size_t i = 0; i < size; i += step)
                hash.update(bytes.subspan(i, std::min(step, size - i)));
            BOOST_REQUIRE(hash.hex() == sha256(bytes));
            BOOST_REQUIRE(hash.hex() == sha256(bytes)); // asking changes nothing
        }
    }
    detail::Sha256State any{1, 2, 3, 4, 5, 6, 7, 8}, portable = any;
    auto const *data = reinterpret_cast<std::byte const *>(text.data()) + 1;
    detail::sha256_blocks(any, data, 15);
    detail::sha256_blocks_portable(portable, data, 15);
    BOOST_TEST((any == portable));
}

BOOST_AUTO_TEST_CASE(a_committed_checkpoint_is_complete_and_verified) {
    TemporaryFolder const root;
    auto const folder = root / "step-00000001";
    float const value = 2;
    {
        CheckpointWriter checkpoint(folder.string() + "/");
        checkpoint.write("vocab.txt", "A\nB\n");
        SafetensorsWriter weights(checkpoint / "model.safetensors", {{"w", DataType::f32, {1}}});
        weights.append("w", &value, 1);
        weights.commit();
        write_json(checkpoint / "generator/config.json", {{"a", 1}});
        BOOST_TEST(!std::filesystem::exists(folder));
        checkpoint.commit();
    }
    BOOST_TEST(std::filesystem::exists(folder));
    BOOST_TEST(!std::filesystem::exists(folder.string() + ".partial"));
    verify_checkpoint(folder);
    auto const sums = read_json(folder / "checksums.json");
    BOOST_TEST(sums["files"].size() == 3u);
    BOOST_TEST(sums["files"]["vocab.txt"]["sha256"] == digest("A\nB\n"));
    BOOST_TEST(sums["files"]["generator/config.json"]["bytes"] ==
               std::filesystem::file_size(folder / "generator/config.json"));
}

BOOST_AUTO_TEST_CASE(without_commit_the_old_checkpoint_stands) {
    TemporaryFolder const root;
    auto const folder = root / "step-00000001";
    write_checkpoint(folder, "old");
    {
        CheckpointWriter checkpoint(folder);
        checkpoint.write("vocab.txt", "new");
    }
    BOOST_TEST(test::read_file(folder / "vocab.txt") == "old");
    BOOST_TEST(!std::filesystem::exists(folder.string() + ".partial"));
    verify_checkpoint(folder);
    BOOST_TEST(has(message_of([&] { CheckpointWriter(folder).commit(); }), "nothing was written"));
    verify_checkpoint(folder);
}

BOOST_AUTO_TEST_CASE(a_checkpoint_replaces_one_of_the_same_name) {
    TemporaryFolder const root;
    auto const folder = root / "step-00000001";
    write_checkpoint(folder, "old");
    root.write("step-00000001/extra.txt", "x");
    root.write("step-00000001.partial/stale.txt", "of a killed run");
    write_checkpoint(folder, "new");
    BOOST_TEST(test::read_file(folder / "vocab.txt") == "new");
    BOOST_TEST(!std::filesystem::exists(folder / "extra.txt"));
    BOOST_TEST(!std::filesystem::exists(folder / "stale.txt"));
    BOOST_TEST(!std::filesystem::exists(folder.string() + ".partial"));
    verify_checkpoint(folder);
}

BOOST_AUTO_TEST_CASE(names_that_lead_out_are_refused) {
    TemporaryFolder const root;
    CheckpointWriter const checkpoint(root / "a");
    for (char const *name : {"../x", "/x", "", "a/../../x", "."})
        BOOST_TEST(has(message_of([&] { (void)(checkpoint / name); }), "is not a name inside the folder"), name);
}

BOOST_AUTO_TEST_CASE(damage_is_found_and_named) {
    TemporaryFolder const root;
    auto const folder = root / "c";
    auto const broken = [&](auto &&damage) {
        write_checkpoint(folder, "content");
        damage();
        return message_of([&] { verify_checkpoint(folder); });
    };
    auto const path = (folder / "vocab.txt").string();
    BOOST_TEST(broken([] {}) == "(no error)");
    BOOST_TEST(has(broken([&] { root.write("c/vocab.txt", "contend"); }), path + ": is damaged"));
    verify_checkpoint(folder, Verify::sizes);
    BOOST_TEST(has(broken([&] { root.write("c/vocab.txt", "conten"); }), path + ": has 6 bytes, expected 7"));
    BOOST_TEST(has(broken([&] { std::filesystem::remove(path); }), path + ": listed in checksums.json, but cannot"));
    BOOST_TEST(has(broken([&] { std::filesystem::remove(folder / "checksums.json"); }), "has no checksums.json"));
    BOOST_TEST(has(broken([&] { root.write("c/checksums.json", "{\"files\""); }), "checksums.json: line 1"));
    auto const list = [&](char const *text) { return broken([&] { root.write("c/checksums.json", text); }); };
    BOOST_TEST(has(list(R"({"format_version": 1, "files": {}})"), "lists no files"));
    BOOST_TEST(has(list(R"({"format_version": 1, "files": {"../a": {}}})"), "leads out of the folder"));
    BOOST_TEST(has(list(R"({"format_version": 2, "files": {}})"), "this program reads 1"));
}

BOOST_AUTO_TEST_CASE(step_names_sort_by_step) {
    BOOST_TEST(step_folder_name(1200) == "step-00001200");
    BOOST_TEST(step_folder_name(1234567890) == "step-1234567890");
    BOOST_TEST(detail::parse_step("step-00001200").value() == 1200);
    BOOST_TEST(detail::parse_step("step-1234567890").value() == 1234567890);
    for (char const *name : {"step-1", "step-0000000x", "step-00000001.partial", "step--0000001", "best", "step-",
                             "step-99999999999999999999"})
        BOOST_TEST(!detail::parse_step(name).has_value(), name);
    BOOST_CHECK_THROW(step_folder_name(-1), Error);
}

BOOST_AUTO_TEST_CASE(the_latest_is_the_newest_undamaged_one) {
    TemporaryFolder const root;
    BOOST_TEST(!latest_checkpoint(root / "none"));
    BOOST_TEST(!latest_checkpoint(root.path()));
    for (index_t const step : {10, 20, 30, 40})
        write_checkpoint(root / step_folder_name(step), std::to_string(step));
    root.write("step-00000050.partial/vocab.txt", "50");
    root.write("step-00000060", "a file");
    root.write("best/vocab.txt", "x");
    auto latest = latest_checkpoint(root.path());
    BOOST_TEST(latest.step == 40);
    BOOST_TEST(latest.folder == root / "step-00000040");
    BOOST_TEST(latest.warnings.empty());
    root.write("step-00000040/vocab.txt", "41");
    std::filesystem::remove(root / "step-00000030" / "checksums.json");
    latest = latest_checkpoint(root.path());
    BOOST_TEST(latest.step == 20);
    BOOST_REQUIRE(latest.warnings.size() == 2u);
    BOOST_TEST(has(latest.warnings[0], "step-00000040/vocab.txt: is damaged"));
    BOOST_TEST(has(latest.warnings[1], "step-00000030: has no checksums.json"));
}

BOOST_AUTO_TEST_CASE(pruning_keeps_the_last_complete_ones) {
    TemporaryFolder const root;
    for (index_t const step : {10, 20, 30, 40, 50})
        write_checkpoint(root / step_folder_name(step), std::to_string(step));
    std::filesystem::remove(root / "step-00000050" / "vocab.txt");
    auto const removed = prune_checkpoints(root.path(), 2);
    BOOST_TEST(removed.size() == 2u);
    std::vector<index_t> left;
    for (auto const &[step, folder] : list_checkpoints(root.path()))
        left.push_back(step);
    BOOST_TEST((left == std::vector<index_t>{30, 40, 50}));
    BOOST_TEST(prune_checkpoints(root.path(), 2).empty());
    BOOST_CHECK_THROW(prune_checkpoints(root.path(), 0), Error);
    BOOST_TEST(prune_checkpoints(root / "none", 1).empty());
}

BOOST_AUTO_TEST_CASE(leftovers_of_interrupted_runs_are_removed) {
    TemporaryFolder const root;
    write_checkpoint(root / "step-00000010", "10");
    for (char const *name : {"step-00000020.partial/a", "step-00000030.old.partial/a", "other.partial/a"})
        root.write(name, "x");
    BOOST_TEST(remove_partial_checkpoints(root.path()).size() == 2u);
    BOOST_TEST(std::filesystem::exists(root / "other.partial"));
    BOOST_TEST(std::filesystem::exists(root / "step-00000010"));
    BOOST_TEST(remove_partial_checkpoints(root / "none").empty());
}

BOOST_AUTO_TEST_CASE(a_checkpoint_that_was_being_replaced_gets_its_name_back) {
    TemporaryFolder const root;
    auto const make = [&](char const *name, std::string const &text) { write_checkpoint(root / name, text); };
    make("step-00000010.old.partial", "old"); // killed between the two renames
    make("step-00000010.partial", "new");
    make("step-00000020.old.partial", "old"); // the new one is not whole
    root.write("step-00000020.partial/vocab.txt", "torn");
    make("step-00000030.old.partial", "old"); // killed behind the second rename
    make("step-00000030", "new");
    make("step-00000040.partial", "pruned"); // killed while it was removed
    remove_partial_checkpoints(root.path());
    std::map<std::string, std::string> left;
    for (auto const &entry : std::filesystem::directory_iterator(root.path()))
        left[entry.path().filename().string()] = read_file(entry.path() / "vocab.txt");
    BOOST_TEST((left == std::map<std::string, std::string>{
                            {"step-00000010", "new"}, {"step-00000020", "old"}, {"step-00000030", "new"}}));
}

BOOST_AUTO_TEST_CASE(pruning_spares_what_it_is_told_to) {
    TemporaryFolder const root;
    for (index_t const step : {10, 20, 30, 40})
        write_checkpoint(root / step_folder_name(step), std::to_string(step));
    auto const removed = prune_checkpoints(root.path(), 1, {root / step_folder_name(20)});
    BOOST_TEST((removed == std::vector{root / step_folder_name(10), root / step_folder_name(30)}));
    BOOST_TEST(set_aside_checkpoints(root.path(), 20).size() == 1u);
    BOOST_TEST(std::filesystem::exists(root / "step-00000040.abandoned"));
    BOOST_TEST(latest_checkpoint(root.path()).step == 20);
}

BOOST_AUTO_TEST_CASE(a_newer_format_is_no_damage) {
    TemporaryFolder const root;
    write_checkpoint(root / step_folder_name(10), "10");
    root.write("step-00000020/checksums.json", R"({"format_version": 2, "files": {"a": {}}})");
    BOOST_CHECK_THROW(latest_checkpoint(root.path()), NewerFormat);
    BOOST_TEST(newest_checkpoint_of(root / step_folder_name(10)) == root / step_folder_name(10));
}

BOOST_AUTO_TEST_CASE(a_run_that_prunes_while_its_newest_checkpoint_is_looked_for) {
    TemporaryFolder const root;
    write_checkpoint(root / step_folder_name(1), "1");
    std::atomic<bool> stop = false;
    std::thread run([&] {
        for (index_t step = 2; !stop; ++step) {
            write_checkpoint(root / step_folder_name(step), std::to_string(step));
            prune_checkpoints(root.path(), 1);
        }
    });
    index_t step = 0;
    for (int i = 0; i < 300; ++i) {
        auto const latest = latest_checkpoint(root.path());
        BOOST_REQUIRE(!latest.folder.empty());
        BOOST_TEST(latest.warnings.empty());
        BOOST_TEST(latest.step >= step);
        step = latest.step;
    }
    stop = true;
    run.join();
    BOOST_TEST(step > 1);
}

BOOST_AUTO_TEST_CASE(models_are_found_where_people_have_them) {
    TemporaryFolder const folder;
    auto const cache = folder / "models--Rostlab--prot_bert";
    auto const message = [](std::filesystem::path const &path) { return message_of([&] { find_model(path); }); };
    std::filesystem::create_directories(cache / "snapshots" / "abc");
    folder.write("models--Rostlab--prot_bert/snapshots/abc/config.json", "{}");
    BOOST_TEST(find_model(cache) == cache / "snapshots" / "abc");
    std::filesystem::create_directories(cache / "snapshots" / "def");
    BOOST_TEST(has(message(cache), "holds 2 revisions, and refs/main names none of them"));
    std::filesystem::create_directories(cache / "refs");
    folder.write("models--Rostlab--prot_bert/refs/main", "abc\n");
    BOOST_TEST(find_model(cache) == cache / "snapshots" / "abc");
    folder.write("models--Rostlab--prot_bert/refs/main", "../..");
    BOOST_TEST(has(message(cache), "holds 2 revisions"));
    std::filesystem::create_directories(folder / "zip" / "prot_bert");
    folder.write("zip/prot_bert/config.json", "{}");
    BOOST_TEST(has(message(folder / "zip"), "holds no config.json, but its folder prot_bert does: give "));
    auto const file = folder.write("zip/prot_bert/model.safetensors", "");
    BOOST_TEST(has(message(file), "is a file; a model is a folder with config.json, weights and a vocabulary: give " +
                                      file.parent_path().string()));
    for (auto const *name :
         {"Rostlab/prot_bert", "https://huggingface.co/Rostlab/prot_bert", "https://huggingface.co/Rostlab/prot_bert/"})
        BOOST_TEST(has(message(name), "no such folder; models are not fetched by their names: 'hf download "
                                      "Rostlab/prot_bert --local-dir prot_bert' makes the folder prot_bert"));
    for (auto const *name : {"prot_bert", "a/b/c", "./prot_bert", "/prot_bert", "../a", "a/.b", "a b/c", "/tmp/none"})
        BOOST_TEST(message(name).ends_with(": no such folder"), name);
}

BOOST_AUTO_TEST_SUITE_END()
