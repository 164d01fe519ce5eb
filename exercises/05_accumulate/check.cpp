#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using Tape = std::vector<mine::Entry>;
using Numbers = std::vector<double>;

enum class Mistake {
  none,
  overwrite,         // = within a pass
  replace_leaf,      // = between passes
  no_start,          // the loss's own gradient is 0
  slope_alone,       // without the gradient from above
  slope_added,       // plus in place of times
  from_the_front,    // in the order of the forward pass
  inner_too,         // leaf_grad of entries that are no leaves
  forget_same_twice  // an entry that uses an input twice gives it one part
};

Numbers passed(const Tape& tape, size_t loss, Numbers leaf_grad, Mistake m) {
  Numbers grad(tape.size());
  grad[loss] = m == Mistake::no_start ? 0 : 1;
  for (size_t step = 0; step <= loss; ++step) {
    const size_t i = m == Mistake::from_the_front ? step : loss - step;
    const mine::Entry& e = tape[i];
    if (e.inputs.empty() || m == Mistake::inner_too)
      leaf_grad[i] = grad[i] + (m == Mistake::replace_leaf ? 0 : leaf_grad[i]);
    for (size_t k = 0; k < e.inputs.size(); ++k) {
      if (m == Mistake::forget_same_twice && k > 0 && e.inputs[k] == e.inputs[0]) continue;
      double part = grad[i] * e.slopes[k];
      if (m == Mistake::slope_alone) part = e.slopes[k];
      if (m == Mistake::slope_added) part = grad[i] + e.slopes[k];
      double& into = grad[e.inputs[k]];
      into = m == Mistake::overwrite ? part : into + part;
    }
  }
  return leaf_grad;
}

void compare(Check& c, const std::string& name, const Tape& tape, const Numbers& before) {
  c.trying(name);
  const size_t loss = tape.size() - 1;
  Numbers yours = before;
  mine::backward(tape, loss, yours);
  const auto with = [&](Mistake m) {
    return [&, m] { return numbers(passed(tape, loss, before, m)); };
  };
  c.equal(
      "leaf_grad", yours, passed(tape, loss, before, Mistake::none),
      {{"you go from the front of the tape to the loss: backward goes from the loss to the front",
        with(Mistake::from_the_front)},
       {"nothing arrives: the gradient of the loss with respect to itself is 1",
        with(Mistake::no_start)},
       {"you overwrite within a pass: an entry that is used twice gets the sum of both parts",
        with(Mistake::overwrite)},
       {"you overwrite between passes: a second backward() adds to the gradient of a leaf",
        with(Mistake::replace_leaf)},
       {"you hand on the slope alone: multiply it by the gradient of the entry",
        with(Mistake::slope_alone)},
       {"you add slope and gradient: the chain rule multiplies them", with(Mistake::slope_added)},
       {"you changed leaf_grad of an entry that is not a leaf: its gradient lives for one pass",
        with(Mistake::inner_too)},
       {"a + a uses its input twice: both parts count", with(Mistake::forget_same_twice)}});
}

}  // namespace

void run(Check& c) {
  const auto slope = [&] { return c.uniform(0.5, 2); };
  const auto zeros_of = [](const Tape& t) { return Numbers(t.size()); };
  const Tape alone{{{}, {}}};
  compare(c, "a loss that is a leaf itself", alone, zeros_of(alone));
  const Tape chain{{{}, {}}, {{0}, {slope()}}, {{1}, {slope()}}};
  compare(c, "a chain of three", chain, zeros_of(chain));
  const Tape two{{{}, {}}, {{}, {}}, {{0, 1}, {slope(), slope()}}, {{2}, {slope()}}};
  compare(c, "two leaves", two, zeros_of(two));
  const Tape same{{{}, {}}, {{0}, {slope()}}, {{1, 1}, {slope(), slope()}}};
  compare(c, "an entry that uses its input twice, as a + a does", same, zeros_of(same));
  const Tape diamond{{{}, {}}, {{0}, {slope()}}, {{0}, {slope()}}, {{1, 2}, {slope(), slope()}}};
  compare(c, "a diamond", diamond, zeros_of(diamond));
  Numbers before(diamond.size());
  before[0] = c.uniform(1, 2);
  compare(c, "the diamond again, with a gradient from an earlier pass", diamond, before);
}

}  // namespace loupe::exercises
