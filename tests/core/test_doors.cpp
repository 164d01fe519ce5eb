// The two headers that stand for many. <loupe/fwd.h> comes first: what it declares must agree with
// the definitions.
#include <loupe/fwd.h>

#include <loupe/loupe.h>

#include "catch.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = LOUPE_SOURCE_ROOT;

std::vector<std::string> lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> all;
  std::string line;
  while (std::getline(in, line)) all.push_back(line);
  return all;
}

// The headers that <loupe/...> lines of a file name.
std::set<std::string> included(const fs::path& path) {
  std::set<std::string> names;
  for (const std::string& line : lines(path))
    if (line.rfind("#include <loupe/", 0) == 0) names.insert(line.substr(16, line.find('>') - 16));
  return names;
}

}  // namespace

TEST_CASE("loupe.h has every public header") {
  // Of use inside the library, or only to who looks below the tensor.
  const std::set<std::string> inner{"core/blas.h",          "core/dmath.h",   "core/elementwise.h",
                                    "core/number.h",        "core/pages.h",   "core/kernel_log.h",
                                    "io/onnx_graph.h",      "io/onnx_step.h", "io/onnx_writers.h",
                                    "io/unicode.h",         "io/utf8.h",      "io/json.h",
                                    "io/inflate.h",         "core/raw.h",     "autograd/trace.h",
                                    "view/explain_parts.h", "view/words.h",   "view/chart.h",
                                    "view/chart_parts.h",   "view/page.h",    "optim/step.h"};
  const std::set<std::string> all = included(kRoot / "loupe.h");
  size_t seen = 0;
  for (const char* folder : {"core", "autograd", "layers", "optim", "models", "io", "view"})
    for (const auto& entry : fs::directory_iterator(kRoot / folder)) {
      const std::string name = std::string(folder) + "/" + entry.path().filename().string();
      if (entry.path().extension() != ".h" || inner.count(name)) continue;
      ++seen;
      INFO(name << ": add its line to loupe.h");
      CHECK(all.count(name) == 1);
    }
  CHECK(seen == all.size());
  const std::set<std::string> ops = included(kRoot / "autograd/ops.h");
  for (const auto& entry : fs::directory_iterator(kRoot / "autograd/ops")) {
    const std::string name = "autograd/ops/" + entry.path().filename().string();
    if (entry.path().extension() != ".h" || name == "autograd/ops/rule.h" ||
        name == "autograd/ops/norm_parts.h")
      continue;
    INFO(name << ": add its line to autograd/ops.h");
    CHECK(ops.count(name) == 1);
  }
}

// A name that nothing defines would compile for ever.
TEST_CASE("fwd.h names only what loupe.h defines") {
  std::string sources;
  for (const std::string& header : included(kRoot / "loupe.h"))
    for (const std::string& line : lines(kRoot / header)) sources += line + "\n";
  for (const std::string& header : included(kRoot / "autograd/ops.h"))
    for (const std::string& line : lines(kRoot / header)) sources += line + "\n";
  for (const std::string& line : lines(kRoot / "core/number.h")) sources += line + "\n";
  size_t seen = 0;
  for (const std::string& line : lines(kRoot / "fwd.h")) {
    if (line.rfind("class ", 0) != 0 && line.rfind("struct ", 0) != 0 &&
        line.rfind("template ", 0) != 0)
      continue;
    ++seen;
    const std::string head = line.substr(0, line.size() - 1);
    INFO(head << " is not defined");
    const bool defined = sources.find("\n" + head + " {") != std::string::npos ||
                         sources.find("\n" + head + " : ") != std::string::npos;
    CHECK(defined);
  }
  CHECK(seen > 60);
}
