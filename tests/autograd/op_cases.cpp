#include "op_cases.h"

namespace loupe::testing {

Tensors draw_inputs(const OpCase& c, const std::vector<Shape>& shapes, uint64_t seed) {
  Rng rng(seed);
  Tensors inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Draw d = i < c.draw.size() ? c.draw[i] : Draw{};
    Tensor t;
    switch (d.kind) {
      case Draw::any:
        t = randn(rng, shapes[i], DType::f64);
        for (double& x : t.data<double>()) x += x < 0 ? -0.1 : 0.1;
        break;
      case Draw::range: t = uniform(rng, shapes[i], d.low, d.high, DType::f64); break;
      case Draw::labels: t = randint(rng, 0, static_cast<int64_t>(d.high), shapes[i]); break;
      case Draw::mask: t = gt(uniform(rng, shapes[i]), 0.5); break;
    }
    inputs.push_back(t);
  }
  return inputs;
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    for (auto part : {elementwise_cases(), shape_cases(), order_cases(), product_cases(),
                      layer_cases(), activation_cases(), norm_cases(), pool_cases(),
                      attention_cases(), loss_cases(), recurrent_cases(), image_cases()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return cases;
}

}  // namespace loupe::testing
