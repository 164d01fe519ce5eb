#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using Grads = std::vector<std::vector<double>>;

Tensor flat(const Grads& grads) {
  std::vector<double> all;
  for (const auto& one : grads) all.insert(all.end(), one.begin(), one.end());
  return numbers(all);
}

double norm_of(const std::vector<double>& one) {
  double squares = 0;
  for (double g : one) squares += g * g;
  return std::sqrt(squares);
}

double total_of(const Grads& grads) { return norm_of(flat(grads).to_vector<double>()); }

Tensor each(const Grads& grads, const std::function<double(const std::vector<double>&)>& factor) {
  Grads scaled = grads;
  for (auto& one : scaled) {
    const double f = factor(one);
    for (double& g : one) g *= f;
  }
  return flat(scaled);
}

void compare(Check& c, const std::string& name, const Grads& grads, double max_norm) {
  const double total = total_of(grads), factor = std::min(1.0, max_norm / (total + 1e-6));
  double sum = 0, largest = 0;
  for (const auto& one : grads) {
    sum += norm_of(one);
    for (double g : one) largest = std::max(largest, std::abs(g));
  }
  c.trying(fmt::format("{}: {} gradients, norm {:.4g}, max_norm {:.4g}", name, grads.size(), total,
                       max_norm));
  Grads yours = grads;
  const double given = mine::clip_grad_norm(yours, max_norm);
  c.equal(
      "the norm", given, total,
      {{"the root is missing: this is the sum of squares",
        [&] { return scalar(total * total, DType::f64); }},
       {"you added the norms of the gradients: the norm of all together is the root of the sum of "
        "all squares",
        [&] { return scalar(sum, DType::f64); }},
       {"this is the largest number: the norm is the root of the sum of all squares",
        [&] { return scalar(largest, DType::f64); }},
       {"this is the norm after clipping: give the one before, so that one can watch it",
        [&] { return scalar(total * factor, DType::f64); }}});
  c.equal("the gradients", flat(yours), flat(grads) * factor,
          {{"nothing was scaled: write to the gradients themselves, not to a copy",
            [&] { return flat(grads); }},
           {"gradients shorter than max_norm were made longer: the factor is at most 1",
            [&] { return flat(grads) * (max_norm / (total + 1e-6)); }},
           {"each gradient was clipped on its own: that turns the direction of the step",
            [&] {
              return each(grads, [&](const auto& one) {
                return std::min(1.0, max_norm / (norm_of(one) + 1e-6));
              });
            }},
           {"each number was clipped on its own: that turns the direction of the step",
            [&] { return clamp(flat(grads), -max_norm, max_norm); }},
           {"the gradients were only divided by the norm: the new norm is max_norm, not 1",
            [&] { return flat(grads) / (total + 1e-6); }}});
}

}  // namespace

void run(Check& c) {
  const auto draw = [&](int64_t n, double size) { return c.normal({n}, size).to_vector<double>(); };
  const Grads grads{draw(c.between(3, 5), 3), draw(4, 0.1), draw(c.between(2, 3), 2)};
  compare(c, "too long", grads, c.uniform(0.3, 0.5));
  compare(c, "short enough", grads, 100);
  compare(c, "all zero", {{0, 0}, {0}}, 1);
  c.trying("a case that PyTorch computed");
  Grads g{c.torch("clip.a").to_vector<double>(), c.torch("clip.b").to_vector<double>()};
  c.equal("the norm", mine::clip_grad_norm(g, 1.5), c.torch("clip.total").item());
  c.equal("the first gradient", g[0], c.torch("clip.clipped_a").to_vector<double>());
  c.equal("the second gradient", g[1], c.torch("clip.clipped_b").to_vector<double>());
}

}  // namespace loupe::exercises
