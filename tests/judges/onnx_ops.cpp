// ONNX's ops as calls of Loupe: one function an op type, and the table of them at the end.
#include <loupe/autograd/ops.h>
#include <loupe/core/raw.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "onnx_model.h"

namespace judges {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

[[noreturn]] void refuse(const std::string& why) { throw NotExpressible(why); }

Dims dims(const std::vector<int64_t>& values) { return Dims(values); }

bool all_are(const std::vector<int64_t>& values, int64_t value) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
}

// --- Element by element ---

template <Tensor (*f)(In)> Tensors unary(const OnnxCall& c) { return {f(c.x[0])}; }
template <Tensor (*f)(In, In)> Tensors binary(const OnnxCall& c) {
  if (c.given("axis")) refuse("broadcasting along an axis, of opset 6");
  return {f(c.x[0], c.x[1])};
}
// Max, Min, Sum: any number of inputs.
template <Tensor (*f)(In, In)> Tensors folded(const OnnxCall& c) {
  Tensor y = c.x[0];
  for (size_t i = 1; i < c.x.size(); ++i) y = f(y, c.x[i]);
  return {y};
}
Tensor divided(In a, In b) {
  if (!is_floating(a->dtype())) refuse("division of integers (div takes f32 and f64)");
  return div(a, b);
}
Tensors mean_of(const OnnxCall& c) { return {folded<add>(c)[0] / static_cast<double>(c.x.size())}; }
Tensors power(const OnnxCall& c) {
  if (c.x[0].dtype() != c.x[1].dtype()) refuse("pow of two element types");
  return {pow(c.x[0], c.x[1])};
}
Tensors clip(const OnnxCall& c) {
  const auto limit = [&](size_t i, const char* name, double otherwise) {
    return c.has(i) ? c.x[i].item() : c.real(name, otherwise);
  };
  const double low = limit(1, "min", -kInf), high = limit(2, "max", kInf);
  if (low > high) refuse("clip with min above max (a ValueError)");
  if (!is_floating(c.x[0].dtype()) && !(c.has(1) && c.has(2)))
    refuse("clamp of integers without both limits");
  return {clamp(c.x[0], low, high)};
}
Tensors leaky(const OnnxCall& c) { return {leaky_relu(c.x[0], c.real("alpha", 0.01))}; }
Tensors elu_of(const OnnxCall& c) { return {elu(c.x[0], c.real("alpha", 1))}; }
// max(0, x) + min(0, a (e^(x/a) - 1)) = a elu(x / a)
Tensors celu(const OnnxCall& c) {
  const double a = c.real("alpha", 1);
  return {elu(c.x[0] / a) * a};
}
Tensors selu(const OnnxCall& c) {
  return {elu(c.x[0], c.real("alpha", 1.67326319217681884765625)) *
          c.real("gamma", 1.05070102214813232421875)};
}
Tensors gelu_of(const OnnxCall& c) {
  const bool tanh = c.word("approximate", "none") == "tanh";
  return {gelu(c.x[0], {tanh ? Approximate::tanh : Approximate::none})};
}
Tensors swish(const OnnxCall& c) {
  const double alpha = c.real("alpha", 1);
  return {silu(c.x[0] * alpha) / alpha};
}
Tensors softplus_of(const OnnxCall& c) { return {softplus(c.x[0])}; }
Tensors prelu(const OnnxCall& c) { return {where(lt(c.x[0], 0.0), c.x[0] * c.x[1], c.x[0])}; }
Tensors where_of(const OnnxCall& c) { return {where(c.x[0], c.x[1], c.x[2])}; }
Tensors cast(const OnnxCall& c) {
  switch (c.integer("to", 0)) {
    case 1: return {c.x[0].to(DType::f32)};
    case 2: return {c.x[0].to(DType::u8)};
    case 7: return {c.x[0].to(DType::i64)};
    case 9: return {c.x[0].to(DType::boolean)};
    case 11: return {c.x[0].to(DType::f64)};
    default: refuse("element type " + type_name(c.integer("to", 0)));
  }
}
Tensors cast_like(const OnnxCall& c) { return {c.x[0].to(c.x[1].dtype())}; }
Tensors trilu(const OnnxCall& c) {
  const int64_t k = c.has(1) ? c.x[1].item<int64_t>() : 0;
  return {c.integer("upper", 1) ? triu(c.x[0], k) : tril(c.x[0], k)};
}
Tensors identity(const OnnxCall& c) { return {c.x[0].clone()}; }

// --- Shapes ---

Tensors reshape_of(const OnnxCall& c) {
  std::vector<int64_t> to = c.numbers(1, "shape");
  const bool zero_is_zero = c.integer("allowzero", 0) != 0;
  for (size_t d = 0; d < to.size(); ++d)
    if (to[d] == 0 && !zero_is_zero) to[d] = c.x[0].size(static_cast<int64_t>(d));
  return {c.x[0].reshape(dims(to))};
}
Tensors flatten_of(const OnnxCall& c) {
  int64_t axis = c.integer("axis", 1);
  if (axis < 0) axis += c.x[0].dim();
  int64_t rows = 1;
  for (int d = 0; d < axis; ++d) rows *= c.x[0].shape()[d];
  return {c.x[0].reshape({rows, -1})};
}
Tensors transpose_of(const OnnxCall& c) {
  std::vector<int64_t> perm = c.list("perm");
  for (int64_t d = c.x[0].dim() - 1; !c.given("perm") && d >= 0; --d) perm.push_back(d);
  return {c.x[0].permute(dims(perm))};
}
Tensors squeeze_of(const OnnxCall& c) {
  std::vector<int64_t> axes = c.numbers(1, "axes");
  if (axes.empty()) return {c.x[0].squeeze()};
  for (int64_t& axis : axes)
    if (axis < 0) axis += c.x[0].dim();
  std::sort(axes.rbegin(), axes.rend());
  Tensor y = c.x[0];
  for (const int64_t axis : axes) y = y.squeeze(axis);
  return {y};
}
Tensors unsqueeze_of(const OnnxCall& c) {
  std::vector<int64_t> axes = c.numbers(1, "axes");
  for (int64_t& axis : axes)
    if (axis < 0) axis += c.x[0].dim() + static_cast<int64_t>(axes.size());
  std::sort(axes.begin(), axes.end());
  Tensor y = c.x[0];
  for (const int64_t axis : axes) y = y.unsqueeze(axis);
  return {y};
}
Tensors expand_of(const OnnxCall& c) {
  const Shape to = dims(c.numbers(1, "shape"));
  return {c.x[0].expand(broadcast_shapes(c.x[0].shape(), to, "expand"))};
}
Tensors concat(const OnnxCall& c) { return {cat(c.x, c.integer("axis", 0))}; }
Tensors split_of(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  std::vector<int64_t> sizes = c.numbers(1, "split");
  if (!sizes.empty()) return split(c.x[0], sizes, axis);
  const int64_t parts = c.integer("num_outputs", static_cast<int64_t>(c.outputs));
  return split(c.x[0], (c.x[0].size(axis) + parts - 1) / parts, axis);
}
Tensors slice_of(const OnnxCall& c) {
  const auto starts = c.numbers(1, "starts"), ends = c.numbers(2, "ends"),
             steps = c.numbers(4, "steps");
  std::vector<int64_t> axes = c.numbers(3, "axes");
  for (size_t i = 0; i < starts.size() && axes.size() < starts.size(); ++i)
    axes.push_back(static_cast<int64_t>(i));
  Tensor y = c.x[0];
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t step = steps.empty() ? 1 : steps[i];
    if (step < 1) refuse("slice with a negative step");
    y = y.slice(axes[i], starts[i], ends[i], step);
  }
  return {y};
}
Tensors pad_of(const OnnxCall& c) {
  if (c.word("mode", "constant") != "constant") refuse("pad: mode " + c.word("mode", ""));
  const std::vector<int64_t> pads = c.numbers(1, "pads");
  const int64_t rank = c.x[0].dim();
  std::vector<int64_t> axes = c.numbers(3, "axes");
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
  }
  std::vector<int64_t> amounts(static_cast<size_t>(2 * rank));
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    const size_t at = static_cast<size_t>(2 * (rank - 1 - axis));
    amounts[at] = pads[i];
    amounts[at + 1] = pads[axes.size() + i];
  }
  if (*std::min_element(amounts.begin(), amounts.end()) < 0) refuse("pad: negative amounts");
  return {pad(c.x[0], amounts, c.has(2) ? c.x[2].item() : c.real("value", 0))};
}
Tensors shape_of(const OnnxCall& c) {
  const Shape& shape = c.x[0].shape();
  const std::vector<int64_t> all(shape.begin(), shape.end());
  const int64_t rank = shape.rank();
  const auto limited = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  const int64_t start = limited(c.integer("start", 0)), end = limited(c.integer("end", rank));
  return {from_data(all).slice(0, start, std::max(start, end))};
}
Tensors size_of_tensor(const OnnxCall& c) {
  return {scalar(static_cast<double>(c.x[0].numel()), DType::i64)};
}
Tensors constant_of_shape(const OnnxCall& c) {
  const Shape shape = dims(c.x[0].to_vector<int64_t>());
  if (!c.given("value")) return {zeros(shape)};
  const Tensor value = parse_tensor(c.node.attributes.at("value").tensor);
  return {full(shape, value.item(), value.dtype())};
}
Tensors constant(const OnnxCall& c) {
  if (!c.given("value")) refuse("a constant that is no tensor");
  return {parse_tensor(c.node.attributes.at("value").tensor)};
}
Tensors range(const OnnxCall& c) {
  return {arange(c.x[0].item(), c.x[1].item(), c.x[2].item(), c.x[0].dtype())};
}
Tensors eye_like(const OnnxCall& c) {
  const Tensor& x = c.x[0];
  if (x.size(0) != x.size(1) || c.integer("k", 0) != 0) refuse("eye: square, main diagonal only");
  DType dtype = x.dtype();
  if (c.given("dtype")) {
    if (c.integer("dtype", 1) == 11) dtype = DType::f64;
    else if (c.integer("dtype", 1) == 1) dtype = DType::f32;
    else refuse("element type " + type_name(c.integer("dtype", 1)));
  }
  return {eye(x.size(0), dtype)};
}

// --- Reductions ---

template <Tensor (*f)(In, const Dims&, bool)> Tensors reduced(const OnnxCall& c) {
  const std::vector<int64_t> axes = c.numbers(1, "axes");
  if (axes.empty() && c.integer("noop_with_empty_axes", 0) != 0) refuse("a reduction over no axes");
  return {f(c.x[0], dims(axes), c.integer("keepdims", 1) != 0)};
}
Tensor sum_square(In x, const Dims& axes, bool keep) { return sum(square(x), axes, keep); }
Tensor sum_abs(In x, const Dims& axes, bool keep) { return sum(abs(x), axes, keep); }
Tensor log_sum(In x, const Dims& axes, bool keep) { return log(sum(x, axes, keep)); }
Tensor root_sum_square(In x, const Dims& axes, bool keep) {
  return sqrt(sum(square(x), axes, keep));
}
Tensor biggest(In x, const Dims& axes, bool keep) {
  if (x->numel() == 0) refuse("max and min of no elements (a ValueError)");
  return max(x, axes, keep);
}
Tensor smallest(In x, const Dims& axes, bool keep) {
  if (x->numel() == 0) refuse("max and min of no elements (a ValueError)");
  return min(x, axes, keep);
}
Tensors arg_max(const OnnxCall& c) {
  if (c.integer("select_last_index", 0) != 0) refuse("argmax: the last of equals");
  return {argmax(c.x[0], c.integer("axis", 0), c.integer("keepdims", 1) != 0)};
}
Tensors top_k(const OnnxCall& c) {
  if (c.integer("largest", 1) == 0) refuse("topk of the smallest");
  const TopK t = topk(c.x[0], c.x[1].item<int64_t>(), c.integer("axis", -1));
  return {t.values, t.indices};
}

// --- Indices ---

// Loupe counts indices from the front only.
Tensor from_front(const Tensor& index, int64_t size) {
  const Tensor i = index.to(DType::i64);
  return where(lt(i, 0.0), i + static_cast<double>(size), i);
}
Tensors gather_rows(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  const Tensor& x = c.x[0];
  const Tensor index = from_front(c.x[1], x.size(axis));
  const int at = normalize_axis(axis, x.dim(), "gather");
  Shape shape;
  for (int d = 0; d < x.dim(); ++d) {
    if (d != at) shape.push_back(x.shape()[d]);
    for (int e = 0; d == at && e < index.dim(); ++e) shape.push_back(index.shape()[e]);
  }
  return {index_select(x, axis, index.reshape({-1})).reshape(shape)};
}
Tensors gather_elements(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  return {gather(c.x[0], axis, from_front(c.x[1], c.x[0].size(axis)))};
}
Tensors scatter_elements(const OnnxCall& c) {
  if (c.word("reduction", "none") != "add") refuse("scatter: only as a sum");
  const int64_t axis = c.integer("axis", 0);
  const Tensor index = from_front(c.x[1], c.x[0].size(axis));
  return {c.x[0] + scatter_add(c.x[2], axis, index, c.x[0].shape())};
}
Tensors one_hot_of(const OnnxCall& c) {
  if (c.integer("axis", -1) != -1) refuse("one_hot along another axis than a new last one");
  const int64_t depth = c.x[1].item<int64_t>();
  const Tensor hot = one_hot(from_front(c.x[0], depth), depth, c.x[2].dtype());
  return {c.x[2][0] + hot * (c.x[2][1] - c.x[2][0])};
}

// --- Products ---

Tensors gemm(const OnnxCall& c) {
  Tensor a = c.x[0], b = c.x[1];
  if (c.integer("transA", 0)) a = a.t();
  if (c.integer("transB", 0)) b = b.t();
  Tensor y = matmul(a, b) * c.real("alpha", 1);
  if (c.has(2)) y = y + c.x[2] * c.real("beta", 1);
  return {y};
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
Windows windows(const OnnxCall& c, const std::vector<int64_t>& kernel) {
  const size_t n = kernel.size();
  if (n > 2) refuse("windows of three dimensions");
  Windows w{kernel, c.list("strides"), c.list("dilations"), {}};
  if (w.stride.empty()) w.stride.assign(n, 1);
  if (w.dilation.empty()) w.dilation.assign(n, 1);
  w.pads = window_pads(c, kernel, w.stride, w.dilation);
  return w;
}
bool symmetric(const Windows& w) {
  const size_t n = w.kernel.size();
  for (size_t d = 0; d < n; ++d)
    if (w.pads[d] != w.pads[n + d]) return false;
  return true;
}

Tensors conv(const OnnxCall& c) {
  const Shape& shape = c.x[1].shape();
  std::vector<int64_t> kernel(shape.begin() + 2, shape.end());
  Windows w = windows(c, kernel);
  const int64_t groups = c.integer("group", 1);
  Tensor x = c.x[0];
  if (!symmetric(w)) {  // padded by an op of its own
    std::vector<int64_t> amounts;
    for (size_t d = kernel.size(); d-- > 0;) {
      amounts.push_back(w.pads[d]);
      amounts.push_back(w.pads[kernel.size() + d]);
    }
    x = pad(x, amounts);
    w.pads.assign(w.pads.size(), 0);
  }
  const Tensor bias = c.has(2) ? c.x[2] : Tensor();
  if (kernel.size() == 1)
    return {conv1d(x, c.x[1], bias, {w.stride[0], w.pads[0], w.dilation[0], groups})};
  return {conv2d(x, c.x[1], bias,
                 {{w.stride[0], w.stride[1]},
                  {w.pads[0], w.pads[1]},
                  {w.dilation[0], w.dilation[1]},
                  groups})};
}

Windows pool_windows(const OnnxCall& c) {
  const Windows w = windows(c, c.list("kernel_shape"));
  if (c.integer("ceil_mode", 0) != 0) refuse("pooling with ceil_mode");
  if (!all_are(w.dilation, 1)) refuse("pooling with dilation");
  if (!symmetric(w)) refuse("pooling with more padding on one side");
  for (size_t d = 0; d < w.kernel.size(); ++d)
    if (2 * w.pads[d] > w.kernel[d]) refuse("pooling padded by more than half the window");
  return w;
}
Tensors max_pool(const OnnxCall& c) {
  const Windows w = pool_windows(c);
  if (c.outputs > 1) refuse("max pooling that gives indices");
  if (!is_floating(c.x[0].dtype())) refuse("max pooling of " + std::string(name(c.x[0].dtype())));
  if (w.kernel.size() == 1)
    return {max_pool1d(c.x[0], w.kernel[0], {.stride = w.stride[0], .padding = w.pads[0]})};
  return {max_pool2d(
      c.x[0], {w.kernel[0], w.kernel[1]},
      {.stride = Size2(w.stride[0], w.stride[1]), .padding = Size2(w.pads[0], w.pads[1])})};
}
Tensors avg_pool(const OnnxCall& c) {
  const Windows w = pool_windows(c);
  const bool counts = c.integer("count_include_pad", 0) != 0;
  if (w.kernel.size() == 1)
    return {avg_pool1d(c.x[0], w.kernel[0],
                       {.stride = w.stride[0], .padding = w.pads[0], .count_include_pad = counts})};
  return {avg_pool2d(c.x[0], {w.kernel[0], w.kernel[1]},
                     {.stride = Size2(w.stride[0], w.stride[1]),
                      .padding = Size2(w.pads[0], w.pads[1]),
                      .count_include_pad = counts})};
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

// --- Norms ---

Tensors batch_norm_of(const OnnxCall& c) {
  const bool training = c.integer("training_mode", 0) != 0;
  // ONNX's running variance takes the biased one of the batch, as Keras' does.
  BatchNormArgs args{.running_mean = c.x[3].clone(),
                     .running_var = c.x[4].clone(),
                     .training = training,
                     .momentum = 1 - c.real("momentum", 0.9),
                     .eps = c.real("epsilon", 1e-5),
                     .convention = NormConvention::keras3};
  const Tensor y = batch_norm(c.x[0], c.x[1], c.x[2], args);
  return {y, args.running_mean, args.running_var};
}
Tensors instance_norm_of(const OnnxCall& c) {
  return {instance_norm(c.x[0], c.x[1], c.x[2], {.eps = c.real("epsilon", 1e-5)})};
}
Tensors group_norm_of(const OnnxCall& c) {
  if (c.opset < 21) refuse("group norm with a weight for each group, of opset 18");
  return {group_norm(c.x[0], c.integer("num_groups", 1), c.x[1], c.x[2], c.real("epsilon", 1e-5))};
}
Shape normalized_shape(const OnnxCall& c) {
  const int axis = normalize_axis(c.integer("axis", -1), c.x[0].dim(), "layer_norm");
  Shape shape;
  for (int d = axis; d < c.x[0].dim(); ++d) shape.push_back(c.x[0].shape()[d]);
  return shape;
}
Tensors layer_norm_of(const OnnxCall& c) {
  const Shape shape = normalized_shape(c);
  const double eps = c.real("epsilon", 1e-5);
  Dims axes;
  for (int d = c.x[0].dim() - shape.rank(); d < c.x[0].dim(); ++d) axes.push_back(d);
  const Tensor y = layer_norm(c.x[0], shape, c.x[1], c.has(2) ? c.x[2] : Tensor(), eps);
  // What ONNX gives besides: the statistics.
  return {y, mean(c.x[0], axes, true), rsqrt(var(c.x[0], axes, 0, true) + eps)};
}
Tensors rms_norm_of(const OnnxCall& c) {
  return {rms_norm(c.x[0], normalized_shape(c), c.x[1], c.real("epsilon", 1e-5))};
}
template <Tensor (*f)(In, int64_t)> Tensors along(const OnnxCall& c) {
  return {f(c.x[0], c.integer("axis", -1))};
}
Tensors dropout_of(const OnnxCall& c) {
  const bool training = c.has(2) && c.x[2].item() != 0;
  const double ratio = c.has(1) ? c.x[1].item() : c.real("ratio", 0.5);
  if (training && ratio != 0) refuse("dropout of another random stream");
  return {c.x[0].clone(), ones(c.x[0].shape()).to(DType::boolean)};
}

// --- Losses ---

Reduction reduction(const OnnxCall& c) {
  const std::string word = c.word("reduction", "mean");
  return word == "mean" ? Reduction::mean : word == "sum" ? Reduction::sum : Reduction::none;
}
Tensors nll(const OnnxCall& c) {
  NllLossOptions o;
  o.reduction = reduction(c);
  if (c.has(2)) o.weight = c.x[2];
  if (c.given("ignore_index")) o.ignore_index = c.integer("ignore_index", 0);
  return {nll_loss(c.x[0], c.x[1], o)};
}
Tensors softmax_cross_entropy(const OnnxCall& c) {
  CrossEntropyOptions o;
  o.reduction = reduction(c);
  if (c.has(2)) o.weight = c.x[2];
  if (c.given("ignore_index")) o.ignore_index = c.integer("ignore_index", 0);
  return {cross_entropy(c.x[0], c.x[1], o), log_softmax(c.x[0], 1)};
}

// --- Attention ---

Tensors attention(const OnnxCall& c) {
  if (c.x[0].dim() != 4) refuse("attention on inputs of rank 3: MultiheadAttention projects them");
  for (size_t i = 4; i < c.x.size(); ++i)
    if (c.has(i)) refuse("attention with past keys and values");
  if (c.outputs > 1) refuse("attention that gives its scores or keys");
  if (c.real("softcap", 0) != 0) refuse("attention with softcap");
  if (c.given("softmax_precision")) refuse("attention with another precision inside");
  if (c.x[0].size(1) != c.x[1].size(1))
    refuse("attention with fewer heads of keys than of queries");
  AttentionOptions o;
  o.is_causal = c.integer("is_causal", 0) != 0;
  if (c.given("scale")) o.scale = c.real("scale", 1);
  if (c.has(3)) {
    o.attn_mask = c.x[3];
    if (o.attn_mask.size(-1) != c.x[1].size(-2)) refuse("a mask for fewer keys");
  }
  return {scaled_dot_product_attention(c.x[0], c.x[1], c.x[2], o)};
}

using Function = Tensors (*)(const OnnxCall&);

const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> table{
      {"Abs", unary<abs>},
      {"Add", binary<add>},
      {"ArgMax", arg_max},
      {"Attention", attention},
      {"AveragePool", avg_pool},
      {"BatchNormalization", batch_norm_of},
      {"Cast", cast},
      {"CastLike", cast_like},
      {"Celu", celu},
      {"Clip", clip},
      {"Concat", concat},
      {"Constant", constant},
      {"ConstantOfShape", constant_of_shape},
      {"Conv", conv},
      {"Div", binary<divided>},
      {"Dropout", dropout_of},
      {"Elu", elu_of},
      {"Equal", binary<eq>},
      {"Erf", unary<erf>},
      {"Exp", unary<exp>},
      {"Expand", expand_of},
      {"EyeLike", eye_like},
      {"Flatten", flatten_of},
      {"Gather", gather_rows},
      {"GatherElements", gather_elements},
      {"Gelu", gelu_of},
      {"Gemm", gemm},
      {"GlobalAveragePool", global_avg_pool},
      {"GlobalMaxPool", global_max_pool},
      {"Greater", binary<gt>},
      {"GreaterOrEqual", binary<ge>},
      {"GroupNormalization", group_norm_of},
      {"Identity", identity},
      {"InstanceNormalization", instance_norm_of},
      {"LayerNormalization", layer_norm_of},
      {"LeakyRelu", leaky},
      {"Less", binary<lt>},
      {"LessOrEqual", binary<le>},
      {"Log", unary<log>},
      {"LogSoftmax", along<log_softmax>},
      {"MatMul", binary<matmul>},
      {"Max", folded<maximum>},
      {"MaxPool", max_pool},
      {"Mean", mean_of},
      {"Min", folded<minimum>},
      {"Mul", binary<mul>},
      {"Neg", unary<neg>},
      {"NegativeLogLikelihoodLoss", nll},
      {"Not", unary<logical_not>},
      {"OneHot", one_hot_of},
      {"PRelu", prelu},
      {"Pad", pad_of},
      {"Pow", power},
      {"RMSNormalization", rms_norm_of},
      {"Range", range},
      {"Reciprocal", unary<reciprocal>},
      {"ReduceL1", reduced<sum_abs>},
      {"ReduceL2", reduced<root_sum_square>},
      {"ReduceLogSum", reduced<log_sum>},
      {"ReduceMax", reduced<biggest>},
      {"ReduceMean", reduced<mean>},
      {"ReduceMin", reduced<smallest>},
      {"ReduceSum", reduced<sum>},
      {"ReduceSumSquare", reduced<sum_square>},
      {"Relu", unary<relu>},
      {"Reshape", reshape_of},
      {"ScatterElements", scatter_elements},
      {"Selu", selu},
      {"Shape", shape_of},
      {"Sigmoid", unary<sigmoid>},
      {"Sign", unary<sign>},
      {"Size", size_of_tensor},
      {"Slice", slice_of},
      {"Softmax", along<softmax>},
      {"SoftmaxCrossEntropyLoss", softmax_cross_entropy},
      {"Softplus", softplus_of},
      {"Split", split_of},
      {"Sqrt", unary<sqrt>},
      {"Squeeze", squeeze_of},
      {"Sub", binary<sub>},
      {"Sum", folded<add>},
      {"Swish", swish},
      {"Tanh", unary<tanh>},
      {"TopK", top_k},
      {"Transpose", transpose_of},
      {"Trilu", trilu},
      {"Unsqueeze", unsqueeze_of},
      {"Where", where_of},
  };
  return table;
}

}  // namespace

Tensors run_node(const OnnxCall& call) {
  const auto found = functions().find(call.node.op);
  if (found == functions().end() || !call.node.domain.empty())
    refuse("no op or layer for " + call.node.op);
  const Tensors y = found->second(call);
  // Harmless: what the weight's shape says as well, the seed of a dropout that is off, the least
  // precision inside a norm.
  call.asked.insert({"kernel_shape", "seed", "stash_type"});
  for (const auto& [name, value] : call.node.attributes)
    if (!call.asked.contains(name)) refuse("attribute " + name + " of " + call.node.op);
  return y;
}

}  // namespace judges
