// One huge, infinite or undefined element changes only the outputs and gradients that see it: the
// fast kernels (Winograd's tiles, attention's tiles, panels of products, fused norms) against the
// plain f64 loops.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/conv/conv.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "catch.h"
#include "core/kernel_tests.h"

using namespace loupe;

namespace {

const double kInf = std::numeric_limits<double>::infinity();
const double kSpecial[] = {1e4, 1e10, 1e20, 3e38, -3e38, kInf, -kInf, std::nan("")};

using Op = std::function<Tensor(const Tensors&)>;

// The output and the gradients of all inputs, whose last is the upstream gradient.
Tensors pass(const Op& op, const Tensors& inputs, DType dtype) {
  Tensors x;
  for (size_t i = 0; i + 1 < inputs.size(); ++i)
    x.push_back(inputs[i].to(dtype).detach().requires_grad_());
  const Tensor y = op(x);
  Tensors all{y.detach()};
  for (const Tensor& g : grad({y}, x, {}, {inputs.back().to(dtype)})) all.push_back(g);
  return all;
}

// Puts each special number at each of `places` (input, element) in turn, at every CPU level.
void only_what_sees_it(const std::string& name, const Op& op, const Tensors& inputs,
                       const std::vector<std::pair<size_t, int64_t>>& places, double bound = 1e-4) {
  const Tensors clean = pass(op, inputs, DType::f64);
  int64_t unseen = 0;
  for (const auto& place : places)
    for (const double special : kSpecial) {
      const size_t which = place.first;
      const int64_t element = place.second;
      Tensors poked = inputs;
      poked[which] = raw::clone(raw::row_major(inputs[which]));
      poked[which].data<double>()[static_cast<size_t>(element)] = special;
      const Tensors want = pass(op, poked, DType::f64);
      at_every_level([&] {
        const Tensors got = pass(op, poked, DType::f32);
        for (size_t t = 0; t < got.size(); ++t) {
          CAPTURE(name, which, element, special, t, last_kernel());
          const std::vector<double> g = got[t].to_vector<double>(), w = want[t].to_vector<double>(),
                                    c = clean[t].to_vector<double>();
          double size = 0, worst = 0;
          for (const double e : c) size = std::max(size, std::abs(e));
          int64_t strays = 0;  // infinite or NaN where it should not be; of outputs, the reverse
          for (size_t i = 0; i < g.size(); ++i) {
            if (w[i] == c[i]) {
              ++unseen;
              const double error = std::abs(g[i] - c[i]) / size;
              if (!(error <= worst)) worst = error == error ? error : kInf;
            } else if (!std::isfinite(special)) {
              strays += std::isfinite(w[i]) ? !std::isfinite(g[i]) : t == 0 && std::isfinite(g[i]);
            }
          }
          CHECK(worst < bound);
          CHECK(strays == 0);
        }
      });
    }
  CAPTURE(name);
  CHECK(unseen > 0);
}

Tensor normal(const Shape& shape, uint64_t seed, double size = 1) {
  Rng rng(seed);
  return randn(rng, shape, DType::f64).to(DType::f32).to(DType::f64) * size;
}

}  // namespace

TEST_CASE("convolution: one huge, infinite or undefined pixel, weight or upstream gradient",
          "[heavy]") {
  struct Case {
    Shape x, w;
    int64_t padding;
    const char* kernel;
  };
  for (const Case& c : {Case{{2, 16, 12, 12}, {16, 16, 3, 3}, 1, "winograd4"},
                        Case{{1, 32, 11, 14}, {16, 32, 3, 3}, 0, "winograd4"},
                        Case{{4, 16, 6, 6}, {32, 16, 3, 3}, 1, "winograd2"},
                        Case{{2, 8, 9, 9}, {12, 8, 3, 3}, 0, "direct"},
                        Case{{2, 16, 6, 6}, {16, 16, 1, 1}, 0, "matmul"}}) {
    const Op op = [&](const Tensors& x) {
      return conv2d(x[0], x[1], Tensor(), {.padding = c.padding});
    };
    const Tensor x = normal(c.x, 1), w = normal(c.w, 2, 0.2), up = normal(op({x, w}).shape(), 3);
    op({x.to(DType::f32), w.to(DType::f32)});
    if (!plain_kernels()) CHECK(std::string(last_kernel()) == c.kernel);
    const int64_t pixel = x.numel() / 2 + 5;
    only_what_sees_it(std::string("conv2d ") + c.kernel, op, {x, w, up},
                      {{0, pixel}, {0, 0}, {1, w.numel() / 2}, {2, up.numel() / 2 + 3}});
  }
}

TEST_CASE("convolution: numbers that are large throughout stay with Winograd") {
  for (const double size : {1e-6, 1.0, 1e3, 1e9}) {
    const Tensor x = normal({2, 16, 12, 12}, 1, size).to(DType::f32),
                 w = normal({16, 16, 3, 3}, 2, 0.2).to(DType::f32);
    const Tensor y = conv2d(x, w, Tensor(), {.padding = 1});
    if (!plain_kernels()) CHECK(std::string(last_kernel()) == "winograd4");
    const Tensor want = conv2d(x.to(DType::f64), w.to(DType::f64), Tensor(), {.padding = 1});
    CHECK(allclose(y.to(DType::f64) / size, want / size, 0, 2e-5));
  }
}

TEST_CASE("attention: a key that a query does not see may hold anything", "[heavy]") {
  for (const int64_t t : {7, 150})
    for (const int mask : {0, 1, 2}) {  // causal, boolean, both
      const auto keep = [&] {
        Tensor m = ones({t, t}, DType::boolean);
        for (int64_t i = 0; i < t; ++i)
          for (int64_t j = 0; j < t; ++j)
            if ((i + j) % 3 == 1) m.data<bool>()[static_cast<size_t>(i * t + j)] = false;
        return m;
      }();
      const Op op = [&](const Tensors& x) {
        return scaled_dot_product_attention(
            x[0], x[1], x[2], {.attn_mask = mask > 0 ? keep : Tensor(), .is_causal = mask != 1});
      };
      const Tensor q = normal({1, 2, t, 8}, 1), k = normal({1, 2, t, 8}, 2),
                   v = normal({1, 2, t, 5}, 3), up = normal({1, 2, t, 5}, 4);
      const int64_t late = (t - 2) * 8 + 1, value = (t - 2) * 5 + 1;
      only_what_sees_it("attention " + std::to_string(mask), op, {q, k, v, up},
                        {{0, 8 * 3}, {1, late}, {2, value}, {3, 5 * 2 + 1}});
    }
}

TEST_CASE("products: one special element stays in its row and column", "[heavy]") {
  for (const Shape& s : {Shape{3, 5, 4}, Shape{40, 70, 33}, Shape{130, 64, 96}}) {
    const Tensor x = normal({s[0], s[1]}, 1), w = normal({s[2], s[1]}, 2),
                 up = normal({s[0], s[2]}, 3);
    only_what_sees_it("linear", [](const Tensors& in) { return linear(in[0], in[1], Tensor()); },
                      {x, w, up}, {{0, 7}, {1, 6}, {2, 5}});
    only_what_sees_it("matmul", [](const Tensors& in) { return matmul(in[0], in[1].t()); },
                      {x, w, up}, {{0, 7}, {1, 6}, {2, 5}});
  }
}

TEST_CASE("norms and pools: one special element stays where it is seen") {
  for (const Shape& shape : {Shape{2, 5, 6, 6}, Shape{3, 32, 8, 8}}) {
    const Tensor x = normal(shape, 1);
    const int64_t at = x.numel() / 2 + 3;
    const std::pair<std::string, Op> alone[] = {
        {"max_pool2d", [](const Tensors& in) { return max_pool2d(in[0], 2); }},
        {"max_pool2d of 3", [](const Tensors& in) { return max_pool2d(in[0], 3, {.padding = 1}); }},
        {"avg_pool2d", [](const Tensors& in) { return avg_pool2d(in[0], 2); }},
        {"adaptive_avg_pool2d", [](const Tensors& in) { return adaptive_avg_pool2d(in[0], 3); }},
        {"layer_norm",
         [](const Tensors& in) { return layer_norm(in[0], {in[0].size(-1)}, Tensor(), Tensor()); }},
        {"group_norm",
         [](const Tensors& in) {
           const int64_t channels = in[0].size(1);
           return group_norm(in[0], channels % 4 ? channels : 4, Tensor(), Tensor());
         }},
        {"softmax", [](const Tensors& in) { return softmax(in[0], -1); }},
        {"softmax of columns", [](const Tensors& in) { return softmax(in[0], 1); }},
        {"log_softmax", [](const Tensors& in) { return log_softmax(in[0], -1); }}};
    for (const auto& [name, op] : alone) {
      const Tensor up = normal(op({x}).shape(), 4);
      only_what_sees_it(name, op, {x, up}, {{0, at}, {1, up.numel() / 2}});
    }
  }
}
