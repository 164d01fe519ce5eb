#pragma once
// Dropout as a layer.
#include <loupe/layers/module.h>

namespace loupe {

/// In training each element is 0 with probability p, else x / (1 - p); in eval mode nothing
/// happens. Draws from a stream of its own, split off `rng`, which is part of a checkpoint.
/// ValueError unless 0 <= p <= 1.
class Dropout : public Layer<Dropout> {
 public:
  explicit Dropout(Rng& rng, double p = 0.5);
  Tensor forward(In x);
  void visit(Visitor& v) override { v.stream("stream", stream); }
  std::string type_name() const override { return "Dropout"; }
  std::string describe() const override { return fmt::format("p = {}", p); }

  double p;
  Rng stream;
};

/// Dropout of whole channels of (N, C, L) or (C, L); see autograd/ops/dropout.h. Otherwise as
/// Dropout.
class Dropout1d : public Layer<Dropout1d> {
 public:
  explicit Dropout1d(Rng& rng, double p = 0.5);
  Tensor forward(In x);
  void visit(Visitor& v) override { v.stream("stream", stream); }
  std::string type_name() const override { return "Dropout1d"; }
  std::string describe() const override { return fmt::format("p = {}", p); }

  double p;
  Rng stream;
};

/// The same for (N, C, H, W).
class Dropout2d : public Layer<Dropout2d> {
 public:
  explicit Dropout2d(Rng& rng, double p = 0.5);
  Tensor forward(In x);
  void visit(Visitor& v) override { v.stream("stream", stream); }
  std::string type_name() const override { return "Dropout2d"; }
  std::string describe() const override { return fmt::format("p = {}", p); }

  double p;
  Rng stream;
};

}  // namespace loupe
