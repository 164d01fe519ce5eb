#pragma once
// A model's file read back: its structure, and its numbers by the interpreter of ONNX's ops
// (onnx_ops.h).
#include <loupe/io/file.h>
#include <loupe/io/onnx.h>

#include <algorithm>
#include <cmath>

#include "../io/helpers.h"
#include "onnx_model.h"

namespace judges {

struct Exported {
  OnnxModel model;
  std::map<std::string, std::string> weights;  // TensorProtos

  explicit Exported(const std::string& path) : model(parse_model(read_file(path))) {
    for (const auto& [name, tensor] : model.initializers) weights[name] = tensor;
  }
  std::vector<std::string> ops() const {
    std::vector<std::string> all;
    for (const OnnxNode& n : model.nodes) all.push_back(n.op);
    return all;
  }
};

inline Exported exported(Module& m, const Tensor& x, const OnnxOptions& options = {}) {
  const TempDir dir;
  save_onnx(m, x, dir / "m.onnx", options);
  return Exported(dir / "m.onnx");
}

// Largest difference of the file's outputs from the model's, over the largest output.
inline double distance(const OnnxModel& file, const Tensors& inputs, const Tensors& want) {
  const Tensors got = run_model(file, inputs);
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (size_t k = 0; k < got.size(); ++k) {
    REQUIRE(got[k].shape() == want[k].shape());
    const auto a = got[k].to_vector<double>(), b = want[k].to_vector<double>();
    double largest = 1e-30, difference = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(b[i]));
      difference = std::max(difference, a[i] == b[i] ? 0 : std::abs(a[i] - b[i]));
      if (std::isnan(a[i]) || std::isnan(b[i])) difference = 1e30;
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

// Exports on `example` and compares on it and on a batch of another size.
inline void same_numbers(Module& m, const Tensor& example, const Tensor& other) {
  const Exported e = exported(m, example);
  eval(m);
  for (const Tensor* x : {&example, &other}) {
    const Tensor want = no_grad([&] { return m.call(*x); });
    CHECK(distance(e.model, {*x}, {want}) < 1e-5);
  }
}

}  // namespace judges
