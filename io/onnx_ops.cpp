// How each op is said in ONNX: one writer an op, and the table of them at the end.
#include <loupe/core/raw.h>
#include <loupe/io/onnx_step.h>

#include <cmath>
#include <limits>

namespace loupe::onnx {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<int64_t> list(const Dims& dims) { return {dims.begin(), dims.end()}; }

// --- Ops that ONNX has under another name, without options ---

template <const char* op> void same(Step& s) {
  Names inputs;
  for (const Read& r : s.inputs) inputs.push_back(r.name);
  s.give(s.out.add(op, inputs));
}

constexpr char kAdd[] = "Add";
constexpr char kSub[] = "Sub";
constexpr char kMul[] = "Mul";
constexpr char kDiv[] = "Div";
constexpr char kSqrt[] = "Sqrt";
constexpr char kExp[] = "Exp";
constexpr char kLog[] = "Log";
constexpr char kAbs[] = "Abs";
constexpr char kSign[] = "Sign";
constexpr char kMax[] = "Max";
constexpr char kMin[] = "Min";
constexpr char kWhere[] = "Where";
constexpr char kNot[] = "Not";
constexpr char kRelu[] = "Relu";
constexpr char kSigmoid[] = "Sigmoid";
constexpr char kTanh[] = "Tanh";
constexpr char kErf[] = "Erf";
constexpr char kMatMul[] = "MatMul";
constexpr char kIdentity[] = "Identity";
constexpr char kAnd[] = "And";
constexpr char kOr[] = "Or";
constexpr char kXor[] = "Xor";
constexpr char kIsNaN[] = "IsNaN";
constexpr char kIsInf[] = "IsInf";
constexpr char kSin[] = "Sin";
constexpr char kCos[] = "Cos";
constexpr char kFloor[] = "Floor";
constexpr char kCeil[] = "Ceil";
constexpr char kRound[] = "Round";
constexpr char kSelu[] = "Selu";
constexpr char kMish[] = "Mish";
constexpr char kHardSwish[] = "HardSwish";

// --- Arithmetic with numbers. An op with a number is a step with one input. ---

// y = factor x + shift.
void affine(Step& s) {
  const double factor = s.get<double>("factor"), shift = s.get<double>("shift");
  const auto number = [&](double v) { return s.out.number(v, s.dtype()); };
  if (factor == -1) {
    s.give(shift == 0 ? s.out.add("Neg", {s.in(0)}) : s.out.add("Sub", {number(shift), s.in(0)}));
    return;
  }
  std::string y = s.in(0);
  if (factor != 1) y = s.out.add("Mul", {y, number(factor)});
  if (shift != 0) y = s.out.add("Add", {y, number(shift)});
  s.give(y);
}
void add(Step& s) { s.inputs.size() == 2 ? same<kAdd>(s) : affine(s); }
void sub(Step& s) { s.inputs.size() == 2 ? same<kSub>(s) : affine(s); }
void mul(Step& s) { s.inputs.size() == 2 ? same<kMul>(s) : affine(s); }

void div(Step& s) {
  if (s.inputs.size() == 2) return same<kDiv>(s);
  const double number = s.get<double>("number", std::nan(""));
  if (std::isnan(number)) return affine(s);
  s.give(s.out.add("Div", {s.out.number(number, s.dtype()), s.in(0)}));
}

void pow(Step& s) {
  const std::string exponent =
      s.inputs.size() == 2 ? s.in(1) : s.out.number(s.get<double>("exponent"), s.dtype());
  s.give(s.out.add("Pow", {s.in(0), exponent}));
}
void rsqrt(Step& s) { s.give(s.out.add("Reciprocal", {s.out.add("Sqrt", {s.in(0)})})); }
void clamp(Step& s) {
  const auto limit = [&](const char* name) { return s.out.number(s.get<double>(name), s.dtype()); };
  s.give(s.out.add("Clip", {s.in(0), limit("low"), limit("high")}));
}
void triangle(Step& s) {
  const double diagonal = static_cast<double>(s.get<int64_t>("diagonal"));
  s.give(s.out.add("Trilu", {s.in(0), s.out.number(diagonal, DType::i64)},
                   {{"upper", int64_t{std::string_view(s.node.name()) == "triu"}}}));
}

// Comparisons: with a tensor, or a number.
std::string compared(Step& s, const char* op) {
  const std::string right =
      s.inputs.size() == 2 ? s.in(1) : s.out.number(s.get<double>("number"), s.dtype());
  return s.out.add(op, {s.in(0), right});
}
void eq(Step& s) { s.give(compared(s, "Equal")); }
void ne(Step& s) { s.give(s.out.add("Not", {compared(s, "Equal")})); }
void lt(Step& s) { s.give(compared(s, "Less")); }
void le(Step& s) { s.give(compared(s, "LessOrEqual")); }
void gt(Step& s) { s.give(compared(s, "Greater")); }
void ge(Step& s) { s.give(compared(s, "GreaterOrEqual")); }

// --- Activations ---

void leaky_relu(Step& s) {
  s.give(s.out.add("LeakyRelu", {s.in(0)}, {{"alpha", s.get<double>("negative_slope")}}));
}
void elu(Step& s) { s.give(s.out.add("Elu", {s.in(0)}, {{"alpha", s.get<double>("alpha")}})); }
void gelu(Step& s) {
  s.give(s.out.add("Gelu", {s.in(0)}, {{"approximate", s.get<std::string>("approximate")}}));
}
void celu(Step& s) { s.give(s.out.add("Celu", {s.in(0)}, {{"alpha", s.get<double>("alpha")}})); }
void hardsigmoid(Step& s) {
  s.give(s.out.add("HardSigmoid", {s.in(0)}, {{"alpha", 1.0 / 6}, {"beta", 0.5}}));
}
void log_sigmoid(Step& s) {
  s.give(s.out.add("Neg", {s.out.add("Softplus", {s.out.add("Neg", {s.in(0)})})}));
}
void silu(Step& s) { s.give(s.out.add("Mul", {s.in(0), s.out.add("Sigmoid", {s.in(0)})})); }
// log(1 + e^(beta x)) / beta, and x where beta x is above the threshold.
void softplus(Step& s) {
  const double beta = s.get<double>("beta");
  const std::string factor = s.out.number(beta, s.dtype());
  const std::string z = beta == 1 ? s.in(0) : s.out.add("Mul", {s.in(0), factor});
  std::string y = s.out.add("Softplus", {z});
  if (beta != 1) y = s.out.add("Div", {y, factor});
  const std::string limit = s.out.number(s.get<double>("threshold"), s.dtype());
  s.give(s.out.add("Where", {s.out.add("Greater", {z, limit}), s.in(0), y}));
}
void softmax(Step& s) {
  const bool log = std::string_view(s.node.name()) == "log_softmax";
  s.give(s.out.add(log ? "LogSoftmax" : "Softmax", {s.in(0)}, {{"axis", s.get<int64_t>("axis")}}));
}

// --- Shapes ---

// ONNX: 0 keeps the input's size at that place, one -1 is what is left.
void reshape(Step& s) {
  const Extents from = s.extents(0), to = s.result();
  std::vector<int64_t> target;
  int open = 0;
  for (size_t d = 0; d < to.size(); ++d) {
    if (to[d].n == 0) s.refuse(fmt::format("it gives an empty shape, {}", s.node.output_shape(0)));
    if (!to[d].varies()) {
      target.push_back(to[d].n);
    } else if (d < from.size() && from[d] == to[d]) {
      target.push_back(0);
    } else {
      target.push_back(-1);
      ++open;
    }
  }
  if (open > 1) s.refuse("two sizes of its result depend on the batch");
  s.give(s.out.add("Reshape", {s.in(0), s.out.ints(target)}));
}

void permute(Step& s) {
  std::vector<int64_t> axes = list(s.get<Dims>("axes"));
  for (int64_t& axis : axes) axis = normalize_axis(axis, s.rank(0), "permute");
  s.give(s.out.add("Transpose", {s.in(0)}, {{"perm", axes}}));
}

// ONNX: a 1 keeps the input's size.
void expand(Step& s) {
  const Extents from = s.extents(0);
  Extents to = s.result();
  for (size_t d = to.size() - from.size(), e = 0; e < from.size(); ++d, ++e)
    if (from[e] == to[d]) to[d] = {1, 1};
  s.give(s.out.add("Expand", {s.in(0), s.out.sizes(to)}));
}

int64_t onnx_type(const std::string& dtype) {
  if (dtype == name(DType::f32)) return 1;
  if (dtype == name(DType::u8)) return 2;
  if (dtype == name(DType::i64)) return 7;
  if (dtype == name(DType::f64)) return 11;
  return 9;
}
void to(Step& s) {
  s.give(s.out.add("Cast", {s.in(0)}, {{"to", onnx_type(s.get<std::string>("dtype"))}}));
}

void slice(Step& s) {
  const int64_t axis = s.get<int64_t>("axis");
  if (std::string_view(s.node.name()) == "select") {
    const std::string at = s.out.number(static_cast<double>(s.get<int64_t>("start")), DType::i64);
    s.give(s.out.add("Gather", {s.in(0), at}, {{"axis", axis}}));
    return;
  }
  s.give(s.out.add("Slice", {s.in(0), s.out.ints({s.get<int64_t>("start")}),
                             s.out.ints({s.get<int64_t>("stop")}), s.out.ints({axis}),
                             s.out.ints({s.get<int64_t>("step")})}));
}

void cat(Step& s) {
  Names inputs;
  for (const Read& r : s.inputs) inputs.push_back(r.name);
  s.give(s.out.add("Concat", inputs, {{"axis", s.get<int64_t>("axis")}}));
}

void split(Step& s) {
  const auto sizes = s.get<std::vector<int64_t>>("sizes");
  const Names parts = s.out.add("Split", {s.in(0), s.out.ints(sizes)},
                                {{"axis", s.get<int64_t>("axis")}}, sizes.size());
  for (const std::string& part : parts) s.give(part);
}

// Loupe: pairs {before, after}, the last dimension first. ONNX: all before, then all after.
void pad(Step& s) {
  const auto amounts = s.get<std::vector<int64_t>>("amounts");
  const size_t rank = static_cast<size_t>(s.rank(0));
  std::vector<int64_t> pads(2 * rank);
  for (size_t i = 0; i < amounts.size(); ++i) {
    const size_t axis = rank - 1 - i / 2;
    pads[i % 2 == 0 ? axis : rank + axis] = amounts[i];
  }
  s.give(s.out.add("Pad",
                   {s.in(0), s.out.ints(pads), s.out.number(s.get<double>("value"), s.dtype())}));
}

// --- Reductions and indices ---

void reduce(Step& s, const char* op) {
  std::string from = s.in(0);
  if (s.rank(0) == 0) {
    s.give(s.out.add("Identity", {from}));
    return;
  }
  if (std::string_view(op) == "ReduceSum" && s.dtype() != s.node.output_dtype(0))
    from = s.out.add("Cast", {from}, {{"to", onnx_type(name(s.node.output_dtype(0)))}});
  Names inputs{from};
  const Dims axes = s.get<Dims>("axes");
  if (!axes.empty()) inputs.push_back(s.out.ints(list(axes)));
  s.give(s.out.add(op, inputs, {{"keepdims", int64_t{s.get<bool>("keepdim")}}}));
}
void sum(Step& s) { reduce(s, "ReduceSum"); }
void max(Step& s) { reduce(s, "ReduceMax"); }
void min(Step& s) { reduce(s, "ReduceMin"); }
void prod(Step& s) { reduce(s, "ReduceProd"); }
void logsumexp(Step& s) { reduce(s, "ReduceLogSumExp"); }
void norm(Step& s) {
  const double p = s.get<double>("p");
  if (p != 1 && p != 2) s.refuse(fmt::format("a norm with p = {} has no ONNX form", p));
  reduce(s, p == 1 ? "ReduceL1" : "ReduceL2");
}

// Sum of squared distances from the mean, over n - correction.
std::string variance(Step& s) {
  const Dims axes = s.get<Dims>("axes");
  double n = 1;
  for (const int64_t axis : axes) n *= static_cast<double>(s.fixed(0, static_cast<int>(axis)));
  const double divisor = n - static_cast<double>(s.get<int64_t>("correction"));
  const std::string over = s.out.ints(list(axes));
  const std::string d = s.out.add("Sub", {s.in(0), s.out.add("ReduceMean", {s.in(0), over})});
  const std::string sum = s.out.add("ReduceSum", {s.out.add("Mul", {d, d}), over},
                                    {{"keepdims", int64_t{s.get<bool>("keepdim")}}});
  return s.out.add("Div", {sum, s.out.number(divisor > 0 ? divisor : 0, s.dtype())});
}
void var(Step& s) { s.give(variance(s)); }

// any, all: the largest, the smallest of 0 and 1.
void truth(Step& s) {
  const std::string flags = s.out.add("Cast", {s.in(0)}, {{"to", onnx_type("bool")}});
  Names inputs{s.out.add("Cast", {flags}, {{"to", onnx_type("f32")}})};
  const Dims axes = s.get<Dims>("axes");
  if (!axes.empty()) inputs.push_back(s.out.ints(list(axes)));
  const bool any = std::string_view(s.node.name()) == "any";
  const std::string y = s.out.add(any ? "ReduceMax" : "ReduceMin", inputs,
                                  {{"keepdims", int64_t{s.get<bool>("keepdim")}}});
  s.give(s.out.add("Cast", {y}, {{"to", onnx_type(name(s.node.output_dtype(0)))}}));
}

// --- Order ---

void flip(Step& s) {
  const Dims axes = s.get<Dims>("axes");
  const auto each = [&](int64_t value) {
    return s.out.ints(std::vector<int64_t>(axes.size(), value));
  };
  s.give(s.out.add("Slice", {s.in(0), each(-1), each(std::numeric_limits<int64_t>::min()),
                             s.out.ints(list(axes)), each(-1)}));
}
void cumsum(Step& s) {
  const std::string axis = s.out.number(static_cast<double>(s.get<int64_t>("axis")), DType::i64);
  s.give(s.out.add("CumSum", {s.in(0), axis}));
}
// The positions of the k first of the order.
void order(Step& s, int64_t k, int64_t axis, bool largest) {
  s.give(s.out.add("TopK", {s.in(0), s.out.ints({k})},
                   {{"axis", axis}, {"largest", int64_t{largest}}}, 2)[1]);
}
void argsort(Step& s) {
  const int64_t axis = s.get<int64_t>("axis");
  order(s, s.fixed(0, static_cast<int>(axis)), axis, s.get<bool>("descending"));
}
void topk(Step& s) {
  order(s, s.get<int64_t>("k"), s.get<int64_t>("axis"), s.get<bool>("largest"));
}
void index_select(Step& s) {
  s.give(s.out.add("Gather", {s.in(0), s.value("index").name}, {{"axis", s.get<int64_t>("axis")}}));
}

// Without an axis: over all elements in their order.
void extreme_place(Step& s, const char* op) {
  const int64_t none = std::numeric_limits<int64_t>::min();
  const int64_t axis = s.get<int64_t>("axis", none);
  if (axis == none) {
    const std::string flat = s.out.add("Reshape", {s.in(0), s.out.ints({-1})});
    const std::string y = s.out.add(op, {flat}, {{"axis", int64_t{0}}, {"keepdims", int64_t{0}}});
    s.give(s.rank(0) > 0 && s.get<bool>("keepdim")
               ? s.out.add("Reshape",
                           {y, s.out.ints(std::vector<int64_t>(static_cast<size_t>(s.rank(0)), 1))})
               : y);
    return;
  }
  s.give(s.out.add(op, {s.in(0)}, {{"axis", axis}, {"keepdims", int64_t{s.get<bool>("keepdim")}}}));
}
void argmax(Step& s) { extreme_place(s, "ArgMax"); }
void argmin(Step& s) { extreme_place(s, "ArgMin"); }

void gather(Step& s) {
  s.give(s.out.add("GatherElements", {s.in(0), s.value("index").name},
                   {{"axis", s.get<int64_t>("axis")}}));
}
void scatter_add(Step& s) {
  const std::string zeros =
      s.out.add("Expand", {s.out.number(0, s.dtype()), s.out.sizes(s.result())});
  s.give(s.out.add("ScatterElements", {zeros, s.value("index").name, s.in(0)},
                   {{"axis", s.get<int64_t>("axis")}, {"reduction", "add"}}));
}
void embedding(Step& s) { s.give(s.out.add("Gather", {s.in(1), s.in(0)}, {{"axis", int64_t{0}}})); }

// --- Products ---

// x W^T + b, or x W + b.
void product(Step& s, bool transposed) {
  if (s.rank(0) == 2) {
    Names inputs{s.in(0), s.in(1)};
    if (s.has(2)) inputs.push_back(s.in(2));
    s.give(s.out.add("Gemm", inputs, {{"transB", int64_t{transposed}}}));
    return;
  }
  const std::string w =
      transposed ? s.out.add("Transpose", {s.in(1)}, {{"perm", std::vector<int64_t>{1, 0}}})
                 : s.in(1);
  const std::string y = s.out.add("MatMul", {s.in(0), w});
  s.give(s.has(2) ? s.out.add("Add", {y, s.in(2)}) : y);
}
void linear(Step& s) { product(s, true); }
void addmm(Step& s) { product(s, false); }

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

// --- Pooling ---

Values windows(Step& s) {
  return {{"kernel_shape", list(s.get<Dims>("kernel"))},
          {"strides", list(s.get<Dims>("stride"))},
          {"pads", both_sides(s.get<Dims>("padding"))}};
}
void check_pool(Step& s) {
  if (s.get<bool>("ceil_mode")) s.refuse("a pool with ceil_mode has no writer");
  if (s.get<Dims>("dilation") != Dims{1, 1}) s.refuse("a pool with dilation has no writer");
}
void max_pool(Step& s) {
  check_pool(s);
  s.give(s.out.add("MaxPool", {s.in(0)}, windows(s)));
}
void avg_pool(Step& s) {
  check_pool(s);
  Values options = windows(s);
  options.push_back({"count_include_pad", int64_t{s.get<bool>("count_include_pad")}});
  s.give(s.out.add("AveragePool", {s.in(0)}, options));
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

const std::map<std::string_view, Writer>& writers() {
  static const std::map<std::string_view, Writer> table{
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"neg", affine},
      {"pow", pow},
      {"sqrt", same<kSqrt>},
      {"rsqrt", rsqrt},
      {"exp", same<kExp>},
      {"log", same<kLog>},
      {"abs", same<kAbs>},
      {"sign", same<kSign>},
      {"clamp", clamp},
      {"maximum", same<kMax>},
      {"minimum", same<kMin>},
      {"where", same<kWhere>},
      {"tril", triangle},
      {"triu", triangle},
      {"eq", eq},
      {"ne", ne},
      {"lt", lt},
      {"le", le},
      {"gt", gt},
      {"ge", ge},
      {"logical_not", same<kNot>},
      {"logical_and", same<kAnd>},
      {"logical_or", same<kOr>},
      {"logical_xor", same<kXor>},
      {"isnan", same<kIsNaN>},
      {"isinf", same<kIsInf>},
      {"sin", same<kSin>},
      {"cos", same<kCos>},
      {"floor", same<kFloor>},
      {"ceil", same<kCeil>},
      {"round", same<kRound>},
      {"relu", same<kRelu>},
      {"leaky_relu", leaky_relu},
      {"gelu", gelu},
      {"silu", silu},
      {"sigmoid", same<kSigmoid>},
      {"tanh", same<kTanh>},
      {"erf", same<kErf>},
      {"softplus", softplus},
      {"elu", elu},
      {"celu", celu},
      {"selu", same<kSelu>},
      {"mish", same<kMish>},
      {"hardsigmoid", hardsigmoid},
      {"hardswish", same<kHardSwish>},
      {"hardtanh", clamp},
      {"log_sigmoid", log_sigmoid},
      {"softmax", softmax},
      {"log_softmax", softmax},
      {"reshape", reshape},
      {"squeeze", reshape},
      {"unsqueeze", reshape},
      {"permute", permute},
      {"transpose", permute},
      {"expand", expand},
      {"clone", same<kIdentity>},
      {"contiguous", same<kIdentity>},
      {"to", to},
      {"slice", slice},
      {"select", slice},
      {"cat", cat},
      {"split", split},
      {"pad", pad},
      {"sum", sum},
      {"max", max},
      {"min", min},
      {"argmax", argmax},
      {"argmin", argmin},
      {"prod", prod},
      {"logsumexp", logsumexp},
      {"norm", norm},
      {"var", var},
      {"std", same<kSqrt>},
      {"any", truth},
      {"all", truth},
      {"flip", flip},
      {"cumsum", cumsum},
      {"argsort", argsort},
      {"topk", topk},
      {"index_select", index_select},
      {"gather", gather},
      {"scatter_add", scatter_add},
      {"embedding", embedding},
      {"matmul", same<kMatMul>},
      {"linear", linear},
      {"addmm", addmm},
      {"conv1d", conv},
      {"conv2d", conv},
      {"max_pool1d", max_pool},
      {"max_pool2d", max_pool},
      {"avg_pool1d", avg_pool},
      {"avg_pool2d", avg_pool},
      {"adaptive_avg_pool1d", adaptive_avg_pool},
      {"adaptive_avg_pool2d", adaptive_avg_pool},
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

}  // namespace

Writer find_writer(std::string_view op) {
  const auto found = writers().find(op);
  return found == writers().end() ? nullptr : found->second;
}

}  // namespace loupe::onnx
