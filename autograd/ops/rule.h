#pragma once
// Functions of one element, told as a rule. For the sources of this folder.
//
// A rule is a struct. It must have
//   kName              the op's name, as users know it
//   kSaves             what backward reads, v below: Saves::input, output or nothing
//   value(x)           the function; or value(x, level), where the loop's level decides how it
//                      multiplies and adds (core/cpu.h)
//   slope_of(v)        the derivative, made of recorded ops: it can be differentiated again
//   or grad_of(up, v)  the gradient itself, where a product would not do (0 * Inf at a special point)
// and may have
//   slope(v)           the same for one number: backward is then one loop. Also slope(v, level)
//   or grad(up, v)
//   kIntegers = true   it takes i64 and u8 too
//   rare(x)            whether value(x) does not hold for x; rare_value(x) replaces it
//   attributes()       its options
#include <loupe/autograd/graph.h>
#include <loupe/core/elementwise.h>

namespace loupe::detail {

/// What the backward of a rule reads.
enum class Saves { nothing, input, output };

template <class Rule> Tensor apply_rule(In x, Rule rule);

/// rule.value(x), and its gradient for one number; `level` is how the loop multiplies and adds
/// (core/cpu.h), for the rules that take it. Functions of their own: clang 14 decides a
/// requires-expression inside a nested generic lambda too early.
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

/// Whether backward is one loop over numbers.
template <class Rule> constexpr bool rule_has_loop() {
  return requires(const Rule& r, float v) { r.slope(v); }
  || requires(const Rule& r, float v) { r.slope(v, Separate{}); }
  || requires(const Rule& r, float v) { r.grad(v, v); };
}

/// Stands for the SavedTensor of a rule that saves nothing: its backward can run any number of
/// times.
struct NothingSaved {
  NothingSaved(Node* /*owner*/, const char* /*name*/) {}
  Tensor get() const { return {}; }
};

template <class Rule> struct RuleNode final : Node {
  Rule rule;
  std::conditional_t<Rule::kSaves == Saves::nothing, NothingSaved, SavedTensor> saved{
      this, Rule::kSaves == Saves::input ? "x" : "y"};
  const char* name() const override { return Rule::kName; }
  Attributes attributes() const override {
    if constexpr (requires { rule.attributes(); }) return rule.attributes();
    else return {};
  }
  Tensors replay(const Tensors& x) const override { return {apply_rule<Rule>(x[0], rule)}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor at = saved.get(), &g = dy[0];
    if constexpr (rule_has_loop<Rule>()) {
      if (!grad_enabled()) return {loop(g, at)};
    }
    if constexpr (requires { rule.grad_of(g, at); }) return {rule.grad_of(g, at)};
    else return {g * rule.slope_of(at)};
  }

 private:
  Tensor loop(const Tensor& g, const Tensor& at) const {
    Tensor dx = raw::elementwise_result(g.shape(), g.dtype(), {&at, &g});
    dispatch_floating(g.dtype(), Rule::kName, [&]<class T>(Type<T>) {
      raw::map2<T, T, T>(
          dx, g, at, [r = rule](T up, T v, auto level) __attribute__((always_inline)) {
            return rule_gradient(r, up, v, level);
          });
    });
    return dx;
  }
};

/// Records y as rule(x).
template <class Rule> void record_rule(In x, Tensor& y, Rule rule) {
  if (auto n = record<RuleNode<Rule>>({x}, y)) {
    n->rule = rule;
    if constexpr (Rule::kSaves == Saves::output) n->saved.output(y);
    if constexpr (Rule::kSaves == Saves::input) n->saved.input(x);
  }
}

/// y[i] = rule(x[i]). A function of its own, as above.
template <class T, class Rule> void rule_into(const Tensor& y, const Tensor& x, Rule rule) {
  const auto value = [rule](T v, auto level) __attribute__((always_inline)) {
    return rule_value(rule, v, level);
  };
  if constexpr (requires(T v) { rule.rare(v); })
    raw::map1_except<T, T>(
        y, x, value, [rule](T v) { return rule.rare(v); },
        [rule](T v) { return rule.rare_value(v); });
  else raw::map1<T, T>(y, x, value);
}

/// rule(x), recorded. DtypeError for an element type that the rule does not take.
template <class Rule> Tensor apply_rule(In x, Rule rule) {
  Tensor y = raw::empty_like(x);
  const auto run = [&]<class T>(Type<T>) { rule_into<T>(y, x, rule); };
  if constexpr (requires { Rule::kIntegers; }) raw::dispatch_number(x->dtype(), Rule::kName, run);
  else dispatch_floating(x->dtype(), Rule::kName, run);
  record_rule(x, y, rule);
  return y;
}

}  // namespace loupe::detail
