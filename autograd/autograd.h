#pragma once
// Backward passes and what belongs to them. `loss.backward()` is declared in core/tensor.h.
#include <loupe/autograd/graph.h>

namespace loupe {

struct GradOptions {
  /// Record the backward pass too, so that its results can be differentiated again. Implies
  /// retain_graph.
  bool create_graph = false;
  /// Keep what the ops saved, so that another backward pass can follow.
  bool retain_graph = false;
  /// Give an undefined tensor for an input that no output depends on, instead of throwing
  /// GradError.
  bool allow_unused = false;
};

/// d(outputs)/d(inputs), without storing anything into grad(). Each output must be one number, or
/// `upstream` must hold a tensor of its shape. Inputs may be leaves or computed tensors.
Tensors grad(const Tensors& outputs, const Tensors& inputs, GradOptions options = {},
             const Tensors& upstream = {}, Here here = {});

/// Calls f with the gradient of t each time it has been computed; what f returns (if defined) takes
/// its place. GradError on a tensor that needs no gradient.
void register_hook(const Tensor& t, std::function<Tensor(const Tensor&)> f, Here here = {});

/// What register_post_accumulate_grad_hook gives: remove() takes the hook off again. Dropping the
/// handle keeps the hook. The tensor may be destroyed first.
class GradHookHandle {
 public:
  GradHookHandle() = default;
  void remove();

 private:
  friend GradHookHandle register_post_accumulate_grad_hook(const Tensor&,
                                                           std::function<void(const Tensor&)>,
                                                           Here);
  std::weak_ptr<GradMeta> meta_;
  std::weak_ptr<const std::function<void(const Tensor&)>> hook_;
};

/// Calls f with t.grad() each time a backward() has added to it: in the middle of the pass, as soon
/// as every op that used t has run, so that the work of f and the rest of the pass can overlap.
/// grad(...) does not call it, nor does a backward() that t takes no part in. GradError on a tensor
/// that needs no gradient or was computed; ValueError for an empty function.
GradHookHandle register_post_accumulate_grad_hook(const Tensor& t,
                                                  std::function<void(const Tensor&)> f,
                                                  Here here = {});

/// Calls f once, after the outermost backward pass of this thread has stored all gradients; dropped
/// if that pass throws. For hooks that finish together. GradError outside of a backward pass.
void call_after_backward(std::function<void()> f, Here here = {});

/// Anomaly mode: outputs and gradients of every op that this thread records are checked, and the
/// first NaN or Inf throws NumericError with the op, its module path and the source line of the
/// call. Ops that need no gradient are not recorded and not checked.
class AnomalyMode : Pinned {
 public:
  explicit AnomalyMode(bool on = true);
  ~AnomalyMode();

 private:
  bool before_;
};
bool anomaly_mode();

}  // namespace loupe
