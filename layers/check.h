#pragma once
// What is wrong with a model, found by one pass forward and backward on one batch.
#include <loupe/layers/module.h>

#include <iosfwd>

namespace loupe {

/// A check's result: the facts, and what of them looks like a mistake.
struct ModelCheck {
  enum class Kind {
    unlisted_parameter,  // a tensor with requires_grad_() that ops read and visit() does not list
    unlisted_module,     // a module that was called and visit() does not list
    no_requires_grad,    // a listed parameter without requires_grad_(): never trained
    unused,              // a parameter that no op read
    no_gradient,         // a parameter that ops read, and the loss does not depend on
    zero_gradient,       // every element of the gradient is 0
    bad_gradient,        // the gradient has a NaN or Inf
    tied,                // one tensor under several names: no mistake in itself
    dead,                // an op whose output is 0 everywhere, though its input is not
    exploding            // an op whose output has a NaN or Inf, or a value above Options::huge
  };
  struct Finding {
    Kind kind;
    std::string name;  // of the parameter, module or layer
    std::string detail;
  };
  struct Parameter {
    std::string name;
    Shape shape;
    bool requires_grad = false, used = false, has_gradient = false;
    double largest_gradient = 0;  // by magnitude; NaN if there is one
  };
  /// The output of one op.
  struct Activation {
    std::string path;  // of the module it ran in
    std::string op;
    std::string line;  // "model.cpp:12"
    Shape shape;
    double largest = 0;  // by magnitude; NaN if there is one
    double zeros = 0;    // share of the elements that are 0
  };
  struct Options {
    /// Activations above it are reported as exploding.
    double huge = 1e4;
  };

  std::vector<Finding> findings;
  std::vector<Parameter> parameters;
  std::vector<Activation> activations;

  /// True if nothing was found, tied parameters aside.
  bool ok() const;
  /// Whether something of this kind was found, under this name if one is given.
  bool found(Kind kind, const std::string& name = "") const;
};
/// "zero gradient", "tied", ...
const char* name(ModelCheck::Kind kind);
/// The findings as a table of 80 columns.
std::string to_string(const ModelCheck& check);
std::ostream& operator<<(std::ostream& out, const ModelCheck& check);

/// Runs the model on one batch: `loss(output)` is one number; without it the output is weighted
/// with fixed random numbers and summed (a plain sum has no gradient behind a norm or softmax). The
/// model's mode stays; its buffers, random streams and gradients are as before when the check ends.
/// What runs is what is seen: a branch that this batch does not take is reported as unused. If
/// visit() leaves out a member that has no requires_grad_(), the check takes it for a constant.
/// GradError if the loss is not one number.
ModelCheck check_model(Module& model, In input,
                       const std::function<Tensor(const Tensor& output)>& loss = {},
                       ModelCheck::Options options = {.huge = 1e4});
/// The same for a model of several inputs: `run` calls it and gives the loss.
ModelCheck check_model(Module& model, const std::function<Tensor()>& run,
                       ModelCheck::Options options = {.huge = 1e4});

}  // namespace loupe
