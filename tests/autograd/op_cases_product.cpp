// Matrix products and convolutions.
#include "op_cases.h"

#include <algorithm>

namespace loupe::testing {
namespace {

// (..., m, k) x (..., k, n), with the dimensions before broadcast.
Array product(const Array& a, const Array& b) {
  const int64_t m = a.size(-2), n = b.size(-1), k = a.size(-1);
  const auto batch = [](Shape s) {
    s.erase(s.rank() - 1);
    s.erase(s.rank() - 1);
    return s;
  };
  Shape shape = broadcast_shapes(batch(a.shape), batch(b.shape), "product");
  shape.push_back(m);
  shape.push_back(n);
  Array y(shape);
  const int r = shape.rank();
  each(shape, [&](const Dims& i) {
    Dims p = i, q = i;
    for (int64_t l = 0; l < k; ++l) {
      p[r - 1] = q[r - 2] = l;
      y[i] += a[p] * b[q];
    }
  });
  return y;
}

Naive matmul_naive() {
  return [](const Arrays& x) {
    Array a = x[0], b = x[1];
    const bool row = a.shape.rank() == 1, column = b.shape.rank() == 1;
    if (row) a.shape.insert(0, 1);
    if (column) b.shape.push_back(1);
    Array y = product(a, b);
    if (row) y.shape.erase(y.shape.rank() - 2);
    if (column) y.shape.erase(y.shape.rank() - 1);
    return y;
  };
}

Naive conv2d_naive(Conv2dArgs c) {
  return [c](const Arrays& in) {
    const Array &x = in[0], &w = in[1];
    const int64_t oh =
        (x.size(2) + 2 * c.padding.h - c.dilation.h * (w.size(2) - 1) - 1) / c.stride.h + 1;
    const int64_t ow =
        (x.size(3) + 2 * c.padding.w - c.dilation.w * (w.size(3) - 1) - 1) / c.stride.w + 1;
    const int64_t outs = w.size(0) / c.groups, ins = w.size(1);
    Array y(Shape{x.size(0), w.size(0), oh, ow});
    each(y.shape, [&](const Dims& i) {
      double s = in.size() > 2 ? in[2](i[1]) : 0;
      for (int64_t k = 0; k < ins; ++k)
        for (int64_t a = 0; a < w.size(2); ++a)
          for (int64_t b = 0; b < w.size(3); ++b) {
            const int64_t r = i[2] * c.stride.h - c.padding.h + a * c.dilation.h,
                          q = i[3] * c.stride.w - c.padding.w + b * c.dilation.w;
            if (r >= 0 && r < x.size(2) && q >= 0 && q < x.size(3))
              s += x(i[0], i[1] / outs * ins + k, r, q) * w(i[1], k, a, b);
          }
      y[i] = s;
    });
    return y;
  };
}

// conv1d is conv2d on images of one row.
Naive conv1d_naive(Conv1dArgs c) {
  return [c](const Arrays& in) {
    Arrays x = in;
    x[0].shape.insert(2, 1);
    x[1].shape.insert(2, 1);
    Array y = conv2d_naive({.stride = {1, c.stride},
                            .padding = {0, c.padding.w},
                            .dilation = {1, c.dilation},
                            .groups = c.groups})(x)[0];
    y.shape.erase(2);
    return y;
  };
}

OpCase conv2d_case(std::string name, std::vector<std::vector<Shape>> shapes, Conv2dArgs args,
                   std::vector<Shape> large = {}) {
  OpCase c{
      std::move(name), std::move(shapes),
      [args](const Tensors& x) { return conv2d(x[0], x[1], x.size() > 2 ? x[2] : Tensor(), args); },
      conv2d_naive(args)};
  c.large = std::move(large);
  // Winograd's transforms of a 3x3 kernel cost some bits.
  if (!c.large.empty() && c.large[1][2] == 3 && args.stride == Size2(1) &&
      args.dilation == Size2(1) && args.groups == 1)
    c.f32_tolerance = 2e-5;
  if (!c.large.empty()) {
    const Shape &x = c.large[0], &w = c.large[1];
    c.flops =
        2.0 *
        static_cast<double>(
            x[0] * w.numel() *
            ((x[2] + 2 * args.padding.h - args.dilation.h * (w[2] - 1) - 1) / args.stride.h + 1) *
            ((x[3] + 2 * args.padding.w - args.dilation.w * (w[3] - 1) - 1) / args.stride.w + 1));
  }
  return c;
}

}  // namespace

std::vector<OpCase> product_cases() {
  std::vector<OpCase> cases = {
      {.name = "matmul",
       .shapes = {{{2, 3}, {3, 4}},
                  {{1, 1}, {1, 1}},
                  {{3, 3}, {3, 3}},
                  {{0, 3}, {3, 2}},
                  {{2, 0}, {0, 3}},
                  {{2, 3}, {3, 0}}},
       .f = [](const Tensors& x) { return matmul(x[0], x[1]); },
       .naive = matmul_naive(),
       .large = {{130, 67}, {67, 90}},
       .flops = 2.0 * 130 * 67 * 90},
      {.name = "matmul(batched)",
       .shapes = {{{2, 2, 3}, {2, 3, 2}},
                  {{2, 1, 2, 3}, {3, 3, 2}},
                  {{2, 3}, {2, 3, 1}},
                  {{2, 2, 3}, {3, 2}},
                  {{0, 2, 3}, {3, 2}},
                  {{2, 3, 1, 3}, {3, 2}},  // one row a matrix: its stride says nothing
                  {{2, 3, 1, 1}, {1, 2}},
                  {{2, 3}, {2, 2, 3, 1}},
                  {{3, 1, 2}, {2, 3}},
                  {{3, 2, 1}, {1, 3}},
                  {{1, 3, 2}, {2, 1}},
                  {{3, 1, 2}, {3, 2, 1}},
                  {{2, 3, 1, 2}, {1, 1, 2, 3}},
                  {{2, 2, 2, 3}, {2, 2, 3, 2}}},
       .f = [](const Tensors& x) { return matmul(x[0], x[1]); },
       .naive = matmul_naive(),
       .large = {{6, 40, 33}, {6, 33, 65}},
       .flops = 2.0 * 6 * 40 * 33 * 65},
      {.name = "matmul(vectors)",
       .shapes = {{{3}, {3}},
                  {{3}, {3, 2}},
                  {{2, 3}, {3}},
                  {{2, 2, 3}, {3}},
                  {{2, 1, 3}, {3}},
                  {{3}, {2, 3, 2}},
                  {{0}, {0}}},
       .f = [](const Tensors& x) { return matmul(x[0], x[1]); },
       .naive = matmul_naive()},
      {.name = "matmul(transposed)",
       .shapes = {{{3, 2}, {4, 3}}, {{2, 3, 2}, {4, 3}}},
       .f = [](const Tensors& x) { return matmul(x[0].t(), x[1].t()); },
       .naive =
           [](const Arrays& x) {
             Arrays t;
             for (const Array& a : x) {
               Shape s = a.shape;
               std::swap(s[s.rank() - 1], s[s.rank() - 2]);
               t.emplace_back(s);
               each(s, [&](Dims i) {
                 Dims from = i;
                 std::swap(from[i.rank() - 1], from[i.rank() - 2]);
                 t.back()[i] = a[from];
               });
             }
             return product(t[0], t[1]);
           },
       .large = {{67, 130}, {90, 67}},
       .flops = 2.0 * 130 * 67 * 90},
      {.name = "linear",
       .shapes = {{{2, 3}, {4, 3}, {4}},
                  {{3}, {2, 3}, {2}},
                  {{2, 2, 3}, {1, 3}, {1}},
                  {{0, 3}, {2, 3}, {2}},
                  {{2, 3}, {0, 3}, {0}},
                  {{2, 3}, {4, 3}},
                  {{2, 1, 2, 3}, {3, 3}, {3}},
                  {{2, 2, 1, 3}, {2, 3}, {2}},
                  {{2, 2, 1, 1}, {2, 1}}},
       .f = [](const Tensors& x) { return linear(x[0], x[1], x.size() > 2 ? x[2] : Tensor()); },
       .naive =
           [](const Arrays& x) {
             Shape s = x[0].shape;
             s[s.rank() - 1] = x[1].size(0);
             Array y(s);
             each(s, [&](const Dims& i) {
               Dims from = i;
               double sum = x.size() > 2 ? x[2](i.back()) : 0;
               for (int64_t k = 0; k < x[1].size(1); ++k) {
                 from[i.rank() - 1] = k;
                 sum += x[0][from] * x[1](i.back(), k);
               }
               y[i] = sum;
             });
             return y;
           },
       .large = {{150, 64}, {70, 64}, {70}},
       .flops = 2.0 * 150 * 64 * 70},
      {.name = "conv1d",
       .shapes = {{{2, 3, 6}, {4, 3, 3}, {4}},
                  {{1, 1, 1}, {1, 1, 1}, {1}},
                  {{2, 2, 5}, {3, 2, 2}},
                  {{0, 2, 5}, {3, 2, 2}, {3}}},
       .f = [](const Tensors& x) { return conv1d(x[0], x[1], x.size() > 2 ? x[2] : Tensor()); },
       .naive = conv1d_naive({}),
       .large = {{4, 16, 50}, {24, 16, 3}, {24}},
       .flops = 2.0 * 4 * 48 * 24 * 16 * 3},
      {.name = "conv1d(strided, grouped)",
       .shapes = {{{2, 4, 9}, {6, 2, 3}, {6}}, {{1, 2, 8}, {2, 1, 2}}},
       .f =
           [](const Tensors& x) {
             return conv1d(x[0], x[1], x.size() > 2 ? x[2] : Tensor(),
                           {.stride = 2, .padding = 1, .dilation = 2, .groups = 2});
           },
       .naive = conv1d_naive({.stride = 2, .padding = 1, .dilation = 2, .groups = 2})},
      conv2d_case("conv2d",
                  {{{2, 3, 5, 4}, {4, 3, 3, 3}, {4}},
                   {{1, 1, 1, 1}, {1, 1, 1, 1}, {1}},
                   {{1, 2, 4, 4}, {2, 2, 3, 2}},
                   {{0, 2, 4, 4}, {3, 2, 3, 3}, {3}}},
                  {}, {{3, 16, 14, 14}, {32, 16, 3, 3}, {32}}),
      conv2d_case("conv2d(padded)",
                  {{{2, 2, 4, 3}, {3, 2, 3, 3}, {3}}, {{1, 1, 1, 1}, {1, 1, 3, 3}, {1}}},
                  {.padding = 1}, {{2, 16, 28, 28}, {16, 16, 3, 3}, {16}}),
      conv2d_case("conv2d(strided)", {{{1, 2, 7, 6}, {3, 2, 3, 2}, {3}}},
                  {.stride = {2, 3}, .padding = {1, 0}}, {{2, 8, 15, 15}, {16, 8, 3, 3}, {16}}),
      conv2d_case("conv2d(dilated)", {{{1, 2, 6, 7}, {2, 2, 3, 2}, {2}}},
                  {.padding = {0, 2}, .dilation = {2, 3}}, {{2, 8, 15, 15}, {16, 8, 3, 3}, {16}}),
      conv2d_case("conv2d(grouped)", {{{2, 4, 4, 4}, {6, 2, 3, 3}, {6}}},
                  {.padding = 1, .groups = 2}, {{2, 16, 14, 14}, {32, 8, 3, 3}, {32}}),
      conv2d_case("conv2d(depthwise)",
                  {{{1, 2, 4, 4}, {4, 1, 2, 2}, {4}}, {{2, 2, 4, 4}, {2, 1, 3, 3}, {2}}},
                  {.groups = 2}),
      conv2d_case("conv2d(1x1)", {{{2, 3, 3, 2}, {4, 3, 1, 1}, {4}}}, {},
                  {{2, 32, 14, 14}, {48, 32, 1, 1}, {48}}),
      conv2d_case("conv2d(1x1 strided)", {{{2, 3, 4, 5}, {4, 3, 1, 1}, {4}}}, {.stride = 2},
                  {{2, 32, 14, 14}, {48, 32, 1, 1}, {48}}),
      conv2d_case("conv2d(5x5)", {{{1, 2, 6, 6}, {2, 2, 5, 5}, {2}}}, {.padding = 2},
                  {{2, 6, 28, 28}, {16, 6, 5, 5}, {16}}),
  };
  OpCase active = *std::find_if(cases.begin(), cases.end(),
                                [](const OpCase&c) { return c.name == "linear"; }),
         turned = active;
  active.name = "linear_relu";
  active.f = [](const Tensors& x) {
    return linear_relu(x[0], x[1], x.size() > 2 ? x[2] : Tensor());
  };
  active.naive = [linear = active.naive](const Arrays& x) {
    Array y = linear(x)[0];
    for (double& v : y.v) v = std::max(v, 0.0);
    return y;
  };
  cases.push_back(active);
  turned.name = "addmm";
  turned.f = [](const Tensors& x) { return addmm(x.size() > 2 ? x[2] : Tensor(), x[0], x[1].t()); };
  cases.push_back(turned);
  return cases;
}

}  // namespace loupe::testing
