// A model that PyTorch trained: its state_dict as a safetensors file goes into the same layers
// here, by the same names, and gives PyTorch's logits. In Python the file was written by
//
//   safetensors.torch.save_file(model.state_dict(), "model.safetensors")
//
// Here: example_12_pytorch_model [FILE]. The default is a small CNN of the tests, whose file also
// holds inputs and what PyTorch made of them.
#include <loupe/loupe.h>

#include <fmt/core.h>

using namespace loupe;

namespace {

#ifndef LOUPE_FIXTURES
#define LOUPE_FIXTURES "tests/fixtures"  // seen from the repository
#endif
constexpr const char* kExampleFile = LOUPE_FIXTURES "/small_cnn_batch.safetensors";

// The Python class was:
//
//   self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False); self.norm1 = nn.BatchNorm2d(8)
//   ...
//   x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
//   x = F.relu(self.norm2(self.conv2(x)))
//   x = F.max_pool2d(F.relu(self.norm3(self.conv3(x))), 2)
//   x = F.max_pool2d(F.relu(self.norm4(self.conv4(x))), 2)
//   x = F.relu(self.norm5(self.fc1(x.flatten(1))))
//   return self.fc2(x)
struct Net : Layer<Net> {
  Conv2d conv1, conv2, conv3, conv4;
  BatchNorm2d norm1{8}, norm2{16}, norm3{16}, norm4{32};
  Linear fc1, fc2;
  BatchNorm1d norm5{32};

  explicit Net(Rng& rng)
      : conv1(convolution(rng, 1, 8)),
        conv2(convolution(rng, 8, 16)),
        conv3(convolution(rng, 16, 16)),
        conv4(convolution(rng, 16, 32)),
        fc1(rng, 288, 32, {.bias = false}),
        fc2(rng, 32, 10) {}
  Tensor forward(In images) {
    Tensor x = max_pool2d(relu(norm1(conv1(images))), 2);
    x = relu(norm2(conv2(x)));
    x = max_pool2d(relu(norm3(conv3(x))), 2);
    x = max_pool2d(relu(norm4(conv4(x))), 2);
    return fc2(relu(norm5(fc1(x.flatten(1)))));
  }
  void visit(Visitor& v) override {
    v("conv1", conv1, "norm1", norm1, "conv2", conv2, "norm2", norm2, "conv3", conv3, "norm3",
      norm3, "conv4", conv4, "norm4", norm4, "fc1", fc1, "norm5", norm5, "fc2", fc2);
  }
  std::string type_name() const override { return "Net"; }

 private:
  static Conv2d convolution(Rng& rng, int64_t in, int64_t out) {
    return Conv2d(rng, in, out, {.kernel_size = 3, .padding = 1, .bias = false});
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : kExampleFile;
  const FileTensors file = load_safetensors(path).tensors;
  Rng rng(0);
  Net net(rng);
  // This file holds more than the model: only the names behind "trained/" are read. A name that is
  // missing, a shape that differs: all are listed in one error, and nothing has been changed.
  const LoadReport report =
      load_state_dict(net, to_state_dict(file), {.strict = false, .prefix = "trained/"});
  fmt::print("{} parameters; {} names missing\n", parameter_count(net), report.missing.size());

  const Tensor x = file.at("x")[0].to(DType::f32) / 255.0,
               wanted = file.at("logits").to(DType::f32);
  eval(net);
  const NoGrad off;
  const double difference = max(abs(net(x) - wanted)).item();
  fmt::print("largest difference from PyTorch's logits: {:.1e}\n", difference);

  TensorMap state;
  for (const Named& n : state_dict(net)) state[n.name] = n.tensor;
  save_safetensors("loupe_model.safetensors", state);
  fmt::print("written back: loupe_model.safetensors, for load_state_dict in Python\n");
  std::remove("loupe_model.safetensors");
  return report.missing.empty() && difference < 1e-5 ? 0 : 1;
}
