// Writers of convolutions, pools and resampling.
#include <loupe/core/raw.h>
#include <loupe/io/onnx_writers.h>

#include <algorithm>
#include <cmath>

namespace loupe::onnx {
namespace {

// --- Convolutions ---

std::vector<int64_t> both_sides(const Dims& padding) {
  return {padding[0], padding[1], padding[0], padding[1]};
}

void conv(Step& s) {
  Names inputs{s.in(0), s.in(1)};
  if (s.has(2)) inputs.push_back(s.in(2));
  const Shape& w = s.x(1).shape();
  s.give(s.out.add("Conv", inputs,
                   {{"kernel_shape", std::vector<int64_t>{w[2], w[3]}},
                    {"strides", list(s.get<Dims>("stride"))},
                    {"pads", both_sides(s.get<Dims>("padding"))},
                    {"dilations", list(s.get<Dims>("dilation"))},
                    {"group", s.get<int64_t>("groups")}}));
}

void conv_transpose(Step& s) {
  const Shape& w = s.x(1).shape();
  const Dims stride = s.get<Dims>("stride"), padding = s.get<Dims>("padding"),
             dilation = s.get<Dims>("dilation"), output = s.get<Dims>("output");
  std::vector<int64_t> more;
  for (int d = 0; d < 2; ++d)
    more.push_back(output[d] - ((s.fixed(0, 2 + d) - 1) * stride[d] - 2 * padding[d] +
                                dilation[d] * (w[2 + d] - 1) + 1));
  s.give(s.out.add("ConvTranspose", {s.in(0), s.in(1)},
                   {{"kernel_shape", std::vector<int64_t>{w[2], w[3]}},
                    {"strides", list(stride)},
                    {"pads", both_sides(padding)},
                    {"dilations", list(dilation)},
                    {"output_padding", more},
                    {"group", s.get<int64_t>("groups")}}));
}

// --- Pools ---

// The windows of a pool along rows and columns.
struct Pool {
  Dims kernel, stride, padding, dilation;
  std::vector<int64_t> end;  // padding at the end: more where ceil_mode adds a window
  int64_t input[2], output[2];
  int64_t span(int d) const { return dilation[d] * (kernel[d] - 1) + 1; }
  bool longer() const { return end != std::vector<int64_t>{padding[0], padding[1]}; }
};
Pool pool_of(Step& s) {
  Pool p{s.get<Dims>("kernel"),
         s.get<Dims>("stride"),
         s.get<Dims>("padding"),
         s.get<Dims>("dilation"),
         {},
         {},
         {}};
  for (int d = 0; d < 2; ++d) {
    p.input[d] = s.fixed(0, 2 + d);
    p.output[d] = s.node.output_shape(0)[2 + d];
    const int64_t last = (p.output[d] - 1) * p.stride[d] + p.span(d);  // where the last window ends
    p.end.push_back(std::max(p.padding[d], last - p.input[d] - p.padding[d]));
  }
  return p;
}
std::vector<int64_t> pads(const Pool& p) {
  return {p.padding[0], p.padding[1], p.end[0], p.end[1]};
}

void max_pool(Step& s) {
  const Pool p = pool_of(s);
  Values options{{"kernel_shape", list(p.kernel)}, {"strides", list(p.stride)}};
  std::string x = s.in(0);
  bool fits = true;  // onnxruntime takes no padding of the kernel's size
  for (int d = 0; d < 2; ++d)
    fits = fits && std::max(p.padding[d], p.end[static_cast<size_t>(d)]) < p.kernel[d];
  if (fits) {
    options.push_back({"pads", pads(p)});
  } else {
    const std::vector<int64_t> around{0, 0, p.padding[0], p.padding[1], 0, 0, p.end[0], p.end[1]};
    x = s.out.add("Pad", {x, s.out.ints(around), s.out.number(-kInf, s.dtype())});
  }
  if (p.dilation != Dims{1, 1}) options.push_back({"dilations", list(p.dilation)});
  s.give(s.out.add("MaxPool", {x}, options));
}

// Kernel over what counts of each window, where the padding counts and more was added at the end.
Tensor shares(const Pool& p, DType dtype) {
  std::vector<double> factors;
  const auto counted = [&](int d, int64_t i) {
    const int64_t begin = i * p.stride[d] - p.padding[d];
    return std::min(begin + p.kernel[d], p.input[d] + p.padding[d]) - begin;
  };
  for (int64_t i = 0; i < p.output[0]; ++i)
    for (int64_t j = 0; j < p.output[1]; ++j)
      factors.push_back(static_cast<double>(p.kernel[0] * p.kernel[1]) /
                        static_cast<double>(counted(0, i) * counted(1, j)));
  return raw::to(from_data(factors, Shape{p.output[0], p.output[1]}), dtype);
}
void avg_pool(Step& s) {
  const Pool p = pool_of(s);
  const bool counts = s.get<bool>("count_include_pad");
  const std::string y = s.out.add("AveragePool", {s.in(0)},
                                  {{"kernel_shape", list(p.kernel)},
                                   {"strides", list(p.stride)},
                                   {"pads", pads(p)},
                                   {"count_include_pad", int64_t{counts}}});
  if (!counts || !p.longer()) return s.give(y);
  s.give(s.out.add("Mul", {y, s.out.tensor(shares(p, s.dtype()), s.out.scope + "shares")}));
}

// (count, size): row i averages positions [floor(i size / count), ceil((i + 1) size / count)).
Tensor averages(int64_t count, int64_t size, DType dtype) {
  std::vector<double> rows(static_cast<size_t>(count * size));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = i * size / count, last = ((i + 1) * size + count - 1) / count;
    for (int64_t j = first; j < last; ++j)
      rows[static_cast<size_t>(i * size + j)] = 1 / static_cast<double>(last - first);
  }
  return raw::to(from_data(rows, Shape{count, size}), dtype);
}

void adaptive_avg_pool(Step& s) {
  const Dims to = s.get<Dims>("output");
  const int64_t h = s.fixed(0, 2), w = s.fixed(0, 3);
  if (to == Dims{1, 1}) {
    s.give(s.out.add("GlobalAveragePool", {s.in(0)}));
    return;
  }
  if (h % to[0] == 0 && w % to[1] == 0) {
    const std::vector<int64_t> window{h / to[0], w / to[1]};
    s.give(s.out.add("AveragePool", {s.in(0)}, {{"kernel_shape", window}, {"strides", window}}));
    return;
  }
  // Windows of several sizes: a matrix of means from either side.
  const std::string rows = s.out.tensor(averages(to[0], h, s.dtype()), s.out.scope + "rows");
  const std::string columns =
      s.out.tensor(raw::transpose(averages(to[1], w, s.dtype()), 0, 1), s.out.scope + "columns");
  s.give(s.out.add("MatMul", {rows, s.out.add("MatMul", {s.in(0), columns})}));
}
// --- Resampling ---

// Where a row of the mixing matrix looks: the mean of its positions, by their weights.
bool looks_at(const Tensor& matrix, const std::function<double(double)>& position) {
  const std::vector<double> m = matrix.to_vector<double>();
  const int64_t out = matrix.size(0), in = matrix.size(1);
  for (int64_t i = 0; i < out; ++i) {
    double at = 0;
    for (int64_t j = 0; j < in; ++j)
      at += m[static_cast<size_t>(i * in + j)] * static_cast<double>(j);
    if (std::abs(at - std::clamp(position(static_cast<double>(i)), 0.0,
                                 static_cast<double>(in - 1))) > 1e-4)
      return false;
  }
  return true;
}
// Whether Resize, told the sizes, gives these positions whatever it rounds: nearest pixels of a
// multiple of the size, and linear ones by the ratio of the sizes.
bool is_resize(const Tensor& matrix, const std::string& mode, bool corners) {
  const double out = static_cast<double>(matrix.size(0)), in = static_cast<double>(matrix.size(1));
  if (mode != "linear")
    return matrix.size(0) % matrix.size(1) == 0 &&
           looks_at(matrix, [&](double i) { return std::floor((i + 0.5) * in / out); });
  if (corners)
    return looks_at(matrix, [&](double i) { return out == 1 ? 0 : i * (in - 1) / (out - 1); });
  return looks_at(matrix, [&](double i) { return (i + 0.5) * in / out - 0.5; });
}

// Rows and columns, each by its mixing matrix.
std::string mixed(Step& s, const Read& rows, const Read& columns) {
  const std::string turned =
      s.out.add("Transpose", {columns.name}, {{"perm", std::vector<int64_t>{1, 0}}});
  return s.out.add("MatMul", {rows.name, s.out.add("MatMul", {s.in(0), turned})});
}
// Rows and columns, each by the positions that its matrix takes.
std::string picked(Step& s, const Tensor& rows, const Tensor& columns) {
  const auto positions = [&](const Tensor& m) {
    const std::vector<double> weights = m.to_vector<double>();
    std::vector<int64_t> taken;
    for (auto row = weights.begin(); row != weights.end(); row += m.size(1))
      taken.push_back(std::max_element(row, row + m.size(1)) - row);
    return s.out.ints(taken);
  };
  const std::string y = s.out.add("Gather", {s.in(0), positions(rows)}, {{"axis", int64_t{2}}});
  return s.out.add("Gather", {y, positions(columns)}, {{"axis", int64_t{3}}});
}

// Resize where its formula fits, else the positions one by one.
void interpolate(Step& s) {
  const std::string mode = s.get<std::string>("mode");
  const bool linear = mode == "linear", corners = s.get<bool>("align_corners");
  const Read rows = s.value("rows"), columns = s.value("columns");
  if (!is_resize(rows.tensor, mode, corners) || !is_resize(columns.tensor, mode, corners))
    return s.give(linear ? mixed(s, rows, columns) : picked(s, rows.tensor, columns.tensor));
  std::string positions = "half_pixel";
  if (mode == "nearest") positions = "asymmetric";
  if (corners) positions = "align_corners";
  Values options{{"mode", linear ? "linear" : "nearest"},
                 {"axes", std::vector<int64_t>{2, 3}},
                 {"coordinate_transformation_mode", positions}};
  if (!linear)
    options.push_back({"nearest_mode", mode == "nearest" ? "floor" : "round_prefer_ceil"});
  const std::string sizes = s.out.ints({rows.tensor.size(0), columns.tensor.size(0)});
  s.give(s.out.add("Resize", {s.in(0), "", "", sizes}, options));
}

}  // namespace

const Writers& window_writers() {
  static const Writers table{
      {"conv1d", conv},
      {"conv2d", conv},
      {"max_pool1d", max_pool},
      {"max_pool2d", max_pool},
      {"max_pool1d_with_indices", max_pool},
      {"max_pool2d_with_indices", max_pool},
      {"avg_pool1d", avg_pool},
      {"avg_pool2d", avg_pool},
      {"adaptive_avg_pool1d", adaptive_avg_pool},
      {"adaptive_avg_pool2d", adaptive_avg_pool},
      {"conv_transpose1d", conv_transpose},
      {"conv_transpose2d", conv_transpose},
      {"interpolate", interpolate},
  };
  return table;
}

}  // namespace loupe::onnx
