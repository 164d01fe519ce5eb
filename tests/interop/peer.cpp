// Loupe's side of tests/interop/run.py: reads what Python wrote, computes, and writes what Python
// compares.
#include <loupe/autograd/ops.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/json.h>
#include <loupe/io/keras.h>
#include <loupe/io/model_graph.h>
#include <loupe/io/npy.h>
#include <loupe/io/tensorboard.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>

#include <fmt/core.h>

#include <functional>
#include <memory>

using namespace loupe;

namespace {

using Arguments = std::vector<std::string>;

std::unique_ptr<Module> image_model(const std::string& kind) {
  Rng rng(1);
  if (kind == "resnet20")
    return std::make_unique<ResNetCifar>(rng, ResNetCifarConfig{.in_channels = 1});
  return std::make_unique<SmallCnn>(rng,
                                    SmallCnnConfig{.norm = norm_kind(kind), .dropouts = {0, 0, 0}});
}

// KIND MODEL.safetensors X.npy LOGITS.npy
void logits(const Arguments& a) {
  const auto m = image_model(a[0]);
  load_model(a[1], *m);
  eval(*m);
  save_npy(a[3], no_grad([&] { return m->call(load_npy(a[2])); }));
}

// KIND MODEL.safetensors X.npy LABELS.npy LOSSES.npy OUT.safetensors: one step of Adam for each
// x[s]
void train_on(const Arguments& a) {
  const auto m = image_model(a[0]);
  load_model(a[1], *m);
  Adam optimizer(*m, {.lr = 1e-3});
  const Tensor x = load_npy(a[2]), labels = load_npy(a[3]);
  std::vector<double> losses;
  for (int64_t s = 0; s < x.size(0); ++s) {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(m->call(x[s]), labels[s]);
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item());
  }
  save_npy(a[4], from_data(losses));
  save_model(a[5], *m);
}

// A folder of Transformers' GPT-2 with the usual inner size and epsilon.
Gpt gpt(const std::string& folder) {
  std::map<std::string, int64_t> size;
  const std::string path = folder + "/config.json", text = read_file(path);
  JsonReader r(text, path);
  r.object([&](const std::string& key) {
    if (key == "vocab_size" || key == "n_positions" || key == "n_layer" || key == "n_head" ||
        key == "n_embd")
      size[key] = r.integer();
    else r.skip();
  });
  Rng rng(1);
  Gpt m(rng, {.vocab = size.at("vocab_size"),
              .context = size.at("n_positions"),
              .layers = size.at("n_layer"),
              .heads = size.at("n_head"),
              .width = size.at("n_embd")});
  load_gpt2(m, to_state_dict(load_safetensors(folder + "/model.safetensors").tensors));
  eval(m);
  return m;
}

// FOLDER IDS.npy LOGITS.npy CACHED.npy: all tokens at once, and one by one through the cache
void gpt_logits(const Arguments& a) {
  Gpt m = gpt(a[0]);
  const Tensor ids = load_npy(a[1]);
  NoGrad guard;
  save_npy(a[2], m(ids));
  KvCache cache = m.new_cache(ids.size(0));
  Tensors parts;
  for (int64_t t = 0; t < ids.size(1); ++t) parts.push_back(m(ids.slice(1, t, t + 1), &cache));
  save_npy(a[3], cat(parts, 1));
}

// FOLDER PROMPTS.npy LENGTHS.npy COUNT TOKENS.npy
void greedy(const Arguments& a) {
  Gpt m = gpt(a[0]);
  const Tensor prompts = load_npy(a[1]), lengths = load_npy(a[2]);
  const int64_t count = std::stoll(a[3]);
  Rng rng(1);
  std::vector<int64_t> tokens;
  for (int64_t i = 0; i < prompts.size(0); ++i) {
    const auto text =
        m.generate(prompts[i].slice(0, 0, lengths[i].item<int64_t>()).to_vector<int64_t>(), rng,
                   {.length = count, .temperature = 0});
    tokens.insert(tokens.end(), text.end() - count, text.end());
  }
  save_npy(a[4], from_data(tokens, Shape{prompts.size(0), count}));
}

// FOLDER ONCE.safetensors
void tied_once(const Arguments& a) {
  Gpt m = gpt(a[0]);
  save_model(a[1], m, Tied::once);
}

// WEIGHTS.npz IMAGES.npy LOGITS.npy: the CNN of tests/fixtures/make_keras_cnn.py
void keras_cnn(const Arguments& a) {
  Rng rng(1);
  Sequential net(Conv2d(rng, 2, 6, {.kernel_size = 3, .padding = 1}),
                 BatchNorm2d(6, {.convention = NormConvention::keras3}), ReLU(),
                 MaxPool2d({.kernel_size = 2}), Conv2d(rng, 6, 8, {.kernel_size = {3, 2}}), ReLU(),
                 Flatten(), Linear(rng, 8 * 4 * 4, 16), LayerNorm(16, {.eps = 1e-3}), ReLU(),
                 Linear(rng, 16, 5));
  const std::map<std::string, std::string> places{{"conv1", "0"}, {"norm1", "1"}, {"conv2", "4"},
                                                  {"fc1", "7"},   {"norm2", "8"}, {"fc2", "10"}};
  LoadOptions options;
  const StateDict state = from_keras(load_npz(a[0]), {{"fc1", {8, 4, 4}}});
  for (const auto& [name, t] : state) {
    const size_t dot = name.find('.');
    options.rename[name] = places.at(name.substr(0, dot)) + name.substr(dot);
  }
  load_state_dict(net, state, options);
  eval(net);
  save_npy(a[2], no_grad([&] { return net(load_npy(a[1]).permute({0, 3, 1, 2})); }));
}

// X.npy OUT.npz: BatchNormalization() on every x[s] in training, then on the last in inference;
// LayerNormalization() on all
void keras_norms(const Arguments& a) {
  const Tensor x = load_npy(a[0]);
  const int64_t features = x.size(-1);
  BatchNorm1d bn(features, {.convention = NormConvention::keras3, .axis = -1});
  LayerNorm ln(features, {.eps = 1e-3});
  NoGrad guard;
  Tensors outputs, means, variances;
  for (int64_t s = 0; s < x.size(0); ++s) {
    outputs.push_back(bn(x[s]));
    means.push_back(bn.running_mean.clone());
    variances.push_back(bn.running_var.clone());
  }
  eval(bn);
  outputs.push_back(bn(x[-1]));
  save_npz(
      a[1],
      {{"bn", stack(outputs)}, {"mean", stack(means)}, {"var", stack(variances)}, {"ln", ln(x)}});
}

// IN OUT: a safetensors, .npy or .npz file, read and written
void rewrite(const Arguments& a) {
  if (a[0].ends_with(".npy")) return save_npy(a[1], load_npy(a[0]));
  if (a[0].ends_with(".npz")) return save_npz(a[1], load_npz(a[0]));
  const SafetensorsFile file = load_safetensors(a[0]);
  save_safetensors(a[1], file.tensors, file.metadata);
}

// VALUES.npy IMAGE.npy FOLDER
void events(const Arguments& a) {
  const Tensor values = load_npy(a[0]), image = load_npy(a[1]);
  EventWriter board(a[2]);
  const auto numbers = values.flatten().to_vector<double>();
  for (size_t i = 0; i < numbers.size(); ++i)
    board.scalar("values", numbers[i], static_cast<int64_t>(i));
  for (int64_t i = 0; i < values.size(0); ++i) board.histogram("rows", values[i], i);
  board.text("note", "**bold** \xc3\xa9 \xe6\xbc\xa2 | a table", 3);
  board.image("picture", image.data<uint8_t>(), image.size(0), image.size(1),
              static_cast<int>(image.size(2)), 5);
  Rng rng(1);
  Sequential net(Linear(rng, 3, 4), ReLU(), Linear(rng, 4, 2));
  board.graph(model_graph(net(ones({1, 3})), named_parameters(net)));
}

// FOLDER: steps 1 to 100; then, from another writer, on from step 60
void restarted(const Arguments& a) {
  {
    EventWriter first(a[0]);
    for (int64_t step = 1; step <= 100; ++step) first.scalar("loss", 1, step);
  }
  EventWriter second(a[0]);
  second.restart(60);
  for (int64_t step = 61; step <= 80; ++step) second.scalar("loss", 2, step);
}

}  // namespace

int main(int argc, char** argv) {
  struct Command {
    size_t arguments;
    void (*run)(const Arguments&);
  };
  const std::map<std::string, Command> commands{
      {"logits", {4, logits}},           {"train-on", {6, train_on}},
      {"gpt-logits", {4, gpt_logits}},   {"greedy", {5, greedy}},
      {"tied-once", {2, tied_once}},     {"keras-cnn", {3, keras_cnn}},
      {"keras-norms", {2, keras_norms}}, {"rewrite", {2, rewrite}},
      {"events", {3, events}},           {"restarted", {1, restarted}}};
  const Arguments arguments(argv + std::min(argc, 2), argv + argc);
  const auto command = argc > 1 ? commands.find(argv[1]) : commands.end();
  if (command == commands.end() || arguments.size() != command->second.arguments) {
    fmt::print(
        stderr,
        "interop_peer: unknown command or wrong number of arguments; see tests/interop/peer.cpp\n");
    return 2;
  }
  try {
    command->second.run(arguments);
  } catch (const Error& e) {
    fmt::print(stderr, "interop_peer: {}\n", e.what());
    return 1;
  }
  return 0;
}
