#pragma once
// The judge's side of Loupe: a case names an op (a row of one of the tables below), its inputs with
// their memory layout, and its options; running it gives outputs, gradients and second derivatives.
// tests/judges/run.py writes the cases from PyTorch's samples and compares; test_judges.cpp runs
// the committed ones.
#include <loupe/autograd/graph.h>
#include <loupe/io/safetensors.h>

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace judge {
using namespace loupe;

/// A JSON value as a tree. Strings "inf", "-inf" and "nan" stand for those numbers.
struct Json {
  enum class Kind { null, boolean, number, text, array, object };
  Kind kind = Kind::null;
  bool flag = false;
  double value = 0;
  std::string words;
  std::vector<Json> items;         // of an array or object
  std::vector<std::string> names;  // of an object's items

  bool is_null() const { return kind == Kind::null; }
  double number() const;
  int64_t integer() const { return static_cast<int64_t>(number()); }
  const std::string& text() const { return words; }
  std::vector<int64_t> integers() const;
  std::vector<double> numbers() const;
  /// A member; the null value if there is none.
  const Json& operator[](const std::string& key) const;
};
Json parse_json(const std::string& text);

/// The options of a call, by PyTorch's names. A missing or null one takes the default given here.
class Args {
 public:
  explicit Args(const Json& json) : json_(json) {}
  bool has(const std::string& key) const { return !json_[key].is_null(); }
  const Json& at(const std::string& key) const { return json_[key]; }
  double number(const std::string& key, double otherwise = 0) const;
  int64_t integer(const std::string& key, int64_t otherwise = 0) const;
  bool flag(const std::string& key, bool otherwise = false) const;
  std::string text(const std::string& key, const std::string& otherwise = "") const;
  std::vector<int64_t> integers(const std::string& key) const;
  Dims dims(const std::string& key) const { return Dims(integers(key)); }
  DType dtype(const std::string& key, DType otherwise = DType::f32) const;

 private:
  const Json& json_;
};

/// One op of the tables: what PyTorch's samples call, and the same call of Loupe.
struct Row {
  const char* name;
  Tensors (*run)(const Tensors& x, const Args& a);
};
std::span<const Row> elementwise_rows();
std::span<const Row> reduction_rows();
std::span<const Row> view_rows();
std::span<const Row> network_rows();
std::span<const Row> loss_rows();
std::span<const Row> layer_rows();
std::span<const Row> optimizer_rows();
/// Every name of every table, sorted.
std::vector<std::string> row_names();

/// x[i], or an undefined tensor beyond the end.
Tensor optional_input(const Tensors& x, size_t i);

/// What a case gave: tensors by name ("y0", "g1" for the gradient of input 1, "h0" for the second
/// derivative of input 0, "u0" for that of upstream 0), or the error it threw.
struct Outcome {
  TensorMap tensors;
  std::string error;
};
/// Runs one case. `data` holds the memory of its tensors, one tensor for each dtype.
Outcome run_case(const Json& one, const TensorMap& data);
/// What does not agree with the case's "want", by name; empty if all does. The rule is judge.py's.
std::map<std::string, std::string> differences(const Json& one, const Outcome& outcome,
                                               const TensorMap& data);

}  // namespace judge
