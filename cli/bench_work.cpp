#include <loupe/autograd/grad_mode.h>
#include <loupe/autograd/ops.h>
#include <loupe/cli/bench_work.h>

#include <fmt/ranges.h>

#include <cmath>
#include <functional>
#include <map>

namespace loupe::cli {
namespace {

double norm_of(const Tensor& t) {
  double sum = 0;
  for (const double v : raw::row_major(raw::to(t, DType::f64)).to_vector<double>()) sum += v * v;
  return std::sqrt(sum);
}

// Images have channels-last memory inside a network, and so they have here.
Tensor laid_out(const Tensor& t, bool images) { return images && t.dim() == 4 ? raw::channels_last(t) : t; }

// --- Forward and backward of one function with a fixed upstream gradient ---
class OpWork : public Work {
 public:
  using F = std::function<Tensor(const Tensors&)>;
  OpWork(std::vector<std::string> names, std::vector<Shape> shapes, bool images, double flops, F f)
      : names_(std::move(names)), f_(std::move(f)) {
    flop = flops;
    Rng rng(1);
    for (const Shape& s : shapes) inputs_.push_back(laid_out(randn(rng, s), images).requires_grad_());
    dy_ = laid_out(randn(rng, no_grad([&] { return f_(inputs_); }).shape()), images);
  }
  void step() override { run(); }
  void load(const TensorMap& from) override {
    for (size_t i = 0; i < names_.size(); ++i) raw::copy(from.at(names_[i]), inputs_[i]);
    raw::copy(from.at("dy"), dy_);
  }
  std::vector<double> check() override {
    std::vector<double> v{norm_of(run())};
    for (const Tensor& x : inputs_) v.push_back(norm_of(x.grad()));
    return v;
  }

 private:
  Tensor run() {
    for (const Tensor& x : inputs_) x.zero_grad();
    const Tensor y = f_(inputs_);
    y.backward(dy_);
    return y;
  }
  std::vector<std::string> names_;
  Tensors inputs_;
  Tensor dy_;
  F f_;
};

std::unique_ptr<Work> conv(int64_t in, int64_t out, int64_t size, int64_t kernel = 3, int64_t stride = 1, int64_t groups = 1) {
  const Conv2dArgs args{.stride = stride, .padding = kernel / 2, .groups = groups};
  const int64_t outputs = 64 * out * (size / stride) * (size / stride), terms = in / groups * kernel * kernel;
  // Forward, input gradient and weight gradient are a multiplication and an addition for each term of each output.
  return std::make_unique<OpWork>(std::vector<std::string>{"x", "weight"}, std::vector<Shape>{{64, in, size, size}, {out, in / groups, kernel, kernel}}, true,
                                  6.0 * static_cast<double>(outputs * terms),
                                  [args](const Tensors& t) { return conv2d(t[0], t[1], Tensor(), args); });
}

// Causal: half of the pairs count. Two products forward, four backward.
std::unique_ptr<Work> attention(int64_t batch, int64_t heads, int64_t length, int64_t depth) {
  const Shape s{batch, heads, length, depth};
  return std::make_unique<OpWork>(std::vector<std::string>{"q", "k", "v"}, std::vector<Shape>{s, s, s}, false,
                                  6.0 * static_cast<double>(batch * heads * length * (length + 1) * depth),
                                  [](const Tensors& t) { return scaled_dot_product_attention(t[0], t[1], t[2], {.is_causal = true}); });
}

// x, weight, bias of a normalization with an upstream gradient; `c` channels or features.
std::unique_ptr<Work> norm(Shape x, int64_t c, OpWork::F f, bool bias = true) {
  std::vector<std::string> names{"x", "weight"};
  std::vector<Shape> shapes{x, {c}};
  if (bias) names.push_back("bias"), shapes.push_back({c});
  return std::make_unique<OpWork>(std::move(names), std::move(shapes), true, 0, std::move(f));
}
Tensor batch(const Tensors& t) { return batch_norm(t[0], t[1], t[2], {}); }
Tensor group(const Tensors& t) { return group_norm(t[0], 8, t[1], t[2]); }
Tensor instance(const Tensors& t) { return instance_norm(t[0], t[1], t[2], {}); }
Tensor layer(const Tensors& t) { return layer_norm(t[0], t[1].shape(), t[1], t[2]); }
Tensor rms(const Tensors& t) { return rms_norm(t[0], t[1].shape(), t[1], 1e-5); }

struct Row {
  std::string name;
  std::function<std::unique_ptr<Work>(const std::string& data)> make;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"conv-32-64-14", [](auto&) { return conv(32, 64, 14); }},
      {"conv-16-16-32", [](auto&) { return conv(16, 16, 32); }},
      {"conv-32-32-16", [](auto&) { return conv(32, 32, 16); }},
      {"conv-64-64-8", [](auto&) { return conv(64, 64, 8); }},
      {"conv-128-128-16", [](auto&) { return conv(128, 128, 16); }},
      {"conv-stride2-16-32-32", [](auto&) { return conv(16, 32, 32, 3, 2); }},
      {"conv-1x1-64-128-16", [](auto&) { return conv(64, 128, 16, 1); }},
      {"conv-depthwise-64-16", [](auto&) { return conv(64, 64, 16, 3, 1, 64); }},
      {"norm-batch2d-32x28", [](auto&) { return norm({64, 32, 28, 28}, 32, batch); }},
      {"norm-batch2d-64x14", [](auto&) { return norm({64, 64, 14, 14}, 64, batch); }},
      {"norm-batch1d-128", [](auto&) { return norm({64, 128}, 128, batch); }},
      {"norm-group-64x14", [](auto&) { return norm({64, 64, 14, 14}, 64, group); }},
      {"norm-instance-64x14", [](auto&) { return norm({64, 64, 14, 14}, 64, instance); }},
      {"norm-layer-768x128", [](auto&) { return norm({12, 64, 128}, 128, layer); }},
      {"norm-layer-1024x384", [](auto&) { return norm({4, 256, 384}, 384, layer); }},
      {"norm-rms-768x128", [](auto&) { return norm({12, 64, 128}, 128, rms, false); }},
      {"norm-rms-1024x384", [](auto&) { return norm({4, 256, 384}, 384, rms, false); }},
      {"attention-64", [](auto&) { return attention(12, 4, 64, 32); }},
      {"attention-256", [](auto&) { return attention(4, 6, 256, 64); }},
      {"attention-1024", [](auto&) { return attention(1, 6, 1024, 64); }},
  };
  return all;
}

}  // namespace

const std::vector<std::string>& work_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> v;
    for (const Row& row : rows()) v.push_back(row.name);
    return v;
  }();
  return names;
}

std::unique_ptr<Work> make_work(const std::string& name, const std::string& data) {
  for (const Row& row : rows())
    if (row.name == name) return row.make(data);
  fail<ValueError>("bench: no work named {}; there are {}", name, fmt::join(work_names(), ", "));
}

}  // namespace loupe::cli
