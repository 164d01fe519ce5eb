// Reductions, running sums, orders and indexing against PyTorch's results, gradients and second
// derivatives, at special inputs among them (tests/fixtures/make_reduce.py).
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "fixture.h"

using namespace loupe;
using fixture::Fixture;

namespace {

const double kInf = std::numeric_limits<double>::infinity();

const Fixture& file() {
  static const Fixture f("reduce.safetensors");
  return f;
}

// Values, or values and positions, from x and the further inputs.
struct Result {
  Tensor values, positions;
  Result(const Tensor& y) : values(y) {}
  Result(const Sorted& s) : values(s.values), positions(s.indices) {}
};
using Op = std::function<Result(const Tensor&, const std::vector<Tensor>&)>;
using More = std::vector<Tensor>;

const std::map<std::string, Op>& ops() {
  static const std::map<std::string, Op> table = [] {
    std::map<std::string, Op> named{
        {"sum", [](In x, const More&) { return sum(x); }},
        {"sum(1, keepdim)", [](In x, const More&) { return sum(x, {1}, true); }},
        {"mean", [](In x, const More&) { return mean(x); }},
        {"var", [](In x, const More&) { return var(x); }},
        {"var0", [](In x, const More&) { return var(x, {}, 0); }},
        {"std", [](In x, const More&) { return loupe::std(x); }},
        {"std0", [](In x, const More&) { return loupe::std(x, {}, 0); }},
        {"max", [](In x, const More&) { return max(x); }},
        {"min", [](In x, const More&) { return min(x); }},
        {"amax", [](In x, const More&) { return max(x, {0}); }},
        {"amin", [](In x, const More&) { return min(x, {0}); }},
        {"argmax", [](In x, const More&) { return argmax(x); }},
        {"argmin", [](In x, const More&) { return argmin(x); }},
        {"any", [](In x, const More&) { return any(x); }},
        {"all", [](In x, const More&) { return all(x); }},
        {"prod", [](In x, const More&) { return prod(x); }},
        {"prod(1)", [](In x, const More&) { return prod(x, {1}); }},
        {"logsumexp", [](In x, const More&) { return logsumexp(x, {0}); }},
        {"logsumexp(0, 1)",
         [](In x, const More&) {
           return logsumexp(x, {0, 1});
         }},
        {"cumsum", [](In x, const More&) { return cumsum(x, 0); }},
        {"cumsum(1)", [](In x, const More&) { return cumsum(x, 1); }},
        {"cumprod", [](In x, const More&) { return cumprod(x, 0); }},
        {"cumprod(-1)", [](In x, const More&) { return cumprod(x, -1); }},
        {"norm(3, 0, keepdim)", [](In x, const More&) { return norm(x, 3, {0}, true); }},
        {"norm(0)", [](In x, const More&) { return norm(x, 0, {1}); }},
        {"sort", [](In x, const More&) { return sort(x); }},
        {"sort(descending)", [](In x, const More&) { return sort(x, -1, true); }},
        {"sort(0)", [](In x, const More&) { return sort(x, 0); }},
        {"argsort", [](In x, const More&) { return argsort(x); }},
        {"topk(3)", [](In x, const More&) { return topk(x, 3); }},
        {"topk(smallest)", [](In x, const More&) { return topk(x, 3, -1, false); }},
        {"flip(0, -1)",
         [](In x, const More&) {
           return flip(x, {0, -1});
         }},
        {"roll(2)", [](In x, const More&) { return roll(x, {2}); }},
        {"roll(-1, 8)",
         [](In x, const More&) {
           return roll(x, {-1, 8}, {0, 1});
         }},
        {"repeat",
         [](In x, const More&) {
           return repeat(x, {2, 1, 3});
         }},
        {"tile", [](In x, const More&) { return tile(x, {3}); }},
        {"movedim",
         [](In x, const More&) {
           return movedim(x, {0, 1}, {-1, 0});
         }},
        {"narrow", [](In x, const More&) { return narrow(x, 2, -4, 3); }},
        {"unbind", [](In x, const More&) { return unbind(x, 1)[2]; }},
        {"meshgrid",
         [](In x, const More&) {
           return meshgrid({x, x->slice(0, 1)})[1];
         }},
        {"meshgrid(xy)",
         [](In x, const More&) {
           return meshgrid({x, x->slice(0, 1)}, MeshIndexing::xy)[0];
         }},
        {"gather", [](In x, const More& m) { return gather(x, 1, m[0]); }},
        {"gather(0)", [](In x, const More& m) { return gather(x, 0, m[0]); }},
        {"gather(rank 0)", [](In x, const More& m) { return gather(x, 0, m[0]); }},
        {"scatter_add", [](In x, const More& m) { return scatter_add(x, 1, m[0], m[1]); }},
        {"scatter_add(src)", [](In x, const More& m) { return scatter_add(m[1], 0, m[0], x); }},
        {"scatter_add(rank 0)",
         [](In x, const More& m) { return scatter_add(x, 0, m[0], x->detach() * 2); }},
        {"scatter", [](In x, const More& m) { return scatter(x, 0, m[0], m[1]); }},
        {"scatter(src)", [](In x, const More& m) { return scatter(m[1], 0, m[0], x); }},
        {"scatter(value)", [](In x, const More& m) { return scatter(x, 0, m[0], 7.5); }},
        {"scatter(rank 0)", [](In x, const More& m) { return scatter(x, 0, m[0], 7); }},
        {"masked_select", [](In x, const More& m) { return masked_select(x, m[0]); }},
        {"index_select(rank 0)", [](In x, const More& m) { return index_select(x, 0, m[0]); }},
        {"index(1, ..., slice)",
         [](In x, const More&) {
           return x->index({1, Ellipsis, Slice(0, 3, 2)});
         }},
        {"index(None, slice, None)",
         [](In x, const More&) {
           return x->index({None, Slice(-2), None, 1});
         }},
        {"index(a)", [](In x, const More& m) { return x->index({m[0]}); }},
        {"index(..., a)",
         [](In x, const More& m) {
           return x->index({Ellipsis, m[0]});
         }},
        {"index(:, a, b)",
         [](In x, const More& m) {
           return x->index({Slice(), m[0], m[1]});
         }},
        {"index(a, :, b)",
         [](In x, const More& m) {
           return x->index({m[0], Slice(), m[1]});
         }},
        {"index(a, None, b)",
         [](In x, const More& m) {
           return x->index({m[0], None, m[1]});
         }},
        {"index(a, 1, b)",
         [](In x, const More& m) {
           return x->index({m[0], 1, m[1]});
         }},
        {"index(0, :, a)",
         [](In x, const More& m) {
           return x->index({0, Slice(), m[0]});
         }},
        {"index(m)", [](In x, const More& m) { return x->index({m[0]}); }},
        {"index(:, n)",
         [](In x, const More& m) {
           return x->index({Slice(), m[0]});
         }},
        {"index(m, ..., 1)",
         [](In x, const More& m) {
           return x->index({m[0], Ellipsis, 1});
         }},
        {"index(true)", [](In x, const More& m) { return x->index({m[0]}); }},
        {"index(scalar, a)",
         [](In x, const More& m) {
           return x->index({m[0], m[1]});
         }},
        {"index(none of them)", [](In x, const More& m) { return x->index({m[0]}); }},
    };
    for (const int offset : {0, 1, -2, 9})
      named.emplace("diagonal(" + std::to_string(offset) + ")",
                    [=](In x, const More&) { return diagonal(x, offset, 0, 2); });
    const std::pair<const char*, double> powers[] = {{"0.5", 0.5},    {"1.0", 1},   {"1.5", 1.5},
                                                     {"2.0", 2},      {"3.0", 3},   {"inf", kInf},
                                                     {"-inf", -kInf}, {"-1.0", -1}, {"-2.0", -2}};
    for (const auto& [text, p] : powers)
      named.emplace(std::string("norm") + text, [p = p](In x, const More&) { return norm(x, p); });
    return named;
  }();
  return table;
}

double largest_finite(const Tensor& t) {
  double size = 0;
  for (const double e : t.to_vector<double>())
    if (std::isfinite(e)) size = std::max(size, std::abs(e));
  return size;
}

// NaN where NaN stands, the same infinity, and numbers within `bound` of the largest of them, or of
// `terms`: the size of what cancelled.
void require_like(const Tensor& got, const Tensor& wanted, double bound, double terms = 0) {
  REQUIRE(to_string(got.shape()) == to_string(wanted.shape()));
  const std::vector<double> g = got.to_vector<double>(), w = wanted.to_vector<double>();
  const double size = std::max(largest_finite(wanted), terms);
  // Subnormal numbers have no relative errors to speak of: some of their last places.
  const double least = got.dtype() == DType::f32 ? 8 * 0x1p-149 : 8 * 0x1p-1074;
  for (size_t i = 0; i < w.size(); ++i) {
    CAPTURE(i, g[i], w[i]);
    if (std::isnan(w[i])) REQUIRE(std::isnan(g[i]));
    else if (std::isinf(w[i])) REQUIRE(g[i] == w[i]);
    else REQUIRE(std::abs(g[i] - w[i]) <= bound * size + least);
  }
}

// f32 cannot hold these, or squares of them are lost.
bool for_f64_only(const Tensor& x) {
  for (const double e : x.to_vector<double>())
    if (std::isfinite(e) && e != 0 && (std::abs(e) < 1e-15 || std::abs(e) > 1e6)) return true;
  return false;
}

void check_case(const std::string& name, DType dtype, double bound) {
  const Op& op = ops().at(name.substr(0, name.find('@')));
  const Tensor x = file().get(name + "/x", dtype).requires_grad_();
  More more;
  for (int i = 0; file().has(name + "/i" + std::to_string(i)); ++i)
    more.push_back(file().get(name + "/i" + std::to_string(i), dtype));
  const Result result = op(x, more);
  require_like(result.values, file().get(name + "/y"), bound);
  if (file().has(name + "/z")) require_like(result.positions, file().get(name + "/z"), 0);
  if (!file().has(name + "/dy")) return;
  const Tensors upstream{file().get(name + "/dy", dtype)};
  const GradOptions options{.create_graph = true, .allow_unused = true};
  const Tensor plain = grad({result.values}, {x}, {.retain_graph = true}, upstream)[0];
  const Tensor dx = grad({result.values}, {x}, options, upstream)[0];
  INFO("gradient");
  require_like(plain, file().get(name + "/dx"), bound);
  require_like(dx, file().get(name + "/dx"), bound);
  if (!dx.requires_grad()) {  // linear in x; PyTorch's zero may be rounding of terms that cancel
    require_like(zeros_like(x), file().get(name + "/h"), bound,
                 largest_finite(file().get(name + "/dx")));
    return;
  }
  INFO("second derivative");
  const Tensor h = grad({dx}, {x}, options, {file().get(name + "/v", dtype)})[0];
  // A second derivative is what is left of terms of the size of dx / x, and of dx.
  const Tensor first = file().get(name + "/dx"), at = file().get(name + "/x");
  const Tensor terms = where(eq(at, 0), first, first / at);
  require_like(h.defined() ? h : zeros_like(x), file().get(name + "/h"), bound,
               std::max(largest_finite(first), largest_finite(terms)));
}

}  // namespace

TEST_CASE(
    "reductions, orders and indices equal PyTorch's: values, gradients, second derivatives, "
    "special "
    "inputs") {
  int checked = 0;
  for (const std::string& name : file().cases()) {
    INFO(name);
    check_case(name, DType::f64, 1e-12);
    if (!for_f64_only(file().get(name + "/x"))) {
      INFO("f32");
      check_case(name, DType::f32, 4e-6);
    }
    ++checked;
  }
  REQUIRE(checked > 400);
}

// Where PyTorch divides by an element, or by a count of 0, and gets NaN (see SKIPPED in the
// script).
TEST_CASE("gradients at special inputs where PyTorch's are not the derivative") {
  const auto gradient = [](const std::function<Tensor(const Tensor&)>& f, const Tensor& at) {
    const Tensor x = at.detach().requires_grad_();
    return grad({f(x)}, {x})[0].to_vector<double>();
  };
  using Vec = std::vector<double>;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(gradient([](In x) { return prod(x); }, tensor({kInf, 2})) == Vec{2, kInf});
  CHECK(gradient([](In x) { return cumprod(x, 0)[1]; }, tensor({kInf, 2})) == Vec{2, kInf});
  CHECK(gradient([](In x) { return logsumexp(x); }, tensor({-kInf, -kInf})) == Vec{0, 0});
  CHECK(gradient([](In x) { return max(x, {0}); }, tensor({1, nan, nan})) == Vec{0, .5, .5});
  CHECK(gradient([](In x) { return min(x, {0}); }, tensor({nan, 1})) == Vec{1, 0});
}

TEST_CASE("an infinite upstream gradient does not reach elements that have none") {
  for (const bool create_graph : {false, true}) {
    const GradOptions options{.create_graph = create_graph};
    const Tensor x = tensor({1, 5, 5}).requires_grad_();
    const Tensor dx = grad({max(x, {0})}, {x}, options, {scalar(kInf)})[0];
    CHECK(dx.to_vector<double>() == std::vector<double>{0, kInf, kInf});
    const Tensor table = ones({3, 1}).requires_grad_();
    const Tensor ids = from_data(std::vector<int64_t>{0, 2, 1});
    const Tensor rows = embedding(ids, table, {.padding_idx = 2});
    const Tensor upstream = tensor({1, kInf, 2}, Shape{3, 1});
    const Tensor d = grad({rows}, {table}, options, {upstream})[0];
    CHECK(d.to_vector<double>() == std::vector<double>{1, 2, 0});
    const Tensor a = ones({3}).requires_grad_();
    const Tensor put = scatter(a, 0, ids.slice(0, 0, 1), 7);
    const Tensor da = grad({put}, {a}, options, {tensor({kInf, 1, 2})})[0];
    CHECK(da.to_vector<double>() == std::vector<double>{0, 1, 2});
  }
}

TEST_CASE("logsumexp and its gradient under a constant: nothing changes but the constant") {
  const Tensor row = tensor({0.25, -1.5, 2, 0.25}, {}, DType::f64);
  const auto gradient = [](const Tensor& at) {
    const Tensor x = at.detach().requires_grad_();
    return grad({logsumexp(x)}, {x})[0];
  };
  for (const DType dtype : {DType::f32, DType::f64})
    for (const double c : {0.0, 1e4, -1e4, 1e8, 1e30, -1e30}) {
      CAPTURE(name(dtype), c);
      const Tensor moved = (row + c).to(dtype);
      // What rounding leaves of the row decides the gradient.
      const Tensor wide = moved.to(DType::f64) - c;
      const bool kept = std::abs(c) <= 1e8;
      const Tensor wanted = kept ? gradient(wide) : full({4}, 0.25, DType::f64);
      CHECK(allclose(gradient(moved).to(DType::f64), wanted, 1e-6, 1e-7));
      CHECK(std::abs(gradient(moved).sum().item() - 1) < 1e-6);
    }
}

TEST_CASE("norms of numbers whose squares and powers overflow") {
  for (const double p : {2.0, 3.0, 1.5, 0.5}) {
    CAPTURE(p);
    const double unit = norm(tensor({3, 4}, {}, DType::f64), p).item();
    CHECK(norm(tensor({3e30, 4e30}), p).item() == Approx(unit * 1e30));
    CHECK(norm(tensor({3e300, 4e300}, {}, DType::f64), p).item() == Approx(unit * 1e300));
    CHECK(norm(tensor({3e-300, 4e-300}, {}, DType::f64), p).item() == Approx(unit * 1e-300));
  }
}
