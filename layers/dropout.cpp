#include <loupe/autograd/ops/dropout.h>
#include <loupe/layers/dropout.h>

namespace loupe {

Dropout::Dropout(Rng& rng, double probability) : p(probability), stream(rng.split()) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>("Dropout: p must lie in [0, 1], got {}", p);
}

Tensor Dropout::forward(In x) { return is_training() ? dropout(x, stream, p) : x.t; }

}  // namespace loupe
