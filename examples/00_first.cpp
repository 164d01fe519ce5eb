// The README's program: a small CNN learns to tell clothes apart.
#include <loupe/autograd/ops.h>
#include <loupe/io/loader.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/optim/optimizer.h>
#include <cstdio>
using namespace loupe;

int main() {
  Rng rng(0);
  DataLoader loader(ImageDataset(load_images("fashion-mnist").train), rng, {.batch_size = 128});
  Sequential net(Conv2d(rng, 1, 32, {.kernel_size = 3, .padding = 1}), BatchNorm2d(32), ReLU(),
                 MaxPool2d({.kernel_size = 2}), Flatten(), Linear(rng, 32 * 14 * 14, 10));
  AdamW optimizer(net, {.lr = 2e-3});
  for (const Batch& batch : loader) {  // one epoch
    const Tensor loss = cross_entropy(net(batch.x), batch.y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (optimizer.steps() % 50 == 0) std::printf("loss %.3f\n", loss.item());
  }
}
