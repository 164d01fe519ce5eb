// Activations.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

template <class F, class N> OpCase one(std::string name, F f, N naive) {
  OpCase c{.name = std::move(name),
           .shapes = {{{2, 3}}, {{}}, {{1}}, {{0}}, {{2, 0, 3}}, {{37}}, {{2, 3, 1, 2}}},
           .f = [f](const Tensors& x) { return f(x[0]); },
           .naive = map1(naive)};
  c.large = {{257, 65}};
  return c;
}

double normal_share(double x) { return 0.5 * (1 + std::erf(x / std::sqrt(2.0))); }
double logistic(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

std::vector<OpCase> activation_cases() {
  return {
      one(
          "relu", [](In x) { return relu(x); }, [](double x) { return std::max(x, 0.0); }),
      one(
          "leaky_relu", [](In x) { return leaky_relu(x, 0.2); },
          [](double x) { return x > 0 ? x : 0.2 * x; }),
      one(
          "gelu", [](In x) { return gelu(x); }, [](double x) { return x * normal_share(x); }),
      one(
          "gelu(tanh)", [](In x) { return gelu(x, {Approximate::tanh}); },
          [](double x) {
            const double k = std::sqrt(2 / M_PI);
            return 0.5 * x * (1 + std::tanh(k * (x + 0.044715 * x * x * x)));
          }),
      one(
          "silu", [](In x) { return silu(x); }, [](double x) { return x * logistic(x); }),
      one(
          "sigmoid", [](In x) { return sigmoid(x); }, logistic),
      one(
          "tanh", [](In x) { return tanh(x); }, [](double x) { return std::tanh(x); }),
      one(
          "erf", [](In x) { return erf(x); }, [](double x) { return std::erf(x); }),
      one(
          "softplus", [](In x) { return softplus(x); },
          [](double x) { return std::log1p(std::exp(x)); }),
      one(
          "softplus(2, 0.5)", [](In x) { return softplus(x, {.beta = 2, .threshold = 0.5}); },
          [](double x) { return 2 * x > 0.5 ? x : std::log1p(std::exp(2 * x)) / 2; }),
      one(
          "elu", [](In x) { return elu(x, 1.5); },
          [](double x) { return x > 0 ? x : 1.5 * std::expm1(x); }),
  };
}

}  // namespace loupe::testing
