#include "catch.h"
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

using namespace loupe;

namespace {

Tensor normal(Rng& rng, const Shape& shape, double mean = 0, double std = 1,
              DType dtype = DType::f64) {
  Tensor t = empty(shape, dtype);
  t.normal_(rng, mean, std);
  return t;
}

Tensor mask_of(Rng& rng, const Shape& shape) {
  Tensor m = empty(shape, DType::boolean);
  for (bool& v : m.data<bool>()) v = rng.uniform() < 0.7;
  m.data<bool>()[0] = m.data<bool>()[1] = true;
  return m;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (!(std::abs(x[i] - y[i]) <= worst)) worst = std::abs(x[i] - y[i]);
  return worst;
}

struct OpCase {
  std::string name;
  Tensors inputs;  // x, and weight and bias where the op has them
  std::function<Tensor(const Tensors&)> f;
};

Tensor at(const Tensors& x, size_t i) { return i < x.size() ? x[i] : Tensor(); }

std::vector<OpCase> cases() {
  Rng rng(11);
  std::vector<OpCase> out;
  auto params = [&](const Shape& x, const Shape& c, size_t n) {
    Tensors t{normal(rng, x, 0.5, 1.5)};
    if (n > 1) t.push_back(normal(rng, c, 1, 0.5));
    if (n > 2) t.push_back(normal(rng, c));
    return t;
  };
  for (const Shape& shape : {Shape{5, 3}, Shape{2, 3, 4}, Shape{2, 3, 2, 3}, Shape{2, 1, 1, 2}})
    for (const size_t n : {1u, 2u, 3u}) {
      const Tensors in = params(shape, {shape[1]}, n);
      const Tensor mean = normal(rng, {shape[1]}),
                   var = uniform(rng, {shape[1]}, 0.5, 2, DType::f64);
      out.push_back({"batch_norm training", in,
                     [](const Tensors& x) { return batch_norm(x[0], at(x, 1), at(x, 2), {}); }});
      out.push_back(
          {"batch_norm running", in, [=](const Tensors& x) {
             return batch_norm(
                 x[0], at(x, 1), at(x, 2),
                 {.running_mean = mean, .running_var = var, .training = false, .eps = 1e-3});
           }});
    }
  for (NormConvention convention : {NormConvention::torch, NormConvention::keras3}) {
    const Tensor along = mask_of(rng, {3, 4}), images = mask_of(rng, {2, 2, 3});
    out.push_back(
        {"batch_norm with a mask, (N, C, L)", params({3, 2, 4}, {2}, 3), [=](const Tensors& x) {
           return batch_norm(x[0], x[1], x[2], {.mask = along, .convention = convention});
         }});
    out.push_back(
        {"batch_norm with a mask, last axis", params({2, 2, 3, 2}, {2}, 3), [=](const Tensors& x) {
           return batch_norm(x[0], x[1], x[2],
                             {.axis = -1, .mask = images, .convention = convention});
         }});
  }
  out.push_back({"batch_norm first axis", params({3, 4, 2}, {3}, 3),
                 [](const Tensors& x) { return batch_norm(x[0], x[1], x[2], {.axis = 0}); }});
  for (int64_t groups : {1, 2, 4})
    for (const size_t n : {1u, 3u}) {
      out.push_back({"group_norm images", params({2, 4, 2, 3}, {4}, n), [=](const Tensors& x) {
                       return group_norm(x[0], groups, at(x, 1), at(x, 2));
                     }});
      if (groups < 4)
        out.push_back({"group_norm rows", params({3, 4}, {4}, n), [=](const Tensors& x) {
                         return group_norm(x[0], groups, at(x, 1), at(x, 2), 1e-3);
                       }});
    }
  out.push_back({"instance_norm", params({2, 3, 2, 2}, {3}, 3),
                 [](const Tensors& x) { return instance_norm(x[0], x[1], x[2], {}); }});
  for (const size_t n : {1u, 2u, 3u}) {
    out.push_back({"layer_norm", params({2, 3, 5}, {5}, n),
                   [](const Tensors& x) { return layer_norm(x[0], {5}, at(x, 1), at(x, 2)); }});
    out.push_back({"layer_norm two axes", params({4, 3, 5}, {3, 5}, n), [](const Tensors& x) {
                     return layer_norm(x[0], {3, 5}, at(x, 1), at(x, 2), 1e-3);
                   }});
  }
  out.push_back({"layer_norm, bias alone", params({4, 5}, {5}, 2),
                 [](const Tensors& x) { return layer_norm(x[0], {5}, Tensor(), x[1]); }});
  for (const size_t n : {1u, 2u}) {
    out.push_back({"rms_norm", params({2, 3, 5}, {5}, n),
                   [](const Tensors& x) { return rms_norm(x[0], {5}, at(x, 1)); }});
    out.push_back({"rms_norm all axes", params({2, 3}, {2, 3}, n), [](const Tensors& x) {
                     return rms_norm(x[0], {2, 3}, at(x, 1), 1e-3);
                   }});
  }
  return out;
}

}  // namespace

TEST_CASE("normalization: gradients of first and second order") {
  for (const OpCase& c : cases()) {
    INFO(c.name << ", x " << to_string(c.inputs[0].shape()) << ", " << c.inputs.size()
                << " inputs");
    CHECK(gradcheck(c.f, c.inputs));
    CHECK(gradgradcheck(c.f, c.inputs));
    // In other memory the same numbers: x as the transpose of a transpose.
    Tensors turned = c.inputs;
    turned[0] = turned[0].transpose(0, -1).contiguous().transpose(0, -1);
    CHECK(largest_difference(c.f(turned), c.f(c.inputs)) < 1e-14);
    CHECK(gradcheck(c.f, turned));
  }
}

TEST_CASE("normalization: each frozen input alone") {
  Rng rng(2);
  const Tensors in{normal(rng, {3, 4, 2}), normal(rng, {4}), normal(rng, {4})};
  for (size_t live = 0; live < 3; ++live) {
    auto only = [&](auto op) {
      return [&, op](const Tensors& x) {
        Tensors all = in;
        all[live] = x[0];
        return op(all);
      };
    };
    CHECK(gradcheck(only([](const Tensors& x) { return batch_norm(x[0], x[1], x[2], {}); }),
                    {in[live]}));
    CHECK(gradcheck(only([](const Tensors& x) { return group_norm(x[0], 2, x[1], x[2]); }),
                    {in[live]}));
    CHECK(gradcheck(
        only([](const Tensors& x) { return layer_norm(x[0].transpose(1, 2), {4}, x[1], x[2]); }),
        {in[live]}));
    CHECK(
        gradcheck(only([](const Tensors& x) {
                    return batch_norm(
                        x[0], x[1], x[2],
                        {.running_mean = zeros({4}), .running_var = ones({4}), .training = false});
                  }),
                  {in[live]}));
  }
}

TEST_CASE("normalization: f32 near f64 in values and gradients, also as shadow mode sees it") {
  for (const OpCase& c : cases()) {
    INFO(c.name << ", x " << to_string(c.inputs[0].shape()));
    Tensors wide, narrow;
    for (const Tensor& t : c.inputs) {
      narrow.push_back(t.to(DType::f32).requires_grad_());
      wide.push_back(narrow.back().detach().to(DType::f64).requires_grad_());
    }
    Rng rng(1);
    const Tensor y64 = c.f(wide), up = normal(rng, y64.shape());
    Tensor y32;
    Tensors g32;
    {
      ShadowGuard shadow(1e-4);
      y32 = c.f(narrow);
      g32 = grad({y32}, narrow, {}, {up.to(DType::f32)});
      REQUIRE(shadow.rows().size() >= 1);
      CHECK(shadow.rows()[0].checks >= 1);
    }
    const Tensors g64 = grad({y64}, wide, {}, {up.to(DType::f32).to(DType::f64)});
    CHECK(largest_difference(y32, y64) < 2e-6);
    for (size_t i = 0; i < g64.size(); ++i) CHECK(largest_difference(g32[i], g64[i]) < 2e-5);
  }
}

TEST_CASE("batch norm with relu and max pool in one equals the parts, second derivatives too") {
  Rng rng(3);
  const Tensor x = normal(rng, {2, 3, 5, 4}), w = normal(rng, {3}, 1, 0.5), b = normal(rng, {3});
  const Tensor mean = normal(rng, {3}), var = uniform(rng, {3}, 0.5, 2, DType::f64);
  for (bool training : {true, false}) {
    const BatchNormArgs args{.running_mean = training ? Tensor() : mean,
                             .running_var = training ? Tensor() : var,
                             .training = training};
    auto relu_of = [=](const Tensors& t) { return batch_norm_relu(t[0], t[1], t[2], args); };
    auto pool_of = [=](const Tensors& t) {
      return batch_norm_relu_max_pool(t[0], t[1], t[2], args);
    };
    CHECK(gradcheck(relu_of, {x, w, b}));
    CHECK(gradcheck(pool_of, {x, w, b}));
    CHECK(gradgradcheck(relu_of, {x, w, b}));
    CHECK(gradgradcheck(pool_of, {x, w, b}));
    for (DType dtype : {DType::f64, DType::f32}) {
      const double bound = dtype == DType::f64 ? 1e-12 : 2e-5;
      for (const Shape& shape : {Shape{2, 3, 5, 4}, Shape{4, 16, 6, 6}, Shape{3, 40, 7, 9}}) {
        const Shape c{shape[1]};
        BatchNormArgs a{.training = training};
        if (!training)
          a.running_mean = normal(rng, c, 0, 1, dtype),
          a.running_var = uniform(rng, c, 0.5, 2, dtype);
        Tensors in{normal(rng, shape, 0, 1, dtype), normal(rng, c, 1, 0.5, dtype),
                   normal(rng, c, 0, 1, dtype)};
        for (Tensor& t : in) t.requires_grad_();
        const Tensor n = batch_norm(in[0], in[1], in[2], a),
                     r = maximum(n, zeros(n.shape(), dtype)), p = max_pool2d(r, 2);
        const Tensor fr = batch_norm_relu(in[0], in[1], in[2], a),
                     fp = batch_norm_relu_max_pool(in[0], in[1], in[2], a);
        CHECK(largest_difference(fr, r) == 0);
        CHECK(largest_difference(fp, p) == 0);
        const Tensor up = normal(rng, p.shape(), 0, 1, dtype),
                     up_r = normal(rng, r.shape(), 0, 1, dtype);
        const Tensors g = grad({p}, in, {.retain_graph = true}, {up}),
                      fg = grad({fp}, in, {}, {up});
        const Tensors gr = grad({r}, in, {}, {up_r}), fgr = grad({fr}, in, {}, {up_r});
        for (size_t i = 0; i < 3; ++i) {
          CHECK(largest_difference(fg[i], g[i]) < bound);
          CHECK(largest_difference(fgr[i], gr[i]) < bound);
        }
      }
    }
  }
}

TEST_CASE("batch norm: the running statistics, by convention, and what a mask leaves out") {
  Rng rng(4);
  const Tensor x = normal(rng, {3, 2, 4}, 1, 2);
  // Positions 2 and 3 of the last row are padding.
  Tensor mask = full({3, 4}, 1, DType::boolean);
  mask.data<bool>()[10] = mask.data<bool>()[11] = false;
  for (bool masked : {false, true})
    for (NormConvention convention : {NormConvention::torch, NormConvention::keras3}) {
      const Tensor mean = full({2}, 0.5, DType::f64), var = full({2}, 2, DType::f64);
      const Tensor y = batch_norm(x, Tensor(), Tensor(),
                                  {.running_mean = mean,
                                   .running_var = var,
                                   .momentum = 0.25,
                                   .mask = masked ? mask : Tensor(),
                                   .convention = convention});
      const double n = masked ? 10 : 12,
                   extra = masked && convention == NormConvention::keras3 ? 1e-7 : 0;
      for (int64_t c = 0; c < 2; ++c) {
        double m = 0, v = 0;
        auto each = [&](auto f) {
          for (int64_t i = 0; i < 3; ++i)
            for (int64_t l = 0; l < 4; ++l)
              if (!masked || mask[i][l].item() != 0) f(x[i][c][l].item());
        };
        each([&](double value) { m += value / (n + extra); });
        each([&](double value) { v += (value - m) * (value - m) / (n + extra); });
        CHECK(mean[c].item() == Approx(0.75 * 0.5 + 0.25 * m).epsilon(1e-12));
        CHECK(var[c].item() ==
              Approx(0.75 * 2 + 0.25 * v * (convention == NormConvention::torch ? n / (n - 1) : 1))
                  .epsilon(1e-12));
        CHECK(y[2][c][3].item() ==
              Approx((x[2][c][3].item() - m) / std::sqrt(v + 1e-5)).epsilon(1e-12));
      }
    }
  // What stands in the padding changes nothing elsewhere.
  const Tensor other = x.clone();
  other.data<double>()[22] = 1e6;  // (2, 1, 2)
  const Tensor a = batch_norm(x, Tensor(), Tensor(), {.mask = mask}),
               b = batch_norm(other, Tensor(), Tensor(), {.mask = mask});
  CHECK(largest_difference(a.slice(2, 0, 2), b.slice(2, 0, 2)) == 0);
}

TEST_CASE("normalization: empty and single inputs") {
  const Tensor none, rm = zeros({3}), rv = ones({3});
  const BatchNormArgs running{.running_mean = rm, .running_var = rv, .training = false};
  for (const Shape& shape : {Shape{0, 3}, Shape{0, 3, 4, 4}, Shape{2, 3, 0}}) {
    const Tensor x = zeros(shape).requires_grad_(), w = ones({3}).requires_grad_();
    for (const Tensor& y :
         {batch_norm(x, w, none, running), batch_norm(x, w, none, {}), group_norm(x, 3, w, none)}) {
      CHECK(y.shape() == shape);
      const Tensors g = grad({y.sum()}, {x, w});
      CHECK(g[0].shape() == shape);
      CHECK(g[1].to_vector<double>() == std::vector<double>{0, 0, 0});
    }
  }
  CHECK(rm.to_vector<double>() == std::vector<double>{0, 0, 0});
  CHECK(batch_norm(ones({1, 3}), none, none, running).shape() == Shape{1, 3});
  const Tensor x = zeros({0, 4}).requires_grad_(), w = ones({4}).requires_grad_();
  CHECK(layer_norm(x, {4}, w, none).shape() == Shape{0, 4});
  CHECK(grad({layer_norm(x, {4}, w, w).sum()}, {w})[0].to_vector<double>() ==
        std::vector<double>(4, 0));
  CHECK(grad({rms_norm(x, {4}, w).sum()}, {w})[0].to_vector<double>() == std::vector<double>(4, 0));
  CHECK(layer_norm(zeros({3, 0}), {0}, none, none).shape() == Shape{3, 0});
  CHECK(layer_norm(full({3, 1}, 7), {1}, none, none).to_vector<double>() ==
        std::vector<double>{0, 0, 0});
  // One value a channel: no variance. Keras takes it for 0.
  CHECK(batch_norm(ones({1, 3}), none, none, {.convention = NormConvention::keras3})
            .to_vector<double>() == std::vector<double>{0, 0, 0});
}

TEST_CASE("normalization: every misuse says what is wrong") {
  const Tensor none, x = ones({2, 3, 4}), c3 = ones({3}), c4 = ones({4});
  auto error = [](auto f) -> std::string {
    try {
      f();
    } catch (const Error& e) { return misuse::without_place(e.what()); }
    return "nothing thrown";
  };
  CHECK(error([&] { batch_norm(ones({3}), none, none, {}); }) ==
        "batch_norm: expected (N, C) or (N, C, ...), got (3,)");
  CHECK(error([&] {
          batch_norm(ones({1, 3}), none, none, {});
        }) ==
        "batch_norm: expected more than 1 value per channel when training, got 1 of an input of "
        "shape (1, 3)");
  CHECK(error([&] { batch_norm(x, c4, none, {}); }) ==
        "batch_norm: weight must have shape (3,) for an input of shape (2, 3, 4), got (4,)");
  CHECK(error([&] { batch_norm(x, c3, c3.to(DType::f64), {}); }) ==
        "batch_norm: bias is f64, the input f32; convert one with to(...)");
  CHECK(error([&] { batch_norm(x, none, none, {.training = false}); }) ==
        "batch_norm: without training it needs running_mean and running_var");
  CHECK(error([&] { batch_norm(x, none, none, {.running_mean = c3}); }) ==
        "batch_norm: give both running_mean and running_var, or neither");
  CHECK(error([&] { batch_norm(x, none, none, {.running_mean = c4, .running_var = c4}); }) ==
        "batch_norm: running_mean must have shape (3,) for an input of shape (2, 3, 4), got (4,)");
  CHECK(error([&] { batch_norm(x, none, none, {.axis = 3}); }).find("batch_norm") == 0);
  CHECK(error([&] {
          batch_norm(x, none, none, {.mask = ones({2, 4})});
        }) == "batch_norm: the mask must be bool, got f32");
  CHECK(
      error([&] {
        batch_norm(x, none, none, {.mask = ones({2, 3}, DType::boolean)});
      }) ==
      "batch_norm: the mask must have the input's shape without the channels, (2, 4), got (2, 3)");
  CHECK(error([&] {
          batch_norm(x, none, none, {.mask = zeros({2, 4}, DType::boolean)});
        }) ==
        "batch_norm: expected more than 1 value per channel when training, got 0 of an input of "
        "shape (2, 3, 4)");
  CHECK(error([&] {
          batch_norm(ones({2, 3}, DType::i64), none, none, {});
        }) == "batch_norm: needs f32 or f64, got i64; convert with to(DType::f32)");
  CHECK(error([&] {
          batch_norm_relu_max_pool(ones({2, 3, 1, 4}), none, none, {});
        }) ==
        "batch_norm_relu_max_pool: expected (N, C, H, W) with H and W of 2 or more, got (2, 3, 1, "
        "4)");
  CHECK(error([&] { group_norm(x, 2, none, none); }) ==
        "group_norm: 3 channels cannot be split into 2 groups");
  CHECK(error([&] {
          group_norm(ones({1, 3}), 3, none, none);
        }) ==
        "group_norm: expected more than 1 value per group, got an input of shape (1, 3) and 3 "
        "groups");
  CHECK(error([&] {
          instance_norm(ones({2, 3, 1}), none, none, {});
        }) ==
        "instance_norm: expected more than 1 position when training, got an input of shape (2, 3, "
        "1)");
  CHECK(error([&] { layer_norm(x, {3}, none, none); }) ==
        "layer_norm: the input's last dimensions must be (3,), got an input of shape (2, 3, 4)");
  CHECK(error([&] { layer_norm(x, {}, none, none); }) ==
        "layer_norm: the input's last dimensions must be (), got an input of shape (2, 3, 4)");
  CHECK(error([&] { layer_norm(x, {4}, c3, none); }) ==
        "layer_norm: weight must have shape (4,) for an input of shape (2, 3, 4), got (3,)");
  CHECK(error([&] {
          rms_norm(ones({4}), {2, 4}, none);
        }) == "rms_norm: the input's last dimensions must be (2, 4), got an input of shape (4,)");
  CHECK_THROWS_AS(batch_norm(x, c4, none, {}), ShapeError);
  CHECK_THROWS_AS(batch_norm(ones({1, 3}), none, none, {}), ValueError);
  CHECK_THROWS_AS(rms_norm(ones({4}, DType::i64), {4}, none), DtypeError);
}

TEST_CASE("normalization keeps memory channels-last and gives back what it took") {
  Rng rng(5);
  const int64_t before = memory_stats().live_storages;
  {
    const Tensor x =
        raw::channels_last(normal(rng, {2, 3, 4, 4}, 0, 1, DType::f32)).requires_grad_();
    const Tensor y = batch_norm(x, Tensor(), Tensor(), {});
    CHECK(raw::is_channels_last(y));
    CHECK(raw::is_channels_last(group_norm(x, 3, Tensor(), Tensor())));
    y.backward(normal(rng, y.shape(), 0, 1, DType::f32));
    CHECK(raw::is_channels_last(x.grad()));
  }
  CHECK(memory_stats().live_storages == before);
}

namespace {

// Two processes as two threads: what each gives the other is exchanged.
class Exchange {
 public:
  std::vector<double> gather(int rank, std::span<const double> own) {
    std::unique_lock lock(mutex_);
    given_[rank].assign(own.begin(), own.end());
    const int64_t round = round_;
    if (++arrived_ == 2) {
      all_ = given_[0];
      all_.insert(all_.end(), given_[1].begin(), given_[1].end());
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return round_ > round; });
    return all_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<double> given_[2], all_;
  int arrived_ = 0;
  int64_t round_ = 0;
};

struct HalfOfTwo final : BatchShares {
  HalfOfTwo(Exchange& e, int r) : exchange(e), rank(r) {}
  std::vector<double> gather(std::span<const double> own) override {
    return exchange.gather(rank, own);
  }
  Tensor sum(const Tensor& t) override { return t; }  // of second derivatives: tests/distributed
  Exchange& exchange;
  int rank;
};

}  // namespace

TEST_CASE("batch_norm of two shares is that of the whole batch") {
  using Op = Tensor (*)(In, In, In, const BatchNormArgs&);
  Rng rng(11);
  const Tensor x = normal(rng, {7, 3, 4, 4}, 5, 2), w = normal(rng, {3}), b = normal(rng, {3});
  for (const Op op : {Op(batch_norm), Op(batch_norm_relu), Op(batch_norm_relu_max_pool)})
    for (const DType dtype : {DType::f64, DType::f32})
      for (const int64_t cut : {0, 2, 7}) {
        const double bound = dtype == DType::f64 ? 1e-12 : 2e-5;
        const Tensor shape = op(x, w, b, {});
        const Tensor dy = normal(rng, shape.shape());
        // Output, gradients of x, weight and bias, running variance of rows [first, last).
        const auto run = [&](int64_t first, int64_t last, std::shared_ptr<BatchShares> shares) {
          Tensor in = x.slice(0, first, last).to(dtype).clone().requires_grad_();
          Tensor gain = w.to(dtype).clone().requires_grad_(), shift = b.to(dtype).clone();
          shift.requires_grad_();
          const Tensor mean = zeros({3}, dtype), var = ones({3}, dtype);
          const Tensor y =
              op(in, gain, shift, {.running_mean = mean, .running_var = var, .shares = shares});
          y.backward(dy.slice(0, first, last).to(dtype));
          return Tensors{y.detach(), in.grad(), gain.grad(), shift.grad(), mean, var};
        };
        const Tensors whole = run(0, 7, nullptr);
        Exchange exchange;
        Tensors a, z;
        std::thread other([&] { z = run(cut, 7, std::make_shared<HalfOfTwo>(exchange, 1)); });
        a = run(0, cut, std::make_shared<HalfOfTwo>(exchange, 0));
        other.join();
        for (size_t i = 0; i < whole.size(); ++i) {
          const Tensor both = i < 2 ? cat({a[i], z[i]}, 0) : i < 4 ? a[i] + z[i] : a[i];
          CHECK(max(abs(both - whole[i])).item() <= bound * max(abs(whole[i])).item());
        }
      }
}
