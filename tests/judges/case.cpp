#include "case.h"

#include <loupe/autograd/autograd.h>
#include <loupe/io/json.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace judge {

namespace {

Json read_value(JsonReader& r) {
  Json j;
  switch (r.peek()) {
    case JsonReader::Kind::object:
      j.kind = Json::Kind::object;
      r.object([&](const std::string& key) {
        j.names.push_back(key);
        j.items.push_back(read_value(r));
      });
      break;
    case JsonReader::Kind::array:
      j.kind = Json::Kind::array;
      r.array([&] { j.items.push_back(read_value(r)); });
      break;
    case JsonReader::Kind::string:
      j.kind = Json::Kind::text;
      j.words = r.string();
      break;
    case JsonReader::Kind::number:
      j.kind = Json::Kind::number;
      j.value = r.number();
      break;
    case JsonReader::Kind::boolean:
      j.kind = Json::Kind::boolean;
      j.flag = r.boolean();
      break;
    case JsonReader::Kind::null: r.null(); break;
  }
  return j;
}

}  // namespace

Json parse_json(const std::string& text) {
  JsonReader reader(text, "cases");
  Json j = read_value(reader);
  reader.end();
  return j;
}

double Json::number() const {
  if (kind == Kind::number) return value;
  if (kind == Kind::array && items.size() == 1)
    return items[0].number();  // PyTorch takes (3,) where 3 would do
  if (kind == Kind::boolean) return flag ? 1 : 0;
  if (words == "inf") return std::numeric_limits<double>::infinity();
  if (words == "-inf") return -std::numeric_limits<double>::infinity();
  if (words == "nan") return std::numeric_limits<double>::quiet_NaN();
  fail<ValueError>("judge: a number was expected, got \"{}\"", words);
}

std::vector<int64_t> Json::integers() const {
  std::vector<int64_t> all;
  if (kind != Kind::array) return {integer()};
  for (const Json& item : items) all.push_back(item.integer());
  return all;
}

std::vector<double> Json::numbers() const {
  std::vector<double> all;
  for (const Json& item : items) all.push_back(item.number());
  return all;
}

const Json& Json::operator[](const std::string& key) const {
  static const Json none;
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == key) return items[i];
  return none;
}

double Args::number(const std::string& key, double otherwise) const {
  return has(key) ? at(key).number() : otherwise;
}
int64_t Args::integer(const std::string& key, int64_t otherwise) const {
  return has(key) ? at(key).integer() : otherwise;
}
bool Args::flag(const std::string& key, bool otherwise) const {
  return has(key) ? at(key).number() != 0 : otherwise;
}
std::string Args::text(const std::string& key, const std::string& otherwise) const {
  return has(key) ? at(key).text() : otherwise;
}
std::vector<int64_t> Args::integers(const std::string& key) const {
  return has(key) ? at(key).integers() : std::vector<int64_t>{};
}
DType Args::dtype(const std::string& key, DType otherwise) const {
  const std::string word = text(key);
  for (const DType t : {DType::f32, DType::f64, DType::i64, DType::u8, DType::boolean})
    if (word == name(t)) return t;
  return otherwise;
}

namespace {

const std::map<std::string, Row>& all_rows() {
  static const std::map<std::string, Row> rows = [] {
    std::map<std::string, Row> all;
    for (const auto& table : {elementwise_rows(), reduction_rows(), view_rows(), network_rows(),
                              loss_rows(), layer_rows(), optimizer_rows()})
      for (const Row& row : table)
        if (!all.emplace(row.name, row).second) fail<ValueError>("judge: two rows {}", row.name);
    return all;
  }();
  return rows;
}

// The memory a case names, as memory of its own, seen under the shape and strides it gives.
Tensor laid_out(const Json& j, const TensorMap& data) {
  if (j.is_null()) return {};
  const int64_t at = j["at"].integer();
  const int64_t count = j["count"].integer();
  const Tensor memory = raw::clone(raw::slice(data.at(j["data"].text()), 0, at, at + count, 1));
  const Shape shape(j["shape"].integers());
  const Strides strides =
      j["strides"].is_null() ? row_major_strides(shape) : Strides(j["strides"].integers());
  Tensor t = raw::view(memory, shape, strides, 0);
  if (j["grad"].flag) t.requires_grad_();
  return t;
}

Tensors laid_out_all(const Json& list, const TensorMap& data) {
  Tensors all;
  for (const Json& j : list.items) all.push_back(laid_out(j, data));
  return all;
}

bool needs_gradient(const Tensor& t) { return t.defined() && t.requires_grad(); }

void put(TensorMap& into, const std::string& name, const Tensor& t) {
  if (t.defined()) into[name] = raw::row_major(t.detach());
}

// The whole memory behind a tensor: what an in-place op wrote, and that it wrote nothing else.
Tensor whole_memory(const Tensor& t, int64_t count) {
  return raw::view(t.detach(), Shape{count}, Strides{1}, 0);
}

// The tensors of `from` that need a gradient, with their places.
struct Wanted {
  Tensors tensors;
  std::vector<std::string> names;
  void add(const Tensors& from, const std::string& letter) {
    for (size_t i = 0; i < from.size(); ++i) {
      if (!needs_gradient(from[i])) continue;
      tensors.push_back(from[i]);
      names.push_back(letter + std::to_string(i));
    }
  }
};

// Gradients of the outputs that have an upstream, then the gradients of those gradients.
void differentiate(const Json& one, const TensorMap& data, const Tensors& x, const Tensors& y,
                   TensorMap& result) {
  const Tensors upstream = laid_out_all(one["upstream"], data);
  const Tensors second = laid_out_all(one["second"], data);
  Tensors ends, starts;
  for (size_t i = 0; i < y.size() && i < upstream.size(); ++i) {
    if (!upstream[i].defined() || !y[i].requires_grad()) continue;
    ends.push_back(y[i]);
    starts.push_back(upstream[i]);
  }
  Wanted inputs;
  inputs.add(x, "g");
  if (ends.empty() || inputs.tensors.empty()) return;
  const Tensors first =
      grad(ends, inputs.tensors, {.create_graph = !second.empty(), .allow_unused = true}, starts);
  for (size_t i = 0; i < first.size(); ++i) put(result, inputs.names[i], first[i]);
  if (second.empty()) return;

  Tensors again, again_upstream;
  for (size_t i = 0; i < first.size(); ++i) {
    const size_t place = std::stoul(inputs.names[i].substr(1));
    if (!needs_gradient(first[i]) || place >= second.size() || !second[place].defined()) continue;
    again.push_back(first[i]);
    again_upstream.push_back(second[place]);
  }
  Wanted all;
  all.add(x, "h");
  all.add(upstream, "u");
  if (again.empty()) return;
  const Tensors derivatives = grad(again, all.tensors, {.allow_unused = true}, again_upstream);
  for (size_t i = 0; i < derivatives.size(); ++i) put(result, all.names[i], derivatives[i]);
}

}  // namespace

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const auto& [name, row] : all_rows()) names.push_back(name);
  return names;
}

Tensor optional_input(const Tensors& x, size_t i) { return i < x.size() ? x[i] : Tensor(); }

namespace {

constexpr double kScaleFloor = 1e-2;  // of the case's largest number, as in judge.py

// torch.testing's numbers.
struct Tolerance {
  double relative, of_scale;
};
Tolerance tolerance(DType t) {
  if (t == DType::f32) return {1.3e-6, 1e-5};
  if (t == DType::f64) return {1e-7, 1e-7};
  return {0, 0};
}

double largest_finite(const Tensor& t) {
  double largest = 0;
  for (const double v : raw::row_major(raw::to(t, DType::f64)).to_vector<double>())
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

bool same_value(double got, double want, const Tolerance& t, double scale) {
  if (std::isnan(want)) return std::isnan(got);
  if (!std::isfinite(want)) return got == want;
  return std::abs(got - want) <= t.relative * std::abs(want) + t.of_scale * scale;
}

std::string difference(const Tensor& got, const Tensor& want, double case_scale) {
  if (got.dtype() != want.dtype()) return fmt::format("dtype {} for {}", got.dtype(), want.dtype());
  if (got.shape() != want.shape()) return fmt::format("shape {} for {}", got.shape(), want.shape());
  const double scale = std::max(largest_finite(want), kScaleFloor * case_scale);
  const auto a = raw::row_major(raw::to(got, DType::f64)).to_vector<double>();
  const auto b = raw::row_major(raw::to(want, DType::f64)).to_vector<double>();
  for (size_t i = 0; i < a.size(); ++i)
    if (!same_value(a[i], b[i], tolerance(want.dtype()), scale))
      return fmt::format("element {}: {} for {}", i, a[i], b[i]);
  return "";
}

}  // namespace

std::map<std::string, std::string> differences(const Json& one, const Outcome& outcome,
                                               const TensorMap& data) {
  std::map<std::string, std::string> found;
  if (!outcome.error.empty()) found["error"] = outcome.error;
  TensorMap want;
  Tensors all;
  for (const char* list : {"inputs", "upstream", "second"})
    for (const Tensor& t : laid_out_all(one[list], data)) all.push_back(t);
  const Json& wanted_of = one["want"];
  for (size_t i = 0; i < wanted_of.names.size(); ++i) {
    const Tensor t = laid_out(wanted_of.items[i], data);
    want[wanted_of.names[i]] = t;
    all.push_back(t);
  }
  double case_scale = 0;
  for (const Tensor& t : all)
    if (t.defined() && is_floating(t.dtype()))
      case_scale = std::max(case_scale, largest_finite(t.detach()));
  const auto compare = [&](const std::string& name, const Tensor& got, const Tensor& wanted) {
    const std::string text = difference(got, wanted, case_scale);
    if (!text.empty()) found[name] = text;
  };
  for (const auto& [name, wanted] : want) {
    const auto got = outcome.tensors.find(name);
    if (got != outcome.tensors.end()) compare(name, got->second, wanted);
    else if (name[0] == 'y') found[name] = "missing";
    else compare(name, zeros_like(wanted), wanted);  // a gradient that is not there is zero
  }
  for (const auto& [name, got] : outcome.tensors)
    if (want.count(name) == 0) compare(name, got, zeros_like(got));
  return found;
}

Outcome run_case(const Json& one, const TensorMap& data) {
  Outcome outcome;
  try {
    const std::string op = one["op"].text();
    const auto row = all_rows().find(op);
    if (row == all_rows().end()) fail<ValueError>("judge: no row {}", op);
    const Tensors x = laid_out_all(one["inputs"], data);
    const Tensors y = row->second.run(x, Args(one["args"]));
    for (size_t i = 0; i < y.size(); ++i) put(outcome.tensors, "y" + std::to_string(i), y[i]);
    if (!one["memory"].is_null())
      put(outcome.tensors, "memory", raw::clone(whole_memory(x[0], one["memory"].integer())));
    if (one["upstream"].items.empty()) return outcome;
    differentiate(one, data, x, y, outcome.tensors);
  } catch (const std::exception& e) { outcome.error = e.what(); }
  return outcome;
}

}  // namespace judge
