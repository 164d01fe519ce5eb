#pragma once
// What the check of an exercise is made of. A check calls the student's functions on cases that a
// seed draws, and compares. Where a number is wrong it asks what each known wrong idea would have
// given, and names the idea that fits.
//
// An exercise's check.cpp defines `run(Check&)`; the judge (judge.cpp) loads it together with the
// student's file and calls it.
#include <loupe/core/tensor.h>

#include <functional>
#include <string>
#include <vector>

namespace loupe::exercises {

/// A wrong idea: the sentence that names it, and the value of a program that follows it. `value`
/// may throw: then the idea does not fit this case.
struct Idea {
  std::string says;
  std::function<Tensor()> value;
};
using Ideas = std::vector<Idea>;

/// The first difference, as it is told to the student. Thrown by Check.
struct Failure {
  std::string trying;        // the case
  std::string what;          // the quantity, with the index of the worst element
  std::string yours, right;  // both numbers, or shapes
  std::string says;          // what is wrong, in a sentence
  bool named = false;        // whether a wrong idea was recognised
};

class Check {
 public:
  /// Everything the check draws comes from the seed. `report` is called with the text of each case
  /// before it runs, so that a crash can be told with its case.
  Check(uint64_t seed, std::string fixtures, std::function<void(const std::string&)> report);

  // --- Cases ---
  /// Names the case that runs from here on: "x (5, 3), momentum 0.1".
  void trying(const std::string& text);
  /// A whole number in low..high, both included.
  int64_t between(int64_t low, int64_t high) { return rng.integer(low, high + 1); }
  /// A number in [low, high).
  double uniform(double low, double high) { return low + (high - low) * rng.uniform(); }
  /// Normal numbers in f64.
  Tensor normal(const Shape& shape, double deviation = 1, double mean = 0);
  /// A tensor that PyTorch made (torch.safetensors, written by torch_cases.py), in f64 or i64.
  Tensor torch(const std::string& name) const;

  // --- Comparisons: each throws Failure ---
  /// Every element within `tolerance` times the largest right one (or 1).
  void equal(const std::string& what, const Tensor& yours, const Tensor& right,
             const Ideas& ideas = {}, double tolerance = 1e-9);
  /// The same for numbers, for lists of numbers and lists of whole numbers.
  void equal(const std::string& what, double yours, double right, const Ideas& ideas = {},
             double tolerance = 1e-9);
  void equal(const std::string& what, const std::vector<double>& yours,
             const std::vector<double>& right, const Ideas& ideas = {}, double tolerance = 1e-9);
  void equal(const std::string& what, const std::vector<int64_t>& yours,
             const std::vector<int64_t>& right, const Ideas& ideas = {});
  /// A rule that holds or not; `says` is the sentence for who broke it.
  void expect(bool holds, const std::string& says);

  // --- Speed ---
  /// What is told beside "passed"; points from 0 to 1 for a grade.
  void score(const std::string& text, double points);

  Rng rng;
  std::string score_text;
  double points = 1;

 private:
  [[noreturn]] void fail_with(const std::string& what, const std::string& yours,
                              const std::string& right, const std::string& says, bool named) const;

  std::string fixtures_, trying_;
  std::function<void(const std::string&)> report_;
};

/// The gradient of sum(f(x) * upstream) by central differences, for f64.
Tensor differences(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                   const Tensor& upstream);

/// Numbers as a tensor, for the value of an Idea.
Tensor numbers(const std::vector<double>& values);
Tensor numbers(const std::vector<int64_t>& values);

/// The check of one exercise, in its check.cpp.
void run(Check& c);

}  // namespace loupe::exercises
