#pragma once
// Shadow mode: while a ShadowGuard lives, every op that is recorded on this thread is computed a
// second time in f64, by the plain kernels, on the same inputs, forward and backward, and the f32
// results are held against it. Of a graph that runs backward twice, the first pass is checked; the
// last op is checked by rows() or a backward pass.
#include <loupe/autograd/graph.h>

#include <memory>
#include <string>
#include <vector>

namespace loupe {

/// What was seen of one op. Errors are the largest |f32 - f64| over a tensor divided by the largest
/// |f64| of it. If larger terms cancel (a gradient that should be 0), the error is divided by the
/// size of those terms. A constant that the op ignores anyway (softmax, losses) does not count as
/// such a term.
struct ShadowRow {
  std::string op;
  int64_t checks = 0;  // forward calls
  double forward = 0, backward = 0;
  std::string where;   // of the largest error: module path, source line, shape
  std::string kernel;  // that ran there, where the op has several
};

class ShadowGuard : Pinned {
 public:
  /// An error above `bound` throws NumericError with op, path, source line, kernel, position and
  /// both numbers. ValueError unless bound > 0.
  explicit ShadowGuard(double bound = 0x1p-14);
  ~ShadowGuard();

  /// Checks what is still pending and gives the rows, the largest error first. An op without a twin
  /// has checks = 0.
  std::vector<ShadowRow> rows();
  /// The rows as a table in 80 columns (but for long paths): errors also in units of 2^-23, the
  /// ulps of the tensor's largest element; under each op where its largest error was and which
  /// kernel ran there.
  std::string table();

  struct State;  // in shadow.cpp

 private:
  std::unique_ptr<State> state_;
  State* before_;
};

namespace detail {
// Called by link() and by the engine; they do nothing without a ShadowGuard.
void shadow_forward(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs,
                    std::span<Tensor> outputs);
void shadow_backward(Node& node, const Tensors& dy, const Tensors& dx);
void shadow_flush();
/// An op was not recorded, a backward rule begins: what kernel ran before belongs to neither's
/// successor.
void shadow_unrecorded();
void shadow_before_rule();
/// Whether link() looks at the values of outputs: a ShadowGuard or anomaly mode.
bool forward_is_checked();
}  // namespace detail

}  // namespace loupe
