#pragma once
// The arms of an experiment: what is trained, how the report names and draws it, and its runs.
#include <loupe/lesson/runs.h>
#include <loupe/view/chart.h>

#include <string>
#include <utility>
#include <vector>

namespace loupe::lesson {

/// How an arm is named and drawn: the same through the whole report.
struct Style {
  std::string title;
  view::Look look;
  bool dashed = false;
};
inline const Style kNone{"no norm", view::Look::gray};
inline const Style kScaled{"no norm, scaled init", view::Look::purple, true};
inline const Style kLayer{"LayerNorm", view::Look::orange};
inline const Style kGroup{"GroupNorm", view::Look::green};
inline const Style kBatch{"BatchNorm", view::Look::blue};
inline const Style kNoisy{"noisy BatchNorm", view::Look::purple};
inline constexpr view::Look kOwnLook = view::Look::ink;  // of one's own norm, of nothing else
inline const Style kMasked{"masked BatchNorm", view::Look::yellow};

/// An arm once it is measured: its runs in the order of the seeds.
struct Measured {
  std::string name;  // in the records: "BN 64"
  Style style = kNone;
  Records runs{};
};

/// An arm and what a run of it is (ClassifierSpec, TransformerSpec, or a claim's own with the same
/// members: lr, cost(), config(), make()).
template <class Spec> struct Arm : Measured {
  Arm() = default;
  Arm(std::string arm, Style arm_style, Spec what)
      : Measured{std::move(arm), std::move(arm_style), {}}, spec(std::move(what)) {}
  Spec spec{};
};
/// Arms that are tuned or measured together. They stay where they are: lines and charts point at
/// them.
template <class Spec> using Arms = std::vector<Arm<Spec>*>;

template <class Spec> Arms<Spec> pointers(std::vector<Arm<Spec>>& arms) {
  Arms<Spec> all;
  for (auto& arm : arms) all.push_back(&arm);
  return all;
}
template <class Spec> Arms<Spec> operator+(Arms<Spec> a, const Arms<Spec>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// One arm at each rate of a grid: "BN 0.03".
template <class Spec>
std::vector<Arm<Spec>> at_rates(const Arm<Spec>& arm, const std::vector<double>& grid) {
  std::vector<Arm<Spec>> cells;
  for (double lr : grid) {
    cells.push_back(arm);
    cells.back().name = fmt::format("{} {}", arm.name, lr);
    cells.back().spec.lr = lr;
  }
  return cells;
}

}  // namespace loupe::lesson
