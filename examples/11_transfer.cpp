// Transfer learning: a CNN that knows five kinds of clothes learns the other five from 5 images
// each. The trunk is frozen: requires_grad_(false) keeps its weights, and eval() keeps its
// BatchNorms' running statistics. The second is forgotten often: the statistics are no parameters,
// and in training mode they move with every batch.
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <algorithm>

using namespace loupe;

namespace {

// Images of the classes first <= c < first + 5, labelled 0 to 4; at most `each` of a class.
struct Images {
  Tensor x, y;
};
Images some(const ImageSet& set, int64_t first, int64_t each) {
  const auto labels = set.labels.to_vector<int64_t>();
  std::vector<int64_t> chosen, y;
  int64_t count[5] = {};
  for (size_t i = 0; i < labels.size(); ++i) {
    const int64_t c = labels[i] - first;
    if (c < 0 || c >= 5 || count[c] == each) continue;
    ++count[c];
    chosen.push_back(static_cast<int64_t>(i));
    y.push_back(c);
  }
  return {ImageDataset(set).batch(chosen).x, from_data(y)};
}

struct Net : Layer<Net> {
  Sequential trunk;
  Linear head;
  explicit Net(Rng& rng)
      : trunk(Conv2d(rng, 1, 16, {.kernel_size = 3, .padding = 1}), BatchNorm2d(16), ReLU(),
              MaxPool2d(2), Conv2d(rng, 16, 32, {.kernel_size = 3, .padding = 1}), BatchNorm2d(32),
              ReLU(), MaxPool2d(2), Flatten()),
        head(rng, 32 * 7 * 7, 5) {}
  Tensor forward(In x) { return head(trunk(x)); }
  void visit(Visitor& v) override { v("trunk", trunk, "head", head); }
  std::string type_name() const override { return "Net"; }
};

void fit(Net& net, const Images& data, int64_t epochs, int64_t batch, Rng& rng) {
  AdamW optimizer(net, {.lr = 3e-3});  // it skips parameters without a gradient
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const Tensor order = permutation(rng, data.y.numel());
    for (int64_t at = 0; at + batch <= order.numel(); at += batch) {
      const Tensor index = order.slice(0, at, at + batch);
      const Tensor loss =
          cross_entropy(net(index_select(data.x, 0, index)), index_select(data.y, 0, index));
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
    }
  }
}

double score(Net& net, const Images& data) {
  eval(net);
  const NoGrad off;
  return accuracy(net(data.x), data.y);
}

// The largest change of a parameter or running statistic since `before`.
double moved(const StateDict& before, Module& m) {
  const StateDict now = state_dict(m);
  double most = 0;
  for (size_t i = 0; i < now.size(); ++i)
    if (is_floating(now[i].tensor.dtype()))
      most = std::max(most, max(abs(now[i].tensor.detach() - before[i].tensor)).item());
  return most;
}
StateDict copied(Module& m) {
  StateDict copy;
  for (const auto& [name, t] : state_dict(m)) copy.push_back({name, t.detach().clone()});
  return copy;
}

}  // namespace

int main() {
  const ImageData data = load_images("fashion-mnist");
  const Images old_train = some(data.train, 0, 800), old_test = some(data.test, 0, 200);
  const Images new_train = some(data.train, 5, 5), new_test = some(data.test, 5, 200);

  Rng rng(0);
  Net net(rng);
  fit(net, old_train, 3, 50, rng);
  fmt::print("the old five classes:                         {:.1f} %\n",
             100 * score(net, old_test));

  // A new head on the frozen trunk.
  const StateDict trunk = copied(net.trunk);
  net.head = Linear(rng, 32 * 7 * 7, 5);
  requires_grad_(net.trunk, false);
  train(net);
  eval(net.trunk);
  fit(net, new_train, 60, 25, rng);
  const double transferred = score(net, new_test), still = moved(trunk, net.trunk);
  fmt::print("the new five from 25 images, trunk frozen:    {:.1f} %\n", 100 * transferred);
  fmt::print("  the trunk's numbers moved by at most {:.3g}\n", still);

  // The trap: only the weights are frozen, and the norms stay in training mode.
  train(net);
  fit(net, new_train, 60, 25, rng);
  const double trapped = moved(trunk, net.trunk);
  fmt::print("without eval(net.trunk):                      {:.1f} %\n",
             100 * score(net, new_test));
  fmt::print("  the trunk's numbers moved by at most {:.3g}\n", trapped);

  Net fresh(rng);
  fit(fresh, new_train, 60, 25, rng);
  fmt::print("everything trained, from random weights:      {:.1f} %\n",
             100 * score(fresh, new_test));
  return transferred > 0.8 && still == 0 && trapped > 0 ? 0 : 1;
}
