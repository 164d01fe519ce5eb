// Every elementwise function at zeros of both signs, infinities, NaN, subnormals, ties and the
// largest numbers: values and gradients against PyTorch's (tests/fixtures/make_special.py), for
// functions of two at every pair.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <set>

#include "fixture.h"

using namespace loupe;
using fixture::Fixture;

namespace {

const Fixture& file() {
  static const Fixture f("special.safetensors");
  return f;
}

using One = std::function<Tensor(In)>;
using Two = std::function<Tensor(In, In)>;

const std::map<std::string, One> kOne{
    {"neg", [](In x) { return -x; }},
    {"square", [](In x) { return square(x); }},
    {"reciprocal", [](In x) { return reciprocal(x); }},
    {"sqrt", [](In x) { return sqrt(x); }},
    {"rsqrt", [](In x) { return rsqrt(x); }},
    {"exp", [](In x) { return exp(x); }},
    {"expm1", [](In x) { return expm1(x); }},
    {"log", [](In x) { return log(x); }},
    {"log1p", [](In x) { return log1p(x); }},
    {"sin", [](In x) { return sin(x); }},
    {"cos", [](In x) { return cos(x); }},
    {"abs", [](In x) { return abs(x); }},
    {"sign", [](In x) { return sign(x); }},
    {"floor", [](In x) { return floor(x); }},
    {"ceil", [](In x) { return ceil(x); }},
    {"round", [](In x) { return round(x); }},
    {"trunc", [](In x) { return trunc(x); }},
    {"relu", [](In x) { return relu(x); }},
    {"leaky_relu", [](In x) { return leaky_relu(x); }},
    {"gelu", [](In x) { return gelu(x); }},
    {"gelu_tanh", [](In x) { return gelu(x, {.approximate = Approximate::tanh}); }},
    {"silu", [](In x) { return silu(x); }},
    {"sigmoid", [](In x) { return sigmoid(x); }},
    {"tanh", [](In x) { return tanh(x); }},
    {"erf", [](In x) { return erf(x); }},
    {"softplus", [](In x) { return softplus(x); }},
    {"softplus_beta", [](In x) { return softplus(x, {.beta = 2, .threshold = 6}); }},
    {"elu", [](In x) { return elu(x); }},
    {"celu", [](In x) { return celu(x, 0.5); }},
    {"selu", [](In x) { return selu(x); }},
    {"mish", [](In x) { return mish(x); }},
    {"hardswish", [](In x) { return hardswish(x); }},
    {"hardsigmoid", [](In x) { return hardsigmoid(x); }},
    {"relu6", [](In x) { return relu6(x); }},
    {"hardtanh", [](In x) { return hardtanh(x, -0.5, 2); }},
    {"log_sigmoid", [](In x) { return log_sigmoid(x); }},
    {"clamp", [](In x) { return clamp(x, -0.5, 2); }},
    {"clamp_min", [](In x) { return clamp(x, 0, {}); }},
    {"clamp_max", [](In x) { return clamp(x, {}, 6); }},
    {"add_number", [](In x) { return x + 2; }},
    {"sub_number", [](In x) { return 2 - x; }},
    {"mul_number", [](In x) { return x * 0.5; }},
    {"div_number", [](In x) { return x / 0.7; }},
    {"number_div", [](In x) { return 3 / x; }},
    {"pow_0", [](In x) { return pow(x, 0); }},
    {"pow_1", [](In x) { return pow(x, 1); }},
    {"pow_2", [](In x) { return pow(x, 2); }},
    {"pow_3", [](In x) { return pow(x, 3); }},
    {"pow_half", [](In x) { return pow(x, 0.5); }},
    {"pow_m1", [](In x) { return pow(x, -1); }},
    {"pow_m2", [](In x) { return pow(x, -2); }},
    {"pow_0.7", [](In x) { return pow(x, 0.7); }},
    {"2_pow", [](In x) { return pow(2, x); }},
    {"0_pow", [](In x) { return pow(0, x); }},
    {"remainder_number", [](In x) { return remainder(x, 3); }},
    {"maximum_number", [](In x) { return maximum(x, 0.5); }},
};
const std::map<std::string, Two> kTwo{
    {"add", [](In a, In b) { return a + b; }},
    {"sub", [](In a, In b) { return a - b; }},
    {"mul", [](In a, In b) { return a * b; }},
    {"div", [](In a, In b) { return a / b; }},
    {"pow", [](In a, In b) { return pow(a, b); }},
    {"remainder", [](In a, In b) { return remainder(a, b); }},
    {"maximum", [](In a, In b) { return maximum(a, b); }},
    {"minimum", [](In a, In b) { return minimum(a, b); }},
    {"where", [](In a, In b) { return where(a > b, a, b); }},
    {"glu",
     [](In a, In b) {
       return glu(stack({a, b}), 0).squeeze(0);
     }},
    {"swiglu",
     [](In a, In b) {
       return swiglu(stack({a, b}), 0).squeeze(0);
     }},
    {"clamp_low", [](In a, In b) { return clamp(a, b, Tensor()); }},
    {"clamp_high", [](In a, In b) { return clamp(a, Tensor(), b); }},
};
const std::map<std::string, Two> kLogic{
    {"eq", [](In a, In b) { return eq(a, b); }},
    {"ne", [](In a, In b) { return ne(a, b); }},
    {"lt", [](In a, In b) { return a < b; }},
    {"le", [](In a, In b) { return a <= b; }},
    {"gt", [](In a, In b) { return a > b; }},
    {"ge", [](In a, In b) { return a >= b; }},
    {"logical_and", [](In a, In b) { return logical_and(a, b); }},
    {"logical_or", [](In a, In b) { return logical_or(a, b); }},
    {"logical_xor", [](In a, In b) { return logical_xor(a, b); }},
};
const std::map<std::string, One> kTest{
    {"isnan", [](In x) { return isnan(x); }},
    {"isinf", [](In x) { return isinf(x); }},
    {"isfinite", [](In x) { return isfinite(x); }},
    {"logical_not", [](In x) { return logical_not(x); }},
};

// Where Loupe gives another number on purpose.
struct Difference {
  std::string ops;  // of these, separated by blanks
  std::string of;   // "y", "dx", "da", "db"
  const char* reason;
  bool (*at)(double a, double b);
  double most;  // how far the two may be apart
};
const double kInf = std::numeric_limits<double>::infinity();
bool infinite(double x, double) { return std::isinf(x); }
bool far_left(double x, double) { return x <= -3 && !std::isinf(x); }
const std::vector<Difference> kDifferences{
    {"gelu gelu_tanh silu mish", "y", "the limit at -Inf is -0, PyTorch has -Inf * 0", infinite,
     kInf},
    {"gelu gelu_tanh silu mish", "dx", "the limits of the slope are 0 and 1, PyTorch has Inf * 0",
     infinite, kInf},
    {"gelu gelu_tanh", "y", "PyTorch loses the digits of the lower tail in a sum with 1", far_left,
     6e-7},
    {"gelu gelu_tanh", "dx", "PyTorch loses the digits of the lower tail in a sum with 1", far_left,
     3e-7},
    {"gelu", "y", "PyTorch's product overflows at the largest f32",
     [](double x, double) { return x > 3e38; }, kInf},
    {"gelu_tanh", "dx", "PyTorch's cube overflows, and Inf * 0 follows",
     [](double x, double) { return std::abs(x) > 3e38; }, kInf},
    {"sigmoid silu", "y", "f32: 1 / (1 + e^-x) is 0 below -88", far_left, 4e-37},
    {"sigmoid silu softplus mish", "dx", "f32: 1 / (1 + e^-x) is 0 below -88", far_left, 5e-37},
    {"log_sigmoid", "dx", "f32: 1 / (1 + e^x) is 0 above 88",
     [](double x, double) { return x > 88; }, 6e-39},
    {"tanh", "dx", "f32: 1 - y^2 next to 1 keeps the last digit of y only",
     [](double x, double) { return std::abs(x) == 6; }, 4e-10},
    {"hardsigmoid", "dx", "PyTorch's 1 / 6 is a float in f64 too",
     [](double x, double) { return std::abs(x) < 3; }, 1e-8},
    {"swiglu", "y", "silu's limit", infinite, kInf},
    {"swiglu", "da", "silu's limit", infinite, kInf},
    {"swiglu", "db", "silu's limit", infinite, kInf},
    {"glu", "db", "dy a overflows before it meets the slope: two ops, where PyTorch has one",
     [](double a, double) { return a > 3e38 && !std::isinf(a); }, kInf},
    {"remainder", "y", "the remainder is exact, PyTorch's vector code overflows in the quotient",
     [](double a, double b) { return std::isfinite(a) && std::abs(a / b) > 1e30; }, kInf},
};

bool has_word(const std::string& words, const std::string& word) {
  return (" " + words + " ").find(" " + word + " ") != std::string::npos;
}

bool agree(double got, double wanted, DType dtype) {
  if (std::isnan(wanted)) return std::isnan(got);
  if (std::isinf(wanted)) return got == wanted;
  const double relative = dtype == DType::f32 ? 2e-6 : 1e-12;
  // Two steps of the subnormals, whose relative precision fades.
  const double step = dtype == DType::f32 ? 0x1p-148 : 0x1p-1073;
  return std::abs(got - wanted) <= relative * std::abs(wanted) + step;
}

int64_t compared = 0;
std::set<const Difference*> used;

bool listed(const std::string& op, const std::string& of, double got, double wanted, double a,
            double b) {
  for (const Difference& d : kDifferences)
    if (has_word(d.ops, op) && of == d.of && d.at(a, b) &&
        (d.most == kInf || std::abs(got - wanted) <= d.most)) {
      used.insert(&d);
      return true;
    }
  return false;
}

void check(const std::string& op, const std::string& of, const Tensor& got, const Tensor& wanted,
           const Tensor& a, const Tensor& b) {
  const DType dtype = a.dtype();
  const std::vector<double> g = got.to_vector<double>(), w = wanted.to_vector<double>();
  const std::vector<double> p = a.to_vector<double>(), q = b.to_vector<double>();
  REQUIRE(g.size() == w.size());
  for (size_t i = 0; i < g.size(); ++i) {
    ++compared;
    const bool same_zero =
        of != "y" || w[i] != 0 || g[i] != 0 || std::signbit(g[i]) == std::signbit(w[i]);
    if (agree(g[i], w[i], dtype) && same_zero) continue;
    if (listed(op, of, g[i], w[i], p[i], q[i])) continue;
    FAIL_CHECK(op << "/" << of << " in " << name(dtype) << " at (" << p[i] << ", " << q[i]
                  << "): " << g[i] << ", PyTorch " << w[i]);
  }
}

Tensor upstream(const Tensor& y) { return full(y.shape(), 1.5, y.dtype()); }

}  // namespace

TEST_CASE("special inputs: values and gradients are PyTorch's, the differences are listed") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::string d = std::string("/") + name(dtype);
    const Tensor x = file().get("x" + d, dtype), a = file().get("a" + d, dtype),
                 b = file().get("b" + d, dtype);
    for (const auto& [op, f] : kOne) {
      const Tensor leaf = x.detach().requires_grad_(), y = f(leaf);
      check(op, "y", y, file().get(op + d + "/y", dtype), x, x);
      check(op, "dx", grad({y}, {leaf}, {}, {upstream(y)})[0], file().get(op + d + "/dx", dtype), x,
            x);
      // The rule made of ops says the same.
      check(op, "dx", grad({f(leaf)}, {leaf}, {.create_graph = true}, {upstream(y)})[0],
            file().get(op + d + "/dx", dtype), x, x);
    }
    for (const auto& [op, f] : kTwo) {
      const Tensor la = a.detach().requires_grad_(), lb = b.detach().requires_grad_();
      const Tensor y = f(la, lb);
      const Tensors g = grad({y}, {la, lb}, {}, {upstream(y)});
      check(op, "y", y, file().get(op + d + "/y", dtype), a, b);
      check(op, "da", g[0], file().get(op + d + "/da", dtype), a, b);
      check(op, "db", g[1], file().get(op + d + "/db", dtype), a, b);
    }
    for (const auto& [op, f] : kLogic) check(op, "y", f(a, b), file().get(op + d + "/y"), a, b);
    for (const auto& [op, f] : kTest) check(op, "y", f(x), file().get(op + d + "/y"), x, x);
  }
  CHECK(compared > 15000);
  for (const Difference& d : kDifferences) {
    INFO("this difference is gone: " << d.ops << ": " << d.reason);
    CHECK(used.count(&d) == 1);
  }
}

TEST_CASE("clamp with low above high: high everywhere, no gradient, NaN stays") {
  const Tensor x = from_data(std::vector<float>{0.5F, 1, 1.5F, 2, 3, std::nanf("")});
  Tensor a = x.clone().requires_grad_();
  const Tensor y = clamp(a, 2, 1);
  CHECK(equal(y.slice(0, 0, 5).detach(), ones({5})));
  CHECK(isnan(y[5]).item<bool>());
  y.slice(0, 0, 5).sum().backward();
  CHECK(equal(a.grad(), zeros({6})));
  CHECK(equal(clamp(from_data(std::vector<int64_t>{0, 5, 9}), 6, 2), full({3}, 2, DType::i64)));
}

TEST_CASE("allclose: infinities are close to themselves only; the bound is that of b") {
  CHECK(allclose(tensor({kInf}), tensor({kInf})));
  CHECK_FALSE(allclose(tensor({1}), tensor({kInf})));
  CHECK_FALSE(allclose(tensor({kInf}), tensor({1})));
  CHECK_FALSE(allclose(tensor({-kInf}), tensor({kInf})));
  CHECK(allclose(tensor({10}), tensor({11}), 0.0950, 0));
  CHECK_FALSE(allclose(tensor({11}), tensor({10}), 0.0950, 0));
}

TEST_CASE("clamp between tensors: crossed bounds give the gradient to high, equal ones to nobody") {
  const auto gradients = [](double a, double low, double high) {
    const Tensor x = scalar(a).requires_grad_(), l = scalar(low).requires_grad_(),
                 h = scalar(high).requires_grad_();
    const Tensors g = grad({clamp(x, l, h)}, {x, l, h});
    return std::vector<double>{g[0].item(), g[1].item(), g[2].item()};
  };
  CHECK(gradients(0, 2, 1) == std::vector<double>{0, 0, 1});
  CHECK(gradients(0, 1, 2) == std::vector<double>{0, 1, 0});
  CHECK(gradients(0, 1, 1) == std::vector<double>{0, 0, 0});
}
