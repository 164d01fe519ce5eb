// Transposed convolution and resampling.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

// Every pixel of x is spread over the kernel's window of y.
Naive transposed(ConvTranspose2dArgs a, bool with_bias) {
  return [=](const Arrays& in) {
    const Array &x = in[0], &w = in[1];
    const int64_t out = w.size(1) * a.groups;
    const auto size = [](int64_t n, int64_t k, int64_t stride, int64_t padding, int64_t dilation,
                         int64_t extra) {
      return (n - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1;
    };
    Array y(Shape{
        x.size(0), out,
        size(x.size(2), w.size(2), a.stride.h, a.padding.h, a.dilation.h, a.output_padding.h),
        size(x.size(3), w.size(3), a.stride.w, a.padding.w, a.dilation.w, a.output_padding.w)});
    if (with_bias) each(y.shape, [&](const Dims& i) { y[i] = in[2](i[1]); });
    each(x.shape, [&](const Dims& i) {
      const int64_t group = i[1] / (x.size(1) / a.groups);
      for (int64_t o = 0; o < w.size(1); ++o)
        for (int64_t r = 0; r < w.size(2); ++r)
          for (int64_t q = 0; q < w.size(3); ++q) {
            const int64_t row = i[2] * a.stride.h - a.padding.h + r * a.dilation.h;
            const int64_t column = i[3] * a.stride.w - a.padding.w + q * a.dilation.w;
            if (row < 0 || row >= y.size(2) || column < 0 || column >= y.size(3)) continue;
            y(i[0], group * w.size(1) + o, row, column) += x[i] * w(i[1], o, r, q);
          }
    });
    return y;
  };
}

OpCase transposed_case(const std::string& name, std::vector<std::vector<Shape>> shapes,
                       ConvTranspose2dArgs a) {
  const bool with_bias = shapes[0].size() > 2;
  return {.name = "conv_transpose2d" + name,
          .shapes = std::move(shapes),
          .f =
              [=](const Tensors& x) {
                return Tensors{conv_transpose2d(x[0], x[1], with_bias ? x[2] : Tensor(), a)};
              },
          .naive = transposed(a, with_bias)};
}

// Weighted sums of two neighbours along one axis: what each output position takes.
struct Mix {
  int64_t first, second;
  double share;  // of the second
};
Mix mix(int64_t i, int64_t in, int64_t out, Interpolation mode, bool corners) {
  const double scale =
      corners ? (out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0)
              : static_cast<double>(in) / static_cast<double>(out);
  const auto at = static_cast<double>(i);
  if (mode != Interpolation::linear) {
    const double from = mode == Interpolation::nearest ? at * scale : (at + 0.5) * scale;
    const int64_t place = std::min(static_cast<int64_t>(from), in - 1);
    return {place, place, 0};
  }
  const double from = corners ? at * scale : std::max((at + 0.5) * scale - 0.5, 0.0);
  const int64_t first = std::min(static_cast<int64_t>(from), in - 1);
  return {first, std::min(first + 1, in - 1), from - static_cast<double>(first)};
}

OpCase resampling_case(const std::string& name, Interpolation mode, bool corners) {
  const Size2 size{5, 3};
  const InterpolateArgs args{.size = size, .mode = mode, .align_corners = corners};
  return {.name = "interpolate" + name,
          .shapes = {{{2, 3, 4, 4}}, {{1, 1, 1, 1}}, {{1, 2, 3, 7}}, {{2, 3, 5}}, {{0, 2, 3, 3}}},
          .f = [=](const Tensors& x) { return Tensors{interpolate(x[0], args)}; },
          .naive =
              [=](const Arrays& in) {
                Array x = in[0];
                const bool line = x.shape.rank() == 3;
                if (line) x.shape.insert(2, 1);
                Array y(Shape{x.size(0), x.size(1), line ? 1 : size.h, size.w});
                each(y.shape, [&](const Dims& i) {
                  const Mix r = line ? Mix{0, 0, 0} : mix(i[2], x.size(2), size.h, mode, corners);
                  const Mix q = mix(i[3], x.size(3), size.w, mode, corners);
                  const auto row = [&](int64_t h) {
                    return (1 - q.share) * x(i[0], i[1], h, q.first) +
                           q.share * x(i[0], i[1], h, q.second);
                  };
                  y[i] = (1 - r.share) * row(r.first) + r.share * row(r.second);
                });
                if (line) y.shape.erase(2);
                return y;
              },
          .large = {{2, 17, 9, 8}}};
}

}  // namespace

std::vector<OpCase> image_cases() {
  std::vector<OpCase> cases{
      transposed_case("",
                      {{{2, 3, 3, 4}, {3, 2, 3, 2}, {2}},
                       {{1, 1, 1, 1}, {1, 1, 1, 1}, {1}},
                       {{0, 2, 2, 2}, {2, 2, 2, 2}, {2}}},
                      {}),
      transposed_case("(stride)", {{{2, 2, 3, 3}, {2, 3, 3, 3}}},
                      {.stride = 2, .padding = 1, .output_padding = 1}),
      transposed_case("(groups, dilation)", {{{2, 4, 3, 3}, {4, 1, 2, 3}}},
                      {.stride = {2, 1}, .padding = {0, 1}, .groups = 2, .dilation = {1, 2}}),
      transposed_case("(output padding beyond the stride)", {{{1, 2, 3, 3}, {2, 2, 2, 2}}},
                      {.output_padding = 2, .dilation = 3}),
      resampling_case("", Interpolation::nearest, false),
      resampling_case("(exact)", Interpolation::nearest_exact, false),
      resampling_case("(linear)", Interpolation::linear, false),
      resampling_case("(corners)", Interpolation::linear, true)};
  cases[0].large = {{4, 16, 8, 8}, {16, 16, 3, 3}, {16}};
  cases[0].f32_tolerance = 2e-5;  // Winograd runs there, as for conv2d
  const Naive image = transposed({.stride = {1, 2}, .padding = {0, 1}}, false);
  cases.push_back({.name = "conv_transpose1d",
                   .shapes = {{{2, 2, 4}, {2, 3, 3}}, {{1, 1, 1}, {1, 1, 3}}},
                   .f =
                       [](const Tensors& x) {
                         return Tensors{
                             conv_transpose1d(x[0], x[1], Tensor(), {.stride = 2, .padding = 1})};
                       },
                   .naive =
                       [image](const Arrays& in) {
                         Arrays rows = in;
                         for (Array& a : rows) a.shape.insert(2, 1);
                         Array y = image(rows)[0];
                         y.shape.erase(2);
                         return y;
                       }});
  return cases;
}

}  // namespace loupe::testing
