#pragma once
// A header of the project's own: it passes Loupe's types by reference, so it needs only their
// names.
#include <loupe/fwd.h>

#include <memory>

/// Tells on which side of a circle a point lies.
class Classifier {
 public:
  explicit Classifier(loupe::Rng& rng);
  ~Classifier();

  /// One step of AdamW on points (N, 2) and their classes (N); gives the loss before it.
  double learn(const loupe::Tensor& points, const loupe::Tensor& classes);
  /// The share of points whose class it tells.
  double accuracy(const loupe::Tensor& points, const loupe::Tensor& classes);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};
