#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

Tensor as_tensor(const mine::Image& x) { return from_data(x.values, Shape{x.n, x.c, x.h, x.w}); }

mine::Image as_image(const Tensor& t) {
  mine::Image x(t.size(0), t.size(1), t.size(2), t.size(3));
  x.values = t.contiguous().to_vector<double>();
  return x;
}

struct Case {
  Tensor x, w, bias;
  int64_t stride, padding;
};

Tensor with_bias(const Tensor& y, const Tensor& bias) { return y + bias.reshape({-1, 1, 1}); }

// The image with its edge repeated.
Tensor edge_repeated(const Tensor& x, int64_t p) {
  const auto clamped = [&](int64_t size) {
    std::vector<int64_t> at;
    for (int64_t i = -p; i < size + p; ++i) at.push_back(std::clamp<int64_t>(i, 0, size - 1));
    return from_data(at);
  };
  return index_select(index_select(x, 2, clamped(x.size(2))), 3, clamped(x.size(3)));
}

void compare(Check& c, const std::string& name, const Case& k) {
  c.trying(fmt::format("{}: x {}, filters {}, stride {}, padding {}", name, to_string(k.x.shape()),
                       to_string(k.w.shape()), k.stride, k.padding));
  const auto library = [&](const Tensor& x, const Tensor& w, const Tensor& bias, int64_t padding) {
    return conv2d(x, w, bias, {.stride = {k.stride, k.stride}, .padding = {padding, padding}})
        .contiguous();
  };
  const Tensor right = library(k.x, k.w, k.bias, k.padding);
  const mine::Image y =
      mine::conv2d(as_image(k.x), as_image(k.w), k.bias.to_vector<double>(), k.stride, k.padding);
  const int64_t K = k.w.size(2);
  c.equal(
      "y", as_tensor(y), right,
      {{"the filter is flipped: w[o, c, a, b] meets x at row i + a, column j + b",
        [&] {
          return library(k.x, flip(k.w, {2, 3}), k.bias, k.padding);
        }},
       {"the filter is transposed: a counts rows, b counts columns",
        [&] { return library(k.x, k.w.transpose(2, 3).contiguous(), k.bias, k.padding); }},
       {"the padding is ignored: the output is larger by 2 p",
        [&] { return library(k.x, k.w, k.bias, 0); }},
       {"only the first channel is read: the sum runs over all of them",
        [&] {
          return library(k.x.slice(1, 0, 1).contiguous(), k.w.slice(1, 0, 1).contiguous(), k.bias,
                         k.padding);
        }},
       {"the bias is missing", [&] { return library(k.x, k.w, Tensor(), k.padding); }},
       {"the bias is added once for each channel: it stands outside of the sum",
        [&] { return with_bias(right, k.bias * static_cast<double>(k.x.size(1) - 1)); }},
       {"the window does not move by the stride: its first row is i * stride - padding",
        [&] {
          const Tensor dense = conv2d(k.x, k.w, k.bias, {.padding = {k.padding, k.padding}});
          return dense.slice(2, 0, right.size(2)).slice(3, 0, right.size(3)).contiguous();
        }},
       {"one row and one column are missing: the size is (H + 2 p - K) / s + 1",
        [&] {
          return right.slice(2, 0, right.size(2) - 1).slice(3, 0, right.size(3) - 1).contiguous();
        }},
       {"beyond the edge you read the edge again: padding is 0 there",
        [&] { return library(edge_repeated(k.x, k.padding), k.w, k.bias, 0); }},
       {"each output holds its last product alone: add them up", [&] {
          const Tensor last = zeros_like(k.w);
          const int64_t channel = k.w.size(1) - 1;
          last.slice(1, channel, channel + 1)
              .slice(2, K - 1, K)
              .slice(3, K - 1, K)
              .copy_(k.w.slice(1, channel, channel + 1).slice(2, K - 1, K).slice(3, K - 1, K));
          return library(k.x, last, Tensor(), k.padding);
        }}});
}

Case draw(Check& c, int64_t stride, int64_t padding) {
  const int64_t channels = c.between(2, 3), filters = c.between(2, 4);
  return {c.normal({2, channels, c.between(5, 6), c.between(7, 8)}),
          c.normal({filters, channels, 3, 3}), c.normal({filters}), stride, padding};
}

}  // namespace

void run(Check& c) {
  compare(c, "plain", draw(c, 1, 0));
  compare(c, "with padding", draw(c, 1, 1));
  compare(c, "with a stride", draw(c, 2, 0));
  compare(c, "with both", draw(c, 2, 1));
  compare(c, "a case that PyTorch has computed, too",
          {c.torch("conv.x"), c.torch("conv.weight"), c.torch("conv.bias"), 2, 1});
}

}  // namespace loupe::exercises
