// The student's BatchNorm (exercises 15 and 16) and LayerNorm (exercise 17) as layers. Their
// functions run in f64, for which they were checked; the layers around them are f32.
#include <loupe/autograd/ops.h>
#include <loupe/exercises/graduation/parts.h>

namespace mine {

using loupe::Tensor;

// As in the exercises' headers.
struct BatchNormState {
  Tensor running_mean, running_var;
  double momentum = 0.1, eps = 1e-5;
  bool training = true;
};
struct NormGradients {
  Tensor dx, dweight, dbias;
};
Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, BatchNormState& state);
NormGradients batch_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                  double eps);
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
NormGradients layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                  double eps);

}  // namespace mine

namespace loupe::exercises {

namespace {

constexpr double kEps = 1e-5;

Tensor f64(const Tensor& t) { return t.detach().to(DType::f64); }
Tensor f32(const Tensor& t) { return t.to(DType::f32); }

using Backward = mine::NormGradients (*)(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                         double eps);

struct StudentNorm final : Node {
  SavedTensor x{this, "x"}, weight{this, "weight"};
  Backward rule = nullptr;
  const char* name() const override { return "student_norm"; }
  bool fused() const override { return true; }
  Tensors backward(const Tensors& dy) override {
    const mine::NormGradients g = rule(f64(x.get()), f64(weight.get()), f64(dy[0]), kEps);
    return {f32(g.dx), f32(g.dweight), f32(g.dbias)};
  }
};

Tensor recorded(In x, In weight, In bias, Tensor y, Backward rule) {
  if (auto node = record<StudentNorm>({x, weight, bias}, y)) {
    node->x.input(x);
    node->weight.input(weight);
    node->rule = rule;
  }
  return y;
}

// (N, C, H, W) -> (N H W, C), and back.
Tensor to_rows(const Tensor& x) {
  return x.dim() == 4 ? x.permute({0, 2, 3, 1}).reshape({-1, x.size(1)}) : x;
}
Tensor from_rows(const Tensor& rows, const Shape& shape) {
  if (shape.rank() != 4) return rows;
  return rows.reshape({shape[0], shape[2], shape[3], shape[1]}).permute({0, 3, 1, 2});
}

struct StudentBatchNorm : Layer<StudentBatchNorm> {
  Tensor weight, bias, running_mean, running_var;

  explicit StudentBatchNorm(int64_t c)
      : weight(ones({c})), bias(zeros({c})), running_mean(zeros({c})), running_var(ones({c})) {
    weight.requires_grad_();
    bias.requires_grad_();
  }
  Tensor forward(In x) {
    if (!is_training()) {  // the running numbers are constants: the ops record themselves
      const Tensor rows = to_rows(x);
      return from_rows(normalized(rows, weight, bias), x->shape());
    }
    const Tensor rows = to_rows(x);
    Tensor y = no_grad([&] { return f32(normalized(f64(rows), f64(weight), f64(bias))); });
    return from_rows(recorded(rows, weight, bias, y, mine::batch_norm_backward), x->shape());
  }
  void visit(Visitor& v) override {
    v("weight", weight, "bias", bias);
    v.buffers("running_mean", running_mean, "running_var", running_var);
  }
  std::string type_name() const override { return "StudentBatchNorm"; }

 private:
  Tensor normalized(const Tensor& x, const Tensor& w, const Tensor& b) {
    mine::BatchNormState state{running_mean.to(x.dtype()), running_var.to(x.dtype()), 0.1, kEps,
                               is_training()};
    const Tensor y = mine::batch_norm(x, w, b, state);
    if (is_training()) {
      running_mean.copy_(f32(state.running_mean));
      running_var.copy_(f32(state.running_var));
    }
    return y;
  }
};

struct StudentLayerNorm : Layer<StudentLayerNorm> {
  Tensor weight, bias;

  explicit StudentLayerNorm(int64_t c) : weight(ones({c})), bias(zeros({c})) {
    weight.requires_grad_();
    bias.requires_grad_();
  }
  Tensor forward(In x) {
    if (x->dim() == 4) return of_images(x);
    return normalized(x, weight, bias);
  }
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "StudentLayerNorm"; }

 private:
  static Tensor normalized(In x, In w, In b) {
    Tensor y = no_grad([&] { return f32(mine::layer_norm(f64(x), f64(w), f64(b), kEps)); });
    return recorded(x, w, b, y, mine::layer_norm_backward);
  }
  // One image is one row, as in the lesson: a GroupNorm with one group. The weight of a channel
  // stands at each of its pixels.
  Tensor of_images(const Tensor& x) {
    const int64_t channels = x.size(1), pixels = x.size(2) * x.size(3);
    const auto at_each_pixel = [&](const Tensor& t) {
      return t.reshape({channels, 1}).expand({channels, pixels}).reshape({-1});
    };
    const Tensor rows = x.reshape({x.size(0), -1});
    return normalized(rows, at_each_pixel(weight), at_each_pixel(bias)).reshape(x.shape());
  }
};

}  // namespace

lesson::Norms student_norms() {
  using lesson::Place;
  lesson::Norms norms;
  norms.batch = {"batch", [](int64_t c, Place) -> std::unique_ptr<Module> {
                   return std::make_unique<StudentBatchNorm>(c);
                 }};
  norms.layer = {"layer", [](int64_t c, Place) -> std::unique_ptr<Module> {
                   return std::make_unique<StudentLayerNorm>(c);
                 }};
  return norms;
}

}  // namespace loupe::exercises

extern "C" void loupe_student_norms(loupe::lesson::Norms* norms) {
  *norms = loupe::exercises::student_norms();
}
