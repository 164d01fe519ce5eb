#include <loupe/exercises/gallery/parts.h>

#include <fmt/format.h>

#include <cmath>

namespace loupe::gallery {

std::string words_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) { return error.what(); }
  return "";
}

std::string compared(const std::string& what, const Tensor& got, const Tensor& right,
                     double tolerance) {
  if (got.shape() != right.shape())
    return fmt::format("{} has the shape {}, should have {}", what, got.shape(), right.shape());
  const std::vector<double> a = got.to_vector<double>(), b = right.to_vector<double>();
  size_t worst = 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::abs(a[i] - b[i]) <= std::abs(a[worst] - b[worst]))) worst = i;
  if (std::abs(a[worst] - b[worst]) <= tolerance) return "";
  return fmt::format("{}: element {} is {:.4g}, should be {:.4g}", what, worst, a[worst], b[worst]);
}

Regression::Regression(double offset) {
  NoGrad off;
  Rng rng(1);
  const Tensor plain = randn(rng, {64, 8});
  x = plain + offset;
  y = sin(plain.slice(1, 0, 1) * 2) + plain.slice(1, 1, 2) * plain.slice(1, 2, 3);
}

std::vector<double> train(const Forward& forward, const std::vector<Named>& parameters,
                          int64_t steps, double lr) {
  const Regression data;
  Adam optimizer({{.params = parameters}}, {.lr = lr});
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor loss = mse_loss(forward(data.x), data.y);
    losses.push_back(loss.item());
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  return losses;
}

}  // namespace loupe::gallery
