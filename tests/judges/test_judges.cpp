// Cases chosen from PyTorch's own samples (cases.safetensors, written by run.py --fixture), held
// against PyTorch's values, gradients and second derivatives.
#include <set>

#include "case.h"
#include "catch.h"

using namespace judge;

TEST_CASE("PyTorch's samples give PyTorch's values, gradients and second derivatives") {
  const SafetensorsFile file = load_safetensors(std::string(LOUPE_JUDGES) + "/cases.safetensors");
  const Json cases = parse_json(file.metadata.at("cases"));
  std::set<std::string> ops;
  for (const Json& one : cases.items) {
    INFO(one["of"].text());
    const Outcome outcome = run_case(one, file.tensors);
    for (const auto& [name, text] : differences(one, outcome, file.tensors))
      FAIL_CHECK(name << ": " << text);
    CHECK(one["want"].names.size() > 0);
    ops.insert(one["op"].text());
  }
  CHECK(cases.items.size() >= 200);
  CHECK(ops.size() >= 80);
}

TEST_CASE("a case that differs is found: in a value, a gradient, a shape, a type") {
  const std::string text = R"({"op": "mul", "args": {"other": 2}, "inputs":
      [{"data": "f64", "at": 0, "count": 2, "shape": [2], "grad": true}],
      "upstream": [{"data": "f64", "at": 2, "count": 2, "shape": [2]}], "second": [], "want": {
      "y0": {"data": "f64", "at": 4, "count": 2, "shape": [2]},
      "g0": {"data": "f64", "at": 6, "count": 2, "shape": [2]}}})";
  const Json one = parse_json(text);
  const auto judged = [&](const std::vector<double>& memory) {
    const TensorMap data{{"f64", from_data(memory)}};
    return differences(one, run_case(one, data), data);
  };
  CHECK(judged({1, 2, 1, 3, 2, 4, 2, 6}).empty());
  CHECK(judged({1, 2, 1, 3, 2, 4.00001, 2, 6}).count("y0") == 1);
  CHECK(judged({1, 2, 1, 3, 2, 4, 2, 6.00001}).count("g0") == 1);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(judged({1, nan, 1, 3, 2, nan, 2, 6}).empty());
  CHECK(judged({1, nan, 1, 3, 2, 4, 2, 6}).count("y0") == 1);

  const TensorMap data{{"f64", from_data(std::vector<double>{1, 2, 1, 3, 2, 4, 2, 6})}};
  Outcome outcome = run_case(one, data);
  outcome.tensors["y0"] = raw::to(outcome.tensors["y0"], DType::f32);
  CHECK(differences(one, outcome, data).count("y0") == 1);
  outcome.tensors["y0"] = zeros({1, 2}, DType::f64);
  CHECK(differences(one, outcome, data).count("y0") == 1);
  outcome.tensors.erase("y0");
  CHECK(differences(one, outcome, data).count("y0") == 1);
}

TEST_CASE("the driver names an op it does not know, and an option it needs") {
  const auto error = [](const std::string& text) { return run_case(parse_json(text), {}).error; };
  CHECK(error(R"({"op": "no_such_op", "args": {}, "inputs": []})") == "judge: no row no_such_op");
  CHECK(row_names().size() > 100);
}
