// Pooling.
#include "op_cases.h"

#include <algorithm>
#include <limits>

namespace loupe::testing {
namespace {

struct Window {
  int64_t begin, end;  // positions, those of the padding too
  int64_t step = 1;
};
using Windows = std::vector<Window>;

Windows strided(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  Windows all;
  for (int64_t at = -padding; at + kernel <= size + padding; at += stride)
    all.push_back({at, at + kernel});
  return all;
}
// ceil_mode: a last window may reach beyond the padding; what lies there does not count.
Windows ceiled(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  Windows all;
  const int64_t span = dilation * (kernel - 1) + 1, last = size + padding;
  for (int64_t at = -padding; all.empty() || (at < size && at - stride + span < last); at += stride)
    all.push_back({at, std::min(at + span, last), dilation});
  return all;
}
Windows adaptive(int64_t size, int64_t output) {
  Windows all;
  for (int64_t i = 0; i < output; ++i)
    all.push_back({i * size / output, ((i + 1) * size + output - 1) / output});
  return all;
}

// fold(values of the window inside x, window's size with the padding).
template <class W, class F> Naive pooling(W windows, F fold) {
  return [=](const Arrays& in) {
    Array x = in[0];
    const bool line = x.shape.rank() == 3;
    if (line) x.shape.insert(2, 1);
    const auto [rows, columns] = windows(x.size(2), x.size(3), line);
    Array y(Shape{x.size(0), x.size(1), static_cast<int64_t>(rows.size()),
                  static_cast<int64_t>(columns.size())});
    each(y.shape, [&, &rows = rows, &columns = columns](const Dims& i) {
      const Window r = rows[static_cast<size_t>(i[2])], c = columns[static_cast<size_t>(i[3])];
      std::vector<double> seen;
      for (int64_t h = r.begin; h < std::min(r.end, x.size(2)); h += r.step)
        for (int64_t w = c.begin; w < std::min(c.end, x.size(3)); w += c.step)
          if (h >= 0 && w >= 0) seen.push_back(std::as_const(x)(i[0], i[1], h, w));
      y[i] = fold(seen, (r.end - r.begin) * (c.end - c.begin));
    });
    if (line) y.shape.erase(2);
    return y;
  };
}

double largest(const std::vector<double>& v, int64_t) {
  return *std::max_element(v.begin(), v.end());
}
double total(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += x;
  return s;
}
double mean_with_padding(const std::vector<double>& v, int64_t n) {
  return total(v) / static_cast<double>(n);
}
double mean_inside(const std::vector<double>& v, int64_t) {
  return total(v) / static_cast<double>(v.size());
}

using Pair = std::pair<Windows, Windows>;
auto windows(Size2 kernel, Size2 stride, Size2 padding) {
  return [=](int64_t h, int64_t w, bool line) {
    return Pair{line ? Windows{{0, 1}} : strided(h, kernel.h, stride.h, padding.h),
                strided(w, kernel.w, stride.w, padding.w)};
  };
}
auto ceiled_windows(Size2 kernel, Size2 stride, Size2 padding, Size2 dilation) {
  return [=](int64_t h, int64_t w, bool line) {
    return Pair{line ? Windows{{0, 1}} : ceiled(h, kernel.h, stride.h, padding.h, dilation.h),
                ceiled(w, kernel.w, stride.w, padding.w, dilation.w)};
  };
}
auto grid(Size2 output) {
  return [=](int64_t h, int64_t w, bool line) {
    return Pair{line ? Windows{{0, 1}} : adaptive(h, output.h), adaptive(w, output.w)};
  };
}

const std::vector<std::vector<Shape>> kLines{
    {{2, 3, 7}}, {{1, 1, 3}}, {{1, 2, 5}}, {{0, 2, 4}}, {{2, 0, 4}}};
const std::vector<std::vector<Shape>> kImages{
    {{2, 3, 5, 6}}, {{1, 1, 3, 3}}, {{2, 2, 3, 4}}, {{0, 2, 4, 4}}, {{2, 0, 4, 4}}};

template <class F>
OpCase pool(std::string name, const std::vector<std::vector<Shape>>& shapes, F f, Naive naive) {
  OpCase c{.name = std::move(name),
           .shapes = shapes,
           .f = [f](const Tensors& x) { return f(x[0]); },
           .naive = std::move(naive)};
  c.large = {shapes[0][0].rank() == 3 ? Shape{4, 19, 50} : Shape{3, 19, 14, 15}};
  return c;
}

}  // namespace

std::vector<OpCase> pool_cases() {
  return {
      pool(
          "max_pool1d", kLines, [](In x) { return max_pool1d(x, 2); },
          pooling(windows(2, 2, 0), largest)),
      pool(
          "max_pool1d(padded)", kLines,
          [](In x) { return max_pool1d(x, 3, {.stride = 2, .padding = 1}); },
          pooling(windows(3, 2, 1), largest)),
      pool(
          "max_pool2d", kImages, [](In x) { return max_pool2d(x, 2); },
          pooling(windows(2, 2, 0), largest)),
      pool(
          "max_pool2d(padded)", kImages,
          [](In x) {
            return max_pool2d(x, {3, 2}, {.stride = Size2{2, 1}, .padding = {1, 0}});
          },
          pooling(windows({3, 2}, {2, 1}, {1, 0}), largest)),
      pool(
          "max_pool1d_with_indices", kLines,
          [](In x) { return max_pool1d_with_indices(x, 2).values; },
          pooling(windows(2, 2, 0), largest)),
      pool(
          "max_pool2d_with_indices", kImages,
          [](In x) { return max_pool2d_with_indices(x, 2).values; },
          pooling(windows(2, 2, 0), largest)),
      pool(
          "max_pool2d(ceil_mode)", kImages,
          [](In x) {
            return max_pool2d(x, {2, 3}, {.stride = 2, .padding = {1, 1}, .ceil_mode = true});
          },
          pooling(ceiled_windows({2, 3}, 2, 1, 1), largest)),
      pool(
          "max_pool2d(dilation)", kImages,
          [](In x) { return max_pool2d(x, 2, {.stride = 1, .dilation = 2}); },
          pooling(ceiled_windows(2, 1, 0, 2), largest)),
      pool(
          "avg_pool2d(padded, ceil_mode)", kImages,
          [](In x) {
            return avg_pool2d(x, {2, 3}, {.stride = 2, .padding = {1, 1}, .ceil_mode = true});
          },
          pooling(ceiled_windows({2, 3}, 2, 1, 1), mean_with_padding)),
      pool(
          "avg_pool1d", kLines, [](In x) { return avg_pool1d(x, 2); },
          pooling(windows(2, 2, 0), mean_inside)),
      pool(
          "avg_pool1d(padded)", kLines,
          [](In x) { return avg_pool1d(x, 3, {.stride = 1, .padding = 1}); },
          pooling(windows(3, 1, 1), mean_with_padding)),
      pool(
          "avg_pool2d", kImages, [](In x) { return avg_pool2d(x, 2); },
          pooling(windows(2, 2, 0), mean_inside)),
      pool(
          "avg_pool2d(padded)", kImages,
          [](In x) {
            return avg_pool2d(x, 3, {.stride = Size2{2, 1}, .padding = 1});
          },
          pooling(windows(3, {2, 1}, 1), mean_with_padding)),
      pool(
          "avg_pool2d(padding not counted)", kImages,
          [](In x) {
            return avg_pool2d(x, {3, 2},
                              {.stride = Size2{2, 2}, .padding = 1, .count_include_pad = false});
          },
          pooling(windows({3, 2}, 2, 1), mean_inside)),
      pool(
          "adaptive_avg_pool1d", kLines, [](In x) { return adaptive_avg_pool1d(x, 3); },
          pooling(grid(3), mean_inside)),
      pool(
          "adaptive_avg_pool2d", kImages,
          [](In x) {
            return adaptive_avg_pool2d(x, {2, 3});
          },
          pooling(grid({2, 3}), mean_inside)),
      pool(
          "adaptive_avg_pool2d(1)", kImages, [](In x) { return adaptive_avg_pool2d(x, 1); },
          pooling(grid(1), mean_inside)),
  };
}

}  // namespace loupe::testing
