// Choices between elements: clamp, maximum and minimum, where, triangles.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>

#include <cmath>

namespace loupe {

namespace {

using raw::Binary;
using raw::Compare;

struct ClampNode final : Node {
  SavedTensor inside{this, "inside"};
  std::optional<Number> low, high;
  const char* name() const override { return "clamp"; }
  Attributes attributes() const override {
    return {{"low", low ? low->real : -INFINITY}, {"high", high ? high->real : INFINITY}};
  }
  Tensors replay(const Tensors& x) const override { return {clamp(x[0], low, high)}; }
  Tensors backward(const Tensors& dy) override {
    return {where(inside.get(), dy[0], zeros({}, dy[0].dtype()))};
  }
};

}  // namespace

Tensor clamp(In a, std::optional<Number> low, std::optional<Number> high) {
  if (!low && !high) fail<ValueError>("clamp: give a lower or an upper bound");
  for (const auto& bound : {low, high})
    if (bound && bound->real != bound->real) fail<ValueError>("clamp: a bound is NaN");
  Tensor y = raw::clamp(a, low, high);
  if (auto n = record<ClampNode>({a}, y)) {
    const bool crossed = low && high && low->real > high->real;
    const Tensor inside =
        crossed ? raw::zeros(a->shape(), DType::boolean) : raw::compare(Compare::eq, y, a);
    n->inside.input(inside);
    n->low = low;
    n->high = high;
  }
  return y;
}

namespace {

// Bounds that are tensors, one of which may be absent. The element that was taken gets the
// gradient; a tie counts as inside.
struct ClampTensorsNode final : Node {
  SavedTensor a{this, "a"}, low{this, "low"}, high{this, "high"};
  const char* name() const override { return "clamp"; }
  Tensors replay(const Tensors& x) const override { return {clamp(x[0], x[1], x[2])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach();
    const Tensor lo = low.defined() ? low.get().detach() : Tensor();
    const Tensor hi = high.defined() ? high.get().detach() : Tensor();
    const auto where_taken = [&](size_t input, const Tensor& mask) {
      return needs(input) ? where(mask, dy[0], zeros({}, dy[0].dtype())) : Tensor();
    };
    if (!hi.defined()) return {where_taken(0, ge(x, lo)), where_taken(1, lt(x, lo)), Tensor()};
    if (!lo.defined()) return {where_taken(0, le(x, hi)), Tensor(), where_taken(2, gt(x, hi))};
    return {where_taken(0, ge(x, lo) & le(x, hi)), where_taken(1, lt(x, lo) & lt(lo, hi)),
            where_taken(2, gt(x, hi) | lt(hi, lo))};
  }
};

}  // namespace

Tensor clamp(In a, In low, In high) {
  if (!low->defined() && !high->defined())
    fail<ValueError>("clamp: give a lower or an upper bound");
  Tensor y = low->defined() ? raw::binary(Binary::maximum, a, low, "clamp") : a.t;
  if (high->defined()) y = raw::binary(Binary::minimum, y, high, "clamp");
  if (auto n = record<ClampTensorsNode>({a, low, high}, y)) {
    n->a.input(a);
    if (low->defined()) n->low.input(low);
    if (high->defined()) n->high.input(high);
  }
  return y;
}

namespace {

struct ExtremumNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"};
  bool largest = true;
  const char* name() const override { return largest ? "maximum" : "minimum"; }
  Tensors replay(const Tensors& x) const override {
    return {largest ? maximum(x[0], x[1]) : minimum(x[0], x[1])};
  }
  // The one taken gets dy, equal ones a half each. A NaN is neither larger nor smaller: both get
  // dy.
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach(), y = b.get().detach(), zero = zeros({}, dy[0].dtype());
    const Tensor tied = eq(x, y), below = lt(x, y), above = gt(x, y);
    const auto share = [&](size_t input, const Tensor& lost) {
      return needs(input) ? where(lost, zero, where(tied, dy[0] * 0.5, dy[0])) : Tensor();
    };
    return {share(0, largest ? below : above), share(1, largest ? above : below)};
  }
};

Tensor extremum_of(In a, In b, bool largest) {
  Tensor y = largest ? raw::binary(Binary::maximum, a, b, "maximum")
                     : raw::binary(Binary::minimum, a, b, "minimum");
  if (auto n = record<ExtremumNode>({a, b}, y)) {
    n->largest = largest;
    n->a.input(a);
    n->b.input(b);
  }
  return y;
}

}  // namespace

Tensor maximum(In a, In b) { return extremum_of(a, b, true); }
Tensor minimum(In a, In b) { return extremum_of(a, b, false); }
Tensor maximum(In a, Number b) {
  SiteScope site(a.here);
  return maximum(a, raw::number_like(a, b, "maximum"));
}
Tensor minimum(In a, Number b) {
  SiteScope site(a.here);
  return minimum(a, raw::number_like(a, b, "minimum"));
}

namespace {

struct WhereNode final : Node {
  SavedTensor cond{this, "cond"};
  const char* name() const override { return "where"; }
  Tensors replay(const Tensors& x) const override { return {where(x[0], x[1], x[2])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor c = cond.get(), zero = zeros({}, dy[0].dtype());
    return {Tensor(), needs(1) ? where(c, dy[0], zero) : Tensor(),
            needs(2) ? where(c, zero, dy[0]) : Tensor()};
  }
};

}  // namespace

Tensor where(In cond, In a, In b) {
  Tensor y = raw::where(cond, a, b);
  if (auto n = record<WhereNode>({cond, a, b}, y)) n->cond.input(cond);
  return y;
}

Tensor where(In cond, In a, Number b) {
  SiteScope site(a.here);
  return where(cond, a, raw::number_like(a, b, "where"));
}
Tensor where(In cond, Number a, In b) {
  SiteScope site(b.here);
  return where(cond, raw::number_like(b, a, "where"), b);
}
Tensor where(In cond, Number a, Number b) {
  const DType dtype = a.exact && b.exact ? DType::i64 : DType::f32;
  SiteScope site(cond.here);
  return where(cond, full({}, a, dtype), full({}, b, dtype));
}

Tensor masked_fill(In a, In mask, Number value) {
  if (mask->dtype() != DType::boolean)
    fail<DtypeError>("masked_fill: the mask must be bool, got {}", mask->dtype());
  if (broadcast_shapes(a->shape(), mask->shape(), "masked_fill") != a->shape())
    fail<ShapeError>("masked_fill: a mask of shape {} does not broadcast to {}", mask->shape(),
                     a->shape());
  SiteScope site(a.here);
  // A bool becomes true for any number but 0, as a fill does.
  const bool truth = a->dtype() == DType::boolean;
  return where(mask,
               truth ? full({}, value, a->dtype()) : raw::number_like(a, value, "masked_fill"), a);
}

namespace {

struct TriangleNode final : Node {
  bool lower = true;
  int64_t diagonal = 0;
  const char* name() const override { return lower ? "tril" : "triu"; }
  Attributes attributes() const override { return {{"diagonal", diagonal}}; }
  Tensors replay(const Tensors& x) const override { return {of(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {of(dy[0])}; }
  Tensor of(const Tensor& t) const { return lower ? tril(t, diagonal) : triu(t, diagonal); }
};

Tensor triangle(In a, int64_t diagonal, bool lower) {
  if (a->dim() < 2)
    fail<ShapeError>("{}: needs at least two dimensions, got shape {}", lower ? "tril" : "triu",
                     a->shape());
  const int64_t rows = a->size(-2), columns = a->size(-1);
  const Tensor row = raw::unsqueeze(arange(rows), 1);
  const Tensor column = raw::expand(arange(columns), {rows, columns});
  const Tensor limit = raw::binary(Binary::add, row, diagonal);
  const Tensor keep = raw::compare(lower ? Compare::le : Compare::ge, column, limit);
  Tensor y = raw::where(keep, a, raw::zeros({}, a->dtype()));
  if (auto n = record<TriangleNode>({a}, y)) {
    n->lower = lower;
    n->diagonal = diagonal;
  }
  return y;
}

}  // namespace

Tensor tril(In a, int64_t diagonal) { return triangle(a, diagonal, true); }
Tensor triu(In a, int64_t diagonal) { return triangle(a, diagonal, false); }

}  // namespace loupe
