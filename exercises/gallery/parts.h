#pragma once
// What the rooms of the gallery share: checks that give their words, and a small regression.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/error.h>
#include <loupe/exercises/gallery/gallery.h>
#include <loupe/layers/linear.h>
#include <loupe/optim/optimizer.h>

#include <functional>

namespace loupe::gallery {

/// The words of what f throws; empty if it throws nothing.
std::string words_of(const std::function<void()>& f);

/// "" if the two agree to `tolerance`; else both numbers at the worst element.
std::string compared(const std::string& what, const Tensor& got, const Tensor& right,
                     double tolerance = 1e-6);

/// A regression: x (64, 8) and a smooth y (64, 1) of it.
struct Regression {
  Tensor x, y;
  explicit Regression(double offset = 0);
};

using Forward = std::function<Tensor(const Tensor& x)>;

/// The loss before each of `steps` steps of Adam on the regression.
std::vector<double> train(const Forward& forward, const std::vector<Named>& parameters,
                          int64_t steps = 150, double lr = 0.01);

}  // namespace loupe::gallery
