#pragma once
// Functions of one element, told as a rule. For the sources of this folder.
//
// A rule has its name, `value(x)`, and how a gradient passes: by `slope(v)`, a number that multiplies
// it, or by `grad(up, v)`, where a product would not do (0 * Inf at a special point). v is the input, or
// the output where kFromOutput. The same made of ops, `slope_of(v)` or `grad_of(up, v)`, can be
// differentiated again. `attributes()` tells its options, where it has some.
#include <loupe/autograd/graph.h>
#include <loupe/core/elementwise.h>

namespace loupe::detail {

template <class Rule> Tensor apply_rule(In x, Rule rule);

/// rule.value(x), and its gradient for one number; `level` is how the loop multiplies and adds
/// (core/cpu.h), for the rules that take it. Functions of their own: clang 14 decides a requires-expression inside a
/// nested generic lambda too early.
template <class Rule, class T, class Level>
[[gnu::always_inline]] inline T rule_value(const Rule& rule, T x, Level level) {
  if constexpr (requires { rule.value(x, level); }) return rule.value(x, level);
  else return rule.value(x);
}
template <class Rule, class T, class Level>
[[gnu::always_inline]] inline T rule_gradient(const Rule& rule, T up, T v, Level level) {
  if constexpr (requires { rule.grad(up, v); }) return rule.grad(up, v);
  else if constexpr (requires { rule.slope(v, level); }) return up * rule.slope(v, level);
  else return up * rule.slope(v);
}

template <class Rule> struct RuleNode final : Node {
  Rule rule;
  SavedTensor saved{this};
  const char* name() const override { return Rule::kName; }
  Attributes attributes() const override {
    if constexpr (requires { rule.attributes(); }) return rule.attributes();
    else return {};
  }
  Tensors replay(const Tensors& x) const override { return {apply_rule<Rule>(x[0], rule)}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor at = saved.get(), &g = dy[0];
    if (grad_enabled()) {
      if constexpr (requires { rule.grad_of(g, at); }) return {rule.grad_of(g, at)};
      else return {g * rule.slope_of(at)};
    }
    const Tensor dx = raw::elementwise_result(g.shape(), g.dtype(), {&at, &g});
    dispatch_floating(g.dtype(), Rule::kName, [&]<class T>(Type<T>) {
      raw::map2<T, T, T>(
          dx, g, at, [r = rule](T up, T v, auto level) __attribute__((always_inline)) {
            return rule_gradient(r, up, v, level);
          });
    });
    return {dx};
  }
};

/// Records y as rule(x).
template <class Rule> void record_rule(In x, Tensor& y, Rule rule) {
  if (auto n = record<RuleNode<Rule>>({x}, y)) {
    n->rule = rule;
    if (Rule::kFromOutput) n->saved.output(y);
    else n->saved.input(x);
  }
}

/// rule(x), recorded. DtypeError unless x is f32 or f64.
template <class Rule> Tensor apply_rule(In x, Rule rule) {
  Tensor y = raw::empty_like(x);
  dispatch_floating(x->dtype(), Rule::kName, [&]<class T>(Type<T>) {
    raw::map1<T, T>(
        y, x, [rule](T v, auto level) __attribute__((always_inline)) {
          return rule_value(rule, v, level);
        });
  });
  record_rule(x, y, rule);
  return y;
}

}  // namespace loupe::detail
