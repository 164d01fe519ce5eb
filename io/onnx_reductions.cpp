// Writers of reductions, running sums, orders and indices.
#include <loupe/core/raw.h>
#include <loupe/io/onnx_writers.h>

#include <cmath>

namespace loupe::onnx {
namespace {

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
// The p-norm: (sum |x|^p)^(1/p), and its limits.
void norm(Step& s) {
  const double p = s.get<double>("p");
  if (p == 1 || p == 2) return reduce(s, p == 1 ? "ReduceL1" : "ReduceL2");
  const std::string size = s.out.add("Abs", {s.in(0)});
  const auto over = [&](const char* op, const std::string& x) {
    s.inputs[0].name = x;
    reduce(s, op);
  };
  if (std::isinf(p)) return over(p > 0 ? "ReduceMax" : "ReduceMin", size);
  if (p == 0) {
    const std::string some = s.out.add("Sign", {size});
    return over("ReduceSum", some);
  }
  over("ReduceSum", s.out.add("Pow", {size, s.out.number(p, s.dtype())}));
  s.results[0] = s.out.add("Pow", {s.results[0], s.out.number(1 / p, s.dtype())});
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

// Elements put at the places of an index: src, or a number for all.
void scatter(Step& s) {
  const std::string index = s.value("index").name;
  const std::string src =
      s.inputs.size() == 2 ? s.in(1)
                           : s.out.add("Expand", {s.out.number(s.get<double>("value"), s.dtype()),
                                                  s.out.add("Shape", {index})});
  s.give(s.out.add("ScatterElements", {s.in(0), index, src}, {{"axis", s.get<int64_t>("axis")}}));
}
// Added to zeros, or to the first input.
void scatter_add(Step& s) {
  const bool onto = s.inputs.size() == 2;
  const std::string to =
      onto ? s.in(0) : s.out.add("Expand", {s.out.number(0, s.dtype()), s.out.sizes(s.result())});
  s.give(s.out.add("ScatterElements", {to, s.value("index").name, s.in(onto ? 1 : 0)},
                   {{"axis", s.get<int64_t>("axis")}, {"reduction", "add"}}));
}
void one_hot(Step& s) {
  const DType dtype = s.node.output_dtype(0);
  const std::string depth =
      s.out.number(static_cast<double>(s.get<int64_t>("classes")), DType::i64);
  const std::string values = s.out.tensor(raw::to(arange(2), dtype), "off_on");
  s.give(s.out.add("OneHot", {s.in(0), depth, values}, {{"axis", int64_t{-1}}}));
}
void embedding(Step& s) { s.give(s.out.add("Gather", {s.in(1), s.in(0)}, {{"axis", int64_t{0}}})); }

}  // namespace

const Writers& reduction_writers() {
  static const Writers table{
      {"sum", sum},
      {"max", max},
      {"min", min},
      {"argmax", argmax},
      {"argmin", argmin},
      {"prod", prod},
      {"logsumexp", logsumexp},
      {"norm", norm},
      {"var", var},
      {"std", same("Sqrt")},
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
      {"scatter", scatter},
      {"one_hot", one_hot},
  };
  return table;
}

}  // namespace loupe::onnx
