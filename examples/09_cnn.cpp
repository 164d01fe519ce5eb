// A CNN of modules of your own on Fashion-MNIST: residual blocks, augmented images, a schedule, the
// accuracy on the test images, and where the time of a step goes.
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <memory>

using namespace loupe;

namespace {

// y = relu(x' + norm(conv(relu(norm(conv(x)))))), at half the resolution. x' is x, halved and with
// more channels by a 1 x 1 convolution.
struct Block : Layer<Block> {
  Conv2d conv1, conv2, shortcut;
  BatchNorm2d norm1, norm2;

  Block(Rng& rng, int64_t in, int64_t out)
      : conv1(rng, in, out, {.kernel_size = 3, .stride = 2, .padding = 1, .bias = false}),
        conv2(rng, out, out, {.kernel_size = 3, .padding = 1, .bias = false}),
        shortcut(rng, in, out, {.kernel_size = 1, .stride = 2}),
        norm1(out),
        norm2(out) {}
  Tensor forward(In x) {
    const Tensor h = relu(norm1(conv1(x)));
    return relu(norm2(conv2(h)) + shortcut(x));
  }
  void visit(Visitor& v) override {
    v("conv1", conv1, "norm1", norm1, "conv2", conv2, "norm2", norm2, "shortcut", shortcut);
  }
  std::string type_name() const override { return "Block"; }
};

double test_accuracy(Module& net, const ImageSet& set) {
  Rng rng(0);
  DataLoader loader(ImageDataset(set), rng, {.batch_size = 250, .shuffle = false});
  ConfusionMatrix confusion(10);
  const NoGrad off;
  eval(net);
  for (const Batch& batch : loader) confusion.update(net.call(batch.x), batch.y);
  train(net);
  return confusion.accuracy();
}

}  // namespace

int main() {
  const ImageData data = load_images("fashion-mnist");
  // A part of the images, so that the example takes seconds; all 60,000 give more.
  const auto images = std::make_shared<const ImageDataset>(data.train.part(0, 6400));
  const double black = -data.train.mean[0] / data.train.std[0];  // as the network sees it
  const AugmentedDataset augmented(images, {.crop_padding = 2, .flip = 0.5, .fill = {black}});

  Rng rng(0);
  DataLoader loader(augmented, rng, {.batch_size = 64});
  Sequential net(Block(rng, 1, 16), Block(rng, 16, 32), Block(rng, 32, 64), AdaptiveAvgPool2d(1),
                 Flatten(), Linear(rng, 64, 10));
  fmt::print("{} parameters\n", parameter_count(net));
  const int64_t epochs = 3, steps = epochs * loader.batches();
  AdamW optimizer(net, {.lr = 5e-3});
  OneCycleLR schedule(optimizer, {.max_lr = 5e-3, .total_steps = steps});

  const auto step = [&](const Batch& batch) {
    const Tensor loss = cross_entropy(net(batch.x), batch.y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    schedule.step();
    return loss.item();
  };
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    double sum = 0;
    for (const Batch& batch : loader) sum += step(batch);
    fmt::print("epoch {}  loss {:.3f}\n", epoch, sum / static_cast<double>(loader.batches()));
  }
  const double accuracy = test_accuracy(net, data.test.part(0, 2000));
  fmt::print("accuracy on 2000 test images: {:.1f} %\n", 100 * accuracy);

  const Batch batch = images->batch(std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
  Profile profile;
  cross_entropy(net(batch.x), batch.y).backward();
  fmt::print("\none step of 8 images: {}", profile.table());
  return accuracy > 0.75 ? 0 : 1;
}
