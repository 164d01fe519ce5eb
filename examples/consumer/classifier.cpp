#include "classifier.h"

#include <loupe/autograd/grad_mode.h>
#include <loupe/autograd/ops/loss.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/metrics.h>
#include <loupe/layers/sequential.h>
#include <loupe/optim/optimizer.h>

using namespace loupe;

struct Classifier::Parts {
  explicit Parts(Rng& rng) : net(Linear(rng, 2, 16), Tanh(), Linear(rng, 16, 2)) {}
  Sequential net;
  AdamW optimizer{net, {.lr = 2e-2}};
};

Classifier::Classifier(Rng& rng) : parts_(std::make_unique<Parts>(rng)) {}
Classifier::~Classifier() = default;

double Classifier::learn(const Tensor& points, const Tensor& classes) {
  const Tensor loss = cross_entropy(parts_->net(points), classes);
  parts_->optimizer.zero_grad();
  loss.backward();
  parts_->optimizer.step();
  return loss.item();
}

double Classifier::accuracy(const Tensor& points, const Tensor& classes) {
  const NoGrad guard;
  return loupe::accuracy(parts_->net(points), classes);
}
