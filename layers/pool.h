#pragma once
// Pooling layers, with PyTorch's options. Formulas and padding in autograd/ops/pool.h. A stride
// that is not given is the kernel's size. The places of maxima: max_pool2d_with_indices.
#include <loupe/autograd/ops/pool.h>
#include <loupe/layers/module.h>

namespace loupe {

struct Pool1dOptions {
  int64_t kernel_size = 2;
  std::optional<int64_t> stride = {};
  int64_t padding = 0;
  bool count_include_pad = true;  // averages only
  bool ceil_mode = false;
  int64_t dilation = 1;  // maxima only

  Pool1dArgs args() const { return {stride, padding, count_include_pad, ceil_mode, dilation}; }
};
struct Pool2dOptions {
  Size2 kernel_size = 2;
  std::optional<Size2> stride = {};
  Size2 padding = 0;
  bool count_include_pad = true;
  bool ceil_mode = false;
  Size2 dilation = 1;

  Pool2dArgs args() const { return {stride, padding, count_include_pad, ceil_mode, dilation}; }
};

/// A layer without parameters: Op says which function, on which options.
template <class Op> class PoolLayer : public Layer<PoolLayer<Op>> {
 public:
  using Options = typename Op::Options;
  PoolLayer(Options o) : options(o) {}
  /// MaxPool2d(2): a window of this size, the defaults else.
  explicit PoolLayer(int64_t kernel_size) requires requires(Options o) {
    o.kernel_size;
  } : options{.kernel_size = kernel_size} {}
  Tensor forward(In x) const { return Op::run(x, options); }
  void visit(Visitor& /*v*/) override {}
  std::string type_name() const override { return Op::kName; }
  std::string describe() const override { return Op::describe(options); }

  Options options;
};

namespace pool {
std::string described(const Pool1dOptions& o);
std::string described(const Pool2dOptions& o);

template <class O> struct Windows {
  using Options = O;
  static std::string describe(const O& o) { return described(o); }
};
struct Max1d : Windows<Pool1dOptions> {
  static constexpr const char* kName = "MaxPool1d";
  static Tensor run(In x, const Options& o) { return max_pool1d(x, o.kernel_size, o.args()); }
};
struct Max2d : Windows<Pool2dOptions> {
  static constexpr const char* kName = "MaxPool2d";
  static Tensor run(In x, const Options& o) { return max_pool2d(x, o.kernel_size, o.args()); }
};
struct Avg1d : Windows<Pool1dOptions> {
  static constexpr const char* kName = "AvgPool1d";
  static Tensor run(In x, const Options& o) { return avg_pool1d(x, o.kernel_size, o.args()); }
};
struct Avg2d : Windows<Pool2dOptions> {
  static constexpr const char* kName = "AvgPool2d";
  static Tensor run(In x, const Options& o) { return avg_pool2d(x, o.kernel_size, o.args()); }
};
struct Adaptive1d {
  using Options = int64_t;
  static constexpr const char* kName = "AdaptiveAvgPool1d";
  static Tensor run(In x, int64_t size) { return adaptive_avg_pool1d(x, size); }
  static std::string describe(int64_t size) { return fmt::format("to {}", size); }
};
struct Adaptive2d {
  using Options = Size2;
  static constexpr const char* kName = "AdaptiveAvgPool2d";
  static Tensor run(In x, Size2 size) { return adaptive_avg_pool2d(x, size); }
  static std::string describe(Size2 size) { return fmt::format("to {} x {}", size.h, size.w); }
};
}  // namespace pool

/// MaxPool2d({.kernel_size = 3, .stride = 2, .padding = 1}).
using MaxPool1d = PoolLayer<pool::Max1d>;
using MaxPool2d = PoolLayer<pool::Max2d>;
using AvgPool1d = PoolLayer<pool::Avg1d>;
using AvgPool2d = PoolLayer<pool::Avg2d>;
/// AdaptiveAvgPool2d(1): the mean of each channel. AdaptiveAvgPool2d({7, 5}).
using AdaptiveAvgPool1d = PoolLayer<pool::Adaptive1d>;
using AdaptiveAvgPool2d = PoolLayer<pool::Adaptive2d>;

}  // namespace loupe
