#pragma once
// What one can do with a whole model: its parameters, its state, train and eval.
#include <loupe/layers/module.h>

#include <map>

namespace loupe {

std::vector<Tensor> parameters(Module& m);
StateDict named_buffers(Module& m);
/// Parameters and buffers under every name, tied ones too. The tensors are the model's own, not
/// copies.
StateDict state_dict(Module& m);
/// All modules, the root first under "".
std::vector<std::pair<std::string, Module*>> named_modules(Module& m);
/// The random streams of the model's layers, by name: part of a checkpoint.
std::vector<std::pair<std::string, Rng*>> named_streams(Module& m);
/// Elements of all parameters.
int64_t parameter_count(Module& m);

struct LoadOptions {
  /// Missing and unexpected names are errors.
  bool strict = true;
  /// Taken off the front of the names that are read; names without it are unexpected.
  std::string prefix = "";
  /// Name in the file, without the prefix -> name in the model.
  std::map<std::string, std::string> rename = {};
};
struct LoadReport {
  std::vector<std::string> missing, unexpected;
};
/// Copies values (converting f32 and f64) into the model. ValueError lists missing and unexpected
/// names, tensors of another shape or type, and tied ones that are given different values,
/// together, and nothing has been changed then. As in PyTorch a BatchNorm's num_batches_tracked may
/// be missing (it stays as it is), and a scalar may be given as (1).
LoadReport load_state_dict(Module& m, const StateDict& from, const LoadOptions& options = {});
/// Copies all values of one model into another of the same kind.
void copy_state(Module& from, Module& to);

/// Train or eval mode for a module and all its children.
void train(Module& m, bool on = true);
inline void eval(Module& m) { train(m, false); }
/// A model and all its children in eval mode while it lives. Then each module has the mode back
/// that it had, also a frozen one that was in eval mode before.
class EvalScope : Pinned {
 public:
  explicit EvalScope(Module& m);
  ~EvalScope();

 private:
  std::vector<std::pair<Module*, bool>> before_;
};
/// Drops all gradients.
void zero_grad(Module& m);
/// Freezes (false) or unfreezes all parameters.
void requires_grad_(Module& m, bool on);
/// Converts all floating parameters and buffers, and their gradients, in place: the tensors stay
/// the same, so that an optimizer, a hook or a tied name that holds one goes on with it. A graph
/// that was recorded before cannot run backward any more: GradError, or DtypeError where it did not
/// save the tensor. DtypeError unless f32 or f64.
void to(Module& m, DType dtype);

/// A forward hook on every module of a tree while it lives; hooks that were there stay. The model
/// may be moved, or destroyed first.
class HookScope : Pinned {
 public:
  HookScope(Module& m, const ForwardHook& hook);
  ~HookScope();

 private:
  std::vector<HookHandle> handles_;
};

/// A table of layers with their output shapes, parameters and FLOPs (a multiplication and an
/// addition are two), made by one forward pass on `input` in eval mode. With `columns` (about 64 or
/// more) the lines of the table are cut to that width: options first, then the fronts of names,
/// then types and shapes; 0: as wide as it is.
std::string summary(Module& m, const Tensor& input, size_t columns = 0);

}  // namespace loupe
