#include <loupe/core/raw.h>
#include <loupe/io/onnx_step.h>

#include <cmath>

namespace loupe::onnx {

// --- Builder ---

std::string Builder::unique(const std::string& wanted) {
  const int n = taken_[wanted]++;
  return n == 0 ? wanted : unique(fmt::format("{}_{}", wanted, n));
}

std::string Builder::ints(const std::vector<int64_t>& values) {
  std::string name = "i64[";
  for (size_t i = 0; i < values.size(); ++i)
    name += (i == 0 ? "" : ",") + std::to_string(values[i]);
  name += "]";
  graph.initializers.try_emplace(name, from_data(values));
  return name;
}

std::string Builder::number(double value, DType dtype) {
  if (!is_floating(dtype) && value != std::trunc(value))
    fail<ValueError>("save_onnx: {}: the number {} meets a tensor of {}", doc, value,
                     loupe::name(dtype));
  const std::string name = fmt::format("{}({})", loupe::name(dtype), value);
  graph.initializers.try_emplace(name, scalar(value, dtype));
  return name;
}

std::string Builder::tensor(const Tensor& t, const std::string& wanted) {
  for (const auto& [name, other] : graph.initializers)
    if (name.starts_with(wanted) && equal_bytes(t, other)) return name;
  const std::string name = unique(wanted);
  graph.initializers[name] = t;
  return name;
}

std::string Builder::batch() {
  if (batch_.empty())
    batch_ = add("Shape", {graph.inputs[0].name}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  return batch_;
}

Names Builder::add(const std::string& op, const Names& inputs, const Values& attributes,
                   size_t outputs) {
  const std::string name = unique(scope + op);
  OnnxNode node{op, name, doc, inputs, {}, attributes};
  for (size_t k = 0; k < outputs; ++k)
    node.outputs.push_back(outputs == 1 ? name : fmt::format("{}:{}", name, k));
  graph.nodes.push_back(node);
  return node.outputs;
}
std::string Builder::add(const std::string& op, const Names& inputs, const Values& attributes) {
  return add(op, inputs, attributes, 1)[0];
}

std::string Builder::sizes(const Extents& extents) {
  Names parts;
  std::vector<int64_t> fixed;
  const auto flush = [&] {
    if (!fixed.empty()) parts.push_back(ints(fixed));
    fixed.clear();
  };
  for (const Extent& e : extents) {
    if (!e.varies()) {
      fixed.push_back(e.n);
      continue;
    }
    flush();
    const int64_t factor = e.n / batch_size.n;
    if (factor * batch_size.n != e.n || factor * batch_size.other != e.other)
      fail<ValueError>("save_onnx: {}: the size {} depends on the batch, and is no multiple of it",
                       doc, e.n);
    parts.push_back(factor == 1 ? batch() : add("Mul", {batch(), ints({factor})}));
  }
  flush();
  if (parts.empty()) return ints({});
  return parts.size() == 1 ? parts[0] : add("Concat", parts, {{"axis", int64_t{0}}});
}

// --- Step ---

void Step::refuse(const std::string& why) const {
  fail<ValueError>("save_onnx: {} cannot be exported: {}", out.doc, why);
}

Extents paired(const Shape& a, const Shape& b) {
  Extents e;
  for (int d = 0; d < a.rank(); ++d) e.push_back({a[d], b[d]});
  return e;
}

const Attribute* find(const Attributes& options, std::string_view name) {
  for (const auto& [key, value] : options)
    if (name == key) return &value;
  return nullptr;
}

Extents Step::extents(size_t i) const { return paired(x(i).shape(), inputs[i].other); }
Extents Step::result(size_t k) const { return paired(node.output_shape(k), other.output_shape(k)); }

int64_t Step::fixed(size_t i, int axis) const {
  const Extent e = extents(i)[static_cast<size_t>(axis)];
  if (e.varies()) refuse(fmt::format("axis {} of its input depends on the batch", axis));
  return e.n;
}

template <class T> T Step::get(const char* name, T otherwise) const {
  const Attribute* const a = find(options, name);
  if (!a) return otherwise;
  if (*std::get_if<T>(a) != std::get<T>(*find(other_options, name)))
    refuse(fmt::format("its option {} depends on the batch or on the input's values", name));
  return std::get<T>(*a);
}
template <class T> T Step::get(const char* name) const {
  if (!find(options, name)) refuse(fmt::format("it does not tell its option {}", name));
  return get<T>(name, T());
}
template bool Step::get(const char*) const;
template int64_t Step::get(const char*) const;
template double Step::get(const char*) const;
template double Step::get(const char*, double) const;
template int64_t Step::get(const char*, int64_t) const;
template bool Step::get(const char*, bool) const;
template std::string Step::get(const char*) const;
template std::vector<int64_t> Step::get(const char*) const;
template Dims Step::get(const char*) const;

Read Step::value(const char* name) const {
  const auto found = read.find(name);
  return found == read.end() ? Read{} : found->second;
}

}  // namespace loupe::onnx
