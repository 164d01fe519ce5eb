#pragma once
// Checks of gradients against differences of the function itself, in f64: for every op of the
// library, and for yours.
//
//   gradcheck([](const Tensors& x) { return my_op(x[0], x[1]); }, {a, b});
//   gradgradcheck(...);  // the same for second derivatives, through grad(..., {.create_graph =
//   true})
#include <loupe/autograd/graph.h>

#include <functional>
#include <string>
#include <type_traits>

namespace loupe {

struct GradcheckOptions {
  /// Named in messages; empty: the op that made the first output.
  std::string label{};
  /// Bound on |gradient - difference|, relative to the larger of the two and the mean size of that
  /// input's gradient; the rounding noise of the difference itself is allowed for on top.
  double tolerance = 1e-6;
  /// Half the width of the central difference, relative to max(1, |x|). Keep inputs further than
  /// this from kinks.
  double step = 1e-5;
  /// Of an input with more elements than this, so many are drawn at random, besides one random
  /// direction through all.
  int64_t max_elements = 256;
  /// The full Jacobian, one row for each output element, is compared where it has at most so many
  /// entries; a random projection of the outputs is compared always.
  int64_t max_jacobian = 1024;
  /// Let an input without a gradient pass as one with gradient zero; otherwise it is an error.
  bool allow_unused = false;
  /// Decides the projection and the drawn elements.
  uint64_t seed = 0;
};

/// How closely a check agreed.
struct GradcheckResult {
  double worst = 0;         // largest error in units of the bound's scale, at most the tolerance
  int64_t comparisons = 0;  // how many numbers were compared
  explicit operator bool() const { return comparisons > 0; }
};

/// A function from tensors to a tensor or to several; any callable on `const Tensors&`.
class GradFunction {
 public:
  template <class F>
  requires std::is_invocable_v<const F&, const Tensors&> GradFunction(F f)
      : f_([f = std::move(f)](const Tensors& x) -> Tensors {
          if constexpr (std::is_same_v<std::decay_t<std::invoke_result_t<const F&, const Tensors&>>,
                                       Tensor>)
            return {f(x)};
          else return f(x);
        }) {}
  Tensors operator()(const Tensors& x) const { return f_(x); }

 private:
  std::function<Tensors(const Tensors&)> f_;
};

/// Compares the gradient of f at `inputs` with central differences, for a random upstream gradient
/// and, where small, for each output element. Every f64 input is checked, in a copy of the same
/// strides (row-major where elements share memory); i64, u8 and bool inputs are handed through. f
/// must be smooth there and give the same result each time: kinks and dropout are the caller's
/// business. GradError names f, the input, the index and both numbers; DtypeError for an f32 input.
GradcheckResult gradcheck(const GradFunction& f, const Tensors& inputs,
                          const GradcheckOptions& options = {});

/// gradcheck of the gradient itself, as a function of the inputs and of a random upstream gradient.
/// Also compares the gradient that a rule gives under create_graph with the one it gives otherwise.
/// Inputs on which the gradient does not depend are fine. GradError from a fused op.
GradcheckResult gradgradcheck(const GradFunction& f, const Tensors& inputs,
                              const GradcheckOptions& options = {});

}  // namespace loupe
