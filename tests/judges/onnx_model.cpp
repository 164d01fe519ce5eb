#include "onnx_model.h"

#include <loupe/core/raw.h>

#include <cstring>
#include <protozero/pbf_reader.hpp>

namespace judges {
namespace {

using protozero::pbf_reader;

// A field of repeated integers, packed or not.
void add_integers(pbf_reader& r, std::vector<int64_t>& to) {
  if (r.wire_type() == protozero::pbf_wire_type::length_delimited) {
    for (const int64_t v : r.get_packed_int64()) to.push_back(v);
  } else {
    to.push_back(r.get_int64());
  }
}
void add_floats(pbf_reader& r, std::vector<double>& to) {
  if (r.wire_type() == protozero::pbf_wire_type::length_delimited) {
    for (const float v : r.get_packed_float()) to.push_back(static_cast<double>(v));
  } else {
    to.push_back(static_cast<double>(r.get_float()));
  }
}
void add_doubles(pbf_reader& r, std::vector<double>& to) {
  if (r.wire_type() == protozero::pbf_wire_type::length_delimited) {
    for (const double v : r.get_packed_double()) to.push_back(v);
  } else {
    to.push_back(r.get_double());
  }
}

std::pair<std::string, OnnxAttribute> parse_attribute(const std::string& bytes) {
  OnnxAttribute a;
  std::string name;
  for (pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: name = r.get_string(); break;
      case 2: a.f = static_cast<double>(r.get_float()); break;
      case 3: a.i = r.get_int64(); break;
      case 4: a.s = r.get_string(); break;
      case 5: a.tensor = r.get_string(); break;
      case 7: add_floats(r, a.floats); break;
      case 8: add_integers(r, a.ints); break;
      case 9: a.strings.push_back(r.get_string()); break;
      default: r.skip();
    }
  }
  return {name, a};
}

OnnxNode parse_node(const std::string& bytes) {
  OnnxNode n;
  for (pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: n.inputs.push_back(r.get_string()); break;
      case 2: n.outputs.push_back(r.get_string()); break;
      case 3: n.name = r.get_string(); break;
      case 4: n.op = r.get_string(); break;
      case 5: n.attributes.insert(parse_attribute(r.get_string())); break;
      case 6: n.doc = r.get_string(); break;
      case 7: n.domain = r.get_string(); break;
      default: r.skip();
    }
  }
  return n;
}

std::string parse_dimension(const std::string& bytes) {
  std::string size;
  for (pbf_reader r(bytes); r.next();) {
    if (r.tag() == 1) size = std::to_string(r.get_int64());
    else if (r.tag() == 2) size = r.get_string();
    else r.skip();
  }
  return size;
}

// The messages in field `tag`.
std::vector<std::string> fields(const std::string& bytes, uint32_t tag) {
  std::vector<std::string> all;
  pbf_reader r(bytes);
  while (r.next(tag)) all.push_back(r.get_string());
  return all;
}

OnnxPort parse_port(const std::string& bytes) {
  OnnxPort p;
  for (const std::string& name : fields(bytes, 1)) p.name = name;
  for (const std::string& type : fields(bytes, 2)) {
    for (const std::string& tensor : fields(type, 1)) {
      pbf_reader r(tensor);
      if (r.next(1)) p.type = r.get_int64();
      for (const std::string& shape : fields(tensor, 2))
        for (const std::string& dim : fields(shape, 1)) p.shape.push_back(parse_dimension(dim));
    }
  }
  return p;
}

void parse_graph(const std::string& bytes, OnnxModel& m) {
  for (pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: m.nodes.push_back(parse_node(r.get_string())); break;
      case 2: m.graph_name = r.get_string(); break;
      case 5: {
        const std::string tensor = r.get_string();
        const std::vector<std::string> names = fields(tensor, 8);
        m.initializers.push_back({names.empty() ? "" : names[0], tensor});
        break;
      }
      case 11: m.inputs.push_back(parse_port(r.get_string())); break;
      case 12: m.outputs.push_back(parse_port(r.get_string())); break;
      default: r.skip();
    }
  }
}

// The opset of the default domain.
void parse_opset(const std::string& bytes, OnnxModel& m) {
  std::string domain;
  int64_t version = 0;
  for (pbf_reader r(bytes); r.next();) {
    if (r.tag() == 1) domain = r.get_string();
    else if (r.tag() == 2) version = r.get_int64();
    else r.skip();
  }
  if (domain.empty() || domain == "ai.onnx") m.opset = version;
}

DType dtype_of_number(int64_t type) {
  switch (type) {
    case 1: return DType::f32;
    case 2: return DType::u8;
    case 6:
    case 7: return DType::i64;
    case 9: return DType::boolean;
    case 11: return DType::f64;
    default: throw NotExpressible("element type " + type_name(type));
  }
}

}  // namespace

std::string type_name(int64_t type) {
  static const std::map<int64_t, std::string> names{
      {3, "int8"},       {4, "uint16"},      {5, "int16"},    {6, "int32"},
      {8, "string"},     {10, "float16"},    {12, "uint32"},  {13, "uint64"},
      {14, "complex64"}, {15, "complex128"}, {16, "bfloat16"}};
  const auto found = names.find(type);
  return found == names.end() ? "float8, int4 or smaller" : found->second;
}

OnnxModel parse_model(const std::string& bytes) {
  OnnxModel m;
  for (pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: m.ir_version = r.get_int64(); break;
      case 2: m.producer = r.get_string(); break;
      case 7: parse_graph(r.get_string(), m); break;
      case 8: parse_opset(r.get_string(), m); break;
      default: r.skip();
    }
  }
  return m;
}

Tensor parse_tensor(const std::string& bytes) {
  std::vector<int64_t> shape, integers;
  std::vector<double> reals;
  std::string raw_bytes;
  bool is_raw = false;
  int64_t type = 0;
  for (pbf_reader r(bytes); r.next();) {
    switch (r.tag()) {
      case 1: add_integers(r, shape); break;
      case 2: type = r.get_int64(); break;
      case 4: add_floats(r, reals); break;
      case 5:
      case 7: add_integers(r, integers); break;
      case 9:
        raw_bytes = r.get_string();
        is_raw = true;
        break;
      case 10: add_doubles(r, reals); break;
      default: r.skip();
    }
  }
  const DType dtype = dtype_of_number(type);
  if (!is_raw) {
    if (is_floating(dtype)) return raw::to(from_data(reals, Shape(shape)), dtype);
    return raw::to(from_data(integers, Shape(shape)), dtype);
  }
  if (type == 6) {
    for (size_t i = 0; i + 4 <= raw_bytes.size(); i += 4) {
      int32_t v = 0;
      std::memcpy(&v, raw_bytes.data() + i, 4);
      integers.push_back(v);
    }
    return from_data(integers, Shape(shape));
  }
  const Tensor t = raw::empty(Shape(shape), dtype);
  dispatch(dtype, [&]<class T>(Type<T>) {
    const size_t size = static_cast<size_t>(t.numel()) * sizeof(T);
    if (raw_bytes.size() != size) throw std::runtime_error("a tensor's bytes do not fit its shape");
    if (size > 0) std::memcpy(static_cast<void*>(t.ptr<T>()), raw_bytes.data(), size);
  });
  return t;
}

const OnnxAttribute* OnnxCall::find(const char* name) const {
  asked.insert(name);
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? nullptr : &found->second;
}
int64_t OnnxCall::integer(const char* name, int64_t otherwise) const {
  const OnnxAttribute* const a = find(name);
  return a ? a->i : otherwise;
}
double OnnxCall::real(const char* name, double otherwise) const {
  const OnnxAttribute* const a = find(name);
  return a ? a->f : otherwise;
}
std::string OnnxCall::word(const char* name, const char* otherwise) const {
  const OnnxAttribute* const a = find(name);
  return a ? a->s : otherwise;
}
std::vector<int64_t> OnnxCall::list(const char* name) const {
  const OnnxAttribute* const a = find(name);
  return a ? a->ints : std::vector<int64_t>{};
}
std::vector<std::string> OnnxCall::words(const char* name) const {
  const OnnxAttribute* const a = find(name);
  return a ? a->strings : std::vector<std::string>{};
}
std::vector<int64_t> OnnxCall::numbers(size_t i, const char* name) const {
  return has(i) ? x[i].to_vector<int64_t>() : list(name);
}

Tensors run_model(const OnnxModel& model, const Tensors& inputs) {
  std::map<std::string, Tensor> values;
  for (const auto& [name, tensor] : model.initializers) values[name] = parse_tensor(tensor);
  for (size_t i = 0; i < inputs.size(); ++i) values[model.inputs.at(i).name] = inputs[i];
  for (const OnnxNode& node : model.nodes) {
    OnnxCall call{node, {}, model.opset, node.outputs.size()};
    for (const std::string& name : node.inputs) {
      if (!name.empty() && !values.contains(name))
        throw std::runtime_error(node.name + " reads " + name + ", which nothing gave before");
      call.x.push_back(name.empty() ? Tensor() : values.at(name));
    }
    const Tensors y = run_node(call);
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      if (node.outputs[k].empty()) continue;
      if (k >= y.size()) throw NotExpressible("output " + std::to_string(k) + " of " + node.op);
      values[node.outputs[k]] = y[k];
    }
  }
  Tensors results;
  for (const OnnxPort& port : model.outputs) results.push_back(values.at(port.name));
  return results;
}

}  // namespace judges
