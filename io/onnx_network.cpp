// Writers of products, norms and attention.
#include <loupe/core/raw.h>
#include <loupe/io/onnx_writers.h>

namespace loupe::onnx {
namespace {

// --- Products ---

void remember(Step& s) {
  s.out.products[s.results[0]] = {s.in(0), s.in(1), s.has(2) ? s.in(2) : ""};
}

// x W^T + b, or x W + b.
void product(Step& s, bool transposed) {
  if (s.rank(0) == 2) {
    Names inputs{s.in(0), s.in(1)};
    if (s.has(2)) inputs.push_back(s.in(2));
    s.give(s.out.add("Gemm", inputs, {{"transB", int64_t{transposed}}}));
    if (transposed) remember(s);
    return;
  }
  const std::string w =
      transposed ? s.out.add("Transpose", {s.in(1)}, {{"perm", std::vector<int64_t>{1, 0}}})
                 : s.in(1);
  const std::string y = s.out.add("MatMul", {s.in(0), w});
  s.give(s.has(2) ? s.out.add("Add", {y, s.in(2)}) : y);
  if (transposed) remember(s);
}
void linear(Step& s) { product(s, true); }
void addmm(Step& s) { product(s, false); }

// --- Norms ---

// Ones or zeros of a norm without weight or bias.
std::string filled(Step& s, const Shape& shape, double value, const char* what) {
  return s.out.tensor(full(shape, value, s.dtype()), s.out.scope + what);
}

// (x - mean) / sqrt(var + eps) over some axes; without `centre`, x / sqrt(mean(x^2) + eps).
std::string normalized(Step& s, std::string x, const std::vector<int64_t>& axes, double eps,
                       bool centre) {
  const std::string over = s.out.ints(axes);
  if (centre) x = s.out.add("Sub", {x, s.out.add("ReduceMean", {x, over})});
  const std::string var = s.out.add("ReduceMean", {s.out.add("Mul", {x, x}), over});
  const std::string std =
      s.out.add("Sqrt", {s.out.add("Add", {var, s.out.number(eps, s.dtype())})});
  return s.out.add("Div", {x, std});
}

// y weight + bias, one of each a channel.
std::string scaled(Step& s, std::string y, int axis) {
  const auto along = [&](size_t i) {
    std::vector<int64_t> shape(static_cast<size_t>(s.rank(0) - axis), 1);
    shape[0] = s.fixed(0, axis);
    return s.out.add("Reshape", {s.in(i), s.out.ints(shape)});
  };
  if (s.has(1)) y = s.out.add("Mul", {y, along(1)});
  if (s.has(2)) y = s.out.add("Add", {y, along(2)});
  return y;
}

// Constant statistics: what BatchNorm does in eval mode.
std::string with_running_statistics(Step& s, int axis) {
  const Shape channels{s.fixed(0, axis)};
  std::vector<int64_t> swap;
  for (int d = 0; d < s.rank(0); ++d) swap.push_back(d == 1 ? axis : d == axis ? 1 : d);
  const auto swapped = [&](const std::string& x) {
    return axis == 1 ? x : s.out.add("Transpose", {x}, {{"perm", swap}});
  };
  const std::string weight = s.has(1) ? s.in(1) : filled(s, channels, 1, "weight");
  const std::string bias = s.has(2) ? s.in(2) : filled(s, channels, 0, "bias");
  return swapped(s.out.add(
      "BatchNormalization",
      {swapped(s.in(0)), weight, bias, s.value("running_mean").name, s.value("running_var").name},
      {{"epsilon", s.get<double>("eps")}}));
}

// Statistics of each image's groups of channels.
std::string of_groups(Step& s, int64_t groups) {
  const Extents from = s.extents(0);
  const std::string grouped = s.out.add("Reshape", {s.in(0), s.out.ints({0, groups, -1})});
  const std::string y = normalized(s, grouped, {2}, s.get<double>("eps"), true);
  std::vector<int64_t> back{0};
  for (size_t d = 1; d < from.size(); ++d) back.push_back(s.fixed(0, static_cast<int>(d)));
  return s.out.add("Reshape", {y, s.out.ints(back)});
}

void channel_norm(Step& s) {
  const int axis = static_cast<int>(s.get<int64_t>("axis"));
  const int64_t groups = s.get<int64_t>("groups");
  const std::string_view op = s.node.name();
  if (!s.value("mask").name.empty()) s.refuse("a norm with a mask has no ONNX form");
  std::string y;
  if (s.get<bool>("constant")) {
    y = with_running_statistics(s, axis);
  } else if (groups > 0) {
    y = scaled(s, of_groups(s, groups), axis);
  } else {
    std::vector<int64_t> axes;
    for (int d = 0; d < s.rank(0); ++d)
      if (d != axis) axes.push_back(d);
    y = scaled(s, normalized(s, s.in(0), axes, s.get<double>("eps"), true), axis);
  }
  if (op != "batch_norm" && op.starts_with("batch_norm_relu")) y = s.out.add("Relu", {y});
  if (op == "batch_norm_relu_max_pool") {
    const std::vector<int64_t> two{2, 2};
    y = s.out.add("MaxPool", {y}, {{"kernel_shape", two}, {"strides", two}});
  }
  s.give(y);
}

Shape last_axes(Step& s) {
  const int axes = static_cast<int>(s.get<int64_t>("axes"));
  Shape shape;
  for (int d = s.rank(0) - axes; d < s.rank(0); ++d) shape.push_back(s.fixed(0, d));
  return shape;
}

void layer_norm(Step& s) {
  const Shape shape = last_axes(s);
  Names inputs{s.in(0), s.has(1) ? s.in(1) : filled(s, shape, 1, "weight")};
  if (s.has(2)) inputs.push_back(s.in(2));
  s.give(s.out.add("LayerNormalization", inputs,
                   {{"axis", int64_t{-shape.rank()}}, {"epsilon", s.get<double>("eps")}}));
}

void rms_norm(Step& s) {
  std::vector<int64_t> axes;
  for (int i = last_axes(s).rank(); i > 0; --i) axes.push_back(-i);
  const std::string y = normalized(s, s.in(0), axes, s.get<double>("eps"), false);
  s.give(s.has(1) ? s.out.add("Mul", {y, s.in(1)}) : y);
}

// --- Attention ---

struct Heads {
  std::string q, keys, v;  // (..., L, E), (..., E, S), (..., S, Ev)
  int64_t queries, count;  // L and S
};

// Query i sees keys 0 to i.
std::string causal_mask(Step& s, const Heads& h) {
  std::vector<double> seen;
  for (int64_t i = 0; i < h.queries; ++i)
    for (int64_t j = 0; j < h.count; ++j) seen.push_back(j <= i);
  const Tensor mask = raw::to(from_data(seen, Shape{h.queries, h.count}), DType::boolean);
  return s.out.tensor(mask, fmt::format("causal_{}x{}", h.queries, h.count));
}

// softmax(scale q k^T + mask) v. A query that may attend to nothing gives zeros, where ONNX's
// softmax gives NaN: with a mask, weights of hidden keys are set to 0 once more.
std::string attended(Step& s, const Heads& h) {
  if (s.get<double>("dropout") != 0) s.refuse("its dropout is at work");
  const std::string scale = s.out.number(s.get<double>("scale"), s.dtype());
  const std::string hidden = s.out.number(-kInf, s.dtype()), zero = s.out.number(0, s.dtype());
  std::string scores = s.out.add("MatMul", {s.out.add("Mul", {h.q, scale}), h.keys});
  if (s.get<bool>("causal")) scores = s.out.add("Where", {causal_mask(s, h), scores, hidden});
  const Read mask = s.value("mask");
  if (!mask.name.empty())
    scores = mask.tensor.dtype() == DType::boolean ? s.out.add("Where", {mask.name, scores, hidden})
                                                   : s.out.add("Add", {scores, mask.name});
  std::string weights = s.out.add("Softmax", {scores}, {{"axis", int64_t{-1}}});
  if (!mask.name.empty())
    weights = s.out.add("Where", {s.out.add("Equal", {scores, hidden}), zero, weights});
  return s.out.add("MatMul", {weights, h.v});
}

void attention(Step& s) {
  std::vector<int64_t> swap;
  for (int d = 0; d < s.rank(1); ++d) swap.push_back(d);
  std::swap(swap[swap.size() - 1], swap[swap.size() - 2]);
  const std::string keys = s.out.add("Transpose", {s.in(1)}, {{"perm", swap}});
  s.give(
      attended(s, {s.in(0), keys, s.in(2), s.fixed(0, s.rank(0) - 2), s.fixed(1, s.rank(1) - 2)}));
}

// One projection (B, T, 3E) holds q, k and v, each of all heads side by side.
void self_attention(Step& s) {
  const int64_t time = s.fixed(0, 1), width = s.fixed(0, 2) / 3, heads = s.get<int64_t>("heads");
  const Names parts =
      s.out.add("Split", {s.in(0), s.out.ints({width, width, width})}, {{"axis", int64_t{2}}}, 3);
  const auto head = [&](size_t i, const std::vector<int64_t>& order) {
    const std::string x =
        s.out.add("Reshape", {parts[i], s.out.ints({0, 0, heads, width / heads})});
    return s.out.add("Transpose", {x}, {{"perm", order}});
  };
  const std::vector<int64_t> rows{0, 2, 1, 3}, columns{0, 2, 3, 1};
  const std::string y = attended(s, {head(0, rows), head(1, columns), head(2, rows), time, time});
  const std::string joined = s.out.add("Transpose", {y}, {{"perm", rows}});
  s.give(s.out.add("Reshape", {joined, s.out.ints({0, 0, width})}));
}

}  // namespace

const Writers& network_writers() {
  static const Writers table{
      {"matmul", same("MatMul")},
      {"linear", linear},
      {"addmm", addmm},
      {"batch_norm", channel_norm},
      {"batch_norm_relu", channel_norm},
      {"batch_norm_relu_max_pool", channel_norm},
      {"group_norm", channel_norm},
      {"instance_norm", channel_norm},
      {"layer_norm", layer_norm},
      {"rms_norm", rms_norm},
      {"scaled_dot_product_attention", attention},
      {"self_attention", self_attention},
  };
  return table;
}

}  // namespace loupe::onnx
