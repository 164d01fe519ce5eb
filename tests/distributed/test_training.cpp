// Data-parallel training against one process with the whole batch: the published failures.
#include "ranks.h"

#include <loupe/autograd/gradcheck.h>
#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sharded_sampler.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/optim/optimizer.h>

#include <cstring>
#include <set>

using namespace ranks;

namespace {

// Weights and running statistics that are no 0 and no 1.
void draw(BatchNormState& bn, Rng& rng) {
  NoGrad guard;
  bn.weight.uniform_(rng, 0.5, 1.5);
  bn.bias.normal_(rng);
}

struct Reference {
  Tensor y, dx, dw, db, running_mean, running_var;
};

// BatchNorm of x in f64 with upstream gradient dy, by this process alone.
template <class Norm> Reference run(Norm& bn, const Tensor& x, const Tensor& dy) {
  Tensor in = x.clone();
  in.requires_grad_();
  const Tensor y = bn(in);
  y.backward(dy);
  return {y.detach(), in.grad(), bn.weight.grad(), bn.bias.grad(), bn.running_mean, bn.running_var};
}

Tensor summed(const Tensor& t, Communicator& comm) {
  const Tensor all = t.clone();
  comm.all_reduce(all);
  return all;
}

// Two conv blocks with BatchNorm, fused with ReLU and pooling, and a head.
Sequential small_net(uint64_t seed, DType dtype) {
  Rng rng(seed);
  Sequential net(Conv2d(rng, 1, 4, {.kernel_size = 3, .padding = 1}), BatchNorm2d(4), ReLU(),
                 MaxPool2d({.kernel_size = 2}), Conv2d(rng, 4, 6, {.kernel_size = 3, .padding = 1}),
                 BatchNorm2d(6), ReLU(), Flatten(), Linear(rng, 6 * 9, 8), BatchNorm1d(8), ReLU(),
                 Linear(rng, 8, 3));
  to(net, dtype);
  return net;
}

struct Data {
  Tensor x, y;
};
Data data_of_step(int64_t step, int64_t n, DType dtype) {
  Rng rng(100 + static_cast<uint64_t>(step));
  return {randn(rng, {n, 1, 6, 6}, dtype), randint(rng, 0, 3, {n})};
}

enum class Norms { synchronised, own };

// Losses of `steps` steps, over the whole batch of each.
std::vector<double> losses(Communicator& comm, Norms norms, DType dtype, int64_t steps, bool adam) {
  Sequential net = small_net(comm.rank() == 0 ? 3 : 99, dtype);  // rank 0's weights count
  DataParallel parallel(net, comm, {.bucket_bytes = 2000, .first_bucket_bytes = 100});
  if (norms == Norms::synchronised) REQUIRE(convert_sync_batch_norm(net, comm) == 3);
  std::unique_ptr<Optimizer> optimizer;
  if (adam) optimizer = std::make_unique<Adam>(net, Adam::Options{.lr = 1e-3});
  else optimizer = std::make_unique<SGD>(net, SGD::Options{.lr = 0.05, .momentum = 0.9});
  std::vector<double> all;
  for (int64_t step = 0; step < steps; ++step) {
    comm.set_step(step);
    const Data d = data_of_step(step, 11, dtype);
    const auto kinds = splits(comm.size(), 11);
    const auto& sizes = kinds[static_cast<size_t>(step) % kinds.size()];
    const Tensor x = rows(d.x, sizes, comm.rank()), y = rows(d.y, sizes, comm.rank());
    const double n = static_cast<double>(x.size(0));
    const Tensor loss = cross_entropy(net(x), y);
    const MeanLoss mean = parallel.mean_loss(loss, n);
    optimizer->zero_grad();
    mean.share.backward();
    optimizer->step();
    all.push_back(mean.value);
  }
  return all;
}

std::vector<double> losses_of_one(DType dtype, int64_t steps, bool adam) {
  Sequential net = small_net(3, dtype);
  std::unique_ptr<Optimizer> optimizer;
  if (adam) optimizer = std::make_unique<Adam>(net, Adam::Options{.lr = 1e-3});
  else optimizer = std::make_unique<SGD>(net, SGD::Options{.lr = 0.05, .momentum = 0.9});
  std::vector<double> all;
  for (int64_t step = 0; step < steps; ++step) {
    const Data d = data_of_step(step, 11, dtype);
    const Tensor loss = cross_entropy(net(d.x), d.y);
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    all.push_back(loss.item());
  }
  return all;
}

double farthest(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i)
    worst = worst_of(worst, std::fabs(a[i] - b[i]) / std::fabs(b[i]));
  return worst;
}

}  // namespace

// Failures 1 to 3: the running variance and the gradients take the counts of all ranks (3 + 5, 1 +
// 7), and a rank may have no samples.
TEST_CASE("synchronised BatchNorm of unequal shares is BatchNorm of the whole batch") {
  Communicator comm(options());
  Rng rng(1);
  const Tensor x = randn(rng, {8, 3, 4, 5}, DType::f64) * 2.0 + 5.0;
  const Tensor dy = randn(rng, {8, 3, 4, 5}, DType::f64);
  const Tensor flat = randn(rng, {8, 3}, DType::f64), dflat = randn(rng, {8, 3}, DType::f64);
  for (const auto& sizes : splits(comm.size(), 8)) {
    CAPTURE(sizes);
    const auto check = [&]<class Norm>(Norm whole, Norm own, const Tensor& in, const Tensor& up) {
      to(whole, DType::f64);
      Rng weights(2);
      draw(whole, weights);
      to(own, DType::f64);
      copy_state(whole, own);
      convert_sync_batch_norm(own, comm);
      const Reference all = run(whole, in, up);
      const Reference part = run(own, rows(in, sizes, comm.rank()), rows(up, sizes, comm.rank()));
      CHECK(distance(part.running_mean, all.running_mean) < 1e-13);
      CHECK(distance(part.running_var, all.running_var) < 1e-13);
      CHECK(distance(part.y, rows(all.y, sizes, comm.rank())) < 1e-12);
      CHECK(distance(part.dx, rows(all.dx, sizes, comm.rank())) < 1e-11);
      CHECK(distance(summed(part.dw, comm), all.dw) < 1e-12);
      CHECK(distance(summed(part.db, comm), all.db) < 1e-12);
      CHECK(whole.num_batches_tracked.item() == own.num_batches_tracked.item());
    };
    check(BatchNorm2d(3), BatchNorm2d(3), x, dy);
    check(BatchNorm1d(3), BatchNorm1d(3), flat, dflat);
    check(BatchNorm1d(3, {.momentum = std::nullopt}), BatchNorm1d(3, {.momentum = std::nullopt}),
          flat, dflat);
  }
}

// Failure 5.
TEST_CASE("synchronised BatchNorm takes permuted inputs") {
  Communicator comm(options());
  Rng rng(4);
  const Tensor x = randn(rng, {8, 3, 4, 5}, DType::f64), dy = randn(rng, {8, 3, 4, 5}, DType::f64);
  BatchNorm2d whole(3);
  to(whole, DType::f64);
  const Reference all = run(whole, x, dy);
  const auto sizes = splits(comm.size(), 8)[1];
  for (const Dims& order : {Dims{0, 2, 3, 1}, Dims{3, 2, 1, 0}, Dims{1, 0, 3, 2}}) {
    Dims back{0, 0, 0, 0};
    for (int i = 0; i < 4; ++i) back[static_cast<int>(order[i])] = i;
    const auto permuted = [&](const Tensor& t) {
      return raw::permute(raw::row_major(raw::permute(t, order)), back);
    };
    SyncBatchNorm2d own(comm, 3);
    to(own, DType::f64);
    const Reference part =
        run(own, permuted(rows(x, sizes, comm.rank())), permuted(rows(dy, sizes, comm.rank())));
    CHECK(distance(part.y, rows(all.y, sizes, comm.rank())) < 1e-12);
    CHECK(distance(part.dx, rows(all.dx, sizes, comm.rank())) < 1e-11);
    CHECK(distance(part.running_var, all.running_var) < 1e-13);
  }
}

// Failure 6.
TEST_CASE("synchronised BatchNorm of one rank is BatchNorm to the bit") {
  Communicator comm(options());
  if (comm.size() > 1) return;
  Rng rng(4);
  const Tensor x = randn(rng, {8, 3, 4, 5}), dy = randn(rng, {8, 3, 4, 5});
  BatchNorm2d plain(3);
  SyncBatchNorm2d own(comm, 3);
  const Reference a = run(plain, x, dy), b = run(own, x, dy);
  for (const auto& [s, t] : {std::pair{a.y, b.y},
                             {a.dx, b.dx},
                             {a.dw, b.dw},
                             {a.db, b.db},
                             {a.running_var, b.running_var}})
    CHECK(distance(s, t) == 0);
}

// Failure 7.
TEST_CASE("one value a channel in all shares together is the same error on all ranks") {
  Communicator comm(options());
  SyncBatchNorm1d bn(comm, 3);
  const Tensor x = zeros({comm.rank() == comm.size() - 1 ? 1 : 0, 3});
  CHECK_THROWS_AS(bn(x), ValueError);
  // One value here and one there are two.
  if (comm.size() > 1) CHECK_NOTHROW(bn(ones({1, 3})));
}

TEST_CASE("fused synchronised BatchNorm, in f32, is that of the whole batch") {
  Communicator comm(options());
  Rng rng(6);
  const Tensor x = randn(rng, {8, 5, 6, 7}) + 3.0;
  for (const bool pool : {false, true}) {
    const Tensor dy = pool ? randn(rng, {8, 5, 3, 3}) : randn(rng, {8, 5, 6, 7});
    const auto forward = [&](BatchNorm2d& bn, const Tensor& in) {
      return bn.forward(in, pool ? NormThen::relu_max_pool : NormThen::relu);
    };
    BatchNorm2d whole(5), own(5);
    draw(whole, rng);
    copy_state(whole, own);
    convert_sync_batch_norm(own, comm);
    Tensor all = x.clone();
    all.requires_grad_();
    const Tensor y = forward(whole, all);
    y.backward(dy);
    for (const auto& sizes : splits(comm.size(), 8)) {
      Tensor part = rows(x, sizes, comm.rank());
      part.requires_grad_();
      zero_grad(own);
      const Tensor mine = forward(own, part);
      mine.backward(rows(dy, sizes, comm.rank()));
      CHECK(distance(mine, rows(y, sizes, comm.rank())) < 2e-6);
      CHECK(distance(part.grad(), rows(all.grad(), sizes, comm.rank())) < 5e-6);
      CHECK(distance(summed(own.weight.grad(), comm), whole.weight.grad()) < 5e-6);
    }
  }
}

// Failure 8, through a layer: the whole batch is an input that all ranks hold.
TEST_CASE("synchronised BatchNorm passes gradcheck through the collective") {
  Communicator comm(options());
  const double n = comm.size();
  Rng rng(7);
  const auto sizes = splits(comm.size(), 5)[1];
  int64_t first = 0;
  for (int r = 0; r < comm.rank(); ++r) first += sizes[static_cast<size_t>(r)];
  const int64_t last = first + sizes[static_cast<size_t>(comm.rank())];
  SyncBatchNorm1d bn(comm, 2, {.track_running_stats = false});
  to(bn, DType::f64);
  const auto f = [&](const Tensors& in) {
    BatchNormArgs args = bn.args(true);
    const Tensor x = all_reduce(in[0], comm) / n;
    const Tensor w = all_reduce(in[1], comm) / n, b = all_reduce(in[2], comm) / n;
    const Tensor own = batch_norm(slice(x, 0, first, last), w, b, args);
    return all_reduce(
        cat({zeros({first, 2}, DType::f64), own, zeros({5 - last, 2}, DType::f64)}, 0), comm);
  };
  const Tensors in{randn(rng, {5, 2}, DType::f64), randn(rng, {2}, DType::f64),
                   randn(rng, {2}, DType::f64)};
  CHECK(gradcheck(f, in, {.label = "synchronised batch_norm"}));
  CHECK(gradgradcheck(f, in, {.label = "synchronised batch_norm"}));
}

// Failure 4, and the promise: N ranks follow one process with the whole batch.
TEST_CASE("a training of N ranks follows that of one process") {
  Communicator comm(options());
  const std::vector<double> one = losses_of_one(DType::f64, 50, false);
  CHECK(farthest(losses(comm, Norms::synchronised, DType::f64, 50, false), one) < 1e-9);
  const std::vector<double> adam = losses_of_one(DType::f32, 10, true);
  CHECK(farthest(losses(comm, Norms::synchronised, DType::f32, 10, true), adam) < 1e-5);
  if (comm.size() == 1) {
    CHECK(losses(comm, Norms::synchronised, DType::f32, 10, true) == adam);  // to the bit
    return;
  }
  // Statistics of one's own share are others. (11 samples divide evenly among none of the rank
  // counts, and a rank with one sample would be refused by BatchNorm1d.)
  Sequential net = small_net(3, DType::f64);
  DataParallel parallel(net, comm);
  const Data d = data_of_step(0, 16, DType::f64);
  const auto sizes = splits(comm.size(), 16)[0];
  const Tensor loss =
      cross_entropy(net(rows(d.x, sizes, comm.rank())), rows(d.y, sizes, comm.rank()));
  const double share = static_cast<double>(sizes[static_cast<size_t>(comm.rank())]);
  const double mean = comm.sum({loss.item() * share})[0] / 16;
  Sequential alone = small_net(3, DType::f64);
  CHECK(std::fabs(mean - cross_entropy(alone(d.x), d.y).item()) > 1e-3);
}

// Failure 4: of a model without norms, so that nothing but the scaling decides.
TEST_CASE("gradients of mean losses over unequal shares are those of the whole batch") {
  Communicator comm(options());
  Rng rng(8);
  const Tensor x = randn(rng, {8, 5}, DType::f64), y = randint(rng, 0, 3, {8});
  const auto model = [] {
    Rng weights(9);
    Sequential net(Linear(weights, 5, 7), ReLU(), Linear(weights, 7, 3));
    to(net, DType::f64);
    return net;
  };
  Sequential whole = model();
  cross_entropy(whole(x), y).backward();
  const std::vector<Tensor> expected = parameters(whole);
  for (const auto& sizes : splits(comm.size(), 8)) {
    Sequential net = model();
    DataParallel parallel(net, comm, {.bucket_bytes = 8, .first_bucket_bytes = 8});
    const Tensor own = rows(x, sizes, comm.rank()), labels = rows(y, sizes, comm.rank());
    const double n = static_cast<double>(own.size(0));
    parallel.mean_loss(cross_entropy(net(own), labels), n).share.backward();
    for (size_t i = 0; i < expected.size(); ++i)
      CHECK(distance(parameters(net)[i].grad(), expected[i].grad()) < 1e-12);
    // In two parts, the first without communication; the losses are sums over 8 here.
    zero_grad(net);
    const int64_t half = own.size(0) / 2;
    const auto sum_of = [&](int64_t from, int64_t to) {
      return cross_entropy(net(own.slice(0, from, to)), labels.slice(0, from, to),
                           {.reduction = Reduction::sum}) *
             (comm.size() / 8.0);
    };
    const int64_t before = comm.stats().collectives;
    {
      const auto quiet = parallel.no_sync();
      sum_of(0, half).backward();
    }
    CHECK(comm.stats().collectives == before);
    sum_of(half, own.size(0)).backward();
    if (comm.size() > 1) CHECK(comm.stats().collectives > before);
    for (size_t i = 0; i < expected.size(); ++i)
      CHECK(distance(parameters(net)[i].grad(), expected[i].grad()) < 1e-12);
  }
}

TEST_CASE("buckets leave while the backward pass goes on, in one order on all ranks") {
  Communicator comm(options());
  if (comm.size() == 1) return;
  Rng rng(10);
  Sequential net(Linear(rng, 4, 5), ReLU(), Linear(rng, 5, 6), ReLU(), Linear(rng, 6, 2));
  DataParallel parallel(net, comm, {.bucket_bytes = 8, .first_bucket_bytes = 8});
  CHECK(parallel.bucket_sizes().size() == 6);
  Tensor x = randn(rng, {3, 4});
  x.requires_grad_();
  const int64_t before = comm.stats().collectives;
  int64_t in_the_middle = 0;
  const Tensor hidden = net[1].call(net[0].call(x));
  register_hook(hidden, [&](const Tensor&) {
    in_the_middle = comm.stats().collectives - before;
    return Tensor();
  });
  net[4].call(net[3].call(net[2].call(hidden))).sum().backward();
  CHECK(in_the_middle == 4);  // weights and biases of the two upper layers
  CHECK(comm.stats().collectives - before == 6);
}

TEST_CASE("a parameter that some ranks or none use") {
  Communicator comm(options());
  Rng rng(11);
  Sequential net(Linear(rng, 2, 2), Linear(rng, 2, 2), Linear(rng, 2, 2));
  DataParallel parallel(net, comm);
  const Tensor x = ones({1, 2});
  Tensor y = net[0].call(x);
  if (comm.rank() == 0) y = net[1].call(y);
  y.sum().backward();
  const std::vector<Tensor> p = parameters(net);
  REQUIRE(p[2].grad().defined());
  // Its gradient is rank 0's, divided by all ranks.
  CHECK(p[3].grad().select(0, 0).item() == Approx(1.0 / comm.size()));
  CHECK(!p[4].grad().defined());
  CHECK(!p[5].grad().defined());
}

TEST_CASE("every rank begins with rank 0's weights and buffers, and ends with the same bits") {
  Communicator comm(options());
  Sequential net = small_net(static_cast<uint64_t>(comm.rank()), DType::f32);
  {
    NoGrad guard;
    for (const Named& b : named_buffers(net))
      b.tensor.add_(full({}, comm.rank(), b.tensor.dtype()));
  }
  DataParallel parallel(net, comm);
  SGD optimizer(net, {.lr = 0.1});
  for (int step = 0; step < 3; ++step) {
    const Data d = data_of_step(step, 4 * comm.size(), DType::f32);
    const auto sizes = splits(comm.size(), 4 * comm.size())[0];
    optimizer.zero_grad();
    cross_entropy(net(rows(d.x, sizes, comm.rank())), rows(d.y, sizes, comm.rank())).backward();
    optimizer.step();
  }
  parallel.sync_buffers();
  for (const Named& t : state_dict(net)) {
    const Tensor theirs = t.tensor.detach().clone();
    comm.broadcast(theirs);
    INFO(t.name);
    CHECK(distance(theirs, t.tensor.detach()) == 0);
  }
}

// Failure 10.
TEST_CASE("shares count every sample once, and epochs differ by themselves") {
  Communicator comm(options());
  for (const int64_t samples : {0, 1, 7, 64, 65})
    for (const bool shuffle : {false, true}) {
      ShardedSampler sampler(samples, comm.share(),
                             {.batch_size = 8, .shuffle = shuffle, .seed = 3});
      std::vector<double> counts(static_cast<size_t>(samples), 0.0);
      const auto first = sampler.next_epoch();
      CHECK(static_cast<int64_t>(first.size()) == sampler.batches());
      for (const auto& batch : first)
        for (const int64_t i : batch) counts[static_cast<size_t>(i)] += 1;
      if (samples > 0)
        for (const double c : comm.sum(counts)) CHECK(c == 1);
      const auto second = sampler.next_epoch();
      CHECK(comm.any(first != second) == (shuffle && samples > 1));
      CHECK(sampler.epoch(0) == first);
      CHECK(sampler.epochs == 2);
    }
  // The batches are those of one process.
  const ShardedSampler one(65, {}, {.batch_size = 8}), own(65, comm.share(), {.batch_size = 8});
  for (size_t b = 0; b < 9; ++b) {
    const std::vector<int64_t> whole = one.epoch(2)[b], part = own.epoch(2)[b];
    const ShareRange range = comm.share().of(static_cast<int64_t>(whole.size()));
    CHECK(part == std::vector<int64_t>(whole.begin() + range.first, whole.begin() + range.last));
  }
  CHECK(ShardedSampler(65, {}, {.batch_size = 8, .drop_last = true}).batches() == 8);
}

TEST_CASE("buffers are synchronised after the model was moved") {
  Communicator comm(options());
  auto first = std::make_unique<Sequential>(small_net(3, DType::f32));
  DataParallel parallel(*first, comm);
  Sequential net = std::move(*first);
  first.reset();
  {
    NoGrad guard;
    for (const Named& b : named_buffers(net))
      if (is_floating(b.tensor.dtype())) b.tensor.add_(full({}, comm.rank(), b.tensor.dtype()));
  }
  parallel.sync_buffers();
  for (const Named& b : named_buffers(net)) {
    const Tensor theirs = b.tensor.clone();
    comm.broadcast(theirs);
    CHECK(distance(theirs, b.tensor) == 0);
  }
}

TEST_CASE("models of other shapes are refused on all ranks") {
  Communicator comm(options());
  if (comm.size() == 1) return;
  Rng rng(1);
  Sequential net(Linear(rng, 2, comm.rank() == 0 ? 2 : 3));
  CHECK_THROWS_AS(DataParallel(net, comm), CommunicationError);
}

TEST_CASE("a converted BatchNorm is itself in eval mode, under the same names") {
  Communicator comm(options());
  BatchNorm2d plain(3), own(3);
  Rng rng(2);
  draw(plain, rng);
  convert_sync_batch_norm(own, comm);
  copy_state(plain, own);
  const StateDict a = state_dict(plain), b = state_dict(own);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].name == b[i].name);
  eval(plain);
  eval(own);
  const Tensor x = randn(rng, {comm.rank() + 1, 3, 4, 4});
  const int64_t before = comm.stats().collectives;
  CHECK(distance(own(x), plain(x)) == 0);
  CHECK(comm.stats().collectives == before);
}
