#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

// The image with `p` zeros around it.
Tensor padded(const Tensor& x, int64_t p) {
  const int64_t h = x.size(2), w = x.size(3);
  const Tensor y = zeros({x.size(0), x.size(1), h + 2 * p, w + 2 * p}, DType::f64);
  y.slice(2, p, p + h).slice(3, p, p + w).copy_(x);
  return y;
}

// (N, H', W', C, K, K), from slices.
Tensor windows(const Tensor& x, int64_t K, int64_t stride, int64_t padding) {
  const Tensor y = padded(x, padding);
  const int64_t rows = (y.size(2) - K) / stride + 1, columns = (y.size(3) - K) / stride + 1;
  const Tensor all = zeros({x.size(0), rows, columns, x.size(1), K, K}, DType::f64);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      all.select(1, i).select(1, j).copy_(
          y.slice(2, i * stride, i * stride + K).slice(3, j * stride, j * stride + K));
  return all;
}

Tensor flattened(const Tensor& all) {
  const Tensor t = all.contiguous();
  return t.reshape({t.size(0) * t.size(1) * t.size(2), -1});
}

struct Case {
  Tensor x, w;
  int64_t stride, padding;
};

std::string told(const Case& k, const char* function) {
  return fmt::format("{}, x {}, filters {}, stride {}, padding {}", function,
                     to_string(k.x.shape()), to_string(k.w.shape()), k.stride, k.padding);
}

void columns(Check& c, const Case& k) {
  c.trying(told(k, "im2col"));
  const int64_t K = k.w.size(2);
  const Tensor all = windows(k.x, K, k.stride, k.padding);
  c.equal(
      "the matrix", mine::im2col(k.x, K, k.stride, k.padding), flattened(all),
      {{"the columns are in the order a, b, c: the filters' order is c, a, b",
        [&] {
          return flattened(all.permute({0, 1, 2, 4, 5, 3}));
        }},
       {"rows and columns of a window are exchanged: a counts rows, b counts columns",
        [&] {
          return flattened(all.permute({0, 1, 2, 3, 5, 4}));
        }},
       {"the windows go column by column: j is the faster one",
        [&] {
          return flattened(all.permute({0, 2, 1, 3, 4, 5}));
        }},
       {"the padding is ignored: the matrix has more rows, and zeros at the edges",
        [&] { return flattened(windows(k.x, K, k.stride, 0)); }},
       {"the windows do not move by the stride: the first row of a window is i * stride - padding",
        [&] {
          const Tensor dense = windows(k.x, K, 1, k.padding);
          return flattened(dense.slice(1, 0, all.size(1)).slice(2, 0, all.size(2)));
        }},
       {"all images show the first one: n is missing in the place", [&] {
          const Tensor first = windows(k.x.slice(0, 0, 1), K, k.stride, k.padding);
          return flattened(repeat(first, {k.x.size(0), 1, 1, 1, 1, 1}));
        }}});
}

void convolution(Check& c, const Case& k) {
  c.trying(told(k, "conv2d"));
  const Tensor right = conv2d(k.x, k.w, Tensor(),
                              {.stride = {k.stride, k.stride}, .padding = {k.padding, k.padding}})
                           .contiguous();
  const int64_t O = k.w.size(0), K = k.w.size(2);
  const Tensor rows = flattened(windows(k.x, K, k.stride, k.padding));
  const Tensor product = matmul(rows, k.w.reshape({O, -1}).t());
  c.equal(
      "y", mine::conv2d(k.x, k.w, k.stride, k.padding).contiguous(), right,
      {{"you reshaped the product to (N, O, H', W'): its memory says (n, i, j, o), so reshape to "
        "(N, H', W', O) and permute",
        [&] { return product.reshape(right.shape()); }},
       {"the result is (N, H', W', O): permute it to (N, O, H', W')",
        [&] {
          return product.reshape({right.size(0), right.size(2), right.size(3), O});
        }},
       {"the filters were reshaped to (C K K, O): that mixes them; reshape to (O, C K K) and "
        "transpose",
        [&] {
          const Tensor mixed = matmul(rows, k.w.reshape({-1, O}));
          return mixed.reshape({right.size(0), right.size(2), right.size(3), O})
              .permute({0, 3, 1, 2})
              .contiguous();
        }},
       {"rows and columns of the image are exchanged: permute({0, 3, 1, 2})", [&] {
          return product.reshape({right.size(0), right.size(2), right.size(3), O})
              .permute({0, 3, 2, 1})
              .contiguous();
        }}});
}

Case draw(Check& c, int64_t stride, int64_t padding) {
  const int64_t channels = c.between(2, 3), filters = c.between(4, 5);
  return {c.normal({2, channels, c.between(5, 6), c.between(7, 8)}),
          c.normal({filters, channels, 3, 3}), stride, padding};
}

}  // namespace

void run(Check& c) {
  for (const auto& [stride, padding] : {std::pair{1, 0}, {1, 1}, {2, 0}, {2, 1}}) {
    const Case k = draw(c, stride, padding);
    columns(c, k);
    convolution(c, k);
  }
}

}  // namespace loupe::exercises
