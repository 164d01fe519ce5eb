// Whole models against PyTorch and Transformers: ten steps from PyTorch's initial weights, a
// trained model's logits, names, and the files that they write.
#include <loupe/autograd/ops.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/npy.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>

#include "fixture.h"

using namespace loupe;
using fixture::Fixture;
using fixture::same;

namespace {

std::string order(Module& m) {
  std::string text;
  for (const auto& [name, t] : state_dict(m)) {
    text += (text.empty() ? "" : ";") + name + "=";
    for (int i = 0; i < t.dim(); ++i) text += (i ? "," : "") + std::to_string(t.size(i));
  }
  return text;
}

// A fixture holds a tied head under its first name only.
void load(Module& m, const Fixture& f, const std::string& prefix, DType dtype) {
  to(m, dtype);
  StateDict state;
  for (const auto& name : f.under(prefix)) state.push_back({name, f.get(prefix + name, dtype)});
  for (const auto& [name, t] : state_dict(m))
    if (name == "lm_head.weight")
      state.push_back({name, f.get(prefix + "transformer.wte.weight", dtype)});
  load_state_dict(m, state);
}

// The ten losses; steps are counted from 0.
template <class F>
void ten_steps(const std::string& group, const Fixture& f, DType dtype, Optimizer& optimizer,
               double bound, const F& loss_of) {
  const Tensor want = f.get(dtype == DType::f64 ? "loss64" : "loss32");
  for (int64_t t = 0; t < 10; ++t) {
    optimizer.zero_grad();
    const Tensor loss = loss_of(t);
    loss.backward();
    optimizer.step();
    same(group + " losses " + name(dtype), "loss of step " + std::to_string(t), loss.detach(),
         want.select(0, t), bound);
  }
}

Tensor pixels(const Fixture& f, int64_t step, DType dtype) {
  return raw::to(raw::select(f.get("x"), 0, step), dtype) / 255.0;
}

template <class M>
void image_model(const std::string& group, const std::string& file, M m, bool chaotic = false) {
  const Fixture f(file);
  CHECK(order(m) == f.meta("order"));
  for (const DType dtype : {DType::f64, DType::f32}) {
    load(m, f, "init/", dtype);
    train(m);
    Adam optimizer(m, {.lr = 1e-3});
    if (!chaotic || dtype == DType::f64) {
      ten_steps(group, f, dtype, optimizer, dtype == DType::f64 ? 1e-10 : 1e-5, [&](int64_t t) {
        return cross_entropy(m(pixels(f, t, dtype)), raw::select(f.get("t"), 0, t));
      });
    }
    load(m, f, "trained/", dtype);
    eval(m);
    same(group + " logits " + name(dtype), "logits of the trained model",
         no_grad([&] { return m(pixels(f, 0, dtype)); }), f.get("logits"),
         dtype == DType::f64 ? 1e-10 : 1e-5);
  }
}

}  // namespace

TEST_CASE("SmallCnn: PyTorch's names, ten Adam steps, a trained model's logits, with each norm") {
  Rng rng(1);
  for (const auto& [word, norm] : std::map<std::string, NormKind>{
           {"batch", NormKind::batch}, {"layer", NormKind::layer}, {"none", NormKind::none}}) {
    INFO(word);
    const std::string file = "small_cnn_" + word + ".safetensors";
    image_model(
        "SmallCnn", file,
        SmallCnn(rng,
                 {.widths = {8, 16, 16, 32}, .hidden = 32, .norm = norm, .dropouts = {0, 0, 0}}));
    SmallCnn full(rng, {.norm = norm});
    CHECK(order(full) == Fixture(file).meta("order_full"));
  }
}

TEST_CASE("ResNetCifar: torchvision's names, ten Adam steps, a trained model's logits") {
  // Batches of 4 through 20 layers of batch norm amplify rounding so much that PyTorch's own f32
  // losses are 2e-3 off its f64.
  Rng rng(1);
  image_model("ResNetCifar", "resnet.safetensors", ResNetCifar(rng, {.depth = 20, .width = 4}),
              true);
  ResNetCifar full(rng);
  CHECK(order(full) == Fixture("resnet.safetensors").meta("order_full"));
}

TEST_CASE("Gpt: GPT-2's names, ten AdamW steps, a trained model's logits") {
  Rng rng(1);
  const Fixture f("gpt.safetensors");
  Gpt m(rng, {.vocab = 65, .context = 16, .layers = 2, .heads = 4, .width = 32}), full(rng);
  CHECK(order(m) == f.meta("order"));
  CHECK(order(full) == f.meta("order_full"));
  const Tensor ids = f.get("ids");
  const auto part = [&](int64_t step, int64_t from) {
    return raw::row_major(raw::slice(raw::select(ids, 0, step), 1, from, from + 16, 1));
  };
  for (const DType dtype : {DType::f64, DType::f32}) {
    load(m, f, "init/", dtype);
    AdamW optimizer(m, {.lr = 1e-3});
    ten_steps("Gpt", f, dtype, optimizer, dtype == DType::f64 ? 1e-10 : 1e-5, [&](int64_t t) {
      return cross_entropy(m(part(t, 0)).flatten(0, 1), part(t, 1).flatten());
    });
    load(m, f, "trained/", dtype);
    eval(m);
    same(std::string("Gpt logits ") + name(dtype), "logits of the trained model",
         no_grad([&] { return m(part(0, 0)); }), f.get("logits"),
         dtype == DType::f64 ? 1e-10 : 1e-5);
    train(m);
  }
}

TEST_CASE(
    "Gpt: logits of Transformers' GPT2LMHeadModel; greedy tokens on 20 prompts equal, with the "
    "cache") {
  Rng rng(1);
  const Fixture f("gpt2.safetensors");
  Gpt m(rng, {.vocab = 97, .context = 40, .layers = 3, .heads = 4, .width = 32});
  CHECK(order(m) == f.meta("order"));
  for (const DType dtype : {DType::f64, DType::f32}) {
    load(m, f, "model/", dtype);
    eval(m);
    same(std::string("GPT-2 logits ") + name(dtype), "logits",
         no_grad([&] { return m(f.get("ids")); }), f.get("logits"),
         dtype == DType::f64 ? 1e-10 : 1e-5);
    const auto prompts = f.get("prompts").to_vector<int64_t>(),
               want = f.get("tokens").to_vector<int64_t>();
    for (int64_t n = 1; n <= 20; ++n) {
      const auto row = prompts.begin() + (n - 1) * 20;
      const auto text = m.generate({row, row + n}, rng, {.length = 20, .temperature = 0});
      const std::vector<int64_t> got(text.end() - 20, text.end()),
          expected(want.begin() + (n - 1) * 20, want.begin() + n * 20);
      CHECK(got == expected);
    }
  }
}

namespace {

const std::string kFiles = std::string(LOUPE_FIXTURES) + "/files/";

std::string bytes_of(Module& m) {
  TensorMap tensors;
  for (const auto& [name, t] : state_dict(m)) tensors[name] = t;
  return encode_safetensors(tensors, {{"format", "pt"}});
}

}  // namespace

TEST_CASE(
    "a model trained in PyTorch: its file gives the logits, is written back byte for byte, and "
    "trains on") {
  const auto io = load_npz(kFiles + "small_cnn/io.npz");
  Rng rng(1);
  for (const DType dtype : {DType::f32, DType::f64}) {
    INFO(name(dtype));
    const bool wide = dtype == DType::f64;
    SmallCnn m(rng, {.widths = {8, 16, 16, 32}, .hidden = 32, .dropouts = {0, 0, 0}});
    to(m, dtype);
    const LoadReport report = load_model(kFiles + "small_cnn/model.safetensors", m);
    CHECK((report.missing.empty() && report.unexpected.empty()));
    for (const auto& [name, t] : named_buffers(m))
      if (name.ends_with("num_batches_tracked")) CHECK(t.item<int64_t>() == 10);
    if (!wide) CHECK(bytes_of(m) == read_file(kFiles + "small_cnn/model.safetensors"));
    eval(m);
    same(std::string("PyTorch file, logits ") + name(dtype), "logits",
         no_grad([&] { return m(raw::to(io.at("x"), dtype) / 255.0); }), io.at("logits"),
         wide ? 1e-10 : 1e-5);
    train(m);
    Adam optimizer(m, {.lr = 1e-3});
    for (int64_t t = 0; t < 10; ++t) {
      optimizer.zero_grad();
      const Tensor loss =
          cross_entropy(m(raw::to(raw::select(io.at("further_x"), 0, t), dtype) / 255.0),
                        raw::select(io.at("further_t"), 0, t));
      loss.backward();
      optimizer.step();
      same(std::string("PyTorch file, further losses ") + name(dtype),
           "loss of step " + std::to_string(t), loss.detach(), raw::select(io.at("losses"), 0, t),
           wide ? 1e-10 : 1e-5);
    }
    const auto further = load_safetensors(kFiles + "small_cnn/further.safetensors").tensors;
    for (const auto& [name, t] : named_buffers(m)) {
      if (name.ends_with("num_batches_tracked")) CHECK(t.item<int64_t>() == 20);
      else
        same(std::string("PyTorch file, further buffers ") + loupe::name(dtype), name, t,
             further.at(name), 1e-5);
    }
  }
}

TEST_CASE(
    "a GPT-2 that Transformers saved: its file gives the logits, fine-tunes to the same losses, "
    "and needs no map") {
  const auto io = load_npz(kFiles + "gpt2/io.npz");
  const StateDict file = to_state_dict(load_safetensors(kFiles + "gpt2/model.safetensors").tensors);
  Rng rng(1);
  for (const DType dtype : {DType::f32, DType::f64}) {
    Gpt m(rng, {.vocab = 27,
                .context = 32,
                .layers = 2,
                .heads = 4,
                .width = 32,
                .inner = 96,
                .norm_eps = 1e-4});
    to(m, dtype);
    load_gpt2(m, file);
    load_model(kFiles + "gpt2/model.safetensors", m);  // the tied head is there once
    same(std::string("GPT-2 file, logits ") + name(dtype), "logits",
         no_grad([&] { return m(io.at("ids")); }), io.at("logits"),
         dtype == DType::f64 ? 1e-10 : 1e-5);
    AdamW optimizer(m, {.lr = 1e-3});
    for (int64_t t = 0; t < 10; ++t) {
      const Tensor window = raw::select(io.at("windows"), 0, t);
      optimizer.zero_grad();
      const Tensor loss =
          cross_entropy(m(raw::row_major(raw::slice(window, 1, 0, 32, 1))).flatten(0, 1),
                        raw::row_major(raw::slice(window, 1, 1, 33, 1)).flatten());
      loss.backward();
      optimizer.step();
      same(std::string("GPT-2 file, fine-tuning losses ") + name(dtype),
           "loss of step " + std::to_string(t), loss.detach(), raw::select(io.at("losses"), 0, t),
           dtype == DType::f64 ? 1e-10 : 1e-5);
    }
  }
}
