// The house rules that a program can hold: who may include whom, and that no file is a stranger. It
// also prints the sizes of the house.
#include "catch.h"
#include "public_names.h"

#include <algorithm>
#include <cstdio>
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

// What a folder may include besides itself.
const std::map<std::string, std::set<std::string>> kMayInclude{
    {"core", {}},
    {"autograd", {"core"}},
    {"layers", {"autograd", "core"}},
    {"optim", {"autograd", "core"}},
    {"models", {"layers", "autograd", "core"}},
    {"io", {"core"}},
    {"view", {"optim", "layers", "autograd", "core"}},
    {"distributed", {"optim", "layers", "autograd", "core"}},
};
// The checkpoint and what TensorBoard is told of a model see more than the rest of io.
bool sees_modules(const std::string& file) {
  for (const char* one : {"io/checkpoint", "io/model_graph", "io/monitor", "io/onnx"})
    if (file.rfind(one, 0) == 0) return true;
  return false;
}

struct Include {
  std::string target;
  int line;
};

bool is_source(const fs::path& p) {
  return p.extension() == ".h" || p.extension() == ".cpp" || p.extension() == ".inc";
}

template <class F> void for_sources(const std::string& folder, F f) {
  if (!fs::exists(kRoot / folder)) return;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
    if (entry.is_regular_file() && is_source(entry.path()))
      f(entry.path(), fs::relative(entry.path(), kRoot).generic_string());
}

std::vector<Include> includes(const fs::path& path) {
  std::vector<Include> found;
  std::ifstream in(path);
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    if (text.rfind("#include", 0) != 0) continue;
    const size_t open = text.find_first_of("<\""), close = text.find_last_of(">\"");
    if (open != std::string::npos && close > open)
      found.push_back({text.substr(open, close - open + 1), line});
  }
  return found;
}

}  // namespace

TEST_CASE("every folder includes only what the design allows") {
  int checked = 0;
  for (const auto& [folder, allowed] : kMayInclude)
    for_sources(folder, [&, folder = folder, allowed = allowed](const fs::path& path,
                                                                const std::string& name) {
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
        const bool more =
            sees_modules(name) && (other == "autograd" || other == "layers" || other == "optim");
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
    for (const char* folder : {"core", "autograd", "layers", "optim", "models", "io", "view",
                               "distributed", "lesson", "cli", "exercises"})
      for_sources(folder, [&](const fs::path& path, const std::string& name) {
        for (const Include& i : includes(path))
          if (i.target.find(std::string(heavy).substr(1, std::string(heavy).find('/') - 1) + "/") ==
              1)
            users.push_back(name);
      });
    CAPTURE(heavy, users);
    CHECK(users.size() <= 3);
    CHECK(std::none_of(users.begin(), users.end(), [](const std::string& u) {
      return u.size() > 2 && u.substr(u.size() - 2) == ".h";
    }));
  }
}

namespace {

// A function as a reader meets it: where it starts, how long it is, how much it takes.
struct Function {
  std::string place;
  int64_t lines;
  int64_t parameters;
};

struct Line {
  std::string place;
  size_t width;
};

struct Size {
  int64_t files = 0;
  int64_t code = 0;      // lines with code on them
  int64_t comments = 0;  // lines that are a comment
};

std::vector<std::string> read_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  std::string line;
  while (std::getline(in, line)) lines.push_back(line);
  return lines;
}

// Parameters in the text between a function's parentheses: commas outside of brackets, plus one.
int64_t count_parameters(const std::string& head) {
  const size_t open = head.find('(');
  int64_t depth = 0, commas = 0;
  for (size_t i = open; i < head.size(); ++i) {
    const char c = head[i];
    if (c == '(' || c == '{' || c == '<' || c == '[') ++depth;
    if (c == ')' || c == '}' || c == '>' || c == ']') --depth;
    if (depth == 1 && c == ',') ++commas;
    if (depth == 0) {
      const bool none = head.find_first_not_of(" (", open) == i;
      return none ? 0 : commas + 1;
    }
  }
  return 0;
}

// The functions of a file in this house's format: a head at a column, its body's end in the same
// column. Lambdas and control statements start deeper or with a keyword.
std::vector<Function> functions(const std::vector<std::string>& lines, const std::string& name) {
  static const std::regex head("^( {0,2})[A-Za-z_~][^;=#]*\\(.*");
  static const std::regex keyword(
      "^ *(if|for|while|switch|return|else|do|namespace|struct|class|"
      "enum|using|public|private|case|fail)\\b.*");
  std::vector<Function> found;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::smatch m;
    if (!std::regex_match(lines[i], m, head) || std::regex_match(lines[i], keyword)) continue;
    std::string text = lines[i];
    size_t opened = i;
    while (text.back() != '{' && text.back() != ';' && text.back() != '}' &&
           opened + 1 < lines.size() && opened < i + 12)
      text += lines[++opened];
    if (text.back() != '{') continue;
    const std::string closing = m[1].str() + "}";
    size_t end = opened;
    while (end < lines.size() && lines[end] != closing && lines[end] != "}") ++end;
    if (end == lines.size() || lines[end] != closing) continue;  // a call that takes a lambda
    found.push_back({name + ":" + std::to_string(i + 1), static_cast<int64_t>(end - i + 1),
                     count_parameters(text)});
    i = opened;
  }
  return found;
}

template <class T, class Key> std::string top_ten(std::vector<T> all, const Key& key) {
  std::stable_sort(all.begin(), all.end(), [&](const T& a, const T& b) { return key(a) > key(b); });
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(10, all.size()); ++i)
    text += "  " + std::to_string(key(all[i])) + "  " + all[i].place + "\n";
  return text;
}

}  // namespace

// A report to read, not a limit to satisfy: it fails for no size.
TEST_CASE(
    "the size of the house: lines, longest functions, longest parameter lists, widest lines") {
  std::string report = "folder              files   code  comment lines\n";
  std::vector<Function> all;
  std::vector<Line> widths;
  int64_t total = 0;
  for (const char* folder :
       {"core", "core/kernels", "autograd", "layers", "optim", "models", "io", "view",
        "distributed", "lesson", "cli", "examples", "exercises", "tests"}) {
    Size size;
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      if (std::string(folder) == "core" && name.rfind("core/kernels/", 0) == 0) return;
      const std::vector<std::string> lines = read_lines(path);
      ++size.files;
      for (size_t i = 0; i < lines.size(); ++i) {
        const size_t first = lines[i].find_first_not_of(" \t");
        if (first == std::string::npos) continue;
        const bool comment = lines[i].compare(first, 2, "//") == 0;
        ++(comment ? size.comments : size.code);
        widths.push_back({name + ":" + std::to_string(i + 1), lines[i].size()});
      }
      const std::vector<Function> here = functions(lines, name);
      all.insert(all.end(), here.begin(), here.end());
    });
    if (size.files == 0) continue;
    total += size.code;
    char row[80];
    std::snprintf(row, sizeof row, "%-18s %6ld %6ld %8ld\n", folder, static_cast<long>(size.files),
                  static_cast<long>(size.code), static_cast<long>(size.comments));
    report += row;
  }
  report += "longest functions (lines)\n" + top_ten(all, [](const Function& f) { return f.lines; });
  report +=
      "longest parameter lists\n" + top_ten(all, [](const Function& f) { return f.parameters; });
  report += "widest lines (columns)\n" + top_ten(widths, [](const Line& l) { return l.width; });
  std::printf("%s", report.c_str());
  CHECK(total > 10000);  // it saw the tree
  CHECK(all.size() > 500);
}

namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool has_word(const std::string& text, const std::string& word) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    if ((at == 0 || !is_name(text[at - 1])) &&
        (at + word.size() == text.size() || !is_name(text[at + word.size()])))
      return true;
  return false;
}

}  // namespace

// A public function without a case of misuse is found here. What stands below takes nothing that
// could be wrong, or is the machinery under the functions that are called wrongly.
TEST_CASE("every public function and class has a case in its folder's tests of misuse") {
  const std::set<std::string> exempt{
      // questions with an answer for everything, and switches
      "cpu_level", "size_of", "is_floating", "dtype_of", "decltype", "last_kernel",
      "clear_kernel_log", "log_kernel", "thread_limit", "parallel_pieces", "spread_of", "depth_svg",
      "EvalScope", "plain_kernels", "reset_peak_memory", "release_cached_memory", "defined",
      "requires_grad", "is_leaf", "is_same", "use_count", "zero_grad", "zero_", "anomaly_mode",
      "AnomalyMode", "grad_enabled", "GradMode", "fusion", "set_fusion", "as_text", "Sha256",
      "set_write_fault", "decode_utf8", "append_utf8", "find_invalid_utf8", "to_state_dict",
      "checkpoint_checksum", "current_path", "current_site", "path_id", "path_name", "with_place",
      "SampleStreams", "to_string",
      // of a tensor, as `shape`, which stands for them
      "strides", "dtype", "dim", "numel", "offset", "impl", "grad_meta", "set_grad_meta",
      "check_dtype", "check_row_major", "item_as_double", "item_as_integer",
      // what ops are made of; their misuse is a bug of the library, or comes back as the op's own
      // error
      "Here", "simd", "philox", "philox_fill", "Storage", "Scratch", "row_major_strides",
      "broadcast_shapes", "normalize_axis", "GradFunction", "SavedTensor", "Node", "should_record",
      "link", "record", "note", "Trace", "SiteScope", "PathScope", "RuleScope",
      // looks on, and has nothing to refuse
      "Watch", "Stretch", "StretchListener", "clock_seconds", "Profile", "MemoryWatch",
      "MemoryTimeline", "peak_in_words", "op_flops", "measure_peak", "to_text", "to_dot",
      "explained_layers", "see", "Document", "decimal", "Identity",
      // bases and parts of what is tested
      "ActivationLayer", "PoolLayer", "Recurrent", "CellParts", "Visitor", "Module", "Layer",
      "BatchNormState", "BatchNorm", "BatchShares", "Optimizer", "GptAttention", "GptMlp",
      "GptBlock", "GptBody", "GptHead"};
  // Folder, and the folder of its tests of misuse.
  const std::map<std::string, std::string> tested{
      {"core", "autograd"}, {"autograd", "autograd"},      {"layers", "layers"},
      {"optim", "optim"},   {"models", "models"},          {"io", "io"},
      {"view", "view"},     {"distributed", "distributed"}};
  const std::set<std::string> internal{
      "core/raw.h",          "core/blas.h",          "core/dmath.h",          "core/elementwise.h",
      "core/number.h",       "core/pages.h",         "io/unicode.h",          "view/chart.h",
      "view/chart_parts.h",  "view/page.h",          "view/explain_parts.h",  "view/words.h",
      "distributed/group.h", "distributed/engine.h", "distributed/in_order.h"};
  std::set<std::string> seen;
  for (const auto& [folder, its_tests] : tested) {
    const std::string& tests = its_tests;  // a lambda cannot take a part of a structured binding
    std::string cases;
    for (const auto& entry : fs::directory_iterator(kRoot / "tests" / tests))
      if (entry.path().filename().string().rfind("test_misuse", 0) == 0) {
        std::ifstream in(entry.path());
        cases.append(std::istreambuf_iterator<char>(in), {});
      }
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      if (path.extension() != ".h" || internal.count(name) || name.rfind("core/kernels/", 0) == 0)
        return;
      for (const std::string& word : loupe::testing::public_names(path)) {
        seen.insert(word);
        if (exempt.count(word)) continue;
        INFO(name << " declares " << word << ": add a case to tests/" << tests
                  << "/test_misuse*.cpp");
        CHECK(has_word(cases, word));
      }
    });
  }
  CHECK(seen.size() > 300);
  for (const std::string& word : exempt) {
    INFO(word << " is exempt, but no header declares it");
    CHECK(seen.count(word) == 1);
  }
}

TEST_CASE("no folder called utils, no paths of one machine, nothing left to do") {
  const std::regex left("\\b(TODO|FIXME|XXX)\\b");
  const std::string own = "test_structure.cpp";
  for (const char* folder :
       {"core", "autograd", "layers", "optim", "models", "io", "view", "distributed", "lesson",
        "cli", "examples", "exercises", "bench", "tests"}) {
    CHECK(!fs::exists(kRoot / folder / "utils"));
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      if (path.filename() == own) return;
      std::ifstream in(path);
      std::string line;
      for (int n = 1; std::getline(in, line); ++n) {
        INFO(name << ":" << n << ": " << line);
        if (line.find("/work/") != std::string::npos || line.find("/home/") != std::string::npos)
          CHECK(line.empty());
        if (line.find("TODO") != std::string::npos || line.find("FIXME") != std::string::npos ||
            line.find("XXX") != std::string::npos)
          CHECK(!std::regex_search(line, left));
      }
    });
  }
}

TEST_CASE("the library prints nothing, ends nothing, and sets no signal handler or locale") {
  const std::regex outward(
      R"(fmt::print|std::(cout|cerr|signal|exit)|[^n]printf\(|sigaction|setlocale|[^_]abort\(|_exit\()");
  int lines = 0;
  for (const auto& [folder, allowed] : kMayInclude)
    for_sources(folder, [&](const fs::path& path, const std::string& name) {
      std::ifstream in(path);
      for (std::string line; std::getline(in, line); ++lines) {
        INFO(name << ": " << line);
        CHECK_FALSE(std::regex_search(line.substr(0, line.find("//")), outward));
      }
    });
  CHECK(lines > 20000);
}
