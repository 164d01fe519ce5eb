#pragma once
// One table of op cases. A row names an op, the shapes and kinds of its inputs, how to call it, and
// the same function in plain loops over doubles; test_op_table.cpp, test_op_layouts.cpp and
// test_op_modes.cpp drive every check from it, and benchmarks may use `large` and `flops`. A new
// op: add a row to the file of its family (op_cases_*.cpp), nothing else. The row's shapes should
// hold a batch of one, sizes of 0 and, where the op takes it, a tensor without dimensions.
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace loupe::testing {

/// Row-major doubles, for the plain loops.
struct Array {
  Shape shape;
  std::vector<double> v;

  Array() = default;
  explicit Array(const Shape& s, double value = 0)
      : shape(s), v(static_cast<size_t>(s.numel()), value) {}
  explicit Array(const Tensor& t) : shape(t.shape()), v(t.to_vector<double>()) {}
  int64_t size(int d) const { return shape[d < 0 ? d + shape.rank() : d]; }
  /// a(i, j, ...): as many indices as dimensions.
  template <class... I> double& operator()(I... i) {
    return v[static_cast<size_t>(at({static_cast<int64_t>(i)...}))];
  }
  template <class... I> double operator()(I... i) const {
    return v[static_cast<size_t>(at({static_cast<int64_t>(i)...}))];
  }
  double& operator[](const Dims& i) { return v[static_cast<size_t>(at(i))]; }
  /// Broadcast: i may have more dimensions than the array, and positions along its sizes of 1 are
  /// ignored.
  double operator[](const Dims& i) const { return v[static_cast<size_t>(at(i))]; }

 private:
  int64_t at(const Dims& i) const {
    int64_t n = 0;
    const int shift = i.rank() - shape.rank();
    for (int d = 0; d < shape.rank(); ++d) n = n * shape[d] + (shape[d] == 1 ? 0 : i[d + shift]);
    return n;
  }
};
using Arrays = std::vector<Array>;

/// Calls f with every position of `shape`, in row-major order.
template <class F> void each(const Shape& shape, F f) {
  Dims at = shape;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    int64_t rest = i;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      at[d] = rest % shape[d];
      rest /= shape[d];
    }
    f(static_cast<const Dims&>(at));
  }
}

/// A plain function of arrays; from a callable that returns one Array or several.
class Naive {
 public:
  Naive() = default;
  template <class F>
  requires std::is_invocable_v<const F&, const Arrays&> Naive(F f)
      : f_([f](const Arrays& x) -> Arrays {
          if constexpr (std::is_same_v<std::invoke_result_t<const F&, const Arrays&>, Array>)
            return {f(x)};
          else return f(x);
        }) {}
  Arrays operator()(const Arrays& x) const { return f_(x); }

 private:
  std::function<Arrays(const Arrays&)> f_;
};

/// Element by element, with broadcasting.
template <class F> Naive map1(F f) {
  return [f](const Arrays& x) {
    Array y = x[0];
    for (double& e : y.v) e = f(e);
    return y;
  };
}
template <class F> Naive map2(F f) {
  return [f](const Arrays& x) {
    Array y(broadcast_shapes(x[0].shape, x[1].shape, "map2"));
    each(y.shape, [&](const Dims& i) { y[i] = f(x[0][i], x[1][i]); });
    return y;
  };
}

/// What an input holds: `any` is away from zero by 0.1 on both sides; labels are integers below
/// `high`.
struct Draw {
  enum Kind { any, range, labels, mask } kind = any;
  double low = 0, high = 1;
};
inline Draw within(double low, double high) { return {Draw::range, low, high}; }
inline Draw labels(int64_t classes) { return {Draw::labels, 0, static_cast<double>(classes)}; }
inline Draw mask() { return {Draw::mask}; }

struct OpCase {
  std::string name;  // "pow(3)": the op's name up to the bracket
  std::vector<std::vector<Shape>>
      shapes;  // each entry: one shape for each input; zero sizes, ones, broadcasting
  GradFunction f;
  Naive naive;
  std::vector<Draw> draw{};     // by input; the rest `any`
  bool differentiable = true;   // false: comparisons and the like
  bool kink_at_equal = false;   // f(x, x) is not smooth (maximum)
  double f32_tolerance = 4e-6;  // of results and gradients, relative to their mean size
  std::vector<Shape>
      large{};       // a size at which the fast f32 kernels run; compared with f64 there too
  double flops = 0;  // of the forward pass at `large`
  // Random draws follow the order of memory (dropout): other layouts give other numbers.
  bool draws_by_memory = false;
  // A constant added to all of input 0 changes nothing, whatever its size.
  bool shift_invariant = false;
  double gradient_tolerance = 1e-7;  // of gradcheck and gradgradcheck
};

/// The tensors of a case, f64 where floating.
Tensors draw_inputs(const OpCase& c, const std::vector<Shape>& shapes, uint64_t seed);

std::vector<OpCase> elementwise_cases();
std::vector<OpCase> shape_cases();
std::vector<OpCase> order_cases();
std::vector<OpCase> product_cases();
std::vector<OpCase> layer_cases();
std::vector<OpCase> activation_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> pool_cases();
std::vector<OpCase> attention_cases();
std::vector<OpCase> loss_cases();
std::vector<OpCase> recurrent_cases();
std::vector<OpCase> image_cases();
/// All of them.
const std::vector<OpCase>& op_cases();

}  // namespace loupe::testing
