#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

enum class Mistake {
  none,
  from_zero,
  whole_numbers,
  whole_cosine,
  rises_again,
  no_low,
  linear,
  no_pi,
  no_half,
  no_warmup,
};

double rate(int64_t step, const mine::Schedule& s, Mistake m) {
  const double now = static_cast<double>(step), warmup = static_cast<double>(s.warmup);
  const double low = m == Mistake::no_low ? 0 : s.low;
  if (step < s.warmup && m != Mistake::no_warmup) {
    if (m == Mistake::whole_numbers) return s.lr * static_cast<double>((step + 1) / s.warmup);
    return s.lr * (now + (m == Mistake::from_zero ? 0 : 1)) / warmup;
  }
  if (step >= s.total && m != Mistake::rises_again) return low;
  double u = (now - warmup) / static_cast<double>(s.total - s.warmup);
  if (m == Mistake::whole_cosine || m == Mistake::no_warmup) u = now / static_cast<double>(s.total);
  if (m == Mistake::linear) return low + (s.lr - low) * (1 - u);
  if (m == Mistake::no_half) return low + (s.lr - low) * std::cos(std::numbers::pi * u);
  const double angle = m == Mistake::no_pi ? u : std::numbers::pi * u;
  return low + (s.lr - low) * (1 + std::cos(angle)) / 2;
}

const std::vector<std::pair<std::string, Mistake>> kWrong{
    {"the first step has the rate 0: it is (step + 1) / warmup", Mistake::from_zero},
    {"you divided whole numbers: (step + 1) / warmup is 0 until the last step",
     Mistake::whole_numbers},
    {"there is no warm-up", Mistake::no_warmup},
    {"the cosine counts from step 0: it starts after the warm-up, and the rate must not jump there",
     Mistake::whole_cosine},
    {"after the last step the rate rises again: stay at `low`", Mistake::rises_again},
    {"`low` is ignored: the rate ends there, not at 0", Mistake::no_low},
    {"this is a line: it goes down in a half cosine", Mistake::linear},
    {"pi is missing in the cosine: half a turn is pi", Mistake::no_pi},
    {"the cosine goes from 1 to -1: (1 + cos) / 2 goes from 1 to 0", Mistake::no_half}};

void compare(Check& c, const mine::Schedule& s) {
  c.trying(fmt::format("lr {:.3g}, low {:.3g}, warmup {}, total {}: the rates of steps 0, 1, 2 ...",
                       s.lr, s.low, s.warmup, s.total));
  const auto all = [&](Mistake m) {
    std::vector<double> rates;
    for (int64_t step = 0; step < s.total + 5; ++step) rates.push_back(rate(step, s, m));
    return rates;
  };
  std::vector<double> yours;
  for (int64_t step = 0; step < s.total + 5; ++step) yours.push_back(mine::learning_rate(step, s));
  Ideas ideas;
  for (const auto& [says, wrong] : kWrong)
    ideas.push_back({says, [&, wrong = wrong] { return numbers(all(wrong)); }});
  c.equal("rate", yours, all(Mistake::none), ideas);
}

}  // namespace

void run(Check& c) {
  const double lr = c.uniform(0.5, 1), low = c.uniform(0.05, 0.1);
  compare(c, {.lr = lr, .low = low, .warmup = c.between(3, 6), .total = c.between(12, 20)});
  compare(c, {.lr = lr, .low = low, .warmup = 0, .total = c.between(5, 9)});
  compare(c, {.lr = lr, .low = low, .warmup = 4, .total = 4});
}

}  // namespace loupe::exercises
