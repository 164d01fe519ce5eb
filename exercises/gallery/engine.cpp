// The gallery's engines: reverse mode for numbers, in thirty lines, and what can be wrong in them.
#include <loupe/exercises/gallery/parts.h>

#include <fmt/format.h>

#include <cmath>
#include <memory>

namespace loupe::gallery {

namespace {

enum class Fault { none, ways, first_only, inner_kept };

struct Value;
using Ref = std::shared_ptr<Value>;

struct Value {
  double data = 0, grad = 0;
  std::vector<std::pair<Ref, double>> inputs;  // and the slope along each
};

Ref leaf(double x) { return std::make_shared<Value>(Value{x, 0, {}}); }
Ref made(double x, std::vector<std::pair<Ref, double>> inputs) {
  return std::make_shared<Value>(Value{x, 0, std::move(inputs)});
}
Ref add(const Ref& a, const Ref& b) { return made(a->data + b->data, {{a, 1}, {b, 1}}); }
Ref mul(const Ref& a, const Ref& b) {
  return made(a->data * b->data, {{a, b->data}, {b, a->data}});
}

// [tanh_without_backward]
Ref tanh_of(const Ref& a, bool wrong) {
  const double y = std::tanh(a->data);
  if (wrong) return leaf(y);  // the bug: the result has no inputs
  return made(y, {{a, 1 - y * y}});
}
// [/tanh_without_backward]

// All values below `v`, each after its inputs.
void sorted(const Ref& v, std::vector<Ref>& order) {
  for (const Ref& met : order)
    if (met == v) return;
  for (const auto& [input, slope] : v->inputs) sorted(input, order);
  order.push_back(v);
}

// [every_way_again]
// The bug: a value hands on its whole gradient each time a part arrives, the old parts with it.
void backward_at_once(const Ref& v) {
  for (const auto& [input, slope] : v->inputs) {
    input->grad += v->grad * slope;
    backward_at_once(input);
  }
}
// [/every_way_again]

// [first_branch_only]
// The bug: a value that has handed on its gradient is done, though other parts are still to come.
void backward_once(const Ref& v, std::vector<Ref>& done) {
  for (const Ref& met : done)
    if (met == v) return;
  done.push_back(v);
  for (const auto& [input, slope] : v->inputs) {
    input->grad += v->grad * slope;
    backward_once(input, done);
  }
}
// [/first_branch_only]

// [inner_gradients_kept]
void backward_in_order(const Ref& loss, bool wrong) {
  std::vector<Ref> order;
  sorted(loss, order);
  if (!wrong)  // the bug: what the last pass left in inner values is added again
    for (const Ref& v : order)
      if (!v->inputs.empty()) v->grad = 0;
  loss->grad = 1;
  for (size_t i = order.size(); i-- > 0;)
    for (const auto& [input, slope] : order[i]->inputs) input->grad += order[i]->grad * slope;
}
// [/inner_gradients_kept]

void backward(const Ref& loss, Fault fault) {
  if (fault == Fault::ways) {
    loss->grad = 1;
    backward_at_once(loss);
  } else if (fault == Fault::first_only) {
    std::vector<Ref> done;
    loss->grad = 1;
    backward_once(loss, done);
  } else {
    backward_in_order(loss, fault == Fault::inner_kept);
  }
}

// y = v (h + h h) with h = tanh(w x + b): a residual block in small. h has two ways to the loss.
Ref model(const std::vector<Ref>& p, double x, bool cut_tanh) {
  const Ref h = tanh_of(add(mul(p[0], leaf(x)), p[1]), cut_tanh);
  return mul(p[2], add(h, mul(h, h)));
}

Ref loss_of(const std::vector<Ref>& p, bool cut_tanh) {
  Ref sum = leaf(0);
  for (int i = 0; i < 8; ++i) {
    const double x = (i - 3.5) / 2, h = std::tanh(1.5 * x - 0.5);
    const Ref off = add(model(p, x, cut_tanh), leaf(-2 * (h + h * h)));
    sum = add(sum, mul(off, off));
  }
  return mul(sum, leaf(1.0 / 8));
}

std::vector<Ref> start() { return {leaf(0.5), leaf(0.2), leaf(0.7)}; }

std::vector<double> descend(Fault fault, bool cut_tanh) {
  const std::vector<Ref> p = start();
  std::vector<double> losses;
  for (int step = 0; step < 150; ++step) {
    const Ref loss = loss_of(p, cut_tanh);
    losses.push_back(loss->data);
    for (const Ref& one : p) one->grad = 0;
    backward(loss, fault);
    for (const Ref& one : p) one->data -= 0.05 * one->grad;
  }
  return losses;
}

// The gradient of w, beside a difference quotient; after `passes` passes over one graph.
std::string checked(Fault fault, bool cut_tanh, int passes = 1) {
  const std::vector<Ref> p = start();
  const Ref loss = loss_of(p, cut_tanh);
  for (int i = 0; i < passes; ++i) {
    for (const Ref& one : p) one->grad = 0;
    backward(loss, fault);
  }
  const auto at = [&](double w) {
    p[0]->data = w;
    return loss_of(p, cut_tanh)->data;
  };
  const double quotient = (at(0.5 + 1e-5) - at(0.5 - 1e-5)) / 2e-5;
  if (std::abs(quotient - p[0]->grad) < 1e-6) return "";
  return fmt::format("the gradient of w is {:.6f}, but the difference quotient is {:.6f}",
                     p[0]->grad, quotient);
}

Fault if_wrong(bool wrong, Fault fault) { return wrong ? fault : Fault::none; }

std::vector<double> ways_curve(bool wrong) { return descend(if_wrong(wrong, Fault::ways), false); }
std::string ways_check(bool wrong) { return checked(if_wrong(wrong, Fault::ways), false); }
std::vector<double> first_curve(bool wrong) {
  return descend(if_wrong(wrong, Fault::first_only), false);
}
std::string first_check(bool wrong) { return checked(if_wrong(wrong, Fault::first_only), false); }
std::vector<double> tanh_curve(bool wrong) { return descend(Fault::none, wrong); }
std::string tanh_check(bool wrong) { return checked(Fault::none, wrong); }

// One graph is kept and passed again and again: its inputs do not change, only how far down it
// goes.
std::vector<double> kept_curve(bool wrong) {
  const std::vector<Ref> p = start();
  const Ref loss = loss_of(p, false);
  std::vector<double> sizes;
  for (int pass = 0; pass < 12; ++pass) {
    for (const Ref& one : p) one->grad = 0;
    backward(loss, if_wrong(wrong, Fault::inner_kept));
    sizes.push_back(std::abs(p[0]->grad));
  }
  return sizes;
}
std::string kept_check(bool wrong) { return checked(if_wrong(wrong, Fault::inner_kept), false, 2); }

}  // namespace

const std::vector<Bug>& engine_bugs() {
  static const std::vector<Bug> all{
      {"every_way_again", "Gradients that are handed on again and again", "cTensor#5",
       "https://github.com/sebgao/cTensor/issues/5",
       "Backward recurses: a value hands on its gradient as soon as a part of it arrives. With a "
       "second "
       "part it hands on the first one again.",
       "Chains are right. Where a value is used twice (every residual connection) the gradient is "
       "too "
       "large.",
       "Sort the graph, and meet a value after all that use it.", "step", "training loss",
       ways_curve, "difference quotient", ways_check},
      {"first_branch_only", "The first branch only", "TrenTorch#182",
       "https://github.com/TrenTorch/TrenTorch/pull/182",
       "After a value has handed on its gradient once, its record is cleared. The parts of other "
       "branches are dropped without a word: x = 2, y = 3x, 2y + 5y gave 6 in place of 21.",
       "Chains are right. A residual network learns with a part of its gradient.",
       "Count the parts that are still to come, or sort the graph.", "step", "training loss",
       first_curve, "difference quotient", first_check},
      {"tanh_without_backward", "A tanh that has no backward pass", "cs249r_book#1343",
       "https://github.com/harvard-edge/cs249r_book/pull/1343",
       "Tanh computed its value and recorded nothing. No backward pass of the course had been "
       "compared "
       "with numbers (cs249r_book#1336).",
       "The last layer learns, the layers before the tanh stay as they began.",
       "Give the op its rule, and compare every op with a difference quotient.", "step",
       "training loss", tanh_curve, "difference quotient", tanh_check},
      {"inner_gradients_kept", "Inner gradients that are kept", "micrograd#102",
       "https://github.com/karpathy/micrograd/pull/102",
       "zero_grad clears the parameters. The gradients of inner values of the graph stay, and a "
       "second "
       "pass over the same graph adds to them.",
       "With a new graph for each step, nothing. Who passes a kept graph again gets gradients that "
       "grow "
       "from pass to pass.",
       "Keep gradients of inner values for one pass only.", "pass over the same graph",
       "size of the gradient of w", kept_curve, "difference quotient after a second pass",
       kept_check}};
  return all;
}

}  // namespace loupe::gallery
