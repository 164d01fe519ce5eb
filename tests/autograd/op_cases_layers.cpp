// Softmax, embedding, dropout.
#include "op_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::testing {
namespace {

Naive softmax_naive(int axis, bool log) {
  return [=](const Arrays& in) {
    const Array& x = in[0];
    Array y = x;
    if (x.shape.rank() == 0) {
      y.v[0] = log ? 0 : 1;
      return y;
    }
    const int a = axis < 0 ? axis + x.shape.rank() : axis;
    each(x.shape, [&](const Dims& i) {
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      Dims at = i;
      for (at[a] = 0; at[a] < x.shape[a]; ++at[a]) top = std::max(top, x[at]);
      for (at[a] = 0; at[a] < x.shape[a]; ++at[a]) sum += std::exp(x[at] - top);
      y[i] = log ? x[i] - top - std::log(sum) : std::exp(x[i] - top) / sum;
    });
    return y;
  };
}

std::vector<OpCase> softmaxes() {
  std::vector<OpCase> cases;
  for (const bool log : {false, true})
    for (const int axis : {-1, 0, 1}) {
      OpCase c{
          .name = log ? "log_softmax" : "softmax",
          .shapes = {{{2, 3}}, {{4, 2, 3}}, {{1, 1}}, {{0, 3}}, {{3, 0}}, {{2, 3, 2, 2}}},
          .f =
              [=](const Tensors& x) { return log ? log_softmax(x[0], axis) : softmax(x[0], axis); },
          .naive = softmax_naive(axis, log)};
      if (axis != -1) c.name += "(" + std::to_string(axis) + ")";
      if (axis < 1) c.shapes.insert(c.shapes.end(), {{{}}, {{37}}, {{1}}, {{0}}});
      c.large = {{70, 130}};
      c.f32_tolerance = 1e-5;
      c.shift_invariant = true;
      cases.push_back(std::move(c));
    }
  return cases;
}

OpCase embedding_case(std::string name, EmbeddingOptions options) {
  OpCase c{.name = std::move(name),
           .shapes = {{{2, 3}, {5, 4}},
                      {{}, {5, 2}},
                      {{1}, {5, 1}},
                      {{0}, {5, 2}},
                      {{7}, {5, 0}},
                      {{2, 0, 3}, {5, 2}}},
           .f = [options](const Tensors& x) { return embedding(x[0], x[1], options); },
           .naive =
               [](const Arrays& in) {
                 Shape s = in[0].shape;
                 s.push_back(in[1].size(1));
                 Array y(s);
                 each(s, [&](const Dims& i) {
                   Dims at = i;
                   at.erase(i.rank() - 1);
                   y[i] = in[1](static_cast<int64_t>(in[0][at]), i.back());
                 });
                 return y;
               },
           .draw = {labels(5)}};
  c.large = {{9, 40}, {5, 33}};
  return c;
}

Tensor dropped(const Tensor& x) {
  Rng rng(5);
  return dropout(x, rng, 0.4);
}

}  // namespace

std::vector<OpCase> layer_cases() {
  std::vector<OpCase> cases = softmaxes();
  cases.push_back(embedding_case("embedding", {}));
  // Which elements are dropped is seen on ones; each of the others must be x / (1 - p).
  OpCase drop{.name = "dropout",
              .shapes = {{{2, 3}}, {{}}, {{1}}, {{0}}, {{37}}, {{2, 3, 2, 2}}},
              .f = [](const Tensors& x) { return dropped(x[0]); },
              .naive =
                  [](const Arrays& in) {
                    const Array kept(dropped(ones(in[0].shape, DType::f64)));
                    Array y = in[0];
                    each(y.shape, [&](const Dims& i) { y[i] = kept[i] == 0 ? 0 : y[i] / 0.6; });
                    return y;
                  }};
  drop.large = {{129, 67}};
  drop.draws_by_memory = true;
  cases.push_back(std::move(drop));
  return cases;
}

}  // namespace loupe::testing
