// The README's two trainings with the student's norms: the small CNN's and GPT's own parts, and a
// norm by name where the models have theirs.
#include <loupe/autograd/ops.h>
#include <loupe/exercises/graduation/readme.h>
#include <loupe/io/dataset.h>
#include <loupe/io/file.h>
#include <loupe/io/images.h>
#include <loupe/io/loader.h>
#include <loupe/io/text.h>
#include <loupe/layers/state.h>
#include <loupe/models/gpt.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>
#include <loupe/optim/schedule.h>

#include <algorithm>
#include <span>

namespace loupe::exercises {

namespace {

using lesson::Norm;
using lesson::Place;
using Norms = std::vector<std::unique_ptr<Module>>;

void list(Visitor& v, Norms& norms) {
  for (size_t i = 0; i < norms.size(); ++i) v.child("norm" + std::to_string(i + 1), *norms[i]);
}

// SmallCnn with a norm behind each convolution and behind fc1.
struct CourseCnn : Layer<CourseCnn> {
  SmallCnn net;
  Norms norms;

  CourseCnn(Rng& rng, const Norm& norm) : net(rng, {.norm = NormKind::none}) {
    for (int64_t width : net.config.widths) norms.push_back(norm.make(width, Place::image));
    norms.push_back(norm.make(net.config.hidden, Place::features));
  }
  Tensor forward(In x) {
    Tensor h = max_pool2d(relu(norms[0]->call(net.conv1(x))), 2);
    h = relu(norms[1]->call(net.conv2(h)));
    h = net.dropout1(max_pool2d(relu(norms[2]->call(net.conv3(h))), 2));
    h = net.dropout2(max_pool2d(relu(norms[3]->call(net.conv4(h))), 2));
    return net.fc2(net.dropout3(relu(norms[4]->call(net.fc1(h.flatten(1))))));
  }
  void visit(Visitor& v) override {
    v("net", net);
    list(v, norms);
  }
  std::string type_name() const override { return "CourseCnn"; }
};

// Gpt with a norm before each part of a block, and one at the end.
struct CourseGpt : Layer<CourseGpt> {
  Gpt net;
  Norms norms;

  CourseGpt(Rng& rng, int64_t vocab, const Norm& norm)
      : net(rng, {.vocab = vocab, .norm = NormKind::none}) {
    for (int64_t i = 0; i < 2 * net.config.layers + 1; ++i)
      norms.push_back(norm.make(net.config.width, Place::tokens));
  }
  Tensor forward(In ids) {
    GptBody& body = net.transformer;
    Tensor h = body.wte(ids) + body.wpe.weight.slice(0, 0, ids->size(1));
    for (size_t i = 0; i < body.h.size(); ++i) {
      h = h + body.h[i].attn(norms[2 * i]->call(h), static_cast<KvCache*>(nullptr), i);
      h = h + body.h[i].mlp(norms[2 * i + 1]->call(h));
    }
    return net.lm_head(norms.back()->call(h));
  }
  void visit(Visitor& v) override {
    v("net", net);
    list(v, norms);
  }
  std::string type_name() const override { return "CourseGpt"; }
};

double accuracy_of(CourseCnn& model, const ImageSet& test) {
  NoGrad off;
  eval(model);
  Rng rng(0);
  DataLoader loader(ImageDataset(test), rng, {.batch_size = 500, .shuffle = false});
  int64_t right = 0;
  for (const Batch& batch : loader)
    right += eq(argmax(model(batch.x), 1), batch.y).to(DType::i64).sum().item<int64_t>();
  return static_cast<double>(right) / static_cast<double>(test.size());
}

// The mean loss a character of a text that was not trained on.
double loss_on(CourseGpt& model, std::span<const int32_t> ids, int64_t context) {
  NoGrad off;
  eval(model);
  Rng rng(0);
  DataLoader loader(TextDataset(ids, {.context = context, .stride = context, .pad_last = true}),
                    rng, {.batch_size = 64, .shuffle = false});
  double total = 0;
  for (const Batch& batch : loader) {
    const Tensor logits = model(batch.x);
    total += cross_entropy(logits.reshape({-1, logits.size(-1)}), batch.y.reshape({-1}),
                           {.reduction = Reduction::sum})
                 .item();
  }
  return total / static_cast<double>(ids.size() - 1);
}

// Steps until `steps` are done, whatever the loader's epochs are.
std::vector<double> descend(Optimizer& optimizer, Schedule& schedule, DataLoader& loader,
                            const std::function<Tensor(const Batch&)>& loss, int64_t steps) {
  std::vector<double> losses;
  while (static_cast<int64_t>(losses.size()) < steps)
    for (const Batch& batch : loader) {
      const Tensor now = loss(batch);
      losses.push_back(now.item());
      optimizer.zero_grad();
      now.backward();
      optimizer.step();
      if (static_cast<int64_t>(losses.size()) == steps) break;
      schedule.step();
    }
  return losses;
}

}  // namespace

ReadmeRun readme_cnn(const Norm& norm, int64_t steps, const std::string& data) {
  const ImageData images = load_images("fashion-mnist", data);
  Rng rng(0);
  CourseCnn model(rng, norm);
  DataLoader loader(ImageDataset(images.train), rng, {.batch_size = 64});
  const int64_t total = steps > 0 ? steps : 10 * loader.batches();
  AdamW optimizer(no_decay_on_norms_and_biases(model), {.lr = 0.003, .weight_decay = 0.01});
  OneCycleLR schedule(optimizer, {.max_lr = 0.003, .total_steps = total});
  ReadmeRun run;
  run.losses = descend(
      optimizer, schedule, loader,
      [&](const Batch& b) { return cross_entropy(model(b.x), b.y, {.label_smoothing = 0.1}); },
      total);
  run.figure = accuracy_of(model, images.test);
  return run;
}

ReadmeRun readme_gpt(const Norm& norm, int64_t steps, const std::string& text) {
  const std::string characters = read_file(text);
  const CharVocab vocab = CharVocab::of(characters, text);
  const std::vector<int32_t> ids = vocab.encode(characters);
  const std::span<const int32_t> all(ids), seen = all.first(ids.size() - ids.size() / 10);
  Rng rng(0);
  CourseGpt model(rng, vocab.size(), norm);
  DataLoader loader(TextDataset(seen, {.context = model.net.config.context}), rng,
                    {.batch_size = 12, .replacement = true});
  const int64_t total = steps > 0 ? steps : 2000;
  AdamW optimizer(no_decay_on_norms_and_biases(model), {.lr = 0.004, .weight_decay = 0.1});
  WarmupCosine schedule(optimizer, std::min<int64_t>(100, total / 10), total, 0.0);
  ReadmeRun run;
  run.losses = descend(
      optimizer, schedule, loader,
      [&](const Batch& b) {
        const Tensor logits = model(b.x);
        return cross_entropy(logits.reshape({-1, logits.size(-1)}), b.y.reshape({-1}));
      },
      total);
  run.figure = loss_on(model, all.subspan(seen.size()), model.net.config.context);
  return run;
}

}  // namespace loupe::exercises
