#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

namespace protlm::test {

/// A fresh folder that no other process has; removed with everything in it at the end of the test case.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "protlm-test-XXXXXX").string();
        if (!::mkdtemp(name.data()))
            throw std::runtime_error("cannot make a temporary folder " + name);
        path_ = name;
    }
    TemporaryFolder(TemporaryFolder const &) = delete;
    TemporaryFolder &operator=(TemporaryFolder const &) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::filesystem::path const &path() const { return path_; }
    std::filesystem::path operator/(std::filesystem::path const &name) const { return path_ / name; }

    /// Writes a file with exactly these bytes and gives its path; folders on the way are made.
    std::filesystem::path write(std::filesystem::path const &name, std::string_view content) const {
        std::filesystem::create_directories((path_ / name).parent_path());
        std::ofstream file(path_ / name, std::ios::binary);
        file.write(content.data(), static_cast<std::streamsize>(content.size()));
        if (!file.flush())
            throw std::runtime_error("cannot write " + (path_ / name).string());
        return path_ / name;
    }

  private:
    std::filesystem::path path_;
};

/// All bytes of a file. @throws std::runtime_error when it cannot be read
inline std::string read_file(std::filesystem::path const &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(file), {}};
}

} // namespace protlm::test
