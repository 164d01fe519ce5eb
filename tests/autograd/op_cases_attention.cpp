// Attention.
#include "op_cases.h"

#include <cmath>
#include <limits>

namespace loupe::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Masking {
  enum Kind { none, keep, add } kind = none;
  bool causal = false;
  double scale = 0;  // 0: 1 / sqrt(E)
};

Shape leading(Shape s) {
  s.erase(s.rank() - 1);
  s.erase(s.rank() - 1);
  return s;
}
Dims with_last(Dims i, int64_t row, int64_t column) {
  i[i.rank() - 2] = row;
  i[i.rank() - 1] = column;
  return i;
}

// The weights (..., L, S) of q (..., L, E) and k (..., S, E); in[3] is the mask, where there is
// one.
Array weights(const Arrays& in, const Masking& m) {
  const Array &q = in[0], &k = in[1];
  Shape shape = broadcast_shapes(broadcast_shapes(leading(q.shape), leading(k.shape), ""),
                                 leading(in[2].shape), "");
  shape.push_back(q.size(-2));
  shape.push_back(k.size(-2));
  Array w(shape);
  const int r = shape.rank();
  const double scale = m.scale != 0 ? m.scale : 1 / std::sqrt(static_cast<double>(q.size(-1)));
  each(shape, [&](const Dims& i) {
    double s = 0;
    for (int64_t e = 0; e < q.size(-1); ++e)
      s += q[with_last(i, i[r - 2], e)] * k[with_last(i, i[r - 1], e)];
    s *= scale;
    if (m.causal && i[r - 1] > i[r - 2]) s = -kInfinity;
    if (m.kind == Masking::keep && in[3][i] == 0) s = -kInfinity;
    if (m.kind == Masking::add) s += in[3][i];
    w[i] = s;
  });
  const int64_t n = k.size(-2);
  for (size_t row = 0; n > 0 && row < w.v.size(); row += static_cast<size_t>(n)) {
    double top = -kInfinity, sum = 0;
    const auto each_key = [&](const auto& f) {
      for (size_t j = 0; j < static_cast<size_t>(n); ++j) f(w.v[row + j]);
    };
    each_key([&](double s) { top = std::max(top, s); });
    each_key([&](double& s) {
      s = top == -kInfinity ? 0 : std::exp(s - top);
      sum += s;
    });
    each_key([&](double& s) { s = sum > 0 ? s / sum : 0; });
  }
  return w;
}

Array attended(const Array& w, const Array& v) {
  Shape shape = w.shape;
  shape[shape.rank() - 1] = v.size(-1);
  Array y(shape);
  each(shape, [&](const Dims& i) {
    for (int64_t j = 0; j < v.size(-2); ++j)
      y[i] += std::as_const(w)[with_last(i, i[i.rank() - 2], j)] * v[with_last(i, j, i.back())];
  });
  return y;
}

// (B, T, 3E) as q, k and v, each (B, heads, T, E / heads).
Arrays unpacked(const Array& x, int64_t heads) {
  const int64_t width = x.size(2) / 3 / heads;
  Arrays out;
  for (int64_t part = 0; part < 3; ++part) {
    Array a(Shape{x.size(0), heads, x.size(1), width});
    each(a.shape,
         [&](const Dims& i) { a[i] = x(i[0], i[2], (part * heads + i[1]) * width + i[3]); });
    out.push_back(a);
  }
  return out;
}
Array joined(const Array& y) {
  Array out(Shape{y.size(0), y.size(2), y.size(1) * y.size(3)});
  each(out.shape,
       [&](const Dims& i) { out[i] = y(i[0], i[2] / y.size(3), i[1], i[2] % y.size(3)); });
  return out;
}

AttentionOptions options(const Tensors& x, size_t mask, const Masking& m) {
  AttentionOptions o{.is_causal = m.causal};
  if (m.kind != Masking::none) o.attn_mask = x[mask];
  if (m.scale != 0) o.scale = m.scale;
  return o;
}

using Lists = std::vector<std::vector<Shape>>;

OpCase attention(std::string name, Lists shapes, Masking m, std::vector<Shape> large = {}) {
  OpCase c{.name = std::move(name),
           .shapes = std::move(shapes),
           .f =
               [m](const Tensors& x) {
                 return scaled_dot_product_attention(x[0], x[1], x[2], options(x, 3, m));
               },
           .naive = [m](const Arrays& in) { return attended(weights(in, m), in[2]); }};
  if (m.kind == Masking::keep) c.draw = {Draw{}, Draw{}, Draw{}, mask()};
  c.f32_tolerance = 1e-5;
  c.large = std::move(large);
  return c;
}

OpCase packed(std::string name, Lists shapes, int64_t heads, Masking m,
              std::vector<Shape> large = {}) {
  OpCase c{.name = std::move(name),
           .shapes = std::move(shapes),
           .f = [=](const Tensors& x) { return self_attention(x[0], heads, options(x, 1, m)); },
           .naive =
               [=](const Arrays& in) {
                 Arrays parts = unpacked(in[0], heads);
                 if (in.size() > 1) parts.push_back(in[1]);
                 return joined(attended(weights(parts, m), parts[2]));
               }};
  if (m.kind == Masking::keep) c.draw = {Draw{}, mask()};
  c.f32_tolerance = 1e-5;
  c.large = std::move(large);
  return c;
}

// With dropout: the factors come out where all weights are equal and the values are the identity.
Tensor dropped(const Tensors& x) {
  Rng rng(17);
  return scaled_dot_product_attention(x[0], x[1], x[2], {.dropout_p = 0.4, .rng = &rng});
}
Array dropped_naive(const Arrays& in) {
  Array w = weights(in, {});
  const int64_t n = in[1].size(-2);
  Shape square = leading(w.shape);
  square.push_back(n);
  square.push_back(n);
  const Tensor zero = zeros(square, DType::f64), identity = raw::zeros(square, DType::f64);
  each(square, [&](const Dims& i) {
    if (i.back() != i[i.rank() - 2]) return;
    Tensor at = identity;
    for (int64_t k : i) at = raw::select(at, 0, k);
    raw::fill(at, static_cast<double>(n));
  });
  const Array factors(dropped({zeros(w.shape, DType::f64), zero, identity}));
  each(w.shape, [&](const Dims& i) { w[i] *= factors[i]; });
  return attended(w, in[2]);
}

// q, k, v: batch of one, none, broadcast, no keys, no queries, more than four dimensions.
const Lists kPlain{{{2, 3, 4}, {2, 5, 4}, {2, 5, 3}},
                   {{3, 4}, {5, 4}, {5, 2}},
                   {{2, 2, 3, 4}, {2, 2, 3, 4}, {2, 2, 3, 4}},
                   {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
                   {{2, 1, 2, 3}, {1, 2, 3, 3}, {2, 3, 2}},
                   {{0, 2, 3}, {0, 2, 3}, {0, 2, 3}},
                   {{2, 0, 3}, {2, 2, 3}, {2, 2, 3}},
                   {{1, 2, 1, 2, 3}, {1, 2, 1, 2, 3}, {1, 2, 1, 2, 3}}};
const Lists kSquare{{{2, 3, 4}, {2, 3, 4}, {2, 3, 3}},
                    {{2, 2, 3}, {2, 4, 3}, {2, 4, 2}},
                    {{1, 2, 4, 3}, {1, 2, 2, 3}, {1, 2, 2, 2}}};
const Lists kMasked{{{2, 3, 4}, {2, 5, 4}, {2, 5, 3}, {3, 5}},
                    {{3, 4}, {5, 4}, {5, 2}, {5}},
                    {{2, 2, 3, 4}, {2, 2, 3, 4}, {2, 2, 3, 4}, {2, 1, 1, 3}},
                    {{2, 1, 2, 3}, {2, 1, 3, 3}, {2, 1, 3, 2}, {2, 1, 2, 3}},
                    {{1, 2, 1, 2, 3}, {1, 2, 1, 2, 3}, {1, 2, 1, 2, 3}, {2, 2}}};
const std::vector<Shape> kLarge{{2, 3, 70, 16}, {2, 3, 90, 16}, {2, 3, 90, 24}};
const std::vector<Shape> kLargeMasked{{2, 3, 70, 16}, {2, 3, 90, 16}, {2, 3, 90, 24}, {70, 90}};

}  // namespace

std::vector<OpCase> attention_cases() {
  OpCase with_dropout = attention(
      "scaled_dot_product_attention(dropout)",
      {{{2, 3, 4}, {2, 5, 4}, {2, 5, 3}}, {{2, 2, 3, 4}, {2, 2, 3, 4}, {2, 2, 3, 4}}}, {});
  with_dropout.f = dropped;
  with_dropout.naive = dropped_naive;
  OpCase both{.name = "attention_with_weights",
              .shapes = kMasked,
              .f =
                  [](const Tensors& x) {
                    const AttentionResult r =
                        attention_with_weights(x[0], x[1], x[2], {.attn_mask = x[3]});
                    return Tensors{r.output, r.weights};
                  },
              .naive =
                  [](const Arrays& in) {
                    const Array w = weights(in, {.kind = Masking::add});
                    return Arrays{attended(w, in[2]), w};
                  }};
  both.f32_tolerance = 1e-5;
  return {
      attention("scaled_dot_product_attention", kPlain, {}, kLarge),
      attention("scaled_dot_product_attention(causal)", kSquare, {.causal = true}, kLarge),
      attention("scaled_dot_product_attention(scale)", kSquare, {.scale = 0.3}),
      attention("scaled_dot_product_attention(bool mask)", kMasked, {.kind = Masking::keep},
                kLargeMasked),
      attention("scaled_dot_product_attention(additive mask)", kMasked, {.kind = Masking::add},
                kLargeMasked),
      attention("scaled_dot_product_attention(causal, bool mask)", kMasked,
                {.kind = Masking::keep, .causal = true}),
      with_dropout,
      both,
      packed("self_attention", {{{2, 3, 12}}, {{1, 1, 6}}, {{0, 2, 6}}, {{2, 0, 6}}}, 2, {},
             {{2, 40, 96}}),
      packed("self_attention(causal)", {{{2, 3, 12}}, {{1, 4, 6}}}, 1, {.causal = true},
             {{2, 40, 96}}),
      packed("self_attention(bool mask)", {{{2, 3, 12}, {2, 1, 3, 3}}, {{1, 2, 6}, {2}}}, 2,
             {.kind = Masking::keep}, {{2, 40, 96}, {40, 40}}),
      packed("self_attention(additive mask)", {{{2, 3, 12}, {3, 3}}, {{1, 2, 6}, {1, 2, 2, 2}}}, 2,
             {.kind = Masking::add}),
  };
}

}  // namespace loupe::testing
