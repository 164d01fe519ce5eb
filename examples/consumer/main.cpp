// Trains the classifier. Returns non-zero where it has not learned, or an error lost its words.
#include "classifier.h"

#include <loupe/loupe.h>

#include <iostream>

using namespace loupe;

namespace {

// 1 inside the unit circle, 0 outside.
Tensor classes_of(const Tensor& points) {
  return lt((points * points).sum({1}), 1.0).to(DType::i64);
}

}  // namespace

int main() {
  std::cout << "Loupe " << kVersion << ", instruction set " << name(cpu_level()) << "\n";
  Rng rng(0);
  const Tensor points = randn(rng, {512, 2});
  const Tensor classes = classes_of(points);
  Classifier classifier(rng);
  for (int step = 1; step <= 300; ++step) {
    const double loss = classifier.learn(points, classes);
    if (step % 100 == 0) std::cout << "step " << step << ", loss " << loss << "\n";
  }
  const Tensor fresh = randn(rng, {512, 2});
  const double right = classifier.accuracy(fresh, classes_of(fresh));
  std::cout << "accuracy on fresh points: " << right << "\n";

  try {
    classifier.learn(randn(rng, {4, 3}), zeros({4}, DType::i64));
  } catch (const ShapeError& error) {
    std::cout << "a wrong shape: " << error.what() << "\n";
    const bool says_where = std::string(error.what()).find("classifier.cpp") != std::string::npos;
    return right > 0.9 && says_where ? 0 : 1;
  }
  return 1;
}
