// A variational autoencoder (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014): it
// learns to write images down in 16 numbers, and then draws images that nobody photographed.
//
//   encoder: x -> mean, log variance of z;   z = mean + exp(log variance / 2) noise
//   decoder: z -> the probability of each pixel
//   loss: -log p(x | z) + KL(q(z | x) || N(0, 1)), in nats an image
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <filesystem>

using namespace loupe;

namespace {

constexpr int64_t kLatent = 16, kPixels = 28 * 28;

struct Vae : Layer<Vae> {
  Linear in, mean, log_variance, back, out;

  explicit Vae(Rng& rng)
      : in(rng, kPixels, 256),
        mean(rng, 256, kLatent),
        log_variance(rng, 256, kLatent),
        back(rng, kLatent, 256),
        out(rng, 256, kPixels) {}
  Tensor decode(const Tensor& z) { return out(relu(back(z))); }
  // The logits of the pixels.
  Tensor forward(In x) { return decode(mean(relu(in(x)))); }
  void visit(Visitor& v) override {
    v("in", in, "mean", mean, "log_variance", log_variance, "back", back, "out", out);
  }
  std::string type_name() const override { return "Vae"; }

  struct Loss {
    Tensor pixels, kl;  // nats an image
  };
  // One draw of z for each image. The noise does not depend on the weights, so that the gradient
  // goes through z (the reparametrisation trick).
  Loss loss(const Tensor& x, Rng& noise) {
    const Tensor h = relu(in(x));
    const Tensor m = mean(h), lv = log_variance(h);
    const Tensor z = m + exp(0.5 * lv) * randn(noise, m.shape());
    const double images = static_cast<double>(x.size(0));
    return {binary_cross_entropy_with_logits(decode(z), x, {.reduction = Reduction::sum}) / images,
            0.5 * (exp(lv) + square(m) - 1.0 - lv).sum() / images};
  }
};

// Pixels in [0, 1] (n, 784).
Tensor pixels_of(const ImageSet& set) {
  return (set.images.to(DType::f32) / 255.0).reshape({-1, kPixels});
}

}  // namespace

int main() {
  const ImageData data = load_images("fashion-mnist");
  const Tensor train_x = pixels_of(data.train.part(0, 10000)),
               test_x = pixels_of(data.test.part(0, 1000));
  Rng rng(0), noise(1);
  Vae vae(rng);
  AdamW optimizer(vae, {.lr = 2e-3});
  double first = 0, last = 0;
  for (int epoch = 1; epoch <= 5; ++epoch) {
    const Tensor order = permutation(rng, train_x.size(0));
    for (int64_t at = 0; at < order.numel(); at += 100) {
      const auto loss = vae.loss(index_select(train_x, 0, order.slice(0, at, at + 100)), noise);
      optimizer.zero_grad();
      (loss.pixels + loss.kl).backward();
      optimizer.step();
    }
    const NoGrad off;
    const auto test = vae.loss(test_x, noise);
    last = test.pixels.item() + test.kl.item();
    if (epoch == 1) first = last;
    fmt::print("epoch {}  test: pixels {:.1f} + KL {:.1f} = {:.1f} nats an image\n", epoch,
               test.pixels.item(), test.kl.item(), last);
  }

  // Images from noise alone.
  const NoGrad off;
  const Tensor drawn = sigmoid(vae.decode(randn(noise, {40, kLatent}))) * 255.0;
  const std::string path = (std::filesystem::temp_directory_path() / "loupe_vae.png").string();
  write_png(path, picture_of_images(drawn.to(DType::u8).reshape({40, 1, 28, 28}),
                                    {.columns = 10, .zoom = 2}));
  fmt::print("40 images drawn from noise: {}\n", path);
  return last < first && last < 270 ? 0 : 1;
}
