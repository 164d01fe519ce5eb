#include <loupe/autograd/ops/matmul.h>
#include <loupe/core/raw.h>
#include <loupe/optim/step.h>

#include <algorithm>

namespace loupe {
namespace {

// PyTorch's limit.
constexpr int64_t kMostIterations = 100;

// What the learning rate is multiplied by for one matrix.
double rate_factor(MuonRate rate, const Tensor& matrix) {
  const auto rows = static_cast<double>(matrix.size(0));
  const auto columns = static_cast<double>(matrix.size(1));
  if (rate == MuonRate::original) return std::sqrt(std::max(1.0, rows / columns));
  return 0.2 * std::sqrt(std::max(rows, columns));
}

}  // namespace

Muon::Muon(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  detail::checked_momentum("Muon", o.momentum);
  detail::check_optimizer_eps("Muon", o.eps);
  if (o.ns_steps < 0 || o.ns_steps >= kMostIterations)
    fail<ValueError>("Muon: ns_steps {} must lie in [0, {})", o.ns_steps, kMostIterations);
  for (const double c : o.ns_coefficients)
    if (!std::isfinite(c)) fail<ValueError>("Muon: the coefficient {} is not a number", c);
  for (const Group& g : this->groups())
    for (const Named& n : g.params)
      if (n.tensor.dim() != 2)
        fail<ValueError>(
            "Muon: parameter {} has shape {}; it trains matrices, give the others to AdamW", n.name,
            n.tensor.shape());
}

void Muon::set_momentum(double value) {
  options.momentum = detail::checked_momentum("Muon", value);
}

std::array<Optimizer::StateKind, 3> Muon::state_kinds() const {
  return {StateKind{.name = "momentum_buffer"}};
}

void Muon::apply(std::span<Slot> slots, const Group& group) {
  for (const Slot& slot : slots) {
    const Tensor& buf = slot.state->s[0];
    raw::scale(buf, options.momentum);
    raw::add_into(buf, slot.g, 1 - options.momentum);
    Tensor update = buf;
    if (options.nesterov) {  // g + momentum (buf - g)
      update = raw::binary(raw::Binary::mul, buf, options.momentum);
      raw::add_into(update, slot.g, 1 - options.momentum);
    }
    const Tensor direction =
        orthogonalize(update, options.ns_coefficients, options.ns_steps, options.eps);
    raw::scale(slot.p, 1 - group.lr * group.weight_decay);
    raw::add_into(slot.p, direction, -group.lr * rate_factor(options.adjust_lr, slot.p));
  }
}

Tensor orthogonalize(const Tensor& g, std::array<double, 3> coefficients, int64_t steps,
                     double eps) {
  if (g.dim() != 2)
    fail<ShapeError>("orthogonalize: needs a matrix, got a tensor of shape {}", g.shape());
  if (!is_floating(g.dtype()))
    fail<DtypeError>("orthogonalize: needs f32 or f64, got {}", g.dtype());
  if (steps < 0) fail<ValueError>("orthogonalize: steps {} must not be negative", steps);
  detail::check_optimizer_eps("orthogonalize", eps);
  NoGrad guard;
  // Wide, so that x x^T is the smaller of the two products.
  const bool tall = g.size(0) > g.size(1);
  Tensor x = raw::clone(raw::row_major(tall ? raw::transpose(g, 0, 1) : g));
  const Tensor squares = raw::binary(raw::Binary::mul, x, x, "orthogonalize");
  const double norm = std::sqrt(raw::sum(squares, {}, false).item());
  raw::scale(x, 1 / std::max(norm, eps));
  const auto [a, b, c] = coefficients;
  for (int64_t i = 0; i < steps; ++i) {
    const Tensor s = matmul(x, raw::transpose(x, 0, 1));
    const Tensor polynomial = matmul(s, s);
    raw::scale(polynomial, c);
    raw::add_into(polynomial, s, b);
    const Tensor next = matmul(polynomial, x);
    raw::add_into(next, x, a);
    x = next;
  }
  return tall ? raw::row_major(raw::transpose(x, 0, 1)) : x;
}

}  // namespace loupe
