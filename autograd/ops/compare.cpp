// Comparisons, logic and tests of elements.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>

#include <cmath>

namespace loupe {
namespace {

using raw::Compare;

// A comparison has no gradient: only a trace hears of it.
Tensor compared(const char* name, Compare op, In a, In b) {
  Tensor y = raw::compare(op, a, b);
  note(name, {a, b}, y);
  return y;
}
Tensor compared(const char* name, Compare op, In a, Number b) {
  Tensor y = raw::compare(op, a, b);
  note(name, {a}, y, {{"number", b.real}});
  return y;
}
Tensor combined(const char* name, raw::Logical op, In a, In b) {
  Tensor y = raw::logical(op, a, b);
  note(name, {a, b}, y);
  return y;
}
Tensor tested(const char* name, raw::Test what, In a) {
  Tensor y = raw::test(what, a);
  note(name, {a}, y);
  return y;
}
// & and its like mean the logical ones: only bool tensors have them.
void check_bool(const char* op, const Tensor& a) {
  if (a.dtype() != DType::boolean)
    fail<DtypeError>("{}: needs bool, got {}; compare it first, e.g. ne(a, 0)", op, a.dtype());
}

}  // namespace

Tensor eq(In a, In b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, In b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, In b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, In b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, In b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, In b) { return compared("ge", Compare::ge, a, b); }
Tensor eq(In a, Number b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, Number b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, Number b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, Number b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, Number b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, Number b) { return compared("ge", Compare::ge, a, b); }

Tensor logical_and(In a, In b) { return combined("logical_and", raw::Logical::and_, a, b); }
Tensor logical_or(In a, In b) { return combined("logical_or", raw::Logical::or_, a, b); }
Tensor logical_xor(In a, In b) { return combined("logical_xor", raw::Logical::xor_, a, b); }
Tensor logical_not(In a) {
  Tensor y = raw::logical_not(a);
  note("logical_not", {a}, y);
  return y;
}

Tensor operator&(In a, In b) {
  check_bool("&", a);
  check_bool("&", b);
  return logical_and(a, b);
}
Tensor operator|(In a, In b) {
  check_bool("|", a);
  check_bool("|", b);
  return logical_or(a, b);
}
Tensor operator^(In a, In b) {
  check_bool("^", a);
  check_bool("^", b);
  return logical_xor(a, b);
}
Tensor operator~(In a) {
  check_bool("~", a);
  return logical_not(a);
}

Tensor isnan(In a) { return tested("isnan", raw::Test::nan, a); }
Tensor isinf(In a) { return tested("isinf", raw::Test::infinite, a); }
Tensor isfinite(In a) { return tested("isfinite", raw::Test::finite, a); }

bool equal(In a, In b) {
  if (a->shape() != b->shape() || a->dtype() != b->dtype()) return false;
  return raw::sum(raw::compare(Compare::ne, a, b), {}, false).item<int64_t>() == 0;
}

bool allclose(In a, In b, double rtol, double atol) {
  if (a->shape() != b->shape()) return false;
  if (a->dtype() == DType::i64 && b->dtype() == DType::i64 && rtol == 0 && atol == 0)
    return equal(a, b);  // whole numbers above 2^53 are not those of a double
  const std::vector<double> x = a->to_vector<double>(), y = b->to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) {
    const bool near = std::isfinite(y[i]) && std::abs(x[i] - y[i]) <= atol + rtol * std::abs(y[i]);
    if (x[i] != y[i] && !near) return false;
  }
  return true;
}

}  // namespace loupe
