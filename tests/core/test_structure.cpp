// The house rules that a program can hold: who may include whom, the size of the library, and that no file is a stranger.
#include "catch.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = LOUPE_SOURCE_ROOT;
const std::vector<std::string> kLibrary{"core", "autograd", "layers", "optim", "models"};

// What a folder may include besides itself.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core", {}},
    {"autograd", {"core"}},
    {"layers", {"autograd", "core"}},
    {"optim", {"autograd", "core"}},
    {"models", {"layers", "autograd", "core"}},
    {"io", {"core"}},
};
// The checkpoint and what TensorBoard is told of a model see more than the rest of io.
bool sees_modules(const std::string& file) {
  for (const char* one : {"io/checkpoint", "io/model_graph", "io/monitor"})
    if (file.rfind(one, 0) == 0) return true;
  return false;
}

struct Include {
  std::string target;
  int line;
};

bool is_source(const fs::path& p) { return p.extension() == ".h" || p.extension() == ".cpp" || p.extension() == ".inc"; }

template <class F> void for_sources(const std::string& folder, F f) {
  if (!fs::exists(kRoot / folder)) return;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
    if (entry.is_regular_file() && is_source(entry.path())) f(entry.path(), fs::relative(entry.path(), kRoot).generic_string());
}

std::vector<Include> includes(const fs::path& path) {
  std::vector<Include> found;
  std::ifstream in(path);
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    if (text.rfind("#include", 0) != 0) continue;
    const size_t open = text.find_first_of("<\""), close = text.find_last_of(">\"");
    if (open != std::string::npos && close > open) found.push_back({text.substr(open, close - open + 1), line});
  }
  return found;
}

}  // namespace

TEST_CASE("every folder includes only what the design allows") {
  int checked = 0;
  for (const auto& [folder, allowed] : kMayInclude)
    for_sources(folder, [&, folder = folder, allowed = allowed](const fs::path& path, const std::string& name) {
      for (const Include& i : includes(path)) {
        INFO(name << ":" << i.line << " includes " << i.target);
        if (i.target[0] == '"') {
          // Beside the file only: never a way around <loupe/...>.
          CHECK(i.target.find("..") == std::string::npos);
          CHECK(fs::exists(path.parent_path() / i.target.substr(1, i.target.size() - 2)));
          continue;
        }
        if (i.target.rfind("<loupe/", 0) != 0) continue;
        const std::string rest = i.target.substr(7), other = rest.substr(0, rest.find('/'));
        const bool more = sees_modules(name) && (other == "autograd" || other == "layers" || other == "optim");
        CHECK((other == folder || allowed.count(other) == 1 || more));
        CHECK(fs::exists(kRoot / rest.substr(0, rest.size() - 1)));
        ++checked;
      }
    });
  CHECK(checked > 100);
}

TEST_CASE("tensor.h stays light, and heavy headers stay in few sources") {
  for (const Include& i : includes(kRoot / "core/tensor.h"))
    for (const char* heavy : {"<iostream>", "<functional>", "<regex>"}) CHECK(i.target != heavy);
  for (const char* heavy : {"<nlohmann/json.hpp>", "<CLI/CLI.hpp>"}) {
    std::vector<std::string> users;
    for (const char* folder : {"core", "autograd", "layers", "optim", "models", "io", "lesson", "cli"})
      for_sources(folder, [&](const fs::path& path, const std::string& name) {
        for (const Include& i : includes(path))
          if (i.target.find(std::string(heavy).substr(1, std::string(heavy).find('/') - 1) + "/") == 1) users.push_back(name);
      });
    CAPTURE(heavy, users);
    CHECK(users.size() <= 3);
    CHECK(std::none_of(users.begin(), users.end(), [](const std::string& u) { return u.size() > 2 && u.substr(u.size() - 2) == ".h"; }));
  }
}

// Lines that hold code: neither blank nor comment.
int64_t code_lines(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  int64_t n = 0;
  while (std::getline(in, line)) {
    const size_t first = line.find_first_not_of(" \t");
    n += first != std::string::npos && line.compare(first, 2, "//") != 0;
  }
  return n;
}

// What one reads to understand the library, and the kernels, each of which has a plain loop beside it that says the same.
TEST_CASE("core, autograd, layers, optim and models stay small: 9,000 lines of code, and 4,000 of kernels") {
  int64_t library = 0, kernels = 0;
  for (const std::string& folder : kLibrary)
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      (name.find("core/kernels/") == 0 ? kernels : library) += code_lines(path);
    });
  CAPTURE(library, kernels);
  CHECK(library > 1000);
  CHECK(kernels > 1000);
  CHECK(library < 9000);
  CHECK(kernels < 4000);
}

TEST_CASE("no folder called utils, no paths of one machine, nothing left to do") {
  const std::regex left("\\b(TODO|FIXME|XXX)\\b");
  const std::string own = "test_structure.cpp";
  for (const char* folder : {"core", "autograd", "layers", "optim", "models", "io", "lesson", "cli", "examples", "bench", "tests"}) {
    CHECK(!fs::exists(kRoot / folder / "utils"));
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      if (path.filename() == own) return;
      std::ifstream in(path);
      std::string line;
      for (int n = 1; std::getline(in, line); ++n) {
        INFO(name << ":" << n << ": " << line);
        if (line.find("/work/") != std::string::npos || line.find("/home/") != std::string::npos) CHECK(line.empty());
        if (line.find("TODO") != std::string::npos || line.find("FIXME") != std::string::npos || line.find("XXX") != std::string::npos)
          CHECK(!std::regex_search(line, left));
      }
    });
  }
}
