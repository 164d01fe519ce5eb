// ONNX's node tests as a judge: every packed case that one op or layer of Loupe expresses gives
// the case's values, within the tests' own tolerance; the list of what is not expressed is held to
// the reasons that this program finds. onnx_cases.py wrote both files.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <protozero/pbf_reader.hpp>
#include <sstream>

#include <loupe/core/error.h>
#include <loupe/core/raw.h>

#include "catch.h"
#include "onnx_model.h"

using namespace judges;

namespace {

std::string read(const std::string& file) {
  std::ifstream in(std::string(LOUPE_SOURCE_ROOT) + "/tests/judges/" + file, std::ios::binary);
  if (!in) throw std::runtime_error(file + " is missing");
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

struct Case {
  std::string name, model;
  std::vector<std::string> inputs, outputs;
  double rtol = 0, atol = 0;
};

Case parse_case(const std::string& bytes) {
  Case c;
  for (protozero::pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: c.name = r.get_string(); break;
      case 2: c.model = r.get_string(); break;
      case 3: c.inputs.push_back(r.get_string()); break;
      case 4: c.outputs.push_back(r.get_string()); break;
      case 5: c.rtol = r.get_double(); break;
      case 6: c.atol = r.get_double(); break;
      default: r.skip();
    }
  }
  return c;
}

struct Cases {
  std::vector<Case> all;
  int64_t total = 0;  // of the package
  Cases() {
    const std::string bytes = read("onnx_cases.bin");
    for (protozero::pbf_reader r(bytes); r.next();) {
      if (r.tag() == 1) all.push_back(parse_case(r.get_string()));
      else if (r.tag() == 2) total = r.get_int64();
      else r.skip();
    }
  }
};

// "" if `got` is what the case says, else the first difference.
std::string difference(const Case& c, const Tensor& got, const Tensor& want) {
  if (got.shape() != want.shape())
    return fmt::format("shape {}, expected {}", got.shape(), want.shape());
  if (got.dtype() != want.dtype()) return fmt::format("{}, expected {}", got.dtype(), want.dtype());
  const auto a = got.to_vector<double>(), b = want.to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    const bool near =
        std::isfinite(b[i]) && std::abs(a[i] - b[i]) <= c.atol + c.rtol * std::abs(b[i]);
    if (!same && !near) return fmt::format("element {} is {}, expected {}", i, a[i], b[i]);
  }
  return "";
}

struct Outcome {
  enum class Kind { agrees, differs, refused } kind;
  std::string text;
};

Outcome judge(const Case& c) {
  try {
    Tensors inputs;
    for (const std::string& t : c.inputs) inputs.push_back(parse_tensor(t));
    const Tensors got = run_model(parse_model(c.model), inputs);
    if (got.size() != c.outputs.size()) return {Outcome::Kind::differs, "number of outputs"};
    for (size_t k = 0; k < got.size(); ++k) {
      const std::string text = difference(c, got[k], parse_tensor(c.outputs[k]));
      if (!text.empty()) return {Outcome::Kind::differs, fmt::format("output {}: {}", k, text)};
    }
  } catch (const NotExpressible& e) {
    return {Outcome::Kind::refused, e.what()};
  } catch (const std::exception& e) { return {Outcome::Kind::differs, e.what()}; }
  return {Outcome::Kind::agrees, ""};
}

}  // namespace

TEST_CASE("ONNX's node tests agree; what is not expressible is the committed list") {
  const Cases cases;
  std::map<std::string, std::string> listed;
  std::istringstream lines(read("onnx_not_expressible.txt"));
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(": ");
    REQUIRE(colon != std::string::npos);
    CHECK(listed.emplace(line.substr(0, colon), line.substr(colon + 2)).second);
  }
  int64_t agree = 0, refused = 0;
  for (const Case& c : cases.all) {
    INFO(c.name);
    const Outcome outcome = judge(c);
    INFO(outcome.text);
    CHECK(outcome.kind != Outcome::Kind::differs);
    agree += outcome.kind == Outcome::Kind::agrees;
    const auto found = listed.find(c.name);
    if (outcome.kind == Outcome::Kind::refused) {
      ++refused;
      const bool is_listed = found != listed.end();
      CHECK(is_listed);
      if (is_listed) CHECK(found->second == outcome.text);
    } else {
      CHECK(found == listed.end());
    }
  }
  // Every case of the package either ran or stands in the list.
  const int64_t packed = static_cast<int64_t>(cases.all.size());
  CHECK(packed - refused + static_cast<int64_t>(listed.size()) == cases.total);
  std::printf("ONNX node tests: %ld run and agree, %ld not expressible\n", static_cast<long>(agree),
              static_cast<long>(listed.size()));
  CHECK(agree > 650);
}

TEST_CASE("outcomes of ONNX's node tests, for onnx_cases.py", "[.list]") {
  for (const Case& c : Cases().all) {
    const Outcome outcome = judge(c);
    if (outcome.kind == Outcome::Kind::refused)
      std::printf("refused %s: %s\n", c.name.c_str(), outcome.text.c_str());
    if (outcome.kind == Outcome::Kind::differs)
      std::printf("differs %s: %s\n", c.name.c_str(), outcome.text.c_str());
  }
}
