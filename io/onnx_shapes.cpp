// Writers of ops that move, cut and join elements.
#include <loupe/io/onnx_writers.h>

#include <algorithm>
#include <limits>

namespace loupe::onnx {
namespace {

// A product with a new first axis of 1 is a product of x with that axis (a cell's one step).
void keep_product(Step& s, const Extents& from, const Extents& to) {
  const auto product = s.out.products.find(s.in(0));
  const bool leads = to.size() == from.size() + 1 && to[0] == Extent{1, 1} &&
                     std::equal(from.begin(), from.end(), to.begin() + 1);
  if (product == s.out.products.end() || !leads) return;
  Product p = product->second;
  p.x = s.out.add("Unsqueeze", {p.x, s.out.ints({0})});
  s.out.products[s.results[0]] = p;
}

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
  keep_product(s, from, to);
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

void roll(Step& s) {
  const int64_t axis = s.get<int64_t>("axis"), shift = s.get<int64_t>("shift");
  if (s.rank(0) == 0 || s.fixed(0, static_cast<int>(axis)) == 0 || shift == 0)
    return s.give(s.out.add("Identity", {s.in(0)}));
  const auto part = [&](int64_t start, int64_t stop) {
    return s.out.add("Slice",
                     {s.in(0), s.out.ints({start}), s.out.ints({stop}), s.out.ints({axis})});
  };
  const Names parts{part(-shift, std::numeric_limits<int64_t>::max()), part(0, -shift)};
  s.give(s.out.add("Concat", parts, {{"axis", axis}}));
}

void triangle(Step& s) {
  const double diagonal = static_cast<double>(s.get<int64_t>("diagonal"));
  s.give(s.out.add("Trilu", {s.in(0), s.out.number(diagonal, DType::i64)},
                   {{"upper", int64_t{std::string_view(s.node.name()) == "triu"}}}));
}

}  // namespace

const Writers& shape_writers() {
  static const Writers table{
      {"reshape", reshape},
      {"squeeze", reshape},
      {"unsqueeze", reshape},
      {"permute", permute},
      {"transpose", permute},
      {"expand", expand},
      {"clone", same("Identity")},
      {"contiguous", same("Identity")},
      {"to", to},
      {"slice", slice},
      {"select", slice},
      {"cat", cat},
      {"split", split},
      {"pad", pad},
      {"tril", triangle},
      {"triu", triangle},
      {"roll", roll},
  };
  return table;
}

}  // namespace loupe::onnx
