// What the writers share, and the search through their tables.
#include <loupe/io/onnx_writers.h>

namespace loupe::onnx {

std::vector<int64_t> list(const Dims& dims) { return {dims.begin(), dims.end()}; }

int64_t onnx_type(const std::string& dtype) {
  if (dtype == name(DType::f32)) return 1;
  if (dtype == name(DType::u8)) return 2;
  if (dtype == name(DType::i64)) return 7;
  if (dtype == name(DType::f64)) return 11;
  return 9;
}

void renamed(Step& s, const char* op) {
  Names inputs;
  for (const Read& r : s.inputs) inputs.push_back(r.name);
  s.give(s.out.add(op, inputs));
}
Writer same(const char* op) {
  return [op](Step& s) { renamed(s, op); };
}

Writer find_writer(std::string_view op) {
  for (const Writers* const family :
       {&elementwise_writers(), &shape_writers(), &reduction_writers(), &window_writers(),
        &network_writers(), &recurrent_writers()})
    if (const auto found = family->find(op); found != family->end()) return found->second;
  return nullptr;
}

}  // namespace loupe::onnx
