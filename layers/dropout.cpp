#include <loupe/autograd/ops/dropout.h>
#include <loupe/layers/dropout.h>

namespace loupe {
namespace {

double checked_p(double p, const char* layer) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>("{}: p must lie in [0, 1], got {}", layer, p);
  return p;
}

}  // namespace

Dropout::Dropout(Rng& rng, double probability)
    : p(checked_p(probability, "Dropout")), stream(rng.split()) {}
Dropout1d::Dropout1d(Rng& rng, double probability)
    : p(checked_p(probability, "Dropout1d")), stream(rng.split()) {}
Dropout2d::Dropout2d(Rng& rng, double probability)
    : p(checked_p(probability, "Dropout2d")), stream(rng.split()) {}

Tensor Dropout::forward(In x) { return is_training() ? dropout(x, stream, p) : x.t; }
Tensor Dropout1d::forward(In x) { return is_training() ? dropout1d(x, stream, p) : x.t; }
Tensor Dropout2d::forward(In x) { return is_training() ? dropout2d(x, stream, p) : x.t; }

}  // namespace loupe
