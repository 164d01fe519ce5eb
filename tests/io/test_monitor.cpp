#include <loupe/autograd/ops.h>
#include <loupe/io/monitor.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/sequential.h>
#include <loupe/models/gpt.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>

#include <cmath>

#include "events.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

// What a model consists of after a few steps, as bytes: parameters, buffers and the places of its
// random streams.
template <class M>
std::string trained(M model, const Tensor& x, const Tensor& y, const std::string& folder) {
  SGD optimizer(model, {.lr = 0.05, .momentum = 0.9});
  std::unique_ptr<EventWriter> board;
  std::unique_ptr<Monitor> monitor;
  if (!folder.empty()) {
    board = std::make_unique<EventWriter>(folder);
    monitor = std::make_unique<Monitor>(*board, model,
                                        Monitor::Options{.every = 1, .histograms_every = 2});
  }
  for (int64_t step = 1; step <= 5; ++step) {
    if (monitor) monitor->forward(step, [&] { return model(x); });
    const Tensor logits = model(x),
                 loss = cross_entropy(logits.flatten(0, logits.dim() - 2), y.flatten());
    optimizer.zero_grad();
    loss.backward();
    if (monitor) monitor->gradients(step);
    optimizer.step();
    if (monitor) monitor->update(step);
  }
  std::string bytes;
  for (const auto& [name, t] : state_dict(model))
    for (const double v : raw::row_major(t).template to_vector<double>())
      bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
  for (const auto& [name, rng] : named_streams(model))
    bytes += fmt::format("{} {} ", name, rng->state().counter);
  return bytes;
}

double rms(const Tensor& t) { return std::sqrt(mean(square(t)).item()); }

}  // namespace

TEST_CASE("a monitored training keeps its bits: batch norm, dropout, fused layers, attention") {
  TempDir dir;
  Rng data(1);
  const Tensor images = uniform(data, {8, 1, 16, 16}), labels = randint(data, 0, 4, {8});
  const auto cnn = [&](const std::string& folder) {
    Rng rng(2);
    return trained(
        SmallCnn(rng, {.classes = 4, .image_size = 16, .widths = {8, 8, 16, 16}, .hidden = 16}),
        images, labels, folder);
  };
  const std::string plain = cnn("");
  CHECK(plain == cnn(dir / "cnn"));
  const Tensor ids = randint(data, 0, 11, {2, 12}), next = randint(data, 0, 11, {2, 12});
  const auto gpt = [&](const std::string& folder) {
    Rng rng(3);
    return trained(
        Gpt(rng,
            {.vocab = 11, .context = 12, .layers = 2, .heads = 2, .width = 16, .dropout = 0.1}),
        ids, next, folder);
  };
  CHECK(gpt("") == gpt(dir / "gpt"));
  CHECK(std::filesystem::exists(dir / "cnn"));
  CHECK(std::filesystem::exists(dir / "gpt"));
}

TEST_CASE("every value of a monitored step is what its formula says") {
  TempDir dir;
  EventWriter board(dir.path.string());
  Rng rng(1);
  Sequential net(Conv2d(rng, 1, 4, {.kernel_size = 3}), BatchNorm2d(4), ReLU(), Flatten(),
                 Linear(rng, 16, 3));
  auto& conv = dynamic_cast<Conv2d&>(net[0]);
  auto& bn = dynamic_cast<BatchNorm2d&>(net[1]);
  auto& fc = dynamic_cast<Linear&>(net[4]);
  const Tensor x = randn(rng, {6, 1, 4, 4}), labels = randint(rng, 0, 3, {6});
  no_grad([&] {
    bn.weight.copy_(tensor({1, 2, 1, 0.5}));
    bn.bias.copy_(tensor({0, -100, 0.5, 0}));  // the second channel never gets through ReLU
    bn.running_mean.copy_(tensor({1, 0, 0, -1}));
    bn.running_var.copy_(tensor({1, 2, 3, 4}));
  });
  int seen = 0;
  net[4].add_forward_hook([&](Module&, const Tensor&, const Tensor&) { ++seen; });
  const Tensor running_mean = bn.running_mean.clone(), running_var = bn.running_var.clone(),
               old_conv = conv.weight.detach().clone(), old_fc = fc.weight.detach().clone(),
               old_bias = fc.bias.detach().clone();
  Monitor monitor(board, net, {.every = 10, .histograms_every = 20});
  SGD optimizer(net, {.lr = 0.1});
  for (const int64_t step : {1, 2, 10}) {
    monitor.forward(step, [&] { return net(x); });
    CHECK(bn.num_batches_tracked.item<int64_t>() == (step == 1 ? 0 : step == 2 ? 1 : 2));
    CHECK_FALSE(net[0].has_forward_hooks());
    const Tensor loss = cross_entropy(net(x), labels);
    if (step == 1) {
      optimizer.zero_grad();
      loss.backward();
    }
    monitor.gradients(step);
    if (step == 1) optimizer.step();
    monitor.update(step);
  }
  CHECK(seen == 5);  // three steps and two looks; the hook is still there
  const auto all = scalars(board.path());
  const auto at = [&](const std::string& tag) { return static_cast<double>(all.at(tag).at(1)); };
  CHECK(all.at("activation_mean/0").size() == 2);
  CHECK(all.at("activation_mean/0").count(10) == 1);
  NoGrad guard;
  const Tensor h =
      conv2d(x, old_conv, conv.bias);  // conv.bias: BatchNorm gives it no gradient but rounding
  const auto close = [](double v) { return Approx(v).epsilon(1e-4).margin(1e-6); };
  CHECK(at("activation_std/0") == close(loupe::std(h, {}, 0).item()));
  CHECK(at("running_mean_gap/1") ==
        close(rms((mean(h, {0, 2, 3}) - running_mean) / sqrt(running_var + 1e-5))));
  CHECK(at("running_var_gap/1") ==
        close(rms(log((var(h, {0, 2, 3}) + 1e-5) / (running_var + 1e-5)))));
  CHECK(at("gamma_mean/1") == close(4.5 / 4));
  CHECK(at("gamma_std/1") == close(loupe::std(tensor({1, 2, 1, 0.5}), {}, 0).item()));
  CHECK(at("beta_mean/1") == close(-99.5 / 4));
  CHECK(at("dead_units/1") == 0.25f);
  CHECK(all.count("dead_units/4") == 0);  // no activation follows
  CHECK(all.count("gamma_mean/4") == 0);
  const double change =
      sum(square(fc.weight - old_fc)).item() + sum(square(fc.bias - old_bias)).item();
  CHECK(at("update_ratio/4") ==
        close(std::sqrt(change / (sum(square(old_fc)).item() + sum(square(old_bias)).item()))));
  CHECK(at("gradient_norm/4") == close(std::sqrt(change) / 0.1));
  CHECK(all.at("update_ratio/4").at(10) == 0);
  // Histograms at the first step, not at the tenth; one graph.
  std::map<std::string, int> histograms;
  int graphs = 0;
  for (const std::string& event : events(board.path())) {
    protozero::pbf_reader e(event);
    while (e.next()) {
      if (e.tag() == 4) ++graphs;
      if (e.tag() != 5) {
        e.skip();
        continue;
      }
      const std::string value = field(e.get_string(), 1);
      protozero::pbf_reader v(value);
      if (v.next(5)) ++histograms[field(value, 1)];
    }
  }
  CHECK(graphs == 1);
  CHECK(histograms == std::map<std::string, int>{{"activations/0", 1},
                                                 {"activations/1", 1},
                                                 {"activations/2", 1},
                                                 {"activations/3", 1},
                                                 {"activations/4", 1},
                                                 {"gradients/0.bias", 1},
                                                 {"gradients/0.weight", 1},
                                                 {"gradients/1.bias", 1},
                                                 {"gradients/1.weight", 1},
                                                 {"gradients/4.bias", 1},
                                                 {"gradients/4.weight", 1},
                                                 {"weights/0.bias", 1},
                                                 {"weights/0.weight", 1},
                                                 {"weights/1.bias", 1},
                                                 {"weights/1.weight", 1},
                                                 {"weights/4.bias", 1},
                                                 {"weights/4.weight", 1}});
}

TEST_CASE(
    "dead units: features of a functional GELU, a residual sum, and a model that is one layer") {
  TempDir dir;
  EventWriter board(dir.path.string());
  struct Two : Layer<Two> {
    Linear fc;
    explicit Two(Rng& rng) : fc(rng, 3, 4) {}
    Tensor forward(In x) {
      const Tensor h = gelu(fc(x)), none = relu(h - 1e3);
      return none + relu(h);
    }
    void visit(Visitor& v) override { v("fc", fc); }
    std::string type_name() const override { return "Two"; }
  };
  Rng rng(1);
  Two two(rng);
  no_grad([&] { two.fc.bias.copy_(tensor({-50, 0, 0, -50})); });
  const Tensor x = randn(rng, {2, 5, 3});
  Monitor(board, two).forward(1, [&] { return two(x); });
  Linear one(rng, 3, 2);
  Monitor(board, one).forward(1, [&] { return one(x); });
  board.flush();
  const auto all = scalars(board.path());
  CHECK(all.at("dead_units/fc").at(1) == 0.5f);       // gelu
  CHECK(all.at("dead_units/model").at(1) == 1);       // relu(h - 1000)
  CHECK(all.at("dead_units/model_2").at(1) == 0.5f);  // relu(h)
  CHECK(all.count("activation_mean/model") == 1);
  const Monitor uneven(board, one, {.every = 50, .histograms_every = 75});
  CHECK(uneven.draws_histograms(1));
  CHECK_FALSE(uneven.draws_histograms(75));
  CHECK(uneven.draws_histograms(150));
  CHECK_THROWS_AS(Monitor(board, one, {.every = 0}), ValueError);
  CHECK_THROWS_AS(Monitor(board, one, {.every = 1, .histograms_every = -1}), ValueError);
}

TEST_CASE("a forward pass that throws leaves the model as it was") {
  TempDir dir;
  EventWriter board(dir.path.string());
  Rng rng(1);
  Sequential net(BatchNorm1d(3), Dropout(rng, 0.5), Linear(rng, 3, 2));
  auto& bn = dynamic_cast<BatchNorm1d&>(net[0]);
  const auto streams = named_streams(net);
  const Rng::State before = streams[0].second->state();
  Monitor monitor(board, net);
  const Tensor x = randn(rng, {4, 3});
  CHECK_THROWS_AS(monitor.forward(1, [&] { return matmul(net(x), x); }), ShapeError);
  CHECK(bn.num_batches_tracked.item<int64_t>() == 0);
  CHECK(max(abs(bn.running_mean)).item() == 0);
  CHECK(streams[0].second->state() == before);
  CHECK_FALSE(net[0].has_forward_hooks());
}
