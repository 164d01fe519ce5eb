// ONNX's convolutions, pools and resampling.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "onnx_ops.h"

namespace judges {
namespace {

bool all_are(const std::vector<int64_t>& values, int64_t value) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
}

// Padding of windows: explicit, or counted from auto_pad. {before..., after...}
std::vector<int64_t> window_pads(const OnnxCall& c, const std::vector<int64_t>& kernel,
                                 const std::vector<int64_t>& stride,
                                 const std::vector<int64_t>& dilation) {
  const size_t n = kernel.size();
  const std::string mode = c.word("auto_pad", "NOTSET");
  std::vector<int64_t> pads = c.list("pads");
  if (pads.empty()) pads.resize(2 * n);
  if (mode == "NOTSET" || mode == "VALID") return pads;
  for (size_t d = 0; d < n; ++d) {
    const int64_t size = c.x[0].size(static_cast<int64_t>(2 + d));
    const int64_t out = (size + stride[d] - 1) / stride[d];
    const int64_t span = dilation[d] * (kernel[d] - 1) + 1;
    const int64_t total = std::max<int64_t>(0, (out - 1) * stride[d] + span - size);
    const int64_t less = total / 2, more = total - less;
    pads[d] = mode == "SAME_UPPER" ? less : more;
    pads[n + d] = mode == "SAME_UPPER" ? more : less;
  }
  return pads;
}

struct Windows {
  std::vector<int64_t> kernel, stride, dilation, pads;
};
Windows plain_windows(const OnnxCall& c, const std::vector<int64_t>& kernel) {
  const size_t n = kernel.size();
  if (n > 2) refuse("windows of three dimensions");
  Windows w{kernel, c.list("strides"), c.list("dilations"), {}};
  if (w.stride.empty()) w.stride.assign(n, 1);
  if (w.dilation.empty()) w.dilation.assign(n, 1);
  return w;
}
Windows windows(const OnnxCall& c, const std::vector<int64_t>& kernel) {
  Windows w = plain_windows(c, kernel);
  w.pads = window_pads(c, kernel, w.stride, w.dilation);
  return w;
}
bool symmetric(const Windows& w) {
  const size_t n = w.kernel.size();
  for (size_t d = 0; d < n; ++d)
    if (w.pads[d] != w.pads[n + d]) return false;
  return true;
}

// Padded by an op of its own, where the two sides differ; the windows then have no padding.
Tensor padded(const Tensor& x, Windows& w, double value = 0) {
  std::vector<int64_t> amounts;
  const size_t n = w.kernel.size();
  for (size_t d = n; d-- > 0;) {
    amounts.push_back(w.pads[d]);
    amounts.push_back(w.pads[n + d]);
  }
  w.pads.assign(2 * n, 0);
  return pad(x, amounts, value);
}

Tensors conv(const OnnxCall& c) {
  const Shape& shape = c.x[1].shape();
  const std::vector<int64_t> kernel(shape.begin() + 2, shape.end());
  Windows w = windows(c, kernel);
  const int64_t groups = c.integer("group", 1);
  const Tensor x = symmetric(w) ? c.x[0] : padded(c.x[0], w);
  const Tensor bias = c.has(2) ? c.x[2] : Tensor();
  if (kernel.size() == 1)
    return {conv1d(x, c.x[1], bias, {w.stride[0], w.pads[0], w.dilation[0], groups})};
  return {conv2d(x, c.x[1], bias,
                 {{w.stride[0], w.stride[1]},
                  {w.pads[0], w.pads[1]},
                  {w.dilation[0], w.dilation[1]},
                  groups})};
}

// What a transposed convolution leaves out at each side, and adds at the end.
struct Edges {
  std::vector<int64_t> pads, more;
};
Edges edges(const OnnxCall& c, const Windows& w) {
  const size_t n = w.kernel.size();
  const std::string mode = c.word("auto_pad", "NOTSET");
  const std::vector<int64_t> wanted = c.list("output_shape");
  Edges e{c.list("pads"), c.list("output_padding")};
  e.pads.resize(2 * n);
  e.more.resize(n);
  if (wanted.empty() && (mode == "NOTSET" || mode == "VALID")) return e;
  for (size_t d = 0; d < n; ++d) {
    const int64_t size = c.x[0].size(static_cast<int64_t>(2 + d));
    const int64_t out = wanted.empty() ? size * w.stride[d] : wanted[d];
    const int64_t all =
        w.stride[d] * (size - 1) + e.more[d] + w.dilation[d] * (w.kernel[d] - 1) + 1 - out;
    if (all < 0) e.more[d] -= all;
    const int64_t total = std::max<int64_t>(all, 0), less = total / 2, rest = total - less;
    e.pads[d] = mode == "SAME_UPPER" ? less : rest;
    e.pads[n + d] = mode == "SAME_UPPER" ? rest : less;
  }
  return e;
}

Tensors conv_transpose(const OnnxCall& c) {
  const Shape& shape = c.x[1].shape();
  const std::vector<int64_t> kernel(shape.begin() + 2, shape.end());
  const Windows w = plain_windows(c, kernel);
  const size_t n = kernel.size();
  Edges e = edges(c, w);
  std::vector<int64_t> cut(n);  // at the end, beyond what is left out at the start
  for (size_t d = 0; d < n; ++d) {
    const int64_t least = std::min(e.pads[d], e.pads[n + d]);
    if (e.pads[d] > least) refuse("a transposed convolution padded more at the start");
    cut[d] = e.pads[n + d] - least;
  }
  const Tensor bias = c.has(2) ? c.x[2] : Tensor();
  const int64_t groups = c.integer("group", 1);
  Tensor y;
  if (n == 1)
    y = conv_transpose1d(c.x[0], c.x[1], bias,
                         {w.stride[0], e.pads[0], e.more[0], groups, w.dilation[0]});
  else
    y = conv_transpose2d(c.x[0], c.x[1], bias,
                         {{w.stride[0], w.stride[1]},
                          {e.pads[0], e.pads[1]},
                          {e.more[0], e.more[1]},
                          groups,
                          {w.dilation[0], w.dilation[1]}});
  for (size_t d = 0; d < n; ++d) {
    const int64_t axis = static_cast<int64_t>(2 + d);
    y = y.slice(axis, 0, y.size(axis) - cut[d]);
  }
  return {y};
}

// --- Pools ---

// Padding that the pool's own option can say.
bool plain_padding(const Windows& w) {
  for (size_t d = 0; d < w.kernel.size(); ++d)
    if (2 * w.pads[d] > w.dilation[d] * (w.kernel[d] - 1) + 1) return false;
  return symmetric(w);
}
Pool2dArgs pool_args(const OnnxCall& c, const Windows& w) {
  const size_t last = w.kernel.size() - 1;
  const bool line = last == 0;
  return {.stride = Size2(line ? 1 : w.stride[0], w.stride[last]),
          .padding = Size2(line ? 0 : w.pads[0], w.pads[last]),
          .ceil_mode = c.integer("ceil_mode", 0) != 0,
          .dilation = Size2(line ? 1 : w.dilation[0], w.dilation[last])};
}
Pool1dArgs of_a_line(const Pool2dArgs& a) {
  return {a.stride->w, a.padding.w, a.count_include_pad, a.ceil_mode, a.dilation.w};
}

// Places in each image as places in the whole tensor; `by_columns`: counted down the columns.
Tensor places(const Tensor& indices, const Shape& x, bool by_columns) {
  const int64_t last = x[x.rank() - 1], rows = x.rank() == 4 ? x[2] : 1, images = x[0] * x[1];
  Tensor place = indices;
  if (by_columns) {
    const double width = static_cast<double>(last);
    const Tensor column = remainder(indices, width);
    const Tensor row = floor((indices - column).to(DType::f64) / width).to(DType::i64);
    place = column * static_cast<double>(rows) + row;
  }
  std::vector<int64_t> first(static_cast<size_t>(x.rank()), 1);
  first[0] = x[0];
  first[1] = x[1];
  return place + (arange(images) * static_cast<double>(rows * last)).reshape(dims(first));
}

Tensors max_pool(const OnnxCall& c) {
  Windows w = windows(c, c.list("kernel_shape"));
  if (!is_floating(c.x[0].dtype())) refuse("max pooling of " + std::string(name(c.x[0].dtype())));
  const bool by_columns = c.integer("storage_order", 0) != 0;
  const bool even = plain_padding(w);
  if (!even && c.outputs > 1) refuse("places of maxima with more padding on one side");
  const Tensor x = even ? c.x[0] : padded(c.x[0], w, -std::numeric_limits<double>::infinity());
  const Pool2dArgs args = pool_args(c, w);
  const bool line = w.kernel.size() == 1;
  const Size2 kernel = line ? Size2(w.kernel[0]) : Size2(w.kernel[0], w.kernel[1]);
  if (c.outputs == 1)
    return {line ? max_pool1d(x, kernel.w, of_a_line(args)) : max_pool2d(x, kernel, args)};
  const PoolResult r = line ? max_pool1d_with_indices(x, kernel.w, of_a_line(args))
                            : max_pool2d_with_indices(x, kernel, args);
  return {r.values, places(r.indices, x.shape(), by_columns)};
}

Tensors avg_pool(const OnnxCall& c) {
  Windows w = windows(c, c.list("kernel_shape"));
  if (!all_are(w.dilation, 1)) refuse("averages with dilation");
  const bool counts = c.integer("count_include_pad", 0) != 0, even = plain_padding(w);
  const bool line = w.kernel.size() == 1;
  const Size2 kernel = line ? Size2(w.kernel[0]) : Size2(w.kernel[0], w.kernel[1]);
  const auto mean_of = [&](const Tensor& x) {
    Pool2dArgs args = pool_args(c, w);
    args.count_include_pad = counts;
    return line ? avg_pool1d(x, kernel.w, of_a_line(args)) : avg_pool2d(x, kernel, args);
  };
  if (even) return {mean_of(c.x[0])};
  Windows again = w;
  const Tensor y = mean_of(padded(c.x[0], w));
  if (counts) return {y};
  return {y / mean_of(padded(ones_like(c.x[0]), again))};
}
Tensors global_avg_pool(const OnnxCall& c) {
  if (c.x[0].dim() == 3) return {adaptive_avg_pool1d(c.x[0], 1)};
  if (c.x[0].dim() == 4) return {adaptive_avg_pool2d(c.x[0], 1)};
  refuse("windows of three dimensions");
}
Tensors global_max_pool(const OnnxCall& c) {
  Dims axes;
  for (int d = 2; d < c.x[0].dim(); ++d) axes.push_back(d);
  return {max(c.x[0], axes, true)};
}

// --- Resampling ---

// Sizes and scales of rows and columns.
struct Resampling {
  int64_t in[2], out[2];
  double scale[2];
  bool ratio() const {  // each scale is out / in
    return std::abs(scale[0] * static_cast<double>(in[0]) - static_cast<double>(out[0])) < 1e-6 &&
           std::abs(scale[1] * static_cast<double>(in[1]) - static_cast<double>(out[1])) < 1e-6;
  }
};

// Each axis of the image finds its entry in `values`; the others must be `neutral`.
template <class T>
std::array<T, 2> of_image(const OnnxCall& c, const std::vector<T>& values, bool sizes) {
  const Shape& shape = c.x[0].shape();
  if (shape.rank() != 4) refuse("resampling of another rank than 4");
  std::vector<int64_t> axes = c.list("axes");
  for (int64_t d = 0; !c.given("axes") && d < 4; ++d) axes.push_back(d);
  std::array<T, 2> found{sizes ? static_cast<T>(shape[2]) : T(1),
                         sizes ? static_cast<T>(shape[3]) : T(1)};
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = normalize_axis(axes[i], 4, "resize");
    if (axis >= 2) found[static_cast<size_t>(axis - 2)] = values[i];
    else if (values[i] != (sizes ? static_cast<T>(shape[axis]) : T(1)))
      refuse("resampling of channels or samples");
  }
  return found;
}

Resampling resampling(const OnnxCall& c, size_t scales_at, size_t sizes_at) {
  Resampling r{};
  for (int d = 0; d < 2; ++d) r.in[d] = c.x[0].size(2 + d);
  if (c.has(scales_at) && c.x[scales_at].numel() > 0) {
    const auto scales = of_image(c, c.x[scales_at].to_vector<double>(), false);
    for (size_t d = 0; d < 2; ++d) {
      r.scale[d] = scales[d];
      r.out[d] = static_cast<int64_t>(std::floor(scales[d] * static_cast<double>(r.in[d])));
    }
    return r;
  }
  const auto sizes = of_image(c, c.x[sizes_at].to_vector<int64_t>(), true);
  for (size_t d = 0; d < 2; ++d)
    r.scale[d] = static_cast<double>(sizes[d]) / static_cast<double>(r.in[d]);
  const std::string policy = c.word("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") {
    const double both = policy == "not_larger" ? std::min(r.scale[0], r.scale[1])
                                               : std::max(r.scale[0], r.scale[1]);
    r.scale[0] = r.scale[1] = both;
  }
  for (size_t d = 0; d < 2; ++d)
    r.out[d] = static_cast<int64_t>(std::floor(r.scale[d] * static_cast<double>(r.in[d]) + 0.5));
  return r;
}

InterpolateArgs interpolation(const Resampling& r) {
  InterpolateArgs args;
  if (r.ratio()) {
    args.size = Size2(r.out[0], r.out[1]);
    return args;
  }
  if (r.scale[0] != r.scale[1]) refuse("two scales that give no whole sizes");
  args.scale_factor = r.scale[0];
  for (int d = 0; d < 2; ++d)
    if (static_cast<int64_t>(std::floor(r.scale[0] * static_cast<double>(r.in[d]))) != r.out[d])
      refuse("a size that is rounded up");
  return args;
}

// Whether a position lies in the middle between two pixels: then the kinds of rounding differ.
bool has_ties(const Resampling& r) {
  for (int d = 0; d < 2; ++d)
    for (int64_t i = 0; i < r.out[d]; ++i) {
      const double at = (static_cast<double>(i) + 0.5) / r.scale[d];
      if (std::abs(at - std::round(at)) < 1e-6) return true;
    }
  return false;
}

Interpolation nearest(const OnnxCall& c, const Resampling& r, const std::string& positions) {
  const std::string rounding = c.word("nearest_mode", "round_prefer_floor");
  if (positions == "asymmetric" && rounding == "floor") return Interpolation::nearest;
  if (positions == "half_pixel" && rounding == "round_prefer_ceil")
    return Interpolation::nearest_exact;
  if (positions == "half_pixel" && rounding == "round_prefer_floor" && !has_ties(r))
    return Interpolation::nearest_exact;
  refuse("nearest pixels: " + positions + ", " + rounding);
}

Tensors resize(const OnnxCall& c) {
  const std::string mode = c.word("mode", "nearest");
  if (mode == "cubic") refuse("cubic resampling");
  if (c.integer("antialias", 0) != 0) refuse("resampling that averages");
  const std::string positions = c.word("coordinate_transformation_mode", "half_pixel");
  if (positions == "tf_crop_and_resize") refuse("resampling of a region");
  const Resampling r = resampling(c, 2, 3);
  InterpolateArgs args = interpolation(r);
  if (mode == "nearest") {
    args.mode = nearest(c, r, positions);
    return {interpolate(c.x[0], args)};
  }
  const bool corners = positions == "align_corners", torch = positions == "pytorch_half_pixel";
  if (!corners && !torch && positions != "half_pixel") refuse("linear resampling: " + positions);
  if (corners && !r.ratio()) refuse("aligned corners with a scale that gives no whole size");
  if (torch && (r.out[0] == 1 || r.out[1] == 1)) refuse("one position of pytorch_half_pixel");
  args.mode = Interpolation::linear;
  args.align_corners = corners;
  return {interpolate(c.x[0], args)};
}
// The older op: positions are i / scale.
Tensors upsample(const OnnxCall& c) {
  if (c.word("mode", "nearest") != "nearest") refuse("linear resampling: asymmetric");
  InterpolateArgs args = interpolation(resampling(c, 1, 2));
  return {interpolate(c.x[0], args)};
}

}  // namespace

const Functions& windows() {
  static const Functions table{
      {"AveragePool", avg_pool},
      {"Conv", conv},
      {"ConvTranspose", conv_transpose},
      {"GlobalAveragePool", global_avg_pool},
      {"GlobalMaxPool", global_max_pool},
      {"MaxPool", max_pool},
      {"Resize", resize},
      {"Upsample", upsample},
  };
  return table;
}

}  // namespace judges
